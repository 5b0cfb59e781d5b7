"""The records of a pack, one by one: one impossible value among sixty costs one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from depin_id.claims import Place
from depin_id.senml import Decimal64, Record
from verify.checks import Finding
from verify.checks.clock import RecordClock, Sealing, Timed
from verify.checks.contents import Kept, Sample, look, series_key
from verify.checks.location import Fix, Track, judge_fix, thinned
from verify.checks.slots import Filling, Ranges
from verify.columns import CONTEXT as CONTEXT
from verify.policy import Policy
from verify.profile import ACCURACY, FIX_AGE, LAT, LON, POSITION_UNITS, Field, Profile

UNCHECKED: Final = "record.unchecked"
"""Flag: the profile takes other names, and says nothing of this one."""
MAX_SERIES: Final = 256
"""The most series of a subject whose slots are remembered."""

_NO_VALUE: Final = Finding("value.type", "no value", "a value")
_REPEATED: Final = Finding("record.repeated", at_fault="nobody")


class Judged(NamedTuple):
    """A record and what is wrong with it.

    Attributes:
        name, unit, value: as sent; "" for no unit, a sum in place of a missing value.
        lo_ms, hi_ms: when it was measured, at the earliest (None: unknown) and latest.
        nominal_ms: the instant its slot and window are counted by.
        place: where it was measured, None when not known.
        code: "" when it counts.
        flags: ``record.context``, ``record.unchecked``, ``time.unbounded``, ``time.interval_wide``.
        measured, limit: what was found and what is allowed, as exact text; "" when it counts.
    """

    name: str
    unit: str
    value: Decimal64 | str | bool | bytes
    lo_ms: int | None
    hi_ms: int
    nominal_ms: int
    place: Place | None
    code: str = ""
    flags: tuple[str, ...] = ()
    measured: str = ""
    limit: str = ""


class SubjectState(NamedTuple):
    """What is remembered of a subject: filled slots by name, where it was, open windows."""

    series: Mapping[str, Ranges] = MappingProxyType({})
    track: Track | None = None
    carried: Mapping[str, Kept] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RecordsOutcome:
    """What a pack came to.

    Attributes:
        judged: each record, in order; empty with a refusal.
        series: filled slots of the series that changed.
        track: where the subject was from now on, None when it has not changed.
        windows: digests of what was measured (:mod:`verify.checks.contents`).
        carried: what later packs need of these windows.
        refusal: why the whole pack is refused, or None.
    """

    judged: tuple[Judged, ...] = ()
    series: Mapping[str, Ranges] = field(default_factory=dict)
    track: Track | None = None
    windows: tuple[bytes, ...] = ()
    carried: Mapping[str, Kept] = field(default_factory=dict)
    refusal: Finding | None = None


def judge_records(
    records: Sequence[Record],
    *,
    profile: Profile,
    policy: Policy,
    sealing: Sealing,
    received_at: int,
    state: SubjectState,
    registered: Place | None,
) -> RecordsOutcome:
    """Judge the records of a pack.

    Args:
        records: resolved, with names relative to the subject.
        profile: what the subject measures.
        policy: bounds on time.
        sealing: when the pack was sealed.
        received_at: receipt time in ms since 1970.
        state: what is remembered of the subject; it is not changed.
        registered: where the subject was enrolled, for profiles with ``location = "registered"``.

    Returns:
        Each record with a code of its own: ``record.unknown_name``, ``profile.unit``,
        ``value.type``, ``value.out_of_range``, ``time.no_clock``, ``time.future``, ``time.stale``,
        ``location.*``, ``record.repeated``; or a refusal of the whole: ``profile.too_many``,
        ``profile.required``. A record that does not count fills no slot.
    """
    refusal = _refusal(records, profile)
    if refusal is not None:
        return RecordsOutcome(refusal=refusal)
    clock = RecordClock(sealing, received_at, policy)
    place = registered if profile.location == "registered" else None
    return _Pack(profile, state, clock, place).judge(records)


def _refusal(records: Sequence[Record], profile: Profile) -> Finding | None:
    if len(records) > profile.max_records:
        return Finding("profile.too_many", str(len(records)), str(profile.max_records))
    missing = profile.required.difference({record.name for record in records})
    if missing:
        return Finding("profile.required", "none", sorted(missing)[0])
    return None


def _field_finding(record: Record, field: Field) -> Finding | None:
    """What is wrong with unit, type or value under the profile's field."""
    value, unit = record.value, record.unit or ""
    if unit != field.unit:
        return Finding("profile.unit", unit or "none", field.unit or "none")
    if value is None:
        return _NO_VALUE
    kind = _kind(value)
    if kind != field.kind:
        return Finding("value.type", kind, field.kind)
    if isinstance(value, Decimal64):
        low, high = field.mantissas[value.exponent + 18]
        if value.mantissa < low:
            return Finding("value.out_of_range", str(value), str(field.minimum))
        if value.mantissa > high:
            return Finding("value.out_of_range", str(value), str(field.maximum))
    return None


def _kind(value: Decimal64 | str | bool | bytes) -> str:
    if isinstance(value, Decimal64):
        return "number"
    if isinstance(value, bool):
        return "bool"
    return "text" if isinstance(value, str) else "data"


