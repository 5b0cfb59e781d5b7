"""Programs that the crash tests start and kill: `python children.py <what> <folder> [step]`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.storage.support import batch
from verify.store import Journal, KeyStore


def _append(directory: Path) -> None:
    with Journal.open(directory) as journal:
        while True:
            journal.append(batch(journal, 20, filler=50))
            os.write(1, f"{journal.size}\n".encode())  # unbuffered: acknowledged means written


def _rotate(directory: Path, at: str) -> None:
    def step(name: str) -> None:
        if name == at:
            os.kill(os.getpid(), signal.SIGKILL)

    journal = Journal.open(directory)
    journal.step = step
    journal.rotate()


def _hold(directory: Path) -> None:
    with Journal.open(directory), KeyStore.open(directory):
        os.write(1, b"held\n")
        sys.stdin.read()


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "append":
        _append(Path(folder))
    elif what == "rotate":
        _rotate(Path(folder), rest[0])
    else:
        _hold(Path(folder))
