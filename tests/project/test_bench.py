"""The bench runs, and its table and JSON have the form that they are said to have."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.__main__ import MEASUREMENTS, main
from bench.peers import HERE, PEERS, Peer, PeerMissing, _run
from bench.settings import QUICK
from bench.table import HEAD, Row, Target

WITHOUT_A_BROKER = ("raw", "files", "wire", "rebuild")


def test_a_quick_run_gives_the_table_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, table = tmp_path / "results.json", tmp_path / "table.md"
    only = [word for name in WITHOUT_A_BROKER for word in ("--only", name)]
    assert main(["--quick", *only, "--json", str(results), "--markdown", str(table)]) == 0
    shown = capsys.readouterr().out
    assert all(column in shown for column in ("target", "measured ratio", "met?"))

    value = json.loads(results.read_text())
    assert {"cores", "python", "machine"} <= set(value["machine"])
    rows = value["rows"]
    assert [*dict.fromkeys(row["group"] for row in rows)] == list(WITHOUT_A_BROKER)
    for row in rows:
        assert row["best"] > 0 and row["median"] > 0 and row["runs"] >= 1, row
        # Only the yardstick itself is no ratio of anything.
        assert (row["ratio"] is None) == (row["name"] == rows[0]["name"]), row
        assert row["met"] is None, "sizes this small judge nothing"
    assert sum(row["target"] is not None for row in rows) == 4

    lines = table.read_text().splitlines()
    assert len(lines) == len(rows) + 2
    assert all(line.count("|") == len(HEAD) + 1 for line in lines)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [], "nothing is left"


def test_a_target_is_met_by_the_median_and_only_where_it_was_set() -> None:
    row = Row("g", "n", "/s", (1.0, 2.0, 90.0), (0.1, 0.5, 9.0), "x")

    def met(target: Target) -> bool | None:
        return replace(row, target=target).met

    assert row.met is None
    assert met(Target(0.5)) is True
    assert met(Target(0.51)) is False
    assert met(Target(2.0, "value", at_least=False)) is True
    assert met(Target(1.9, "value", at_least=False)) is False
    assert met(Target(0.5, cores=1_000_000)) is None
    assert replace(row, target=Target(0.5), judged=False).met is None
    assert replace(row, target=Target(0.5), ratios=()).met is None


def test_every_measurement_has_a_file_of_its_own() -> None:
    here = Path(__file__).resolve().parents[2] / "bench"
    assert {path.stem for path in here.iterdir()} >= set(MEASUREMENTS)


def test_every_peer_is_pinned_with_hashes_and_a_missing_one_says_why() -> None:
    for peer in PEERS:
        assert (HERE / peer.script).exists()
        lines = (HERE / "requirements" / f"{peer.package}.txt").read_text().splitlines()
        pins = [line for line in lines if re.match(r"[A-Za-z0-9]", line)]
        assert any(line.startswith(f"{peer.package}==") for line in pins)
        assert all(re.match(r"[A-Za-z0-9._-]+==[^ ]+ (; .*)?\\$", line) for line in pins), pins
        assert sum("--hash=sha256:" in line for line in lines) >= len(pins)
    with pytest.raises(PeerMissing, match="does not run"):
        _run(Path(sys.executable), Peer("none", "none.py", "", ""), QUICK)
