"""The key files of a did:webvh folder, and how they change hands without being lost.

``update.key`` may sign the log, ``next.key`` is announced as the one after it, ``signing.key``
signs for the DID. A rotation writes what is new beside them (``*.new``), then the log, then
renames: wherever it is cut off, the log says which files are the current ones.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh import History
from depin_id.did.webvh.parameters import key_hash
from depin_id.durable import failed, sync_directory
from depin_id.errors import DIDError, StateError
from depin_id.keyfile import read_key, write_key
from depin_id.keys import PublicKey, SoftwareSigner

SIGNING_FILE: Final = "signing.key"
UPDATE_FILE: Final = "update.key"
NEXT_FILE: Final = "next.key"
_NEW: Final = ".new"


class Keyring:
    """Key files of a folder.

    Args:
        path: the folder. passphrase: opens and seals the files.
    """

    def __init__(self, path: Path, passphrase: str | None) -> None:
        self._path = path
        self._passphrase = passphrase

    def signing(self, public: PublicKey, name: str) -> SoftwareSigner:
        """The signing key of a public half.

        Args:
            name: its DID URL, for the message.

        Raises:
            StateError: a file is missing, or its passphrase. DIDError: ``did.folder_keys``.
        """
        first = self._read(SIGNING_FILE + _NEW)
        signer = first if first is not None and first.public_key == public else None
        if signer is None:
            signer = read_key(self._path / SIGNING_FILE, passphrase=self._passphrase)
        if signer.public_key != public:
            raise DIDError(
                "did.folder_keys",
                f"{self._path / SIGNING_FILE} is not the key of {name}",
                hint="put key files and document of one DID together",
            )
        return signer

    def announced(self, history: History) -> SoftwareSigner:
        """The key that was announced for the next entry of the log.

        Raises:
            StateError: the file. DIDError: ``did.folder_keys``.
        """
        signer = read_key(self._path / NEXT_FILE, passphrase=self._passphrase)
        if not _is_announced(history, signer):
            raise DIDError(
                "did.folder_keys",
                f"{self._path / NEXT_FILE} is not the key that the log announces",
                hint="restore the newest backup of it: without it the DID cannot change",
            )
        return signer

    def write(self, name: str, signer: SoftwareSigner) -> None:
        """A new key file. Raises StateError."""
        write_key(self._path / name, signer, passphrase=self._passphrase)

    def prepare(self, following: SoftwareSigner, signing: SoftwareSigner | None) -> None:
        """Write what a rotation brings, beside what there is. Raises StateError."""
        self.write(NEXT_FILE + _NEW, following)
        if signing is not None:
            self.write(SIGNING_FILE + _NEW, signing)

    def settle(self, history: History) -> None:
        """Make the files those of the log; only new files that no log names are removed.

        Raises:
            StateError: a file cannot be read or renamed.
        """
        following, signing = self._read(NEXT_FILE + _NEW), self._read(SIGNING_FILE + _NEW)
        if following is not None and _is_announced(history, following):
            current = self._read(NEXT_FILE)
            if current is not None and _may_update(history, current):
                self._rename(NEXT_FILE, UPDATE_FILE)
            self._rename(NEXT_FILE + _NEW, NEXT_FILE)
        if signing is not None and _signs(history, signing):
            self._rename(SIGNING_FILE + _NEW, SIGNING_FILE)
        for name in (NEXT_FILE, SIGNING_FILE):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path / (name + _NEW))

    def _read(self, name: str) -> SoftwareSigner | None:
        try:
            return read_key(self._path / name, passphrase=self._passphrase)
        except StateError as error:
            if error.code == "state.missing":
                return None
            raise

    def _rename(self, old: str, new: str) -> None:
        try:
            os.replace(self._path / old, self._path / new)
        except OSError as error:
            failed(self._path / old, error)
        sync_directory(self._path)


def _is_announced(history: History, signer: SoftwareSigner) -> bool:
    named = key_hash(encode_multikey(signer.public_key))
    return named in history.last.parameters.next_key_hashes


def _may_update(history: History, signer: SoftwareSigner) -> bool:
    return encode_multikey(signer.public_key) in history.last.parameters.update_keys


def _signs(history: History, signer: SoftwareSigner) -> bool:
    keys = history.last.keys["assertionMethod"]
    return any(one.key == signer.public_key for one in keys)
