"""Whom a command acts as, and whose keys it takes: folders of DIDs, key files, DIDs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from depin_id.commands.common import read_passphrase
from depin_id.did.folder import DidFolder
from depin_id.did.key import did_key
from depin_id.did.multikey import decode_multikey
from depin_id.did.resolver import Resolver
from depin_id.did.syntax import parse_did
from depin_id.errors import DIDError
from depin_id.keyfile import read_key
from depin_id.keys import PublicKey, SoftwareSigner

Signing = Annotated[
    Path, typer.Option("--as", metavar="DID_FOLDER|KEY", help="Who signs: a DID's folder, or key.")
]
Dids = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A folder of folders of DIDs, read offline.")
]
PassphraseFile = Annotated[Path | None, typer.Option(help="Its first line opens the key file.")]


class Identity(NamedTuple):
    """Somebody who can sign: DID, DID URL of the key, and the key."""

    did: str
    method: str
    signer: SoftwareSigner


def open_identity(path: Path, passphrase_file: Path | None = None) -> Identity:
    """A DID's folder, or a key file, which stands for its did:key. Raises DepinError."""
    passphrase = read_passphrase(passphrase_file)
    if path.is_dir():
        folder = DidFolder.open(path, passphrase)
        return Identity(folder.did, folder.verification_method, folder.signer)
    signer = read_key(path, passphrase=passphrase)
    did = did_key(signer.public_key)
    return Identity(did, f"{did}#{parse_did(did).id}", signer)


def resolver_of(dids: Path | None) -> Resolver:
    """Resolves from files alone: nothing is fetched."""
    return Resolver(dids=dids)


def key_of_did(
    resolver: Resolver, named: str, relationship: str, version_time: str | None = None
) -> PublicKey:
    """The key of a DID URL, or the first key that a DID has for this relationship.

    Raises:
        DIDError: ``did.*``. KeyRefused.
    """
    if "#" not in named:
        found = resolver.resolve(named)
        if found.document is None:
            raise DIDError(
                "did.not_found",
                f"{named[:120]}: {found.resolution_metadata.get('message', found.error)}",
                hint="give its folder with --dids",
            )
        methods = found.document.get(relationship)
        first = methods[0] if isinstance(methods, list) and methods else None
        if isinstance(first, dict):
            first = first.get("id")
        if not isinstance(first, str):
            raise DIDError("did.relationship", f"{named[:120]} has no key for {relationship}")
        named = named + first if first.startswith("#") else first
    return resolver.key(named, relationship=relationship, version_time=version_time)


def list_keys(resolver: Resolver) -> Callable[[str, str, str | None], PublicKey]:
    """Keys for status lists: those of now, whatever a list says of when it was made.

    A thief of a retired key dates what he signs as he likes.
    """
    return lambda method, issuer, _created: key_of_did(resolver, method, "assertionMethod")


def audience_key(text: str, resolver: Resolver) -> PublicKey:
    """The key of a did:key, another DID, a DID URL, or a multikey. Raises DIDError, KeyRefused."""
    if text.startswith("did:"):
        return key_of_did(resolver, text, "authentication")
    return decode_multikey(text)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
