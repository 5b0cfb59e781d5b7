"""The folder of somebody who has a DID: its document or log, and the keys that sign for it.

``did.jsonl``, ``update.key``, ``next.key`` and ``signing.key`` for a did:webvh; ``did.json`` and
``signing.key`` for a DID that is one key (did:key, did:jwk).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from depin_id.did.document import key_document
from depin_id.did.jwk import did_jwk, parse_did_jwk
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.keyring import NEXT_FILE, SIGNING_FILE, UPDATE_FILE, Keyring
from depin_id.did.multikey import encode_multikey
from depin_id.did.syntax import parse_did
from depin_id.did.webvh import (
    History,
    create,
    deactivate,
    document_template,
    move,
    rotate,
    verify_log,
)
from depin_id.did.webvh.parameters import key_hash
from depin_id.durable import DirectoryLock, create_file, make_directory, read_file, replace_file
from depin_id.errors import DIDError, EncodingError, KeyRefused
from depin_id.keys import Curve, PublicKey, SoftwareSigner
from depin_id.printable import json_text
from depin_id.strict_json import parse

DOCUMENT_FILE: Final = "did.json"
LOG_FILE: Final = "did.jsonl"
WITNESS_FILE: Final = "did-witness.json"
MAX_DOCUMENT: Final = 1 << 16
_RELATIONSHIPS: Final = (
    "authentication",
    "assertionMethod",
    "capabilityInvocation",
    "capabilityDelegation",
)
Methods = Literal["webvh", "key", "jwk"]


def wall_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise DIDError(code, message, hint=hint)


class DidFolder:
    """A DID and its keys in one folder. Make one with :meth:`create`, or :meth:`open` it.

    Attributes:
        path: the folder.
        did: the DID.
        document: its DID document as of now.
        history: of a did:webvh all versions, verified; None for a DID that is a key.
    """

    def __init__(
        self,
        path: Path,
        document: Mapping[str, Any],
        method: tuple[str, PublicKey] | None,
        *,
        history: History | None = None,
        passphrase: str | None = None,
    ) -> None:
        self.path = path
        self.did: str = document["id"]
        self.document = dict(document)
        self.history = history
        self._method = method
        self._keyring = Keyring(path, passphrase)
        self._passphrase = passphrase

    @property
    def method(self) -> str:
        """Name of the DID's method, such as ``webvh``."""
        return parse_did(self.did).method

    def _active(self) -> tuple[str, PublicKey]:
        if self._method is None:
            _refuse("did.deactivated", f"{self.did} has no key that signs", "make a new DID")
        return self._method

    @property
    def verification_method(self) -> str:
        """DID URL of the key that signs. Raises DIDError ``did.deactivated``."""
        return self._active()[0]

    @property
    def public_key(self) -> PublicKey:
        """Public half of the key that signs, admitted. Raises DIDError ``did.deactivated``."""
        return self._active()[1]

    @cached_property
    def signer(self) -> SoftwareSigner:
        """The private key, read when it is asked for.

        Raises:
            StateError: the key file is missing, or its passphrase.
            DIDError: ``did.folder_keys``, ``did.deactivated``.
        """
        return self._keyring.signing(self.public_key, self.verification_method)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        method: Methods = "key",
        place: str | None = None,
        curve: Curve = "ed25519",
        passphrase: str | None = None,
        portable: bool = False,
        watchers: Sequence[str] = (),
        services: Sequence[Mapping[str, Any]] = (),
        now_ms: int | None = None,
    ) -> DidFolder:
        """Make a folder with fresh keys.

        Args:
            path: made when it is not there; may not hold a DID yet.
            method: ``webvh``, ``key`` or ``jwk``.
            place: of a did:webvh: ``example.com``, ``example.com%3A3000:dids:issuer``.
            curve: of the key that signs; the keys of a log are Ed25519.
            passphrase: seals the key files.
            portable: whether a did:webvh may move to another place later.
            watchers, services: of a did:webvh; ``{SCID}`` may stand in services.
            now_ms: milliseconds since 1970; None is now.

        Raises:
            StateError: ``state.exists``, ``state.io``, ``state.locked``.
            DIDError: ``did.method_not_supported``, ``did.folder``, ``did.webvh.*``.
        """
        folder = Path(path)
        signer = SoftwareSigner.generate(curve)
        keyring = Keyring(folder, passphrase)
        if method == "webvh":
            update, following = SoftwareSigner.generate(), SoftwareSigner.generate()
            log = create(
                _place(place),
                update,
                now_ms=_moment(None, wall_ms() if now_ms is None else now_ms),
                document=_first_document(_place(place), signer.public_key, services),
                next_keys=[following.public_key],
                watchers=watchers,
                portable=portable,
            )
            keys = {UPDATE_FILE: update, NEXT_FILE: following, SIGNING_FILE: signer}
            files = {LOG_FILE: log}
        else:
            if place or portable or watchers or services:
                _refuse("did.folder", f"a did:{method} has nothing but its key", "use webvh")
            document, _ = _key_document(method, signer.public_key)
            keys = {SIGNING_FILE: signer}
            files = {DOCUMENT_FILE: (json_text(document, indent=2) + "\n").encode()}
        make_directory(folder)
        with DirectoryLock(folder):
            for name in (LOG_FILE, DOCUMENT_FILE):
                if (folder / name).exists():
                    _refuse("did.folder", f"{folder} holds a DID already", "name another folder")
            for name, key in keys.items():
                keyring.write(name, key)
            for name, data in files.items():
                create_file(folder / name, data, mode=0o644)
        return cls.open(folder, passphrase, now_ms=now_ms)

    @classmethod
    def open(
        cls, path: str | Path, passphrase: str | None = None, *, now_ms: int | None = None
    ) -> DidFolder:
        """Open a folder; private keys are only read when they are used.

        Args:
            passphrase: opens the key files.
            now_ms: milliseconds since 1970; None is now.

        Raises:
            DIDError: ``did.folder``, there is no DID in it or its document is not that of its DID;
                ``did.*`` for what is wrong with the DID itself. StateError: a file.
        """
        folder = Path(path)
        log = read_file(folder / LOG_FILE)
        if log is not None:
            witness = read_file(folder / WITNESS_FILE)
            now = wall_ms() if now_ms is None else now_ms
            history = verify_log(log, witness=witness, now_ms=now)
            return cls._of_history(folder, history, passphrase)
        document, method = _read_document(folder)
        return cls(folder, document, method, passphrase=passphrase)

    @classmethod
    def _of_history(cls, folder: Path, history: History, passphrase: str | None) -> DidFolder:
        keys = history.last.keys["assertionMethod"]
        method = (keys[0].id, keys[0].key) if keys else None
        document = history.last.document
        return cls(folder, document, method, history=history, passphrase=passphrase)

    def rotate(
        self,
        *,
        signing: bool = True,
        curve: Curve | None = None,
        now_ms: int | None = None,
    ) -> DidFolder:
        """A new version of a did:webvh: the announced key takes over, another one is announced.

        Args:
            signing: whether the key that signs for the DID is a new one too.
            curve: of that key; None keeps the curve.
            now_ms: milliseconds since 1970; None is now.

        Returns:
            The folder as it is then.

        Raises:
            DIDError: ``did.folder`` for a DID that is a key, ``did.folder_keys``,
                ``did.deactivated``, ``did.webvh.*``. StateError.
        """
        with DirectoryLock(self.path):
            history, log = self._reread(now_ms)
            method, public = self._of_history(self.path, history, None)._active()
            update, following = self._keyring.announced(history), SoftwareSigner.generate()
            document, key = None, None
            if signing:
                key = SoftwareSigner.generate(curve or public.curve)
                document = _replaced(history, method, key.public_key)
            now = wall_ms() if now_ms is None else now_ms
            line = rotate(
                history,
                update,
                now_ms=_moment(history, now),
                next_keys=[following.public_key],
                document=document,
            )
            self._keyring.prepare(following, key)
            return self._written(log + line, now)

    def move(self, place: str, *, now_ms: int | None = None) -> DidFolder:
        """Take a portable did:webvh to another place; its SCID, history and keys stay.

        Args:
            place: as :meth:`create` takes it.
            now_ms: milliseconds since 1970; None is now.

        Raises:
            DIDError: ``did.webvh.portable``, and as :meth:`rotate`. StateError.
        """
        with DirectoryLock(self.path):
            history, log = self._reread(now_ms)
            update, following = self._keyring.announced(history), SoftwareSigner.generate()
            now = wall_ms() if now_ms is None else now_ms
            changes = {
                "updateKeys": [encode_multikey(update.public_key)],
                "nextKeyHashes": [key_hash(encode_multikey(following.public_key))],
            }
            line = move(history, update, place, now_ms=_moment(history, now), parameters=changes)
            self._keyring.prepare(following, None)
            return self._written(log + line, now)

    def deactivate(self, *, now_ms: int | None = None) -> DidFolder:
        """The last version of a did:webvh: it stays resolvable, and no key of it signs any more.

        Raises:
            DIDError, StateError: as :meth:`rotate`.
        """
        with DirectoryLock(self.path):
            history, log = self._reread(now_ms)
            self._of_history(self.path, history, None)._active()
            now = wall_ms() if now_ms is None else now_ms
            update = self._keyring.announced(history)
            line = deactivate(history, update, now_ms=_moment(history, now))
            return self._written(log + line, now)

    def _reread(self, now_ms: int | None) -> tuple[History, bytes]:
        """The history as it is now, with key files that are those of the log."""
        history = self.open(self.path, now_ms=now_ms).history
        log = read_file(self.path / LOG_FILE)
        if history is None or log is None:
            _refuse(
                "did.folder",
                f"{self.did} is its key: it cannot change",
                "make a did:webvh, whose keys can be replaced",
            )
        self._keyring.settle(history)
        return history, log if log.endswith(b"\n") else log + b"\n"

    def _written(self, log: bytes, now_ms: int) -> DidFolder:
        witness = read_file(self.path / WITNESS_FILE)
        history = verify_log(log, witness=witness, now_ms=now_ms)
        replace_file(self.path / LOG_FILE, log, mode=0o644)
        self._keyring.settle(history)
        return self._of_history(self.path, history, self._passphrase)


