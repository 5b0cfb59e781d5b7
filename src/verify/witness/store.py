"""A witness's directory: its key, the logs it watches, and the head of each that it cosigned last.

```
witness.key     the private key, mode 0600
witness.cbor    the witness's name
logs/<id>       origin and keys of a log; the id is the SHA-256 of the origin
heads/<id>      the checkpoint that was cosigned last, with the cosignature; or "none"
evidence/       proofs of logs that showed two histories
```

A log is added while the witness runs; heads are written by the running witness alone. A head that
is missing is damage, never a fresh start: a witness that forgot would cosign a second history.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from depin_id import cbor
from depin_id.durable import (
    DirectoryLock,
    create_file,
    make_directory,
    read_file,
    replace_file,
)
from depin_id.errors import DepinError, LogError, StateError
from depin_id.keyfile import read_key, write_key
from depin_id.keys import SoftwareSigner
from depin_id.witness import WitnessKey
from verify.log.cosignature import cosignatures_of
from verify.log.equivocation import Equivocation
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, NoteKey, split_note

KEY_FILE: Final = "witness.key"
NAME_FILE: Final = "witness.cbor"
MAX_LOG_KEYS: Final = 4
MAX_EVIDENCE: Final = 64
_FORMAT = "depin-witness/1"
_NONE = b"none\n"
_MAX_CONFIG = 8192


@dataclass(frozen=True)
class WatchedLog:
    """A log that a witness watches: its origin and the keys that may sign its checkpoints."""

    origin: str
    keys: tuple[NoteKey, ...]


def _id(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()


class WitnessDir:
    """A witness's directory, opened.

    Attributes:
        path: the directory.
        signer: its key.
        key: the public half, with the witness's name.
    """

    def __init__(self, path: Path, *, passphrase: str | None = None) -> None:
        """Open a directory.

        Raises:
            StateError: ``state.missing``, ``state.damaged``, ``key.*``.
        """
        self.path = Path(path)
        data = read_file(self.path / NAME_FILE, max_bytes=_MAX_CONFIG)
        if data is None:
            raise StateError(
                "state.missing",
                f"{path} is not a witness's directory",
                hint="make one with `depin-verify witness init DIR --name NAME`",
            )
        self.signer = read_key(self.path / KEY_FILE, passphrase=passphrase)
        try:
            form, name, public = cbor.decode(data)
            self.key = WitnessKey(name, self.signer.public_key)
        except (DepinError, ValueError, TypeError) as error:
            raise _damaged(self.path / NAME_FILE) from error
        if form != _FORMAT or public != self.signer.public_key.raw:
            raise _damaged(self.path / NAME_FILE)

    @classmethod
    def create(
        cls,
        path: Path,
        name: str,
        *,
        signer: SoftwareSigner | None = None,
        passphrase: str | None = None,
    ) -> WitnessDir:
        """Make a witness with a fresh key.

        Raises:
            LogError: ``log.key`` for another name. StateError: ``state.exists``, ``state.io``.
        """
        signer = signer or SoftwareSigner.generate()
        key = WitnessKey(name, signer.public_key)
        path = Path(path)
        for folder in (path, path / "logs", path / "heads", path / "evidence"):
            make_directory(folder)
        write_key(path / KEY_FILE, signer, passphrase=passphrase)
        create_file(path / NAME_FILE, cbor.encode([_FORMAT, key.name, key.public.raw]))
        return cls(path, passphrase=passphrase)

    def lock(self) -> DirectoryLock:
        """Hold the heads: one witness at a time. Raises StateError ``state.locked``."""
        return DirectoryLock(self.path)

    # --- logs -----------------------------------------------------------------------------------

    def watch(self, origin: str, key: NoteKey, *, only: bool = False) -> WatchedLog:
        """Watch a log, or take a further key of one that is watched.

        Args:
            origin: the log's origin.
            key: its key.
            only: trust no other key of this log from now on.

        Raises:
            LogError: ``witness.log_keys`` for more than four. StateError.
        """
        Checkpoint(origin, 1, bytes(32))  # the form of an origin
        known = self.log(origin)
        keys = (key,) if known is None or only else (*known.keys, key)
        watched = WatchedLog(origin, tuple(dict.fromkeys(keys)))
        if len(watched.keys) > MAX_LOG_KEYS:
            raise LogError(
                "witness.log_keys",
                f"{origin!r} has {MAX_LOG_KEYS} keys already",
                hint="--only keeps the new one alone",
            )
        if known is None:
            # The head first: a log without one is damage.
            try:
                create_file(self.path / "heads" / _id(origin), _NONE)
            except StateError as error:
                if error.code != "state.exists":
                    raise
        data = cbor.encode([_FORMAT, origin, [item.vkey for item in watched.keys]])
        replace_file(self.path / "logs" / _id(origin), data)
        return watched

    def log(self, origin: str) -> WatchedLog | None:
        """A log that is watched; None for others. Raises StateError ``state.damaged``."""
        return self._log(self.path / "logs" / _id(origin))

    def logs(self) -> list[WatchedLog]:
        """All logs that are watched, by origin. Raises StateError."""
        found = (self._log(path) for path in (self.path / "logs").iterdir() if path.suffix == "")
        return sorted((log for log in found if log is not None), key=lambda log: log.origin)

    def _log(self, path: Path) -> WatchedLog | None:
        data = read_file(path, max_bytes=_MAX_CONFIG)
        if data is None:
            return None
        try:
            value: Any = cbor.decode(data)
            form, origin, keys = value
            found = WatchedLog(origin, tuple(NoteKey.parse(key) for key in keys))
        except (DepinError, ValueError, TypeError) as error:
            raise _damaged(path) from error
        if form != _FORMAT or _id(origin) != path.name or not found.keys:
            raise _damaged(path)
        return found

    # --- heads ----------------------------------------------------------------------------------

    def head(self, origin: str) -> tuple[Checkpoint, str] | None:
        """The head that was cosigned last, and its text with the cosignature; None before.

        Raises:
            StateError: ``state.damaged`` when it is missing, or not what this witness wrote.
        """
        path = self.path / "heads" / _id(origin)
        data = read_file(path, max_bytes=MAX_NOTE_BYTES)
        if data == _NONE:
            return None
        try:
            if data is None or not cosignatures_of(data, [self.key]):
                raise _damaged(path)
            checkpoint = Checkpoint.parse(split_note(data)[0])
        except LogError as error:
            raise _damaged(path) from error
        if checkpoint.origin != origin:
            raise _damaged(path)
        return checkpoint, data.decode()

    def keep_head(self, origin: str, note: str) -> None:
        """Keep the cosigned head of a log, durably. Raises StateError."""
        replace_file(self.path / "heads" / _id(origin), note.encode())

    # --- evidence -------------------------------------------------------------------------------

    def keep_evidence(self, proof: Equivocation) -> Path | None:
        """Keep a proof of two histories; None when there are many already. Raises StateError."""
        folder = self.path / "evidence"
        path = folder / f"{sha256(proof.larger.encode()).hexdigest()[:32]}.json"
        if path.exists():
            return path
        if sum(1 for _ in folder.iterdir()) >= MAX_EVIDENCE:
            return None
        replace_file(path, proof.format().encode())
        return path

    def evidence(self) -> list[Path]:
        """The proofs that were kept."""
        return sorted((self.path / "evidence").glob("*.json"))


def _damaged(path: Path) -> StateError:
    return StateError(
        "state.damaged",
        f"{path} is missing or damaged",
        hint="a witness that does not know what it cosigned must not go on: make a new one, with "
        "a new key, and tell those who trust this one",
    )
