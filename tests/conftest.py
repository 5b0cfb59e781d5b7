"""Settings that every test shares."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# Whole files go to a worker. These have few tests and take long: begun last, one worker would wait
# for the other.
LONG_FILES: Final = (
    "faults/test_kills.py",
    "endtoend/test_real_data.py",
    "project/test_wheel.py",
    "faults/test_network.py",
    "verify/test_cli.py",
    "webvh/test_differential.py",
    "faults/test_disk.py",
    "faults/test_torn.py",
    "project/test_readme.py",
    "simulate/test_simulate.py",
    "bridge/test_bridge.py",
    "firmware/test_noise_sensor.py",
    "firmware/test_downlink.py",
    "firmware/test_guide.py",
    "firmware/test_cuts.py",
    "docs/test_runbooks.py",
)

# Tests that call make are not part of the make that may have called them. And hundreds of processes
# begin here: what one has compiled is kept for the next, whatever the machine has as its default.
for _name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(_name, None)

# Machines that run these tests are shared: time says nothing about correctness.
settings.register_profile(
    "depin",
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("depin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, as far as the command says ``--no-loadscope-reorder``."""
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(rank)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keys are made anew in each process: bytes in a name would give each worker other tests."""
    return argname if isinstance(val, bytes | str) and len(val) > 24 else None
