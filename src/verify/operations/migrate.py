"""Stores of older schema versions, brought up to date.

Each file is changed in a copy, checked, and put in the old one's place by one rename. So a
migration that is cut off leaves every file either old or new, and is finished by starting it again.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from depin_id.durable import DirectoryLock, sync_directory
from depin_id.errors import StateError
from verify.operations.copying import (
    MANIFEST,
    Copied,
    Store,
    copy_database,
    empty_folder,
    read_manifest,
    write_manifest,
)
from verify.store import keystore, quarantine
from verify.store.database import connect, corrupt, guarded, schema_of, transaction
from verify.store.journal_chain import journal_paths
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import SCHEMA, is_writable
from verify.workspace import Workspace

FORMAT: Final = "depin-before-migration/1"
_BESIDE = ".migrating"
_MASTER: Final = "keys/master.key"
_LOCKS = {"journal": "journal.lock", "keys": "keys.lock", "quarantine": "quarantine.lock"}

Step = Callable[[sqlite3.Connection], None]
"""Changes one file from a version to the next, inside a transaction. What the chain of digests
covers may move to other columns or tables; a step that changes it has to chain all of it again."""

STEPS: Mapping[str, Mapping[int, Step]] = {"journal": {}, "keys": {}, "quarantine": {}}
"""By store and the version that a step begins at. None yet: all stores have their first version."""

VERSIONS: Mapping[str, int] = {
    "journal": SCHEMA,
    "keys": keystore.SCHEMA,
    "quarantine": quarantine.SCHEMA,
}


@dataclass(frozen=True, slots=True)
class Outdated:
    """A file of an older version: ``store`` is journal, keys or quarantine."""

    store: str
    path: Path
    version: int


@dataclass
class MigrateReport:
    """What was, or would be, migrated.

    Attributes:
        files: that had an older version.
        done: whether they have the present one now.
        backup: where they are kept as they were; None without.
    """

    files: list[Outdated] = field(default_factory=list)
    done: bool = False
    backup: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "versions": dict(VERSIONS),
            "files": [
                {"store": item.store, "file": str(item.path), "version": item.version}
                for item in self.files
            ],
            "done": self.done,
            "backup": None if self.backup is None else str(self.backup),
        }


def migrate(
    root: Path,
    *,
    backup: Path | None = None,
    dry_run: bool = False,
    steps: Mapping[str, Mapping[int, Step]] = STEPS,
    step_done: Callable[[str], None] = lambda _: None,
) -> MigrateReport:
    """Bring every store of an aggregator's directory to the versions of this release.

    Args:
        root: the directory; nothing else may run on it.
        backup: a new or empty folder for the files as they were, or that of a migration that was
            cut off; needed when there is something to do. It may hold keys: remove it when the new
            release is trusted.
        dry_run: only say what would be done.
        steps: see :data:`STEPS`.
        step_done: called between the writes; crash tests put theirs in its place.

    Raises:
        StateError: ``state.schema`` (a newer version, or no way from an older one),
            ``state.argument`` (no backup), ``state.locked``, ``state.corrupt``, ``state.full``,
            ``state.io``. What was not yet renamed is as it was.
    """
    workspace = Workspace(Path(root))
    workspace.check()
    report = MigrateReport()
    with ExitStack() as stack:
        if not dry_run:
            for folder, name in _LOCKS.items():
                if (workspace.root / folder).is_dir():
                    stack.enter_context(DirectoryLock(workspace.root / folder, name))
        report.files = _outdated(workspace)
        for item in report.files:
            _way(item, steps)
        if dry_run or not report.files:
            report.done = not report.files
            return report
        if backup is None:
            raise StateError(
                "state.argument",
                f"{len(report.files)} files have an older schema version, and no backup was named",
                hint="name a new folder for them as they are: --backup FOLDER",
            )
        report.backup = _keep(workspace, report.files, backup)
        step_done("backup")
        for item in report.files:
            _migrate_file(item, _way(item, steps), step_done)
        report.done = True
    return report


def _outdated(workspace: Workspace) -> list[Outdated]:
    files = [("journal", path) for path in journal_paths(workspace.journal)]
    files += [("keys", workspace.keys / "keys.db")]
    files += [("quarantine", workspace.quarantine / "quarantine.db")]
    found = []
    for store, path in files:
        if not path.is_file():
            continue
        with closing(connect(path, read_only=True)) as connection:
            version = schema_of(connection, path)
        if version > VERSIONS[store]:
            raise StateError(
                "state.schema",
                f"{path} has schema version {version}, this program writes {VERSIONS[store]}",
                hint="a newer release wrote it: upgrade this software",
            )
        if version < VERSIONS[store]:
            found.append(Outdated(store, path, version))
    return found


def _way(item: Outdated, steps: Mapping[str, Mapping[int, Step]]) -> Sequence[Step]:
    known = steps[item.store]
    missing = [v for v in range(item.version, VERSIONS[item.store]) if v not in known]
    if missing:
        raise StateError(
            "state.schema",
            f"{item.path} has schema version {item.version}, and this release has no step from "
            f"{missing[0]} on",
            hint="migrate with a release between the two first",
        )
    return [known[version] for version in range(item.version, VERSIONS[item.store])]


def _keep(workspace: Workspace, files: Sequence[Outdated], folder: Path) -> Path:
    """Keep the files as they are; what a migration that was cut off kept is left alone."""
    root = str(workspace.root.resolve())
    if folder.resolve().is_relative_to(root):
        raise StateError(
            "state.argument", f"{folder} is inside {workspace.root}", hint="name one elsewhere"
        )
    kept: list[Copied] = []
    if (folder / MANIFEST).exists():
        content, kept = read_manifest(folder, FORMAT)
        if content.get("root") != root:
            raise StateError("state.foreign", f"{folder} is not of {root}", hint="name a new one")
    elif not folder.is_dir() or {path.name for path in folder.iterdir()} - VERSIONS.keys():
        empty_folder(folder)
    store, known = Store(folder), {item.path for item in kept}
    for item in files:
        path = f"{item.store}/{item.path.name}"
        if path not in known:
            kept.append(store.keep_database(item.path, path))
    master = workspace.keys / "master.key"
    if _MASTER not in known and any(item.store == "keys" for item in files) and master.is_file():
        kept.append(store.keep_file(master, _MASTER))
    write_manifest(folder, {"format": FORMAT, "network": "", "root": root}, kept)
    return folder


def _migrate_file(item: Outdated, way: Sequence[Step], step_done: Callable[[str], None]) -> None:
    beside = item.path.with_name(item.path.name + _BESIDE)
    writable = is_writable(item.path)
    copy_database(item.path, beside)
    step_done("copied")
    with closing(connect(beside)) as connection:
        for step, version in zip(way, range(item.version, VERSIONS[item.store]), strict=True):
            with transaction(connection, beside):
                step(connection)
                connection.execute("UPDATE meta SET schema = ?", (version + 1,))
        with guarded(beside):
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise corrupt(beside, "is damaged after its migration")
    step_done("changed")
    if item.store == "journal":
        with JournalFile.open(beside, read_only=True) as file:
            file.verify()
    with guarded(item.path):
        os.chmod(beside, 0o600 if writable else 0o444)
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        # The old file's log is in the copy, and must not be taken for the new file's.
        _fold_log(item.path)
        step_done("folded")
        os.rename(beside, item.path)
    sync_directory(item.path.parent)
    step_done("renamed")


def _fold_log(path: Path) -> None:
    """Leave nothing beside the file that SQLite would apply to whatever has its name."""
    if not is_writable(path):
        return
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    left = [name for name in os.listdir(path.parent) if _is_log_of(name, path.name)]
    if left:
        raise StateError(
            "state.locked", f"{path.parent / left[0]} is in use", hint="stop what reads it"
        )


def _is_log_of(name: str, file: str) -> bool:
    return re.fullmatch(re.escape(file) + r"-(wal|shm|journal)", name) is not None
