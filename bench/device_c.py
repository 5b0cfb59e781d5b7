"""The device library in C, emulated: instructions for a signed pack, and what that may take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.table import Row
from bench.world import BenchError, Lab
from tests.firmware.emulator import FIRMWARE, command
from tests.firmware.measured import read_figures, write_inputs

CLOCK_HZ = 64_000_000
_BOARDS = {"m4": "Cortex-M4", "rv32": "RV32IMAC"}
_TOOLS = {"m4": ("arm-none-eabi-gcc", "qemu-system-arm")}
_TOOLS["rv32"] = ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
_SIGNERS = {"ed25519": "Ed25519 in software", "chip": "signed elsewhere"}


def _figures(target: str, folder: Path) -> dict[str, int]:
    made = f"build/emulated/{target}/measure.elf"
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder)
    for line in (["make", "-s", "-C", str(FIRMWARE), made], command(target, FIRMWARE / made)):
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=280)
        if done.returncode:
            raise BenchError(f"{line[0]}: {done.stderr[-2000:]}")
    return read_figures(folder)


def measure(lab: Lab) -> list[Row]:
    """Packs of 1, 10 and 60 readings; boards whose tools are not installed are left out."""
    rows = []
    for target, board in _BOARDS.items():
        if any(shutil.which(tool) is None for tool in _TOOLS[target]):
            continue
        figures = _figures(target, lab.folder / f"device-{target}")
        for signer, text in _SIGNERS.items():
            for count in (1, 10, 60):
                value = figures[f"{signer}.{count}"]
                estimate = value / CLOCK_HZ * 1000
                rows.append(
                    Row(
                        "device in C",
                        f"{board}, pack of {count}, {text}",
                        "instructions",
                        [float(value)],
                        more_is_better=False,
                        note=f"estimate at 64 MHz, one instruction a cycle: {estimate:.1f} ms",
                    )
                )
    return rows
