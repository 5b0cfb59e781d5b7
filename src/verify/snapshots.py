"""When snapshots are taken while an aggregator runs: often enough that a crash costs seconds.

A snapshot is a copy of the state that is sealed and written beside the thread that commits. It may
take a twentieth of the time at most, and a state that is too large to be held twice is written by
the committing thread itself, as rarely.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from depin_id.errors import DepinError
from verify import snapshot
from verify.beside import Beside, Outcome
from verify.fold import Fold
from verify.store import Journal, KeyStore

ENTRIES = 20_000
"""Entries after which a snapshot is due: they are replayed in about a second."""
SHARE = 20
"""How much longer than a snapshot took the next one has to wait."""
LARGE = 128 << 20
"""Bytes of a state that is not copied, but written by the thread that commits."""
LARGE_ENTRIES = 1_000_000
"""Entries after which it does."""
_AGAIN_S = 60.0


class SnapshotKeeper:
    """Takes the snapshots of one aggregator; one thread uses it.

    Args:
        size: entries of the snapshot that the state was loaded from.

    Attributes:
        size: entries that the newest snapshot holds.
    """

    def __init__(
        self,
        directory: Path,
        keys: KeyStore,
        journal: Journal,
        randomness: Callable[[int], bytes],
        size: int,
    ) -> None:
        self._directory, self._keys, self._journal = directory, keys, journal
        self._randomness = randomness
        self.size = size
        self._beside = Beside("snapshot")
        self._not_before = 0.0

    def save(self, fold: Fold) -> None:
        """Write a snapshot now; older ones, and one under way, are gone then."""
        self._beside.give_up()
        snapshot.save(fold, self._directory, self._keys, self._journal, randomness=self._randomness)
        self.size = fold.size

    def keep_up(self, fold: Fold) -> None:
        """Begin a snapshot if one is due.

        Raises:
            DepinError: the last one could not be written. It is due again in a minute.
        """
        try:
            if not self._beside.settle() or fold.size - self.size < ENTRIES:
                return
            if time.monotonic() < self._not_before:
                return
            if snapshot.weight(fold) > LARGE:
                if fold.size - self.size >= LARGE_ENTRIES:
                    began = time.monotonic()
                    self.save(fold)
                    self._rest(time.monotonic() - began)
                return
            self._begin(fold)
        except DepinError:
            self._not_before = time.monotonic() + _AGAIN_S
            raise

    def close(self) -> None:
        """Let nothing be under way. Safe to call twice."""
        self._beside.give_up()

    def _begin(self, fold: Fold) -> None:
        began = time.monotonic()
        copied = snapshot.copy(
            fold, self._directory, self._keys, self._journal, randomness=self._randomness
        )

        def work() -> Outcome:
            copied.write()
            took = time.monotonic() - began
            return lambda: self._written(copied, took)

        self._beside.begin(work)

    def _written(self, copied: snapshot.Copy, took_s: float) -> None:
        snapshot.drop_older(self._directory, self._keys, copied.path)
        self.size = copied.size
        self._rest(took_s)

    def _rest(self, took_s: float) -> None:
        self._not_before = time.monotonic() + SHARE * took_s
