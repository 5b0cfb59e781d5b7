"""A reader of the published log that forgets nothing: checkpoints may only grow."""

from __future__ import annotations

import threading
from pathlib import Path

from verify.log import Checkpoint, NoteKey, TileLog, verify_checkpoint, verify_consistency


class CheckpointWatcher:
    """Looks at a published checkpoint all the time.

    Args:
        folder: the log's folder. key: of the log.

    Attributes:
        notes: every different note that was seen, in order.
    """

    def __init__(self, folder: Path, key: NoteKey, *, every_s: float = 0.01) -> None:
        self._folder, self._key, self._every_s = folder, key, every_s
        self.notes: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self.look()

    def look(self) -> None:
        """Once."""
        try:
            note = (self._folder / "checkpoint").read_bytes()
        except FileNotFoundError:
            # It may not be there yet; it may never go again.
            note = b""
        if not self.notes:
            if note:
                self.notes.append(note)
        elif note != self.notes[-1]:
            self.notes.append(note)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> int:
        """Every checkpoint is signed, and each continues the one before; gives how many."""
        self.close()
        self.look()
        seen: list[Checkpoint] = []
        for note in self.notes:
            assert note, "a published checkpoint was taken away"
            seen.append(verify_checkpoint(note, [self._key], origin=self._key.name))
        log = TileLog(self._folder, self._key.name)
        for old, new in zip(seen, seen[1:], strict=False):
            assert old.size <= new.size, f"the log shrank from {old.size} to {new.size}"
            proof = log.consistency_proof(old.size, new.size)
            verify_consistency(old.size, new.size, proof, old.root, new.root)
        return len(seen)

    def __enter__(self) -> CheckpointWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
