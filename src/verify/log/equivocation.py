"""Proof that a log has shown two histories: two signed checkpoints that no one log can have.

Two checkpoints of one size with different roots are enough by themselves. For two sizes a root and
a consistency proof go with them: the tree that the larger checkpoint commits to begins with that
root, and the smaller checkpoint has another. Whoever has the log's key checks it, offline.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from depin_id.errors import LogError
from verify.log.merkle import MAX_PROOF_HASHES, verify_consistency
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, NoteKey, verify_checkpoint
from verify.log.text import decode_hash, encode_base64
from verify.log.tiles import TileLog

FORMAT: Final = "depin-equivocation/1"
MAX_BYTES: Final = 2 * MAX_NOTE_BYTES + 16 * 1024
_FIELDS = {"format", "smaller", "larger", "root", "path"}


def _wrong(what: str) -> NoReturn:
    raise LogError("log.equivocation", what, hint="it proves nothing against the log")


@dataclass(frozen=True)
class Equivocation:
    """Two histories of one log.

    Attributes:
        smaller, larger: the signed checkpoints, verbatim; of one size, in either order.
        root: of the larger tree's beginning, as large as the smaller checkpoint; None for one size.
        path: consistency proof from ``root`` to the larger checkpoint.
    """

    smaller: str
    larger: str
    root: bytes | None = None
    path: tuple[bytes, ...] = ()

    def format(self) -> str:
        """The proof as JSON text."""
        value = {
            "format": FORMAT,
            "smaller": self.smaller,
            "larger": self.larger,
            "root": None if self.root is None else encode_base64(self.root),
            "path": [encode_base64(item) for item in self.path],
        }
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, data: bytes) -> Equivocation:
        """Read a proof; it is not checked yet. Raises LogError ``log.equivocation``."""
        try:
            value: Any = json.loads(data) if len(data) <= MAX_BYTES else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or set(value) != _FIELDS or value["format"] != FORMAT:
            _wrong("it is no proof of two histories")
        smaller, larger, root, path = (
            value[name] for name in ("smaller", "larger", "root", "path")
        )
        hashes = path if root is None or not isinstance(path, list) else [root, *path]
        if not (isinstance(smaller, str) and isinstance(larger, str) and isinstance(path, list)):
            _wrong("a checkpoint is not a text, or the path is not a list")
        # JSON can spell half a character, which no file can hold.
        if any("\ud800" <= letter <= "\udfff" for letter in smaller + larger):
            _wrong("a checkpoint holds half a character")
        if len(path) > MAX_PROOF_HASHES or not all(isinstance(item, str) for item in hashes):
            _wrong("a hash is not a text")
        code = "log.equivocation"
        return cls(
            smaller,
            larger,
            None if root is None else decode_hash(root, code, "the root"),
            tuple(decode_hash(item, code, "a hash of the path") for item in path),
        )

    def check(self, key: NoteKey) -> tuple[Checkpoint, Checkpoint]:
        """Check that it holds: the log with this key has shown two histories.

        Returns:
            The two checkpoints.

        Raises:
            LogError: ``log.equivocation`` when it proves nothing; else a checkpoint is not signed
                by the key, or the path does not hold.
        """
        first = verify_checkpoint(self.smaller, [key], origin=key.name)
        second = verify_checkpoint(self.larger, [key], origin=key.name)
        if first.size == second.size:
            if first.root == second.root:
                _wrong("both checkpoints have the same size and root")
            return first, second
        if self.root is None or not 0 < first.size < second.size:
            _wrong("the checkpoints are of two sizes, and nothing says that they contradict")
        verify_consistency(first.size, second.size, self.path, self.root, second.root)
        if self.root == first.root:
            _wrong("the larger log begins with the smaller one, as it should")
        return first, second


def compare_checkpoints(
    first: str, second: str, key: NoteKey, *, directory: Path | None = None
) -> Equivocation | None:
    """Compare two signed checkpoints of a log.

    Args:
        first, second: the checkpoints, with signatures.
        key: the log's key, named as its origin.
        directory: the tiles of one of the two histories, needed when the sizes differ.

    Returns:
        The proof of two histories; None when both are of one.

    Raises:
        LogError: ``log.undecided`` when the sizes differ and there are no tiles of the larger;
            a checkpoint does not verify; or the tiles cannot be read.
    """
    notes = {note: verify_checkpoint(note, [key], origin=key.name) for note in (first, second)}
    smaller, larger = sorted((first, second), key=lambda note: notes[note].size)
    low, high = notes[smaller], notes[larger]
    if low.size == high.size:
        return None if low.root == high.root else Equivocation(smaller, larger)
    if low.size == 0:
        return None
    if directory is None:
        raise LogError(
            "log.undecided",
            f"the checkpoints are of {low.size} and {high.size} entries",
            hint="give the log's tiles too: --log DIR",
        )
    log = TileLog(directory, key.name)
    if log.size < high.size or log.root(high.size) != high.root:
        raise LogError(
            "log.undecided",
            f"the tiles in {directory} are not those of the checkpoint of size {high.size}",
            hint="get the tiles from where the larger checkpoint came from",
        )
    root = log.root(low.size)
    if root == low.root:
        return None
    path = tuple(log.consistency_proof(low.size, high.size))
    return Equivocation(smaller, larger, root, path)