class _Pack:
    """A pack on its way through the checks; the state it is given stays as it is."""

    def __init__(
        self, profile: Profile, state: SubjectState, clock: RecordClock, place: Place | None
    ) -> None:
        self._profile = profile
        self._fields = profile.fields
        self._state = state
        self._clock = clock
        self._place = place
        self._fillings: dict[str, Filling] = {}
        self._new_series = 0
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        self._fixes: dict[int, Fix] | None = None
        self._track = state.track or ()

    def judge(self, records: Sequence[Record]) -> RecordsOutcome:
        times = [self._clock.judge(record.time) for record in records]
        if self._profile.location == "records":
            self._fixes = self._judge_fixes(records, times)
        judged = tuple(map(self._judge, records, times))
        series = {
            name: filling.ranges for name, filling in self._fillings.items() if filling.changed
        }
        windows, carried = self._look()
        track = thinned(self._track, self._clock.earliest_ms)
        moved = None if track == (self._state.track or ()) else track
        return RecordsOutcome(judged, series, moved, windows, carried)

    def _look(self) -> tuple[tuple[bytes, ...], dict[str, Kept]]:
        """Digests of the windows of all series, and what later packs need of them."""
        digests: list[bytes] = []
        carried: dict[str, Kept] = {}
        period = self._profile.period_ms
        for (name, unit), samples in self._samples.items():
            key = series_key(name, unit, period)
            found = look(key, samples, period, self._state.carried.get(key, ()))
            digests += found.digests
            if found.added:
                carried[key] = found.added
        return tuple(digests), carried

    def _judge(self, record: Record, timed: Timed) -> Judged:
        name, unit, value, _, total, _ = record
        low, high, nominal, flags, late = timed
        field = self._fields.get(name)
        finding = self._value_finding(record, field) or late
        place = self._place
        if field is None:
            flags += (UNCHECKED,)
        if field is not None and field.context:
            flags += (CONTEXT,)
            place = self._place_at(nominal) if late is None else None
        elif finding is None:
            if self._fixes is not None:
                found = self._fixes[nominal]
                finding, place = found.finding, found.place
            finding = self._count(record, timed, finding)
        if value is None:
            value = "" if total is None else total
        if finding is None:
            return Judged(name, unit or "", value, low, high, nominal, place, "", flags)
        code, measured, limit = finding.code, finding.measured, finding.limit
        return Judged(
            name, unit or "", value, low, high, nominal, place, code, flags, measured, limit
        )

    def _value_finding(self, record: Record, field: Field | None) -> Finding | None:
        """What is wrong with name, unit, type or value."""
        value = record.value
        if field is None:
            if not self._profile.open_names:
                return Finding("record.unknown_name", record.name, self._profile.name)
            return _NO_VALUE if value is None else None
        if type(value) is Decimal64 and field.kind == "number":
            low, high = field.mantissas[value.exponent + 18]
            if low <= value.mantissa <= high and field.unit == (record.unit or ""):
                return None
        return _field_finding(record, field)

    def _count(self, record: Record, timed: Timed, finding: Finding | None) -> Finding | None:
        """Fill the record's slot and take it into the content check, unless it is repeated.

        The content check looks at a measurement whether its position was right or not: to send it
        again with a better one is just what it is to find.
        """
        name, value, nominal = record.name, record.value, timed.nominal_ms
        if finding is None and timed.lo_ms is not None and self._profile.slot_ms:
            filling = self._fillings.get(name)
            if filling is None:
                filling = self._filling(name)
                if filling is None:
                    return Finding("record.unknown_name", name, f"{MAX_SERIES} names")
            if not filling.add(nominal // self._profile.slot_ms):
                return _REPEATED
        if type(value) is Decimal64 and timed.lo_ms is not None:
            required = self._profile.required
            if not required or name in required:
                key = (name, record.unit or "")
                samples = self._samples.get(key)
                if samples is None:
                    samples = self._samples[key] = []
                samples.append((nominal, value.mantissa, value.exponent))
        return finding

    def _filling(self, name: str) -> Filling | None:
        """The slots of a series; None when the subject has too many series."""
        series = self._state.series
        if name not in series:
            if len(series) + self._new_series >= MAX_SERIES:
                return None
            self._new_series += 1
        filling = self._fillings[name] = Filling(series.get(name, ()))
        return filling

    # --- positions --------------------------------------------------------------------------------

    def _place_at(self, nominal: int) -> Place | None:
        fix = None if self._fixes is None else self._fixes.get(nominal)
        return None if fix is None else fix.place

    def _judge_fixes(self, records: Sequence[Record], times: Sequence[Timed]) -> dict[int, Fix]:
        """The position at each time of the pack, in the order of time."""
        parts: dict[int, dict[str, Decimal64]] = {}
        dated: dict[int, bool] = {}
        for record, timed in zip(records, times, strict=True):
            if timed.finding is not None:
                continue  # a time that is wrong must not move the track
            at = timed.nominal_ms
            found = parts.setdefault(at, {})
            dated[at] = timed.lo_ms is not None
            unit, value = POSITION_UNITS.get(record.name), record.value
            if unit is not None and record.unit == unit and isinstance(value, Decimal64):
                found.setdefault(record.name, value)
        fixes: dict[int, Fix] = {}
        for at in sorted(parts):
            found = parts[at]
            fix = judge_fix(
                found.get(LAT),
                found.get(LON),
                accuracy=found.get(ACCURACY),
                fix_age=found.get(FIX_AGE),
                nominal_ms=at,
                dated=dated[at],
                track=self._track,
                profile=self._profile,
            )
            self._track = fix.track
            fixes[at] = fix
        return fixes
