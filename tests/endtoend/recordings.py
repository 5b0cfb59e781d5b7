"""Real recordings as the readings that a device would sign."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from depin_id.errors import ReadingError
from depin_id.readings import Reading, reading
from depin_id.senml import Decimal64
from tests.paths import data


def noise_monitor_day() -> list[tuple[int, str]]:
    """(seconds since 1970, level) of each second; the export's local time is taken for UTC."""
    with data("noise_monitor/laeq1s.csv").open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [
            (int(datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp()), row[1])
            for row in rows
        ]


class Track:
    """Readings of one recording in packs, and the moment after its last one.

    Attributes:
        points: what was measured at one time each: level, or position.
        end_s: seconds since 1970.
    """

    def __init__(self, points: Sequence[list[Reading]], end_s: float) -> None:
        self.points, self.end_s = points, end_s


def phone_track(name: str, *, ages: bool = True, altitude: bool = False) -> Track:
    """A NoiseCapture recording, by the head of its name.

    Args:
        ages: whether the phone says how old each fix is.
        altitude: whether it sends the altitude.

    Raises:
        ReadingError: ``reading.track``: the file is damaged or has another form.
    """
    (path,) = data("noise_noisecapture").glob(f"*{name}*")
    text = _track_text(path)
    try:
        features = json.loads(text)["features"]
        points = [_point(feature, ages, altitude) for feature in features]
        end = max(feature["properties"]["leq_utc"] for feature in features)
    except (ValueError, KeyError, TypeError) as error:
        raise ReadingError("reading.track", f"{path.name}: {error}") from error
    return Track(points, end / 1000 + 1)


def _track_text(path: Path) -> str:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return archive.read("track.geojson").decode()
        return (path / "track.geojson" if path.is_dir() else path).read_text("utf-8")
    except (zipfile.BadZipFile, KeyError, OSError, UnicodeDecodeError) as error:
        raise ReadingError(
            "reading.track", f"{path.name} cannot be read: {error}", hint="export it again"
        ) from error


def _point(feature: Any, ages: bool, altitude: bool) -> list[Reading]:
    sent = feature["properties"]
    at = Decimal64(sent["leq_utc"], -3)
    found = [reading("laeq", float(sent["leq_mean"]), "dB", at)]
    found += [
        reading(name.replace("_", "-"), float(value), "dB", at)
        for name, value in sent.items()
        if name.startswith("leq_") and name not in ("leq_mean", "leq_utc", "leq_id")
    ]
    if feature["geometry"] is None:
        return found
    lon, lat, *rest = feature["geometry"]["coordinates"]
    found.append(reading("lat", lat, "lat", at))
    found.append(reading("lon", lon, "lon", at))
    found.append(reading("accuracy", sent["accuracy"], "m", at))
    if ages:
        age = Decimal64(sent["leq_utc"] - sent["location_utc"], -3)
        found.append(reading("fix-age", age, "s", at))
    if altitude and rest:
        found.append(reading("alt", rest[0], "m", at))
    return found


def bus_trip() -> Track:
    """The way of a bus through Limerick, a position a second or so."""
    space = "{http://www.topografix.com/GPX/1/1}"
    points: list[list[Reading]] = []
    end = 0.0
    for point in ElementTree.parse(data("gps/limerick_bus304_2019-02-18.gpx")).iter(
        f"{space}trkpt"
    ):
        moment = datetime.fromisoformat(point.findtext(f"{space}time") or "")
        end = max(end, moment.timestamp())
        points.append(
            [
                reading(axis, Decimal64.from_text(point.attrib[axis]), axis, moment)
                for axis in ("lat", "lon")
            ]
        )
    return Track(points, end + 1)
