"""What the tests of records share: packs of real tracks, and a clock that is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depin_id.claims import Place
from depin_id.senml import Decimal64, Record
from verify.checks.clock import Sealing
from verify.checks.contents import keep
from verify.checks.records import MAX_SERIES, RecordsOutcome, SubjectState, judge_records
from verify.policy import Policy
from verify.profile import Profile, load_profiles

PROFILES = load_profiles()
POLICY = Policy.from_toml("")
NOW = 1_700_000_000_000
HERE = Place(472_000_000, -15_000_000)


def number(value: float | str) -> Decimal64:
    return Decimal64.from_text(value if isinstance(value, str) else repr(value))


def sealed(at_ms: int, error_ms: int = 1000) -> Sealing:
    return Sealing(at_ms - error_ms, at_ms + error_ms, error_ms, True, at_ms)


def judge(
    records: Sequence[Record],
    profile: str | Profile = "noise",
    *,
    sealing: Sealing | None = None,
    received_at: int = NOW,
    state: SubjectState | None = None,
    policy: Policy = POLICY,
) -> RecordsOutcome:
    return judge_records(
        records,
        profile=PROFILES[profile] if isinstance(profile, str) else profile,
        policy=policy,
        sealing=sealed(received_at) if sealing is None else sealing,
        received_at=received_at,
        state=SubjectState() if state is None else state,
        registered=HERE,
    )


def after(state: SubjectState, outcome: RecordsOutcome) -> SubjectState:
    """The state as the aggregator keeps it."""
    carried = dict(state.carried)
    keep(carried, outcome.carried, MAX_SERIES)
    series = {**state.series, **outcome.series}
    return SubjectState(series, outcome.track or state.track, carried)


def level(offset_s: int, value: str = "50.5", name: str = "laeq", unit: str = "dB") -> Record:
    return Record(name, unit, number(value), Decimal64(offset_s))


def track_records(
    path: Path, *, ages: bool = True, altitude: bool = False
) -> tuple[list[Record], int]:
    """A NoiseCapture track as a phone would send it, and when it ends in ms since 1970.

    Args:
        path: the GeoJSON file.
        ages: send how old each fix is.
        altitude: send the altitude too.
    """
    features = json.loads(path.read_text("utf-8"))["features"]
    records: list[Record] = []
    for feature in features:
        records += _point(feature, ages, altitude)
    return records, max(feature["properties"]["leq_utc"] for feature in features) + 1000


def _point(feature: Any, ages: bool, altitude: bool) -> list[Record]:
    sent = feature["properties"]
    time = Decimal64(sent["leq_utc"], -3)
    records = [Record("laeq", "dB", number(float(sent["leq_mean"])), time)]
    if feature["geometry"] is None:
        return records
    lon, lat, *rest = feature["geometry"]["coordinates"]
    records.append(Record("lat", "lat", number(lat), time))
    records.append(Record("lon", "lon", number(lon), time))
    records.append(Record("accuracy", "m", number(sent["accuracy"]), time))
    if ages:
        age = Decimal64(sent["leq_utc"] - sent["location_utc"], -3)
        records.append(Record("fix-age", "s", age, time))
    if altitude and rest:
        records.append(Record("alt", "m", number(rest[0]), time))
    return records
