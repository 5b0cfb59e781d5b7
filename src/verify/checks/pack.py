"""The records of a pack: column by column where all is plain, one by one where something is not.

Most packs have nothing wrong with them, and a few passes over whole columns tell. Whatever
deviates is judged record by record (:mod:`verify.checks.records`), which alone knows the codes:
the way of the columns accepts a pack as it is, or abstains. Both give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from operator import lt
from typing import Final, NamedTuple

from depin_id.claims import Place
from depin_id.senml import Columns, Record
from verify.checks import Finding
from verify.checks.clock import RecordClock, Sealing
from verify.checks.contents import Kept, look, look_in_order, series_key
from verify.checks.location import MAX_SPOTS, Track
from verify.checks.records import (
    MAX_SERIES,
    Judged,
    RecordsOutcome,
    SubjectState,
    judge_records,
)
from verify.checks.slots import Ranges, fill_all
from verify.columns import MAX_TIME_MS, RecordColumns, RecordRow, is_one
from verify.policy import Policy
from verify.profile import Field, Profile

MAX_REASON: Final = 256
MAX_REASONS: Final = 256
"""Records whose reason is kept in words; the code of each is in its row."""
_BIAS: Final = 18
"""Where exponent 0 stands in :attr:`verify.profile.Field.mantissas`."""


class PackOutcome(NamedTuple):
    """What a pack came to, as it is stored.

    Attributes:
        columns: its judged records; None with a refusal.
        reasons: what was found and what is allowed, by the number of a record.
        series, track, windows, carried, refusal: as in
            :class:`~verify.checks.records.RecordsOutcome`.
    """

    columns: RecordColumns | None
    reasons: Mapping[int, tuple[str, str]]
    series: Mapping[str, Ranges]
    track: Track | None
    windows: tuple[bytes, ...]
    carried: Mapping[str, Kept]
    refusal: Finding | None = None


def judge_pack(
    sent: Columns | Sequence[Record],
    *,
    profile: Profile,
    policy: Policy,
    sealing: Sealing,
    received_at: int,
    state: SubjectState,
    registered: Place | None,
) -> PackOutcome:
    """Judge the records of a pack.

    Args:
        sent: resolved, with names relative to the subject, one after the other or as columns.
        profile, policy, sealing, received_at, state, registered: as for
            :func:`~verify.checks.records.judge_records`.
    """
    if isinstance(sent, Columns):
        clock = RecordClock(sealing, received_at, policy)
        found = _judge_plain(sent, profile, clock, state, registered)
        if found is not None:
            return found
        sent = sent.records()
    return stored(
        judge_records(
            sent,
            profile=profile,
            policy=policy,
            sealing=sealing,
            received_at=received_at,
            state=state,
            registered=registered,
        )
    )


def stored(outcome: RecordsOutcome) -> PackOutcome:
    """What record by record was judged, as it is stored."""
    judged = outcome.judged
    found = [number for number, record in enumerate(judged) if record.measured or record.limit]
    reasons = {
        number: (judged[number].measured[:MAX_REASON], judged[number].limit[:MAX_REASON])
        for number in found[:MAX_REASONS]
    }
    return PackOutcome(
        RecordColumns.of(map(_row, judged)) if outcome.refusal is None else None,
        reasons,
        outcome.series,
        outcome.track,
        outcome.windows,
        outcome.carried,
        outcome.refusal,
    )


def _storable(time_ms: int) -> int:
    """A time as it is stored: what lies beyond is refused as stale or future anyway."""
    return min(max(time_ms, 0), MAX_TIME_MS)


def _row(record: Judged) -> RecordRow:
    place = record.place
    return RecordRow(
        record.name,
        record.unit,
        record.value,
        None if record.lo_ms is None else _storable(record.lo_ms),
        _storable(record.hi_ms),
        None if place is None else place.lat_e7,
        None if place is None else place.lon_e7,
        record.code,
        record.flags,
    )


# --- column by column -----------------------------------------------------------------------------


class _Series(NamedTuple):
    """The columns of one name and unit."""

    times: Sequence[int]
    mantissas: Sequence[int]
    exponents: Sequence[int]


def _judge_plain(
    sent: Columns,
    profile: Profile,
    clock: RecordClock,
    state: SubjectState,
    registered: Place | None,
) -> PackOutcome | None:
    """A pack of which every record counts; None for any other."""
    count = len(sent.names)
    if profile.location == "records" or count > profile.max_records:
        return None
    milliseconds = sent.milliseconds()
    timed = None if milliseconds is None else clock.judge_column(milliseconds)
    if timed is None or (state.track is not None and len(state.track) > MAX_SPOTS):
        return None
    by_name = _by_name(sent, timed.nominal_ms, profile)
    if by_name is None:
        return None
    ranges: dict[str, Ranges] = {}
    windows: tuple[bytes, ...] = ()
    carried: dict[str, Kept] = {}
    # What has no earliest time fills no slot and makes no window.
    if timed.lo_ms is not None:
        filled = _filled(by_name, profile, state)
        if filled is None:
            return None
        ranges = filled
        windows, carried = _looked(by_name, profile, state)
    place = registered if profile.location == "registered" else None
    columns = RecordColumns(
        sent.names,
        ["" if unit is None else unit for unit in sent.units],
        sent.mantissas,
        sent.exponents,
        None,
        (None,) * count if timed.lo_ms is None else timed.lo_ms,
        timed.hi_ms,
        (None if place is None else place.lat_e7,) * count,
        (None if place is None else place.lon_e7,) * count,
        ("",) * count,
        (timed.flags,) * count,
    )
    return PackOutcome(columns, {}, ranges, None, windows, carried)


def _by_name(sent: Columns, times: Sequence[int], profile: Profile) -> dict[str, _Series] | None:
    """The series of a pack, in the order in which they begin; None if one may not be right."""
    found = {sent.names[0]: _Series(times, sent.mantissas, sent.exponents)}
    kinds = {(sent.names[0], sent.units[0])}
    if not (is_one(sent.names) and is_one(sent.units)):
        found = _parted(sent, times)
        kinds = set(zip(sent.names, sent.units, strict=True))
    if profile.required.difference(found):
        return None
    for name, unit in kinds:
        field = profile.fields.get(name)
        if field is None or field.unit != (unit or "") or not _in_range(field, found[name]):
            return None
    return found


def _parted(sent: Columns, times: Sequence[int]) -> dict[str, _Series]:
    """The columns of each name."""
    found: dict[str, tuple[list[int], list[int], list[int]]] = {}
    for name, *cells in zip(sent.names, times, sent.mantissas, sent.exponents, strict=True):
        if name not in found:
            found[name] = ([], [], [])
        for column, cell in zip(found[name], cells, strict=True):
            column.append(cell)
    return {name: _Series(*columns) for name, columns in found.items()}


def _in_range(field: Field, series: _Series) -> bool:
    if field.kind != "number" or field.context:
        return False
    _, mantissas, exponents = series
    used = set(exponents)
    for exponent in used:
        low, high = field.mantissas[exponent + _BIAS]
        same = mantissas
        if len(used) > 1:
            same = [m for m, e in zip(mantissas, exponents, strict=True) if e == exponent]
        if min(same) < low or max(same) > high:
            return False
    return True


def _filled(
    by_name: Mapping[str, _Series], profile: Profile, state: SubjectState
) -> dict[str, Ranges] | None:
    """The filled slots of all series; None if one was filled before, or there are too many."""
    slot_ms, held = profile.slot_ms, state.series
    if not slot_ms:
        return {}
    if len(held) + sum(name not in held for name in by_name) > MAX_SERIES:
        return None
    found: dict[str, Ranges] = {}
    for name, series in by_name.items():
        ranges = fill_all(held.get(name, ()), [time // slot_ms for time in series.times])
        if ranges is None:
            return None
        found[name] = ranges
    return found


def _looked(
    by_name: Mapping[str, _Series], profile: Profile, state: SubjectState
) -> tuple[tuple[bytes, ...], dict[str, Kept]]:
    """Digests of the windows of all series, and what later packs need of them."""
    digests: list[bytes] = []
    carried: dict[str, Kept] = {}
    period = profile.period_ms
    for name, series in by_name.items():
        if profile.required and name not in profile.required:
            continue
        key = series_key(name, profile.fields[name].unit, period)
        kept = state.carried.get(key, ())
        times = series.times
        if all(map(lt, times, islice(times, 1, None))):
            found = look_in_order(key, *series, period, kept)
        else:
            found = look(key, zip(*series, strict=True), period, kept)
        digests += found.digests
        if found.added:
            carried[key] = found.added
    return tuple(digests), carried
