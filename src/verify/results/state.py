"""What is known about attestation as of the newest entry: pure data, changed by entries only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import cbor2

from depin_id import cbor
from depin_id.attestation.ear import decode_result
from depin_id.attestation.result import CONTRAINDICATED, AttestationResult
from verify.results.entries import ID_BYTES, Disavowed, MaterialTaken, ResultTaken


class Held(NamedTuple):
    """A result as it is remembered.

    Attributes:
        id: 16 bytes. did, thumbprint: the device, and its key (32 bytes).
        boot: its epoch. level: ``D1`` to ``D3``. status: the tier of its trust vector.
        since, not_after: receipt times in ms: from when and until when it counts.
        ended: receipt time from which a newer one counts instead, or None.
        disavowed: receipt time from which nothing counts that stands on it, or None.
        root: of its hardware, 32 bytes. unique: whether that is one device's alone.
        shared: whether another device had shown that before.
        identifiers: what may be revoked of it. counters: name to value, which may not fall.
    """

    id: bytes
    did: str
    thumbprint: bytes
    boot: int
    level: str
    status: int
    since: int
    not_after: int
    ended: int | None
    disavowed: int | None
    root: bytes
    unique: bool
    shared: bool
    identifiers: tuple[str, ...]
    counters: tuple[tuple[str, int], ...]

    def counts(self, at: int) -> bool:
        """Whether readings received at a time (ms) may stand on it; when it began is not asked."""
        return (
            at < self.not_after
            and (self.ended is None or at < self.ended)
            and (self.disavowed is None or at < self.disavowed)
            and self.status < CONTRAINDICATED
        )


class Key(NamedTuple):
    """A material's name: what it is, and what the operator calls it."""

    what: str
    name: str


