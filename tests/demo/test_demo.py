"""The demo as people run it: a real broker, a real bridge in a process of its own, real cheats."""

from __future__ import annotations

import io
import json
import socket
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from depin_id.errors import ConfigError, ReadingError, StateError
from depin_id.senml import Decimal64
from tests.paths import data
from verify.demo import run_demo
from verify.demo.recordings import read_recordings
from verify.demo.scene import City


def test_a_short_run_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("iotcore")
    shown = io.StringIO()
    folder = tmp_path / "demo"
    code = run_demo(
        folder, seconds=6, sensors=8, json_output=True, console=Console(file=shown, width=200)
    )
    text = shown.getvalue()
    assert code == 0, text
    for line in (
        "honest sensors: all accepted",
        "replay under a new topic: 3 duplicate",
        "tampered payload: 3 signature.invalid",
        "unenrolled device: 3 device.unknown",
        "future clock: 1 accepted (records: 3 time.future)",
        "impossible values: 1 accepted (records: 3 counting, 1 value.out_of_range)",
        "cloned key: 2 accepted, 1 key.suspended, 1 sequence.forked",
        "quota.exceeded (records:",
        "a receipt, checked offline",
        "audit: the journal appraised again",
        "dataset: compared with the log",
        f"depin-verify status {folder / 'aggregator'}",
    ):
        assert line in text, text
    assert "FAIL" not in text
    summary = json.loads(capsys.readouterr().out)
    assert summary["ok"] and all(check["ok"] for check in summary["checks"])
    honest = [a for a in summary["accounts"] if a["name"].startswith(("noise-", "sensor-"))]
    assert len(honest) == 8
    assert sum(account["records"]["counting"] for account in honest) == 8 * 6
    # Nothing is left behind: the broker's port is free again, and the bridge said goodbye.
    url = tomllib.loads((folder / "bridge" / "bridge.toml").read_text())["uplink"]["url"]
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", urlsplit(url).port), 5):
        pass
    assert (folder / "bridge" / "bridge.log").read_text().rstrip().endswith("stopped")


def test_without_its_broker_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "iotcore", None)
    with pytest.raises(ConfigError) as caught:
        run_demo(tmp_path / "demo", console=Console(file=io.StringIO()))
    assert caught.value.code == "demo.broker_missing"
    assert "depin-id[demo]" in caught.value.hint
    assert not (tmp_path / "demo").exists()


def test_it_takes_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(StateError) as caught:
        run_demo(tmp_path, console=Console(file=io.StringIO()))
    assert caught.value.code == "state.exists"


def test_the_city_is_the_same_every_time_and_neighbours_hear_the_same() -> None:
    city, again = City(40, 7), City(40, 7)
    start = 1_795_000_000
    series = [[city.level(site, start + t) for t in range(300)] for site in city.sites]
    assert series == [[again.level(site, start + t) for t in range(300)] for site in again.sites]
    assert City(40, 8).level(City(40, 8).sites[0], start) != series[0][0]
    values = [Decimal(str(level)) for levels in series for level in levels]
    assert 25 < min(values) and max(values) < 110
    assert all(level.exponent >= -1 for levels in series for level in levels)
    assert len({site.place for site in city.sites}) == 40


@pytest.mark.parametrize(
    "text",
    ["", "datetime,volume\n1,2\n", "datetime,LEQ\n1,loud\n", "datetime,LEQ\n", "\x00\n"],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "levels.csv"
    file.write_text(text)
    with pytest.raises(ReadingError) as caught:
        read_recordings(file)
    assert caught.value.code == "demo.data"
    with pytest.raises(ReadingError):
        read_recordings(tmp_path)
    with pytest.raises(ReadingError):
        read_recordings(tmp_path / "missing.csv")


def test_real_recordings_are_read_exactly() -> None:
    levels = read_recordings(data("noise_monitor") / "laeq1s.csv")["laeq1s"]
    assert len(levels) == 86_401 and levels[0] == Decimal64.from_text("44.085907")
    tracks = read_recordings(data("noise_noisecapture"))
    assert len(tracks) >= 8
    first = next(name for name in tracks if "07efe9f7" in name)
    assert tracks[first][0] == Decimal64.from_text("60.07834")