def _moment(history: History | None, now_ms: int) -> int:
    """The time of a new version: a whole second, as resolvers ask for, where it is later."""
    second = now_ms - now_ms % 1000
    return second if history is None or second > history.last.version_time_ms else now_ms


def _place(place: str | None) -> str:
    if not place:
        _refuse(
            "did.folder",
            "a did:webvh needs a place: the domain where its log is published",
            "such as example.com or example.com:devices:acme",
        )
    return place


def _first_document(
    place: str, key: PublicKey, services: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    document = document_template(place, {"key-1": key})
    for relationship in _RELATIONSHIPS:
        document[relationship] = [method["id"] for method in document["verificationMethod"]]
    if services:
        document["service"] = [dict(service) for service in services]
    return document


def _replaced(history: History, method: str, key: PublicKey) -> dict[str, Any]:
    """The last document with another key in the place of the one that signs."""
    last = history.last
    document = copy.deepcopy(dict(last.document))
    named = f"{last.did}#key-{last.number + 1}"
    ids = (method, method.removeprefix(last.did))
    for index, item in enumerate(document["verificationMethod"]):
        if item["id"] in ids:
            document["verificationMethod"][index] = {
                "id": named,
                "type": "Multikey",
                "controller": last.did,
                "publicKeyMultibase": encode_multikey(key),
            }
    for relationship in _RELATIONSHIPS:
        if relationship in document:
            listed = document[relationship]
            document[relationship] = [named if item in ids else item for item in listed]
    return document


def _read_document(folder: Path) -> tuple[dict[str, Any], tuple[str, PublicKey]]:
    """Document and key of a folder whose DID is its key."""
    data = read_file(folder / DOCUMENT_FILE, max_bytes=MAX_DOCUMENT)
    if data is None:
        _refuse(
            "did.folder",
            f"there is no DID in {folder}: neither {LOG_FILE} nor {DOCUMENT_FILE}",
            "make one with: depin-id did create",
        )
    try:
        document = parse(data)
    except EncodingError as error:
        raise DIDError("did.folder", f"{folder / DOCUMENT_FILE}: {error.message}") from error
    did = document.get("id") if isinstance(document, dict) else None
    method = parse_did(did).method if isinstance(did, str) else ""
    if not isinstance(did, str) or method not in ("key", "jwk"):
        _refuse(
            "did.folder",
            f"{folder / DOCUMENT_FILE} is not the document of a did:key or did:jwk",
            "see docs/identity/resolving.md",
        )
    try:
        key = parse_did_key(did) if method == "key" else parse_did_jwk(did)
    except KeyRefused as error:
        raise DIDError("did.folder_keys", f"the key of {did} is not admissible") from error
    expected, method_id = _key_document(method, key)
    if document != expected:
        _refuse(
            "did.folder",
            f"{folder / DOCUMENT_FILE} is not the document of {did}",
            "a DID that is a key has exactly one document: restore the file",
        )
    return expected, (method_id, key)


def _key_document(method: str, key: PublicKey) -> tuple[dict[str, Any], str]:
    if method == "key":
        did = did_key(key)
        method_id = f"{did}#{parse_did(did).id}"
    elif method == "jwk":
        did = did_jwk(key)
        method_id = f"{did}#0"
    else:
        _refuse("did.method_not_supported", f"there is no did:{method[:20]} to make", "webvh, key")
    return key_document(did, method_id, key), method_id
