"""A migration that kills itself: ``python -m tests.operations.migrating ROOT BACKUP STEP``."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from verify.operations.migrate import Step, migrate

RENAMED = {"journal": ("batches", "memo", "note"), "keys": ("slots", "secret", "wrapped")} | {
    "quarantine": ("parked", "bytes", "data")
}
"""What version 0, which never was, called a column: table, its name then, its name now."""


def to_first(store: str) -> Step:
    """The step from version 0."""
    table, before, after = RENAMED[store]

    def step(connection: sqlite3.Connection) -> None:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")

    return step


STEPS = {store: {0: to_first(store)} for store in RENAMED}


def make_old(root: Path) -> None:
    """Turn a directory of version 1 into one of version 0."""
    files = [*(root / "journal").glob("*.db"), root / "keys" / "keys.db"]
    for path in [*files, root / "quarantine" / "quarantine.db"]:
        table, before, after = RENAMED[path.parent.name]
        mode = path.stat().st_mode
        path.chmod(0o600)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {after} TO {before}")
        connection.execute("UPDATE meta SET schema = 0")
        connection.close()
        path.chmod(mode)


def main() -> None:
    root, backup, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    left = [number]

    def count(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    migrate(root, backup=backup, steps=STEPS, step_done=count)


if __name__ == "__main__":
    main()