@dataclass
class ResultsState:
    """Materials in force, and the results of every key, oldest first.

    Attributes:
        materials: bundles by what they are and their name. anchored: whether anchors are among
            them: before that a network does not attest, and nothing is asked of readings.
        by_key: thumbprint to its results; their epochs never fall.
        closed: reference of the device, by the id of each result that was erased before it was
            read: an audit knows from it what it cannot see.
    """

    materials: dict[Key, bytes] = field(default_factory=dict)
    by_key: dict[bytes, tuple[Held, ...]] = field(default_factory=dict)
    anchored: bool = False
    closed: dict[bytes, bytes] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._look()
        self._index()

    @cached_property
    def _identified(self) -> dict[str, dict[bytes, None]]:
        return {}

    @cached_property
    def _rooted(self) -> dict[bytes, dict[str, None]]:
        return {}

    @cached_property
    def _keyed(self) -> dict[bytes, bytes]:
        """Id of a result to the thumbprint of its key."""
        return {}

    def _look(self) -> None:
        self.anchored = any(key.what == "anchors" for key in self.materials)

    def bundles(self) -> tuple[tuple[str, str, bytes], ...]:
        """All materials, sorted: (what, name, data)."""
        return tuple((*key, data) for key, data in sorted(self.materials.items()))

    def material(self, what: str, name: str) -> bytes:
        """A bundle in force; empty without one."""
        return self.materials.get(Key(what, name), b"")

    def result(self, identity: bytes) -> Held | None:
        """A result by its id."""
        found = self.by_key.get(self._keyed.get(identity, b""), ())
        return next((held for held in found if held.id == identity), None)

    def sharing(self, root: bytes) -> tuple[str, ...]:
        """DIDs of the devices that have shown this hardware root."""
        return tuple(self._rooted.get(root, ()))

    def roots(self) -> Mapping[bytes, Collection[str]]:
        """Every hardware root with the DIDs that have shown it."""
        return self._rooted

    def touched(self, identifiers: Iterable[str]) -> list[Held]:
        """Every result that stands on one of these certificates or keys, in order of its key."""
        wanted = set(identifiers)
        keys = dict.fromkeys(
            key for identifier in wanted for key in self._identified.get(identifier, ())
        )
        return [
            held
            for key in keys
            for held in self.by_key.get(key, ())
            if not wanted.isdisjoint(held.identifiers)
        ]

    # --- entries ------------------------------------------------------------------------------

    def apply_material(self, entry: MaterialTaken) -> None:
        """Take a material, or take it away."""
        key = Key(entry.what, entry.name)
        if entry.data:
            self.materials[key] = entry.data
        else:
            self.materials.pop(key, None)
        self._look()

    def apply_result(self, entry: ResultTaken) -> None:
        """Take a result: it counts instead of what its boot had before.

        One that is contraindicated ends those of every boot: the hardware itself is in doubt.
        """
        if entry.private is None:
            self.closed[entry.digest[:ID_BYTES]] = entry.ref
            return
        payload, _, _, counters = cbor2.loads(entry.private)
        new = held_of(decode_result(payload), entry.digest, entry.shared, dict(counters))
        before = self.by_key.get(new.thumbprint, ())
        bad = new.status >= CONTRAINDICATED
        ended = tuple(
            held._replace(ended=new.since)
            if held.ended is None and (bad or held.boot == new.boot)
            else held
            for held in before
        )
        self.by_key[new.thumbprint] = (*ended, _like(new, before))
        self._add(new)

    def apply_disavowed(self, entry: Disavowed, holder: str) -> None:
        """Nothing counts any more that stands on these results."""
        ids, since = set(entry.ids), entry.since
        for key in dict.fromkeys(self._keyed[item] for item in entry.ids if item in self._keyed):
            results = self.by_key[key]
            if results[0].did == holder:
                self.by_key[key] = tuple(
                    held._replace(disavowed=_earlier(held.disavowed, since))
                    if held.id in ids
                    else held
                    for held in results
                )

    def forget(self, did: str) -> None:
        """Drop what is known of a device's hardware."""
        gone = [key for key, found in self.by_key.items() if found and found[0].did == did]
        for key in gone:
            del self.by_key[key]
        if gone:
            self._index()

    # --- indices --------------------------------------------------------------------------------

    def _index(self) -> None:
        self._identified.clear()
        self._rooted.clear()
        self._keyed.clear()
        for results in self.by_key.values():
            for held in results:
                self._add(held)

    def _add(self, held: Held) -> None:
        self._keyed[held.id] = held.thumbprint
        for identifier in held.identifiers:
            self._identified.setdefault(identifier, {})[held.thumbprint] = None
        self._rooted.setdefault(held.root, {})[held.did] = None

    # --- snapshots ------------------------------------------------------------------------------

    def pack(self) -> list[Any]:
        """Everything, ready for CBOR."""
        return [
            [[*key, data] for key, data in self.materials.items()],
            [list(held) for results in self.by_key.values() for held in results],
        ]

    @classmethod
    def unpack(cls, value: list[Any]) -> ResultsState:
        """Take what :meth:`pack` gave. Raises ValueError, TypeError."""
        materials, results = value
        by_key: dict[bytes, tuple[Held, ...]] = {}
        for *fields, identifiers, counters in results:
            pairs = tuple((name, number) for name, number in counters)
            held = Held._make((*fields, tuple(identifiers), pairs))
            before = by_key.get(held.thumbprint, ())
            by_key[held.thumbprint] = (*before, _like(held, before))
        return cls({Key(what, name): data for what, name, data in materials}, by_key)


def _earlier(held: int | None, since: int) -> int:
    return since if held is None else min(held, since)


def _like(new: Held, before: Sequence[Held]) -> Held:
    """A result that shares with the one before what is the same: most say the same each day."""
    if not before:
        return new
    old = before[-1]
    identifiers = old.identifiers if old.identifiers == new.identifiers else new.identifiers
    root = old.root if old.root == new.root else new.root
    return new._replace(did=old.did, thumbprint=old.thumbprint, root=root, identifiers=identifiers)


def held_of(
    result: AttestationResult, digest: bytes, shared: bool, counters: Mapping[str, int]
) -> Held:
    """A result as it is remembered. ``digest`` is the SHA-256 of its bytes, 32 bytes."""
    return Held(
        digest[:ID_BYTES],
        result.did,
        result.thumbprint,
        result.boot,
        result.level,
        result.vector.status,
        result.issued,
        result.not_after,
        None,
        None,
        result.root,
        result.unique,
        shared,
        result.identifiers,
        tuple(sorted(counters.items())),
    )


def private_part(
    payload: bytes,
    message: bytes,
    activation: tuple[bytes, bytes] | None,
    counters: Mapping[str, int],
) -> bytes:
    """The sealed part of a :class:`ResultTaken`."""
    opened = None if activation is None else list(activation)
    return cbor.encode([payload, message, opened, sorted(map(list, counters.items()))])
