"""Cells of one resolution, whatever the policy says meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.testing import NOW
from tests.verify.net import POLICY, Net, level
from verify.dataset import Dataset, verify_dataset


def test_another_cell_resolution_comes_with_a_rebuild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "verify.publisher.Dataset", lambda at, **how: Dataset(at, segment_entries=4, **how)
    )
    with Net(tmp_path) as net:
        device, public = net.device(), net.root / "public"
        for second in range(6):
            net.send(device, device.next([level(50, NOW - second)]))
        net.aggregator.publish()
        net.policy(POLICY + "cell_resolution = 7\n")
        for second in range(6, 12):
            net.send(device, device.next([level(50, NOW - second)]))
        net.aggregator.publish()
        report = verify_dataset(public, keys=None)
        assert report.complete and report.cell_resolution == 9
        net.aggregator.publisher.rebuild()
        assert verify_dataset(public, keys=None).cell_resolution == 7
