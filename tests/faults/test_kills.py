"""Kill -9 at random moments under load: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.kills import What, run

TIMES = 10
SEEDS = [int(seed) for seed in os.environ.get("DEPIN_KILL_SEEDS", "20261").split(",")]
"""One by default; `make faults` kills a hundred times."""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", ["aggregator", "bridge"])
def test_killed_ten_times_under_load(what: What, seed: int, tmp_path: Path) -> None:
    report = run(tmp_path, times=TIMES, what=what, seed=seed, rest_s=0.04)
    print(report)
    assert report.unexpected == []
    assert sum(report.kills.values()) == TIMES
    assert report.checkpoints > 3
