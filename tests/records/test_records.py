"""Packs: each check broken alone, each record on its own, and what is remembered."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.senml import Decimal64, Record
from tests.records.support import HERE, NOW, PROFILES, after, judge, level, number, sealed
from verify.checks.clock import Sealing
from verify.checks.location import Spot
from verify.checks.records import CONTEXT, MAX_SERIES, UNCHECKED, SubjectState
from verify.profile import parse_profile

MINUTE = [level(second - 59, f"5{second % 10}.{second}") for second in range(60)]
OPEN = parse_profile('name = "open"\nversion = 1\nopen_names = true\nslot_ms = 1000\nfields = {}')


def test_a_good_pack_counts_whole() -> None:
    outcome = judge(MINUTE)
    assert outcome.refusal is None and outcome.track is None
    assert {(j.code, j.flags, j.place) for j in outcome.judged} == {("", (), HERE)}
    assert [(j.name, j.unit, j.value) for j in outcome.judged] == [r[:3] for r in MINUTE]
    first = outcome.judged[0]
    assert (first.lo_ms, first.hi_ms, first.nominal_ms) == (
        NOW - 60_000,
        NOW - 58_000,
        NOW - 59_000,
    )
    assert outcome.series == {"laeq": ((NOW // 1000 - 59, NOW // 1000 + 1),)}
    assert outcome.windows


@pytest.mark.parametrize(
    ("bad", "code", "measured", "limit"),
    [
        (level(0, unit="dBW"), "profile.unit", "dBW", "dB"),
        (level(0)._replace(unit=None), "profile.unit", "none", "dB"),
        (level(0, "140.001"), "value.out_of_range", "140.001", "140"),
        (level(0, "-0.0000001"), "value.out_of_range", "-0.0000001", "0"),
        (level(0, "9e18"), "value.out_of_range", "9000000000000000000", "140"),
        (level(0)._replace(value="loud"), "value.type", "text", "number"),
        (level(0)._replace(value=True), "value.type", "bool", "number"),
        (level(0)._replace(value=b"\x01"), "value.type", "data", "number"),
        (level(0)._replace(value=None, sum=number("5")), "value.type", "no value", "a value"),
        (level(0, name="lxeq"), "record.unknown_name", "lxeq", "noise"),
        (level(-3), "record.repeated", "", ""),
        (level(40), "time.future", f"{NOW + 39_000} ms", f"{NOW + 30_000} ms"),
        (level(-3_000_000), "time.stale", f"{NOW - 2_999_999_000} ms", f"{NOW - 2_592_000_000} ms"),
    ],
)
def test_one_bad_record_costs_one_record(bad: Record, code: str, measured: str, limit: str) -> None:
    outcome = judge([*MINUTE[:-1], bad])
    assert {judged.code for judged in outcome.judged[:-1]} == {""}
    last = outcome.judged[-1]
    assert (last.code, last.measured, last.limit) == (code, measured, limit)
    # It fills no slot: the right reading can still come.
    assert outcome.series == {"laeq": ((NOW // 1000 - 59, NOW // 1000),)}
    state = after(SubjectState(), outcome)
    assert judge([level(0)], state=state).judged[0].code == ""


def test_the_range_holds_its_ends_in_every_spelling() -> None:
    for text in ("0", "140", "140.000", "0.000000000000000001", "139.9999999999999999", "1.4e2"):
        assert judge([level(0, text)]).judged[0].code == ""


@given(st.integers(-(10**6), 10**6), st.integers(-6, 3))
def test_the_range_agrees_with_exact_comparison(mantissa: int, exponent: int) -> None:
    value = Decimal64(mantissa, exponent)
    field = PROFILES["weather"].fields["pressure"]
    assert field.minimum is not None and field.maximum is not None
    judged = judge([Record("pressure", "Pa", value)], "weather").judged[0]
    assert (judged.code == "") == (field.minimum <= value <= field.maximum)


def test_absolute_times_need_a_clock() -> None:
    absolute = Record("laeq", "dB", number("50"), Decimal64(NOW // 1000 - 5))
    assert judge([absolute]).judged[0].code == ""
    clockless = Sealing(NOW - 2000, NOW, 0, False)
    judged = judge([absolute, level(-5)], sealing=clockless).judged
    assert [j.code for j in judged] == ["time.no_clock", ""]
    assert judged[0].lo_ms is None and judged[0].hi_ms == NOW


def test_what_is_unbounded_counts_unpaid_and_fills_no_slot() -> None:
    unbounded = Sealing(None, NOW, 0, False)
    outcome = judge(MINUTE, sealing=unbounded)
    assert {(j.code, j.flags) for j in outcome.judged} == {("", ("time.unbounded",))}
    assert outcome.series == {} and outcome.windows == ()


def test_the_whole_pack_is_refused_only_for_its_shape() -> None:
    refusal = judge([level(0, name="lceq")]).refusal
    assert refusal is not None and (refusal.code, refusal.limit) == ("profile.required", "laeq")
    few = replace(PROFILES["noise"], max_records=3)
    refusal = judge(MINUTE[:4], few).refusal
    assert refusal is not None and (refusal.measured, refusal.limit) == ("4", "3")
    assert refusal.code == "profile.too_many" and judge(MINUTE[:3], few).refusal is None


def test_resending_in_other_batches_pays_nothing_twice() -> None:
    state = after(SubjectState(), judge(MINUTE))
    shuffled = random.Random(1).sample(MINUTE, 60)
    for start in range(0, 60, 7):
        outcome = judge(shuffled[start : start + 7], state=state)
        assert {j.code for j in outcome.judged} == {"record.repeated"}
        assert outcome.series == {} and outcome.windows == ()


def test_the_state_that_is_given_stays_as_it_is() -> None:
    ranges = ((5, 9),)
    state = SubjectState({"laeq": ranges, "lceq": ranges}, (Spot(1, 2, 3),))
    outcome = judge(MINUTE, state=state)
    assert state == SubjectState({"laeq": ranges, "lceq": ranges}, (Spot(1, 2, 3),))
    assert set(outcome.series) == {"laeq"} and outcome.series["laeq"][0] == (5, 9)
    assert judge(MINUTE, state=state) == outcome


def test_other_names_pass_unchecked_where_the_profile_is_open() -> None:
    records = [Record(f"a{i}", None, number("9e30")) for i in range(MAX_SERIES + 2)]
    records[0] = records[0]._replace(value="text")
    outcome = judge(records, OPEN)
    assert [j.code for j in outcome.judged] == [""] * MAX_SERIES + ["record.unknown_name"] * 2
    assert {j.flags for j in outcome.judged} == {(UNCHECKED,)}
    state = after(SubjectState(), outcome)
    assert len(state.series) == MAX_SERIES
    again = judge([level(5, name="a7"), level(5, name="new")], OPEN, state=state)
    assert [j.code for j in again.judged] == ["", "record.unknown_name"]
    assert judge([level(0)._replace(value=None)], OPEN).judged[0].code == "value.type"


# --- positions in the pack ------------------------------------------------------------------------


def _walk(second: int, lat: str = "47.2", lon: str = "-1.5", **parts: str) -> list[Record]:
    time = Decimal64(second)
    units = {"accuracy": "m", "fix_age": "s"}
    return [
        Record("laeq", "dB", number(f"5{second % 10}.3"), time),
        Record("lat", "lat", number(lat), time),
        Record("lon", "lon", number(lon), time),
        *(Record(k.replace("_", "-"), units[k], number(v), time) for k, v in parts.items()),
    ]


def test_a_reading_has_the_position_of_its_time() -> None:
    records = [*_walk(-2), *_walk(-1, "47.2001"), level(0)]
    random.Random(3).shuffle(records)
    outcome = judge(records, "mobile-noise")
    by_time = {j.nominal_ms: j for j in outcome.judged if j.name == "laeq"}
    assert [by_time[NOW + 1000 * s].code for s in (-2, -1, 0)] == ["", "", "location.missing"]
    place = by_time[NOW - 1000].place
    assert place is not None and place.lat_e7 == 472_001_000
    assert outcome.track is not None
    assert outcome.track[-1] == Spot(NOW - 1000, 472_001_000, -15_000_000)
    context = [j for j in outcome.judged if j.name != "laeq"]
    assert {(j.code, j.flags) for j in context} == {("", (CONTEXT,))}
    assert set(outcome.series) == {"laeq"}


def test_a_bad_position_costs_its_readings_only() -> None:
    records = [
        *_walk(-4),
        *_walk(-3, "5e15"),
        *_walk(-2, "47.3"),
        *_walk(-1, accuracy="70"),
        *_walk(0, fix_age="22.5"),
        *_walk(1, "0", "0"),
        *_walk(2, accuracy="5", fix_age="0.5"),
    ]
    outcome = judge(records, "mobile-noise")
    codes = [j.code.removeprefix("location.") for j in outcome.judged if j.name == "laeq"]
    assert codes == ["", "out_of_range", "speed", "inaccurate", "stale", "missing", ""]
    (lat,) = (j for j in outcome.judged if j.name == "lat" and j.code)
    assert (lat.code, lat.measured, lat.place) == ("value.out_of_range", "5000000000000000", None)
    assert outcome.track is not None
    assert outcome.track[-1] == Spot(NOW + 1500, 472_000_000, -15_000_000, 5000)
    assert sum(end - start for start, end in outcome.series["laeq"]) == 2


def test_a_position_of_a_refused_time_moves_nothing() -> None:
    before = Spot(NOW - 5000, 472_000_000, -15_000_000)
    state = SubjectState(track=(before,))
    outcome = judge([*_walk(-1), *_walk(90_000, "48.9", "2.3")], "mobile-noise", state=state)
    assert [j.code for j in outcome.judged if j.name == "laeq"] == ["", "time.future"]
    assert outcome.track == (before, Spot(NOW - 1000, 472_000_000, -15_000_000))


_CITIES = (("40.7", "-74.0"), ("35.7", "139.7"), ("-33.9", "151.2"), ("51.5", "-0.1"))


@pytest.mark.parametrize("together", [True, False])
def test_a_way_filled_in_backwards_is_a_way(together: bool) -> None:
    """After one fix now: New York, Tokyo, Sydney, London, a second apart, weeks ago."""
    state = after(SubjectState(), judge(_walk(0)[1:], "mobility"))
    walks = [_walk(at - 2_000_000, *_CITIES[at % 4])[1:] for at in range(60)]
    packs = [[record for walk in walks for record in walk]] if together else walks
    codes: list[str] = []
    for pack in packs:
        outcome = judge(pack, "mobility", state=state)
        codes += [judged.code for judged in outcome.judged if judged.name == "lat"]
        state = after(state, outcome)
    # One way stays: that of the first city.
    assert codes == ["", *["location.speed"] * 3] * 15
    assert state.track is not None and len(state.track) <= 32


@pytest.mark.parametrize("order", ["backwards", "shuffled", "again"])
def test_a_walk_that_is_uploaded_late_loses_nothing(order: str) -> None:
    """What a phone kept while it had no network: packs of a walk after a fix of now."""
    state = after(SubjectState(), judge(_walk(0)[1:], "mobility"))
    packs = []
    for start in range(0, 800, 20):
        seconds = range(start, start + 20)
        packs.append([r for s in seconds for r in _walk(s - 5000, f"47.{2000 + s}")[1:]])
    if order == "backwards":
        packs.reverse()
    if order == "shuffled":
        random.Random(11).shuffle(packs)
    if order == "again":
        packs += packs
    for pack in packs:
        outcome = judge(pack, "mobility", state=state)
        codes = {judged.code for judged in outcome.judged}
        assert codes <= {"", "record.repeated"} and not outcome.refusal
        state = after(state, outcome)


def test_a_position_in_the_wrong_unit_is_none() -> None:
    records = _walk(0)
    records[1] = records[1]._replace(unit="deg")
    judged = judge(records, "mobile-noise").judged
    assert [j.code for j in judged] == ["location.missing", "profile.unit", ""]


def test_where_the_position_is_the_measurement() -> None:
    records = [*_walk(-1)[1:], *_walk(0, "48.9")[1:]]
    outcome = judge(records, "mobility")
    assert [j.code for j in outcome.judged] == ["", "", "location.speed", "location.speed"]
    assert all(CONTEXT not in j.flags for j in outcome.judged)
    assert set(outcome.series) == {"lat", "lon"}


def test_a_better_position_does_not_make_a_copy_new() -> None:
    walk = [_walk(second - 40) for second in range(40)]
    first = judge([r for point in walk for r in point[:1]], "mobile-noise")
    copy = judge([r for point in walk for r in point], "mobile-noise")
    assert {j.code for j in first.judged} == {"location.missing"}
    assert first.windows and first.windows == copy.windows


@given(st.data())
def test_nothing_that_can_arrive_raises(data: st.DataObject) -> None:
    values = st.one_of(
        st.builds(Decimal64, st.integers(-(10**15), 10**15), st.sampled_from(range(-18, 2))),
        st.text(max_size=4),
        st.booleans(),
        st.binary(max_size=4),
        st.none(),
    )
    times = st.builds(Decimal64, st.integers(-(10**12), 10**12), st.sampled_from(range(-9, 4)))
    names = st.sampled_from(["laeq", "lat", "lon", "accuracy", "fix-age", "speed", "battery", "x"])
    units = st.sampled_from(["dB", "lat", "lon", "m", "s", "m/s", None])
    records = data.draw(
        st.lists(
            st.builds(Record, names, units, values, times, st.just(number("1")), st.none()),
            max_size=30,
        )
    )
    name = data.draw(st.sampled_from(["noise", "mobility", "mobile-noise", "weather"]))
    sealing = data.draw(
        st.sampled_from([sealed(NOW), Sealing(None, NOW, 0, False), Sealing(NOW, NOW, 0, False)])
    )
    outcome = judge(records, name, sealing=sealing)
    if outcome.refusal is None:
        assert len(outcome.judged) == len(records)
        for ranges in outcome.series.values():
            assert len(ranges) <= 64
        for judged in outcome.judged:
            assert bool(judged.code) or (judged.measured, judged.limit) == ("", "")
