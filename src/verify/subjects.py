"""Devices and sensors that readings are about: identity in columns, what is personal packed.

Most subjects of a large fleet are silent most of the time. So only those that were looked at last
are objects; what the others remember rests as bytes until it is needed.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

import cbor2

from depin_id import cbor
from verify.checks.contents import Kept, keep
from verify.checks.location import Spot, Track
from verify.checks.records import MAX_SERIES, SubjectState
from verify.checks.slots import Ranges, patched
from verify.dense import Buffer, HashIndex, Texts, pieces

_RECENT: Final = 16_384
"""How many subjects that were looked at last are kept as objects."""
_REF: Final = 16
_DID_KEY: Final = "did:key:"


@dataclass(slots=True)
class Subject:
    """A device or sensor that readings are about.

    Attributes:
        did: its DID or DID URL.
        ref: random reference in public leaves, 16 bytes.
        series: filled time slots per record name.
        track: some of its adopted positions, or None.
        carried: samples of the last windows of each series (:mod:`verify.checks.contents`).
        erased: whether its keys were destroyed.
    """

    did: str
    ref: bytes
    series: dict[str, Ranges] = field(default_factory=dict)
    track: Track | None = None
    carried: dict[str, Kept] = field(default_factory=dict)
    erased: bool = False

    def fill(self, series: Mapping[str, Ranges]) -> None:
        """Take in what changed about filled slots (:func:`verify.checks.slots.changes`)."""
        for name, found in series.items():
            self.series[name] = patched(self.series.get(name, ()), found)

    def carry(self, added: Mapping[str, Kept]) -> None:
        """Take in what a pack added to the last windows of its series."""
        keep(self.carried, added, MAX_SERIES)

    def for_records(self) -> SubjectState:
        """What judging its records needs."""
        return SubjectState(self.series, self.track, self.carried)

    def pack(self) -> bytes:
        """What is personal about it; empty when there is nothing."""
        if not self.series and not self.carried and self.track is None:
            return b""
        series = [[name, [list(pair) for pair in pairs]] for name, pairs in self.series.items()]
        track = None if self.track is None else [list(spot) for spot in self.track]
        carried = [[key, [list(pair) for pair in kept]] for key, kept in self.carried.items()]
        return cbor.encode_plain([series, track, carried])

    def unpack(self, data: bytes) -> None:
        """Take what :meth:`pack` gave."""
        series, track, carried = cbor2.loads(data)
        self.series = {name: tuple(tuple(pair) for pair in pairs) for name, pairs in series}
        self.track = None if track is None else tuple(Spot(*spot) for spot in track)
        self.carried = {key: tuple(tuple(pair) for pair in kept) for key, kept in carried}


def _text(did: str) -> bytes:
    """A DID as it is kept: a did:key without its beginning."""
    short = did.startswith(f"{_DID_KEY}z")
    return (did[len(_DID_KEY) :] if short else f"={did}").encode("utf-8", "surrogatepass")


def _did(text: bytes) -> str:
    did = text.decode("utf-8", "surrogatepass")
    return did[1:] if did.startswith("=") else _DID_KEY + did


class Subjects(Sequence[Subject]):
    """All subjects by index. What one of them gives is for reading; :meth:`change` for changing."""

    def __init__(self) -> None:
        self._refs, self._dids, self._erased = bytearray(), Texts(), bytearray()
        self._by_ref, self._by_did = HashIndex(), HashIndex()
        self._packed: dict[int, bytes] = {}
        self._recent: OrderedDict[int, Subject] = OrderedDict()
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._erased)

    @overload
    def __getitem__(self, index: int) -> Subject: ...
    @overload
    def __getitem__(self, index: slice) -> list[Subject]: ...
    def __getitem__(self, index: int | slice) -> Subject | list[Subject]:
        """A subject. Raises IndexError."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        recent = self._recent
        found = recent.get(index)
        if found is not None:
            recent.move_to_end(index)
            return found
        if index < 0:
            return self[range(len(self))[index]]
        found = recent[index] = self._made(index)
        if len(recent) > _RECENT:
            self._rest(*recent.popitem(last=False))
        return found

    def __iter__(self) -> Iterator[Subject]:
        """All of them, without pushing out those that were looked at last."""
        return (self._recent.get(index) or self._made(index) for index in range(len(self)))

    def add(self, did: str, ref: bytes) -> int:
        """A new subject's index."""
        index, text = len(self), _text(did)
        self._refs += ref
        self._dids.append(text)
        self._erased.append(False)
        self._by_ref.add(ref, index)
        self._by_did.add(text, index)
        return index

    def change(self, index: int) -> Subject:
        """A subject whose personal side is about to be changed, before any other is looked at."""
        found = self[index]
        self._changed.add(index)
        return found

    def ref(self, index: int) -> bytes:
        """The reference of a subject."""
        return bytes(self._refs[index * _REF : (index + 1) * _REF])

    def did(self, index: int) -> str:
        """The DID or DID URL of a subject. Raises IndexError."""
        return _did(self._dids[index])

    def with_did(self, did: str) -> int | None:
        """Index of a subject by its DID or DID URL."""
        text = _text(did)
        # The newest: what is added later under the same name takes its place.
        for index in reversed(self._by_did.rows(text)):
            if self._dids[index] == text:
                return index
        return None

    def with_ref(self, ref: bytes) -> int | None:
        """Index of a subject by its reference."""
        for index in reversed(self._by_ref.rows(ref)):
            if self.ref(index) == ref:
                return index
        return None

    def of_device(self, did: str) -> list[int]:
        """The subjects of a device: its own and those of its sensors."""
        text, sensor = _text(did), _text(did) + b"#"
        return [
            index
            for index, found in enumerate(self._dids)
            if found == text or found.startswith(sensor)
        ]

    def erased(self) -> list[int]:
        """The subjects whose keys were destroyed."""
        return [index for index, erased in enumerate(self._erased) if erased]

    def filled(self) -> list[int]:
        """Those about whom something personal may be remembered."""
        return sorted(self._packed.keys() | self._changed)

    def erase(self, index: int) -> None:
        """Forget what is personal about one of them."""
        self._recent.pop(index, None)
        self._packed.pop(index, None)
        self._changed.discard(index)
        self._erased[index] = True

    # --- snapshots ----------------------------------------------------------------------------

    def columns(self) -> dict[str, Buffer]:
        """Everything as columns."""
        for index in list(self._changed):
            self._rest(index, self._recent[index])
        owners = array("i", self._packed)
        ends, total = array("q"), 0
        for packed in self._packed.values():
            total += len(packed)
            ends.append(total)
        text, text_ends = self._dids.columns()
        return {
            "refs": memoryview(self._refs),
            "dids": memoryview(text),
            "dids.ends": memoryview(text_ends).cast("B"),
            "erased": memoryview(self._erased),
            "packed": b"".join(self._packed.values()),
            "packed.of": memoryview(owners).cast("B"),
            "packed.ends": memoryview(ends).cast("B"),
        }

    def restore(self, columns: dict[str, Buffer]) -> None:
        """Take what :meth:`columns` gave, out of it.

        Raises:
            ValueError, KeyError: it is something else.
        """
        self._refs, self._erased = bytearray(columns.pop("refs")), bytearray(columns.pop("erased"))
        self._dids, packed, owners = Texts(), Texts(), array("i")
        self._dids.restore(columns.pop("dids"), columns.pop("dids.ends"))
        packed.restore(columns.pop("packed"), columns.pop("packed.ends"))
        owners.frombytes(columns.pop("packed.of"))
        if not len(self._dids) == len(self._erased) == len(self._refs) // _REF:
            raise ValueError("columns of subjects differ in length")
        self._packed = dict(zip(owners, packed, strict=True))
        self._recent.clear()
        self._changed.clear()
        self._by_ref.fill(pieces(self._refs, _REF))
        self._by_did.fill(self._dids)

    def _made(self, index: int) -> Subject:
        found = Subject(self.did(index), self.ref(index), erased=bool(self._erased[index]))
        packed = self._packed.get(index)
        if packed is not None:
            found.unpack(packed)
        return found

    def _rest(self, index: int, subject: Subject) -> None:
        """Keep only bytes of a subject."""
        if index not in self._changed:
            return
        self._changed.discard(index)
        packed = subject.pack()
        if packed:
            self._packed[index] = packed
        else:
            self._packed.pop(index, None)


class Named(Mapping[str, int]):
    """Indexes of subjects by their DID or DID URL."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def __len__(self) -> int:
        return len(self._subjects)

    def __iter__(self) -> Iterator[str]:
        return map(self._subjects.did, range(len(self._subjects)))

    def __getitem__(self, did: str) -> int:
        found = self._subjects.with_did(did)
        if found is None:
            raise KeyError(did)
        return found


class Referred(Mapping[bytes, int]):
    """Indexes of subjects by their reference."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def __len__(self) -> int:
        return len(self._subjects)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._subjects.ref, range(len(self._subjects)))

    def __getitem__(self, ref: bytes) -> int:
        found = self._subjects.with_ref(ref)
        if found is None:
            raise KeyError(ref)
        return found
