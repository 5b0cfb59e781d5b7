"""Migration: all or nothing a file, finished after any kill -9, never downwards."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from depin_id.errors import StateError
from tests.endtoend.world import environment
from tests.operations.golden import NEWEST, unpack
from tests.operations.migrating import STEPS, make_old
from tests.operations.support import check, tree
from tests.paths import ROOT
from verify.aggregator import Aggregator
from verify.operations.migrate import STEPS as RELEASED
from verify.operations.migrate import VERSIONS, migrate
from verify.reading import Reader
from verify.store import Journal


@pytest.fixture
def old(tmp_path: Path) -> Path:
    root = unpack(NEWEST, tmp_path / "agg")
    make_old(root)
    return root


def test_there_is_a_way_from_every_version_that_was_released() -> None:
    assert set(VERSIONS) == set(RELEASED)
    for store, version in VERSIONS.items():
        assert set(RELEASED[store]) == set(range(1, version))


def test_a_directory_of_this_version_has_nothing_to_do(tmp_path: Path) -> None:
    root = unpack(NEWEST, tmp_path / "agg")
    before = tree(root)
    report = migrate(root)
    assert report.done and not report.files
    assert tree(root) == before


def test_an_older_store_says_migrate_and_a_newer_one_says_upgrade(tmp_path: Path) -> None:
    for store, name in (
        ("journal", "journal-000002.db"),
        ("keys", "keys.db"),
        ("quarantine", "quarantine.db"),
    ):
        for version, hint in ((0, "depin-verify migrate"), (VERSIONS[store] + 1, "upgrade")):
            root = unpack(NEWEST, tmp_path / f"{store}-{version}")
            path = root / store / name
            mode = path.stat().st_mode
            path.chmod(0o600)
            connection = sqlite3.connect(path)
            connection.execute("UPDATE meta SET schema = ?", (version,))
            connection.commit()
            connection.close()
            path.chmod(mode)
            with pytest.raises(StateError) as caught:
                Aggregator(root)
            assert caught.value.code == "state.schema" and hint in caught.value.hint
            assert str(path) in caught.value.message
            with pytest.raises(StateError) as caught:
                migrate(root, backup=tmp_path / "unused")
            assert caught.value.code == "state.schema" and "release" in caught.value.hint
    assert not (tmp_path / "unused").exists()


def test_everything_is_kept_first_and_is_as_it_was_afterwards(old: Path, tmp_path: Path) -> None:
    before = tree(old)
    planned = migrate(old, dry_run=True, steps=STEPS)
    assert not planned.done and len(planned.files) == 5
    with pytest.raises(StateError) as caught:
        migrate(old, steps=STEPS)
    assert caught.value.code == "state.argument" and "--backup" in caught.value.hint
    with pytest.raises(StateError) as caught:
        migrate(old, steps=STEPS, backup=old / "inside")
    assert caught.value.code == "state.argument"
    assert tree(old) == before
    report = migrate(old, steps=STEPS, backup=tmp_path / "kept")
    assert report.done and [item.store for item in report.files].count("journal") == 3
    assert len(list((tmp_path / "kept").rglob("*.db.*"))) == 5
    assert migrate(old, steps=STEPS).files == []
    _check_same(old, tmp_path)


def _check_same(root: Path, tmp_path: Path) -> None:
    golden = unpack(NEWEST, tmp_path / "golden")
    with (
        Journal.open(root / "journal", read_only=True) as journal,
        Journal.open(golden / "journal", read_only=True) as wanted,
    ):
        assert list(journal.entries()) == list(wanted.entries())
    sealed = [path for path in (root / "journal").glob("*.db") if path.stat().st_mode & 0o222]
    assert [path.name for path in sealed] == ["journal-000003.db"]
    with Reader(root) as reader:
        network = reader.fold.card.network
    with Aggregator(root) as opened:
        assert opened.quarantine.counts().parked == 1
        opened.publisher.publish_dataset()
    check(root, network)


def test_killed_at_any_step_it_is_finished_by_starting_again(old: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    mixed = 0
    for number in (0, 2, 3, 4, 9, 99):
        command = [sys.executable, "-m", "tests.operations.migrating", str(old), str(kept)]
        done = subprocess.run(
            [*command, str(number)], cwd=ROOT, env=environment(), timeout=120, check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        left = migrate(old, dry_run=True, steps=STEPS).files
        mixed += 0 < len(left) < 5
        if left:
            with pytest.raises(StateError) as caught:
                Aggregator(old)
            assert caught.value.code == "state.schema"
    assert mixed, "it was never cut off in the middle"
    _check_same(old, tmp_path)
    # What was kept is the old version of everything, whatever was migrated already.
    for path in kept.rglob("*.db.*"):
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT schema FROM meta").fetchone() == (0,)
        connection.close()
    assert len(list(kept.rglob("*.db.*"))) == 5


def test_a_step_that_fails_changes_nothing(old: Path, tmp_path: Path) -> None:
    before = tree(old)

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE batches RENAME COLUMN memo TO note")
        connection.execute("UPDATE batches SET note = x'00'")

    with pytest.raises(StateError) as caught:
        migrate(old, steps={**STEPS, "journal": {0: wrong}}, backup=tmp_path / "kept")
    assert caught.value.code == "state.corrupt"
    changed = {name for name, digest in tree(old).items() if before.get(name) != digest}
    assert {name for name in changed if not name.endswith(".migrating")} == set()
    shutil.rmtree(tmp_path / "kept")
    migrate(old, steps=STEPS, backup=tmp_path / "kept")
    assert not list(old.rglob("*.migrating*"))
    _check_same(old, tmp_path)
