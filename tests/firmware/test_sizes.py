"""What the library costs: budgets are kept, and the table of the README is what is measured."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.firmware.library import FIRMWARE, MONOCYPHER, library


def _sizes(*options: str) -> subprocess.CompletedProcess[str]:
    library()  # fetches what is measured with it
    command = [sys.executable, str(FIRMWARE / "tools" / "sizes.py"), *options, str(MONOCYPHER)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("riscv64-unknown-elf-gcc") is None,
    reason="needs arm-none-eabi-gcc and riscv64-unknown-elf-gcc",
)
def test_the_budgets_are_kept_and_the_readme_has_the_table() -> None:
    budgets = _sizes("--budgets")
    assert budgets.returncode == 0, budgets.stdout + budgets.stderr
    made = _sizes()
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() in (FIRMWARE / "README.md").read_text()
