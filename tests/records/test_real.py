"""Real recordings: good ones lose nothing, bad ones get their code."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from depin_id.senml import Decimal64, Record
from tests.paths import data
from tests.records.support import after, judge, number, sealed, track_records
from verify.checks.records import CONTEXT, SubjectState


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def _codes(records: list[Record], received_at: int, profile: str = "mobile-noise") -> Counter[str]:
    outcome = judge(records, profile, received_at=received_at, sealing=sealed(received_at, 0))
    assert outcome.refusal is None
    return Counter(j.code for j in outcome.judged if CONTEXT not in j.flags)


def _track(name: str, *, ages: bool = True) -> Counter[str]:
    (path,) = data("noise_noisecapture").glob(f"track_{name}*/track.geojson")
    return _codes(*track_records(path, ages=ages))


def test_a_day_of_a_noise_monitor_loses_nothing() -> None:
    with data("noise_monitor/laeq1s.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    state, refused, windows = SubjectState(), 0, 0
    for start in range(0, len(rows), 60):
        pack = rows[start : start + 60]
        end = _ms(pack[-1][0])
        records = [
            Record("laeq", "dB", number(row[1]), Decimal64((_ms(row[0]) - end) // 1000))
            for row in pack
        ]
        outcome = judge(records, received_at=end + 400, sealing=sealed(end), state=state)
        refused += sum(1 for judged in outcome.judged if judged.code)
        windows += len(outcome.windows)
        state = after(state, outcome)
    assert refused == 0
    assert len(state.series["laeq"]) == 1
    assert windows > 2 * len(rows) // 60


def test_a_station_of_minutes_loses_nothing() -> None:
    path = data("weather/surfrad_alamosa_2016-01-01_1min.dat")
    rows = [line.split() for line in path.read_text().splitlines()[2:]]
    state = SubjectState()
    for row in rows:
        moment = datetime(int(row[0]), 1, 1, int(row[4]), int(row[5]), tzinfo=UTC)
        end = int(moment.timestamp())
        records = [
            Record("temperature", "Cel", number(row[38]), Decimal64(end)),
            Record("humidity", "%RH", number(row[40]), Decimal64(end)),
        ]
        outcome = judge(records, "weather", received_at=end * 1000 + 900, state=state)
        assert {judged.code for judged in outcome.judged} == {""}
        state = after(state, outcome)


@pytest.mark.parametrize("name", ["07efe9f7", "aaa26b2a", "fec26b2a", "umik"])
def test_good_phone_tracks_lose_nothing(name: str) -> None:
    assert set(_track(name)) == {""}


def test_a_good_walk_through_lyon_loses_nothing() -> None:
    assert set(_codes(*track_records(data("noise_noisecapture/lyon_track_1.geojson")))) == {""}


@pytest.mark.parametrize(
    ("name", "ages", "codes"),
    [
        ("1c9d12ee", True, {"location.out_of_range"}),
        ("426f00da", True, {"location.missing"}),
        ("88a20ba7", True, {"", "location.stale", "location.inaccurate"}),
        ("f720018a", True, {"", "location.missing", "location.stale"}),
        ("f720018a", False, {"", "location.missing", "location.speed"}),
    ],
)
def test_bad_phone_tracks_get_their_code(name: str, ages: bool, codes: set[str]) -> None:
    found = _track(name, ages=ages)
    assert set(found) == codes
    if name == "f720018a":
        assert found["location.missing"] == 6
    if "location.speed" in codes:
        # One jump: as time passes the new place is reached at a possible speed.
        assert 0 < found["location.speed"] < 10


def test_a_bus_keeps_its_positions() -> None:
    path = data("gps/limerick_bus304_2019-02-18.gpx")
    space = "{http://www.topografix.com/GPX/1/1}"
    records: list[Record] = []
    end = 0
    for point in ElementTree.parse(path).iter(f"{space}trkpt"):
        text = point.findtext(f"{space}time") or ""
        end = _ms(text.replace("Z", "+00:00"))
        for name in ("lat", "lon"):
            time = Decimal64(end // 1000)
            records.append(Record(name, name, number(point.attrib[name]), time))
    assert len(records) > 4000
    codes: Counter[str] = Counter()
    state = SubjectState()
    for start in range(0, len(records), 200):
        outcome = judge(
            records[start : start + 200], "mobility", received_at=end + 1000, state=state
        )
        codes.update(judged.code for judged in outcome.judged)
        state = after(state, outcome)
    assert set(codes) == {""}


def test_the_same_track_sent_twice_is_seen() -> None:
    found = []
    for name, altitude, batch in (("aaa26b2a", True, 1000), ("fec26b2a", False, 1000)):
        (path,) = data("noise_noisecapture").glob(f"track_{name}*/track.geojson")
        records, end = track_records(path, altitude=altitude)
        outcome = judge(records[:batch], "mobile-noise", received_at=end, sealing=sealed(end, 0))
        found.append(set(outcome.windows))
    assert found[0] and found[0] == found[1]


def test_different_tracks_share_no_window() -> None:
    seen: dict[bytes, str] = {}
    for path in sorted(data("noise_noisecapture").glob("*/track.geojson")):
        if "fec26b2a" in str(path):
            continue
        records, end = track_records(path)
        outcome = judge(records, "mobile-noise", received_at=end, sealing=sealed(end, 0))
        for window in outcome.windows:
            assert seen.setdefault(window, str(path)) == str(path)
    assert seen
