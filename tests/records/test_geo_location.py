"""Distances against floating point, and every way a position can be wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Place
from depin_id.senml import Decimal64
from tests.records.support import NOW, PROFILES, number
from verify.checks.geo import EARTH_RADIUS_MM, distance_at_most_mm, distance_mm
from verify.checks.location import MAX_SPOTS, Fix, Spot, Track, judge_fix, thinned

PROFILE = PROFILES["mobile-noise"]
PLACES = st.builds(
    Place, st.integers(-900_000_000, 900_000_000), st.integers(-1_800_000_000, 1_800_000_000)
)


def _real(a: Place, b: Place) -> float:
    """Vincenty's formula on the sphere, well behaved at every distance; in millimetres."""
    la, lb = (math.radians(place.lat_e7 / 1e7) for place in (a, b))
    d = math.radians((b.lon_e7 - a.lon_e7) / 1e7)
    across = math.hypot(
        math.cos(lb) * math.sin(d),
        math.cos(la) * math.sin(lb) - math.sin(la) * math.cos(lb) * math.cos(d),
    )
    along = math.sin(la) * math.sin(lb) + math.cos(la) * math.cos(lb) * math.cos(d)
    return EARTH_RADIUS_MM * math.atan2(across, along)


@given(PLACES, PLACES)
def test_distances_agree_with_real_numbers(a: Place, b: Place) -> None:
    measured = distance_mm(a, b)
    assert abs(measured - _real(a, b)) <= 5
    assert measured == distance_mm(b, a)
    assert measured <= distance_at_most_mm(a, b)
    assert distance_mm(a, a) == 0


@given(PLACES, st.integers(-2_000_000, 2_000_000), st.integers(-2_000_000, 2_000_000))
def test_near_distances_agree_too(a: Place, north: int, east: int) -> None:
    lat = max(-900_000_000, min(900_000_000, a.lat_e7 + north))
    lon = (a.lon_e7 + east + 1_800_000_000) % 3_600_000_000 - 1_800_000_000
    b = Place(lat, lon)
    assert abs(distance_mm(a, b) - _real(a, b)) <= 5
    assert distance_mm(a, b) <= distance_at_most_mm(a, b)


def test_known_distances() -> None:
    quarter = EARTH_RADIUS_MM * math.pi / 2
    assert abs(distance_mm(Place(0, 0), Place(900_000_000, 0)) - quarter) < 2
    assert abs(distance_mm(Place(0, 0), Place(0, 1_800_000_000)) - 2 * quarter) < 2
    assert distance_mm(Place(0, 1_800_000_000), Place(0, -1_800_000_000)) == 0
    # Geodesic Paris to Lyon on WGS 84 is 391.6 km.
    paris, lyon = Place(488_566_000, 23_522_000), Place(457_640_000, 48_357_000)
    assert abs(distance_mm(paris, lyon) - 391_600_000) < 391_600_000 // 200
    assert distance_mm(paris, Place(488_566_001, 23_522_000)) == 11


def _fix(
    lat: str | None = "47.2",
    lon: str | None = "-1.5",
    *,
    accuracy: str | None = None,
    age: str | None = None,
    at: int = NOW,
    track: Track = (),
    dated: bool = True,
) -> Fix:
    def exact(text: str | None) -> Decimal64 | None:
        return None if text is None else number(text)

    return judge_fix(
        exact(lat),
        exact(lon),
        accuracy=exact(accuracy),
        fix_age=exact(age),
        nominal_ms=at,
        dated=dated,
        track=track,
        profile=PROFILE,
    )


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("missing", {"lat": None}),
        ("missing", {"lon": None}),
        ("missing", {"lat": "0", "lon": "0.0"}),
        ("out_of_range", {"lat": "90.0000000001"}),
        ("out_of_range", {"lat": "-90.0000000001"}),
        ("out_of_range", {"lon": "180.1"}),
        ("out_of_range", {"lon": "-180.00000000000001"}),
        ("out_of_range", {"lat": "7160562974766790", "lon": "5105358249023999"}),
        ("out_of_range", {"lon": "9e36"}),
        ("inaccurate", {"accuracy": "50.0001"}),
        ("inaccurate", {"accuracy": "-1"}),
        ("inaccurate", {"accuracy": "111111114326016"}),
        ("stale", {"age": "10.0001"}),
        ("stale", {"age": "-10.001"}),
        ("stale", {"age": "9e36"}),
    ],
)
def test_each_wrong_position_has_its_code(code: str, fields: dict[str, str | None]) -> None:
    before = (Spot(NOW - 1000, 472_000_000, -15_000_000),)
    given = {"lat": "47.2", "lon": "-1.5", "accuracy": None, "age": None, **fields}
    fix = _fix(
        given["lat"],
        given["lon"],
        accuracy=given["accuracy"],
        age=given["age"],
        track=before,
    )
    assert fix.finding is not None and fix.finding.code == f"location.{code}"
    assert fix.finding.measured and fix.finding.limit
    assert fix.place is None and fix.track == before


