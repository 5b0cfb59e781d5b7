"""Real disks that are full or read-only, without being root where the system allows it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.endtoend.world import environment
from tests.paths import ROOT

NO_DISK = 77
"""Exit status of a story that could not have a file system of its own."""


class SmallDisk:
    """A file system in memory, mounted by a process that may do so (see :func:`tell`).

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path, megabytes: int) -> None:
        path.mkdir()
        self.path = path
        options = f"size={megabytes}m,mode=700"
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True, timeout=60
            )
        except (OSError, subprocess.CalledProcessError):
            sys.exit(NO_DISK)

    def remount(self, how: str) -> None:
        """``ro`` or ``rw``; nothing may be open for writing."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True, timeout=60)

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def relieve(self) -> None:
        """Give the space back."""
        (self.path / "ballast").unlink()

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False, timeout=60)


def tell(story: str, folder: Path) -> None:
    """Run a story of :mod:`tests.faults.stories` where it may mount; skip where nobody may."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare (util-linux)")
    ways = [["--user", "--map-root-user", "--mount"], *([["--mount"]] if os.getuid() == 0 else [])]
    for way in ways:
        if subprocess.run([unshare, *way, "true"], capture_output=True, check=False).returncode:
            continue
        done = subprocess.run(
            [unshare, *way, sys.executable, "-m", "tests.faults.stories", story, str(folder)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if done.returncode != NO_DISK:
            assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
            return
    pytest.skip("the system lets us have no file system of our own (unshare, mount, tmpfs)")


def limit_files(pid: int, size: int | None) -> None:
    """Let a process write no file beyond ``size`` bytes; None lifts that. Needs no privilege."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
