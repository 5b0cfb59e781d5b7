"""Stack and instructions of the device library on every emulated board."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware.emulator import TARGETS, run
from tests.firmware.measured import read_figures, write_inputs

STACK = {"stack.seal": 2048, "stack.seal_chip": 1024, "stack.card": 3072, "stack.ack": 2560}
"""Bytes: what signs stays within 2 KB; what verifies needs a curve below its own buffers."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_stack_stays_in_its_budget(target: str, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    run(target, "measure", tmp_path)
    figures = read_figures(tmp_path)
    stack = {name: value for name, value in figures.items() if name.startswith("stack.")}
    assert set(stack) == set(STACK)
    assert all(256 < value <= STACK[name] for name, value in stack.items()), stack
    # What the paint tells is plausible: a curve needs more than a chip.
    assert stack["stack.seal"] > stack["stack.seal_chip"]
    assert figures["ed25519.60"] > figures["ed25519.1"] > 8 * figures["chip.1"]
    assert figures["chip.60"] < 60 * figures["chip.1"], "packs are cheaper than one by one"
