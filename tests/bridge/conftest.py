"""What bridge tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.device import Device
from tests.bridge.world import Net


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with Device.create(tmp_path / "device") as made:
        yield made


@pytest.fixture
def gateway_device(tmp_path: Path) -> Iterator[Device]:
    with Device.create(tmp_path / "gateway-device", role="gateway") as made:
        yield made
