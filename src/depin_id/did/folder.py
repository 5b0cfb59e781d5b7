"""The folder of somebody who has a DID: its document or log, and the keys that sign for it.

``did.jsonl``, ``update.key``, ``next.key`` and ``signing.key`` for a did:webvh; ``did.json`` and
``signing.key`` for a DID that is one key (did:key, did:jwk).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from depin_id.did.keyring import NEXT_FILE, SIGNING_FILE, UPDATE_FILE, Keyring
from depin_id.did.making import (
    DOCUMENT_FILE,
    LOG_FILE,
    document_of,
    first_document,
    moment,
    needed_place,
    read_document,
    refuse,
    replaced,
    unapproved,
)
from depin_id.did.multikey import encode_multikey
from depin_id.did.syntax import parse_did
from depin_id.did.webvh import (
    History,
    WitnessRule,
    create,
    deactivate,
    move,
    rotate,
    verify_prefix,
)
from depin_id.did.webvh.parameters import key_hash
from depin_id.durable import DirectoryLock, create_file, make_directory, read_file, replace_file
from depin_id.errors import DIDError
from depin_id.keys import Curve, PublicKey, SoftwareSigner
from depin_id.printable import json_text

WITNESS_FILE: Final = "did-witness.json"
Methods = Literal["webvh", "key", "jwk"]


def wall_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class DidFolder:
    """A DID and its keys in one folder. Make one with :meth:`create`, or :meth:`open` it.

    Attributes:
        path: the folder.
        did: the DID.
        document: its DID document as of now.
        history: of a did:webvh all versions, verified and approved by its witnesses; None for a
            DID that is a key, and before the first approval.
        pending: why the newest version does not count yet: its witnesses have to approve it.
    """

    def __init__(
        self,
        path: Path,
        document: Mapping[str, Any],
        method: tuple[str, PublicKey] | None,
        *,
        history: History | None = None,
        pending: DIDError | None = None,
        passphrase: str | None = None,
    ) -> None:
        self.path = path
        self.pending = pending
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
            refuse("did.deactivated", f"{self.did} has no key that signs", "make a new DID")
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
        witness: WitnessRule | None = None,
        services: Sequence[Mapping[str, Any]] = (),
        held: PublicKey | None = None,
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
            witness: who has to approve its versions: :func:`~depin_id.did.webvh.witness_rule`.
            held: the key that signs for a did:webvh, where it is kept elsewhere, as in a device.
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
                needed_place(place),
                update,
                now_ms=moment(None, wall_ms() if now_ms is None else now_ms),
                document=first_document(needed_place(place), held or signer.public_key, services),
                next_keys=[following.public_key],
                watchers=watchers,
                witness=witness,
                portable=portable,
            )
            keys = {UPDATE_FILE: update, NEXT_FILE: following}
            if held is None:
                keys[SIGNING_FILE] = signer
            files = {LOG_FILE: log}
        else:
            if place or portable or watchers or services or witness or held:
                refuse("did.folder", f"a did:{method} has nothing but its key", "use webvh")
            document, _ = document_of(method, signer.public_key)
            keys = {SIGNING_FILE: signer}
            files = {DOCUMENT_FILE: (json_text(document, indent=2) + "\n").encode()}
        make_directory(folder)
        with DirectoryLock(folder):
            for name in (LOG_FILE, DOCUMENT_FILE):
                if (folder / name).exists():
                    refuse("did.folder", f"{folder} holds a DID already", "name another folder")
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
            return cls._of_log(folder, log, passphrase, wall_ms() if now_ms is None else now_ms)
        document, method = read_document(folder)
        return cls(folder, document, method, passphrase=passphrase)

    @classmethod
    def _of_log(cls, folder: Path, log: bytes, passphrase: str | None, now_ms: int) -> DidFolder:
        witness = read_file(folder / WITNESS_FILE)
        history, error = verify_prefix(log, witness=witness, now_ms=now_ms)
        if error is not None and error.code != "did.webvh.witness":
            raise error
        if history is None:
            document, keys = unapproved(log, now_ms)
        else:
            document, keys = dict(history.last.document), history.last.keys["assertionMethod"]
        return cls(
            folder,
            document,
            (keys[0].id, keys[0].key) if keys else None,
            history=history,
            pending=error,
            passphrase=passphrase,
        )

    def rotate(
        self,
        *,
        signing: bool = True,
        curve: Curve | None = None,
        held: PublicKey | None = None,
        now_ms: int | None = None,
    ) -> DidFolder:
        """A new version of a did:webvh: the announced key takes over, another one is announced.

        Args:
            signing: whether the key that signs for the DID is a new one too.
            curve: of that key; None keeps the curve.
            held: that key, where it is kept elsewhere, as in a device.
            now_ms: milliseconds since 1970; None is now.

        Returns:
            The folder as it is then.

        Raises:
            DIDError: ``did.folder`` for a DID that is a key, ``did.folder_keys``,
                ``did.deactivated``, ``did.webvh.*``. StateError.
        """
        with DirectoryLock(self.path):
            history, log = self._reread(now_ms)
            method, public = self._opened(now_ms)._active()
            update, following = self._keyring.announced(history), SoftwareSigner.generate()
            document, key = None, None
            if held is not None:
                document = replaced(history, method, held)
            elif signing:
                key = SoftwareSigner.generate(curve or public.curve)
                document = replaced(history, method, key.public_key)
            now = wall_ms() if now_ms is None else now_ms
            line = rotate(
                history,
                update,
                now_ms=moment(history, now),
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
            line = move(history, update, place, now_ms=moment(history, now), parameters=changes)
            self._keyring.prepare(following, None)
            return self._written(log + line, now)

    def deactivate(self, *, now_ms: int | None = None) -> DidFolder:
        """The last version of a did:webvh: it stays resolvable, and no key of it signs any more.

        Raises:
            DIDError, StateError: as :meth:`rotate`.
        """
        with DirectoryLock(self.path):
            history, log = self._reread(now_ms)
            self._opened(now_ms)._active()
            now = wall_ms() if now_ms is None else now_ms
            update = self._keyring.announced(history)
            line = deactivate(history, update, now_ms=moment(history, now))
            return self._written(log + line, now)

    def _opened(self, now_ms: int | None) -> DidFolder:
        """The folder as it is now."""
        return self.open(self.path, self._passphrase, now_ms=now_ms)

    def _reread(self, now_ms: int | None) -> tuple[History, bytes]:
        """The history as it is now, with key files that are those of the log."""
        opened = self._opened(now_ms)
        if opened.pending is not None:
            raise opened.pending
        log = read_file(self.path / LOG_FILE)
        if opened.history is None or log is None:
            refuse(
                "did.folder",
                f"{self.did} is its key: it cannot change",
                "make a did:webvh, whose keys can be replaced",
            )
        self._keyring.settle(opened.history)
        return opened.history, log if log.endswith(b"\n") else log + b"\n"

    def _written(self, log: bytes, now_ms: int) -> DidFolder:
        made = self._of_log(self.path, log, self._passphrase, now_ms)
        replace_file(self.path / LOG_FILE, log, mode=0o644)
        if made.history is not None and made.pending is None:
            # Until its witnesses approve it, the keys before are those that count.
            self._keyring.settle(made.history)
        return made
