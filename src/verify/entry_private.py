"""The sealed part of an envelope's entry: its bytes, its records, the personal state change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import cbor2

from depin_id import cbor
from depin_id.errors import StateError
from verify.checks.contents import Kept
from verify.checks.location import Spot, Track
from verify.checks.slots import Ranges
from verify.entries import number_part
from verify.state import Sighted
from verify.world import Change

_NULL = b"\xf6"
_plain, _bytes = cbor.encode_plain, cbor.bytes_head
_text, _array = cbor.short_text, cbor.array_head


def encode_private(
    change: Change,
    envelope: bytes,
    records: bytes | None,
    reasons: Mapping[int, tuple[str, str]],
) -> bytes:
    """The sealed part of an envelope's entry: bytes, records, and the personal state change.

    Reasons of records that do not count stand last, and only where there are some.
    """
    track = change.track
    return b"".join(
        (
            b"\x88" if reasons else b"\x87",
            _bytes(len(envelope)),
            envelope,
            _NULL if records is None else _bytes(len(records)) + records,
            _series_part(change.series),
            _NULL if track is None else _plain([tuple(spot) for spot in track]),
            _plain(change.windows) if change.windows else b"\x80",
            _carried_part(change.carried),
            _NULL if change.sighted is None else _plain(change.sighted),
            _plain([[number, *reason] for number, reason in reasons.items()]) if reasons else b"",
        )
    )


def _series_part(series: Mapping[str, Ranges]) -> bytes:
    parts = [_array(len(series))]
    for name, ranges in series.items():
        parts += (b"\x82", _text(name), _array(len(ranges)))
        for start, end in ranges:
            parts += (b"\x82", number_part(start), number_part(end))
    return b"".join(parts)


def _carried_part(carried: Mapping[str, Kept]) -> bytes:
    parts = [_array(len(carried))]
    for key, kept in carried.items():
        parts += (b"\x82", _text(key), _array(len(kept)))
        for number, samples in kept:
            parts += (b"\x82", number_part(number), _bytes(len(samples)), samples)
    return b"".join(parts)


class Private(NamedTuple):
    """What the sealed part of an envelope's entry opens to."""

    envelope: bytes
    records: bytes | None
    series: dict[str, Any]
    track: Track | None
    windows: tuple[bytes, ...]
    carried: Mapping[str, Kept]
    sighted: Sighted | None
    reasons: Mapping[int, tuple[str, str]] = MappingProxyType({})


def decode_private(data: bytes) -> Private:
    """Read the sealed part of an envelope's entry. Raises StateError ``state.entry``."""
    try:
        envelope, records, series, track, windows, carried, sighted, *more = cbor2.loads(data)
        ranges = {name: tuple(tuple(pair) for pair in pairs) for name, pairs in series}
        adopted = None if track is None else tuple(Spot(*spot) for spot in track)
        kept = {key: tuple((number, data) for number, data in pairs) for key, pairs in carried}
        seen = None if sighted is None else (sighted[0], sighted[1])
        reasons = {number: (found, limit) for number, found, limit in (more[0] if more else ())}
        return Private(envelope, records, ranges, adopted, tuple(windows), kept, seen, reasons)
    except (cbor2.CBORError, ValueError, TypeError, LookupError) as error:
        raise StateError(
            "state.entry",
            f"the sealed part of an entry cannot be read: {error}",
            hint="run audit",
        ) from error
