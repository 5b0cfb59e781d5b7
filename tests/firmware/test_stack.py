"""Stack and instructions of the device library on every emulated board."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware.emulator import TARGETS, run
from tests.firmware.measured import read_figures, write_inputs

STACK = 2048
"""Bytes, the budget."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_stack_stays_in_its_budget(target: str, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    run(target, "measure", tmp_path)
    figures = read_figures(tmp_path)
    stack = {name: value for name, value in figures.items() if name.startswith("stack.")}
    print(target, figures)
    assert set(stack) == {"stack.seal", "stack.card", "stack.ack", "stack.seal_chip"}
    assert all(256 < value <= STACK for value in stack.values()), stack
    # What the paint tells is plausible: a curve needs more than a chip.
    assert stack["stack.seal"] > stack["stack.seal_chip"]
    assert figures["ed25519.60"] > figures["ed25519.1"] > 20 * figures["chip.1"]
    assert figures["chip.60"] < 60 * figures["chip.1"], "packs are cheaper than one by one"