def test_the_bounds_themselves_pass() -> None:
    for fix in (_fix(accuracy="50"), _fix(age="10"), _fix(lat="90"), _fix(lon="-180")):
        assert fix.finding is None
    assert _fix("0", "1").finding is None
    assert _fix("-90", "180").place == Place(-900_000_000, 1_800_000_000)


def test_a_jump_is_refused_and_recovers_as_time_passes() -> None:
    start = _fix().track
    assert start == (Spot(NOW, 472_000_000, -15_000_000),)
    # 1.112 km north: 18.5 s at 60 m/s.
    track: Track = start
    codes = []
    for second in range(1, 25):
        fix = _fix("47.21", at=NOW + 1000 * second, track=track)
        codes.append("" if fix.finding is None else fix.finding.code)
        if fix.finding is not None:
            assert fix.track == start
        track = fix.track
    assert codes == ["location.speed"] * 18 + [""] * 6
    assert track[-1] == Spot(NOW + 24_000, 472_100_000, -15_000_000)


def test_age_and_stated_error_count_for_speed() -> None:
    track = _fix().track
    assert _fix("47.2009", at=NOW + 1000, track=track).finding is not None
    assert _fix("47.2009", at=NOW + 1000, track=track, accuracy="25").finding is None
    # The level is a second later, the position is not.
    assert _fix("47.2005", at=NOW + 1000, track=track).finding is None
    assert _fix("47.2005", at=NOW + 1000, track=track, age="1").finding is not None


def test_a_late_position_is_held_against_both_neighbours_in_time() -> None:
    track = _fix().track
    late = _fix("47.2005", at=NOW - 1000, track=track)
    assert late.finding is None and late.place is not None
    assert late.track == (Spot(NOW - 1000, 472_005_000, -15_000_000), *track)
    assert _fix("47.9", at=NOW - 1000, track=track).finding is not None
    # A week before it could have been anywhere, but not a second after that somewhere else.
    there = _fix("40.7", "-74", at=NOW - 604_800_000, track=track)
    assert there.finding is None
    for seconds in (-1, 0, 1):
        at = NOW - 604_800_000 + 1000 * seconds
        other = _fix("35.7", "139.7", at=at, track=there.track)
        assert other.finding is not None and other.finding.code == "location.speed"
        assert other.track == there.track
        assert _fix("40.7", "-74", at=at, track=there.track).finding is None


def test_a_pair_is_judged_alike_in_either_order() -> None:
    """What was measured 75 m off, and said so, does not cost what comes late before it."""
    good: dict[str, Any] = {"at": NOW, "accuracy": "3"}
    poor: dict[str, Any] = {"lat": "47.2012", "at": NOW + 1000}
    for first, second in ((good, poor), (poor, good)):
        track = _fix(**{"accuracy": "50", **first}).track
        assert _fix(**{"accuracy": "50", **second}, track=track).finding is None
        assert _fix(**first, track=_fix(**second).track).finding is not None


def test_a_track_is_thinned_evenly() -> None:
    day = 86_400_000
    track: Track = ()
    for step in range(4000):
        # Two in three come in order, one is from anywhere in the month before.
        at = NOW + 60_000 * step if step % 3 else NOW - step * 7_919_000 % (30 * day)
        track = thinned(_fix(at=at, track=track).track, NOW - 30 * day)
        assert len(track) <= MAX_SPOTS and list(track) == sorted(track)
    assert track[-1].time_ms == NOW + 60_000 * 3998
    times = [spot.time_ms for spot in track]
    assert max(b - a for a, b in zip(times, times[1:], strict=False)) <= 2 * (33 * day) // 15
    # What is too old for anything to come in goes, but for one.
    later = thinned((*track, Spot(NOW + 90 * day, 472_000_000, 0)), NOW + 60 * day)
    assert later == (track[-1], Spot(NOW + 90 * day, 472_000_000, 0))
    # All at once, and bounded in time.
    many = tuple(Spot(NOW + 1000 * step, 0, 1) for step in range(4096))
    assert len(thinned(many, 0)) == MAX_SPOTS


def test_an_undated_position_moves_nothing() -> None:
    track = _fix().track
    far = _fix("10", "10", track=track, dated=False)
    assert far.finding is None and far.track == track


def test_without_a_bound_on_accuracy_any_positive_one_passes() -> None:
    profile = replace(PROFILE, max_accuracy_mm=None)
    for text, passes in (("1000000", True), ("-0.001", False)):
        fix = judge_fix(
            number("1"),
            number("1"),
            accuracy=number(text),
            fix_age=None,
            nominal_ms=NOW,
            dated=True,
            track=(),
            profile=profile,
        )
        assert (fix.finding is None) == passes
