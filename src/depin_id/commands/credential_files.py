"""What commands of credentials share: their files, their moments, the keys of issuers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depin_id.commands.common import open_output, read_input
from depin_id.commands.identity import list_keys, open_party, resolver_of, wall_ms
from depin_id.credentials import Credential, KeyOf, format_moment, make, parse_moment
from depin_id.credentials import issue as issue_credential
from depin_id.credentials.status import StatusStore
from depin_id.credentials.wire import MAX_CREDENTIAL
from depin_id.ecdsa import VerificationKey
from depin_id.errors import ConfigError, CredentialError, DIDError
from depin_id.strict_json import parse


def read_document(name: str) -> bytes:
    """A credential's file; - is standard input. Raises TransportError, StateError."""
    return read_input(name, max_bytes=4 * MAX_CREDENTIAL)


def moment_of(text: str | None) -> int:
    """A moment in milliseconds; now without one. Raises ConfigError ``usage``."""
    if text is None:
        return wall_ms()
    try:
        if format_moment(parse_moment(text)) == text:
            return parse_moment(text)
    except (CredentialError, TypeError):
        pass
    raise ConfigError("usage", f"{text[:40]!r} is no moment", hint="write 2026-11-21T09:30:00Z")


def subject_of(source: str | None, **options: str | None) -> dict[str, Any]:
    """What is said of the device: from a file, and by options, which win.

    Raises:
        ConfigError: ``usage``. EncodingError: ``json.*``.
    """
    found: Any = {} if source is None else parse(read_input(source, max_bytes=MAX_CREDENTIAL))
    if not isinstance(found, dict):
        raise ConfigError("usage", "the JSON of --in is not an object")
    return found | {name: item for name, item in options.items() if item is not None}


def sign_and_write(
    kind: type[Credential],
    subject: dict[str, Any],
    signing: Path,
    passphrase_file: Path | None,
    since: str | None,
    until: str | None,
    status_entry: str | None,
    out: str,
) -> None:
    """Issue a credential as the identity at ``signing``. Raises DepinError."""
    issuer = open_party(signing, passphrase_file)
    members: dict[str, Any] = {"valid_from": format_moment(moment_of(since))}
    if until is not None:
        members["valid_until"] = format_moment(moment_of(until))
    if status_entry is not None:
        members["credential_status"] = parse(read_input(status_entry, max_bytes=MAX_CREDENTIAL))
    credential = make(kind, issuer=issuer.did, credential_subject=subject, **members)
    signed = issue_credential(
        credential,
        issuer.signer,
        verification_method=issuer.method,
        created=format_moment(wall_ms()),
    )
    with open_output(out) as file:
        file.write(json.dumps(signed, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def issuer_keys(
    dids: Path | None, at: int | None, *, keys_then: bool, issuers: list[str] | None
) -> KeyOf:
    """The keys of issuers, from their DIDs and files alone.

    Args:
        at: the moment at which a key has to be the issuer's; None is now.
        keys_then: take it as of when the proof says it was made instead.
        issuers: whom to take keys of at all; None is anybody.
    """
    resolver = resolver_of(dids)

    def key_of(method: str, issuer: str, created: str | None) -> VerificationKey:
        if issuers is not None and issuer not in issuers:
            raise CredentialError(
                "credential.issuer", f"{issuer[:120]} is none of those who are trusted"
            )
        try:
            return resolver.key(method, version_time=created if keys_then and created else at)
        except DIDError as error:
            if error.code in ("did.verification_method", "did.relationship"):
                error.hint = error.hint or "a key that was retired since: see --keys-then"
            raise

    return key_of


def add_lists(paths: list[Path] | None, dids: Path | None) -> StatusStore | None:
    """The status lists of files, each verified; None without any. Raises DepinError."""
    if not paths:
        return None
    store = StatusStore(key_of=list_keys(resolver_of(dids)))
    for path in paths:
        store.load(path)
    return store
