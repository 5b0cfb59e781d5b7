"""Erasures that were begun and are not finished: a mark on disk that outlives a crash.

An erasure is a row of steps: its entry, the keys, the snapshots, the published segments. Keys that
are gone do not say whether the rest was done, so a file does.
"""

from __future__ import annotations

from pathlib import Path

from depin_id.durable import replace_file, sync_directory

NAME = "erasing"


class Erasing:
    """Whether an erasure is to be finished.

    Args:
        root: the aggregator's directory.

    Attributes:
        begun: whether there is something to finish.
    """

    def __init__(self, root: Path) -> None:
        self._mark = root / NAME
        self.begun = self._mark.exists()

    def begin(self) -> None:
        """Before its first step. Raises StateError."""
        replace_file(self._mark, b"")
        self.begun = True

    def end(self) -> None:
        """After its last step. Raises StateError."""
        self._mark.unlink(missing_ok=True)
        sync_directory(self._mark.parent)
        self.begun = False
