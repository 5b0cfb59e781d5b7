"""Images for emulated boards, built once and shared, and their runs in QEMU."""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project.tree import ROOT

FIRMWARE = ROOT / "firmware_bridge" / "firmware"
IMAGES = FIRMWARE / "build" / "emulated"
TARGETS = ("m0", "m3", "m4", "rv32")
_BOARDS = {
    "m0": ("qemu-system-arm", "-M", "microbit"),
    "m3": ("qemu-system-arm", "-M", "lm3s6965evb"),
    "m4": ("qemu-system-arm", "-M", "mps2-an386"),
    "rv32": ("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
}
_COMPILER = {"rv32": "riscv64-unknown-elf-gcc"}


def _tools(target: str) -> None:
    tools = ("make", _COMPILER.get(target, "arm-none-eabi-gcc"), _BOARDS[target][0])
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (ci/apt-packages.txt)")


@functools.cache
def image(target: str, name: str) -> Path:
    """The image of a target, built when it is not up to date."""
    _tools(target)
    IMAGES.mkdir(parents=True, exist_ok=True)
    made = IMAGES / target / f"{name}.elf"
    # Tests run in several processes: one builds, the others find it built.
    with (IMAGES / f"{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-s", "-C", FIRMWARE, f"build/emulated/{target}/{name}.elf"],
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def command(target: str, elf: Path, serial: str = "none", *, counted: bool = True) -> list[str]:
    """QEMU's command line; ``counted``: one instruction is a nanosecond, the same in every run."""
    return [
        *_BOARDS[target],
        *("-display", "none", "-monitor", "none", "-serial", serial),
        *("-semihosting-config", "enable=on,target=native"),
        *(("-icount", "shift=0") if counted else ()),
        *("-kernel", str(elf)),
    ]


def run(target: str, name: str, folder: Path) -> None:
    """Run an image to its end; the files that it reads and writes are in ``folder``."""
    elf = image(target, name)
    done = subprocess.run(
        command(target, elf),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{target} {name}: {done.returncode}\n{done.stdout}{done.stderr}"
