"""The examples run, and what they print is true."""

from __future__ import annotations

import csv
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from depin_id import Device, NetworkDir
from examples import http_upload, noise_network, street_mapping
from tests.endtoend.world import make_network
from tests.http.support import Site
from tests.http.support import running as serving
from tests.paths import ROOT, data


def _point(second: int, level: float, lat: float, lon: float | None = 4.8370) -> dict[str, Any]:
    """One second of a track as NoiseCapture writes it; without a longitude there was no fix."""
    at = 1_506_704_235_783 + 1000 * second
    geometry = None if lon is None else {"type": "Point", "coordinates": [lon, lat, 248]}
    sent = {"leq_mean": level, "accuracy": 5, "leq_utc": at, "location_utc": at - 783}
    return {"type": "Feature", "geometry": geometry, "properties": sent}


def _write(path: Path, points: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": points}))


def test_the_library_accepts_what_was_signed_and_refuses_what_was_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "examples" / "library.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "as signed: accepted, level D1" in shown
    assert "one bit changed: refused, signature.invalid" in shown


def test_a_street_with_a_cheat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise_network.main(["--dir", str(tmp_path / "street")])
    shown = capsys.readouterr().out
    assert shown.count("authentic, 60 readings count") == noise_network.SENSORS
    for line in (
        "another's envelope with a bit changed: signature.invalid",
        "another's envelope once more: seen before",
        "another's values under one's own key: content.repeated",
        "185 dB on a street: authentic, 0 readings count",
        "measured in an hour from now: authentic, 0 readings count",
        "rejected, content.repeated",
        "audit: every verdict is the same again",
    ):
        assert line in shown
    with (tmp_path / "street" / "readings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == noise_network.SENSORS * noise_network.SECONDS
    assert all(row["h3_cell"] for row in rows)


def test_a_walk_becomes_a_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = [_point(n, 50 + n % 10, 45.7606 + n * 1e-5) for n in range(60)]
    walk[10] = _point(10, 50, 45.7606, None)
    walk[20]["geometry"]["coordinates"][1] = 5.1e15
    _write(tmp_path / "tracks" / "track_a" / "track.geojson", walk)
    _write(tmp_path / "tracks" / "again.geojson", walk)
    street_mapping.main([str(tmp_path / "tracks"), "--out", str(tmp_path / "map")])
    shown = capsys.readouterr().out
    told = dict(re.findall(r"^(\S+): 60 s measured: (.*)$", shown, re.MULTILINE))
    assert len(told) == 2
    assert sorted(told.values()) == [
        "accepted 58, location.missing 1, location.out_of_range 1",
        "whole pack: content.repeated 1",
    ]
    with (tmp_path / "map" / "levels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "laeq"]
    assert rows and all(row["h3_cell"] and "time.asserted" in row["flags"] for row in rows)
    cells = json.loads((tmp_path / "map" / "cells.geojson").read_text())["features"]
    assert sum(cell["properties"]["seconds"] for cell in cells) == len(rows)
    assert all(50 <= cell["properties"]["laeq_db"] <= 59 for cell in cells)
    assert all(ring[0] == ring[-1] for cell in cells for ring in cell["geometry"]["coordinates"])


def test_nothing_to_map_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no .geojson file"):
        street_mapping.main([str(tmp_path), "--out", str(tmp_path / "map")])
    _write(tmp_path / "t.geojson", [_point(n, 50 + n, 45.76) for n in range(3)])
    arguments = [str(tmp_path / "t.geojson"), "--out", str(tmp_path / "map")]
    street_mapping.main(arguments)
    with pytest.raises(SystemExit, match="state.exists"):
        street_mapping.main(arguments)


def test_real_walks_become_a_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    street_mapping.main([str(data("noise_noisecapture")), "--out", str(tmp_path / "map")])
    shown = capsys.readouterr().out
    assert "lyon_track_1: 484 s measured: accepted 484\n" in shown
    assert re.search(r"track_1c9d12ee\S*: 3 s measured: location.out_of_range 3\n", shown)
    assert re.search(r"track_426f00da\S*: 11 s measured: location.missing 11\n", shown)
    twice = re.findall(r"^track_(?:aaa|fec)26b2a\S*: 23 s measured: (.*)$", shown, re.MULTILINE)
    assert sorted(twice) == ["accepted 23", "whole pack: content.repeated 1"]


def test_a_phone_uploads_and_believes_only_its_own_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device.create(tmp_path / "phone", name="phone", profile="noise") as device:
        enrolment = device.enrolment
    root, card = make_network(tmp_path, enrolment)
    file = root / "public" / "card.cbor"
    stranger = NetworkDir.create(tmp_path / "other", "other").path / "card.cbor"
    with serving(Site(root, card, [])) as at:
        options = ["--url", at.url, "--device", str(tmp_path / "phone")]
        http_upload.main([*options, "--card", str(file), "--network", card.network])
        assert "accepted, entry" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="network.foreign"):
            http_upload.main([*options, "--card", str(stranger), "--network", card.network])
        # Signed for another network: it is refused, and nothing is dropped.
        monkeypatch.setattr(http_upload, "TRIES", 1)
        with pytest.raises(SystemExit, match="not acknowledged"):
            http_upload.main([*options, "--card", str(stranger)])
        assert "signature.invalid" in capsys.readouterr().out
