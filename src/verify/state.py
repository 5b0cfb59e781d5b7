"""What the aggregator remembers of its streams and subjects: dense arrays and small maps.

Pure data with pure look-ups. It changes only through :mod:`verify.fold`, by entries of the journal,
so it can always be rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from verify.checks.quota import Bucket
from verify.streams import WINDOW as WINDOW
from verify.streams import Mark as Mark
from verify.streams import Streams as Streams
from verify.subjects import Named, Referred, Subjects
from verify.subjects import Subject as Subject

Sighted = tuple[int, bytes]
"""A gateway's subject, and the first 16 bytes of the identity of what it carried."""


MAX_WINDOWS = 262_144
"""How many content windows are remembered; the oldest go first."""
FORGOTTEN_AT_ONCE = 4096

MAX_SIGHTINGS = 262_144
"""How many sightings are known when they are repeated: so many newest of all gateways."""

MAX_BEACONS = 16_384
"""How many checkpoints can still be named by a downlink nonce; the oldest go first."""


@dataclass(slots=True)
class State:
    """Everything that is remembered beside the registry and the policy."""

    streams: Streams = field(default_factory=Streams)
    subjects: Subjects = field(default_factory=Subjects)
    children: dict[str, int] = field(default_factory=dict)
    owners: dict[str, Bucket] = field(default_factory=dict)
    windows: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    windowed: int = 0
    beacons: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    sightings: dict[Sighted, tuple[int, int]] = field(default_factory=dict)
    sighted: int = 0

    @property
    def by_did(self) -> Named:
        """Indexes of subjects by their DID or DID URL."""
        return Named(self.subjects)

    @property
    def by_ref(self) -> Referred:
        """Indexes of subjects by their reference."""
        return Referred(self.subjects)

    def subject_of(self, did: str) -> int | None:
        """Index of a subject by its DID or DID URL."""
        return self.subjects.with_did(did)

    def add_subject(self, did: str, ref: bytes) -> int:
        """A new subject's index."""
        return self.subjects.add(did, ref)

    def remember_windows(self, windows: Sequence[bytes], count: int, subject: int) -> None:
        """Remember content windows as first seen from a subject.

        The oldest are forgotten by number, erased or not: an audit that cannot read what was
        erased forgets the same.

        Args:
            windows: none of a subject that was erased.
            count: how many there were.
        """
        before = self.windowed
        self.windowed += count
        for number, window in enumerate(windows, before):
            self.windows.setdefault(window, (subject, number))
        # Many at once: looking for the oldest passes over all that were deleted before it.
        if before // FORGOTTEN_AT_ONCE != self.windowed // FORGOTTEN_AT_ONCE:
            last = self.windowed - MAX_WINDOWS
            for old in list(takewhile(lambda key: self.windows[key][1] < last, self.windows)):
                del self.windows[old]

    def holder_of(self, window: bytes) -> int | None:
        """The subject that a content window was first seen from, None when it is new."""
        held = self.windows.get(window)
        return None if held is None else held[0]

    def add_sighting(self, seen: Sighted | None, holder: int) -> None:
        """Count a sighting of a device's envelope, and remember it unless it was erased (None).

        The oldest are forgotten by number, erased or not: an audit that cannot read what was
        erased forgets the same.
        """
        self.sighted += 1
        if seen is not None and not any(self.subjects[i].erased for i in (seen[0], holder)):
            self.sightings[seen] = (holder, self.sighted)
        if self.sighted % FORGOTTEN_AT_ONCE == 0:
            last = self.sighted - MAX_SIGHTINGS
            for old in list(takewhile(lambda key: self.sightings[key][1] <= last, self.sightings)):
                del self.sightings[old]

    def add_beacon(self, size: int, time_ms: int, root: bytes) -> None:
        """Remember a checkpoint that downlink nonces may name."""
        self.beacons[size] = (time_ms, root)
        while len(self.beacons) > MAX_BEACONS:
            del self.beacons[next(iter(self.beacons))]

    def forget(self, subjects: Collection[int]) -> None:
        """Drop what is personal about erased subjects, all at once: windows are looked at once."""
        for subject in subjects:
            self.subjects.erase(subject)
        gone = set(subjects)
        for window in [key for key, (holder, _) in self.windows.items() if holder in gone]:
            del self.windows[window]
        for seen, (holder, _) in list(self.sightings.items()):
            if holder in gone or seen[0] in gone:
                del self.sightings[seen]
