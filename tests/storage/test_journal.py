"""The journal against a model, against crashes, against damage."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import StateError
from tests.paths import ROOT
from tests.storage.support import NETWORK, batch, blob, check_entries
from verify.store import Journal, NewBatch, Position, StoredEntry


def _child(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.children", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _code(action: Callable[[], object]) -> str:
    with pytest.raises(StateError) as caught:
        action()
    assert caught.value.hint
    return caught.value.code


_items = st.lists(
    st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=90)), max_size=6
)


@given(
    steps=st.lists(
        st.one_of(
            st.just("rotate"),
            st.just("reopen"),
            st.tuples(_items, st.sampled_from(["", "a", "b"]), st.none() | st.binary(max_size=3)),
        ),
        max_size=14,
    ),
    data=st.data(),
)
def test_reads_equal_a_model_across_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal.create(directory, network=NETWORK)
    entries: list[StoredEntry] = []
    positions: list[Position] = []
    offsets: dict[str, bytes] = {}
    number = 0
    for step in steps:
        if step == "rotate":
            journal.rotate()
        elif step == "reopen":
            journal.close()
            journal = Journal.open(directory)
        else:
            assert isinstance(step, tuple)
            items, source, offset = step
            number += 1
            first = len(entries)
            new = [
                Position(i % 3, -(i % 2), i, i, blob(i), blob(i)[:16])
                for i in range(first, first + len(items))
            ]
            leaves, deltas, sealed = ([item[k] for item in items] for k in range(3))
            assert (
                journal.append(NewBatch(number, leaves, deltas, sealed, new, source, offset))
                == first
            )
            entries += [
                StoredEntry(first + i, number, number, *item) for i, item in enumerate(items)
            ]
            positions += new
            if offset is not None:
                offsets[source] = offset
    with journal, Journal.open(directory, read_only=True) as reader:
        for view in (journal, reader):
            assert view.size == len(entries)
            assert list(view.entries()) == entries
            assert [view.entry(i) for i in range(len(entries))] == entries
            assert {s: view.offset(s) for s in ("", "a", "b") if view.offset(s)} == {
                s: o for s, o in offsets.items() if o
            }
            for p in positions:
                assert view.position(p.stream, p.epoch, p.n) == p
                assert view.position(p.stream, p.epoch, p.n, before=p.entry) is None
                assert view.position(p.stream, p.epoch, p.n, before=p.entry + 1) == p
            start = data.draw(st.integers(0, len(entries) + 1))
            stop = data.draw(st.integers(0, len(entries) + 1))
            assert list(view.entries(start, stop)) == entries[start:stop]
        reader.verify()
    shutil.rmtree(directory)


def test_rotates_by_size_and_gives_read_only_files(tmp_path: Path) -> None:
    with Journal.create(tmp_path, network=NETWORK, max_file_bytes=200_000) as journal:
        for _ in range(40):
            journal.append(batch(journal, 40, filler=300))
        files = journal.files()
        assert len(files) > 2
        assert [f.sealed for f in files] == [True] * (len(files) - 1) + [False]
        for file in files[:-1]:
            assert file.path.stat().st_mode & 0o777 == 0o444
            assert not file.path.with_name(file.path.name + "-wal").exists()
            assert file.path.stat().st_size < 300_000
        check_entries(journal, filler=300)
    with Journal.open(tmp_path) as journal:
        assert journal.files() == files
        assert journal.network == NETWORK


def test_a_position_is_used_once(tmp_path: Path) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        journal.append(batch(journal))
        again = batch(journal)
        twice = replace(again, positions=[*again.positions, again.positions[0]])
        used = again.positions[2]._replace(n=1, id=blob("other"))
        assert _code(lambda: journal.append(twice)) == "state.conflict"
        assert _code(lambda: journal.append(replace(again, positions=[used]))) == "state.conflict"
        assert journal.size == 3  # the whole batch is undone, its offset too
        check_entries(journal)
        journal.append(again)
        check_entries(journal)


@pytest.mark.parametrize(
    "change",
    [
        {"deltas": []},
        {"received_at": 1 << 63},
        {"positions": [Position(1, 0, 0, 9, bytes(32), bytes(16))]},
        {"positions": [Position(1, 0, 0, 0, bytes(31), bytes(16))]},
        {"positions": [Position(1, 0, 0, 0, bytes(32), bytes(17))]},
        {"positions": [Position(1 << 63, 0, 0, 0, bytes(32), bytes(16))]},
    ],
)
def test_a_batch_in_the_wrong_form_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        wrong = replace(batch(journal), **change)
        assert _code(lambda: journal.append(wrong)) == "state.argument"
        journal.append(batch(journal))
        check_entries(journal)


def test_killed_at_any_moment_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    Journal.create(tmp_path, network=NETWORK, max_file_bytes=120_000).close()
    chance = random.Random(7)
    for _ in range(10):
        child = _child("append", str(tmp_path))
        acknowledged = 0
        try:
            assert child.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                acknowledged = int(child.stdout.readline())
            time.sleep(chance.random() / 200)
            child.send_signal(signal.SIGKILL)
            acknowledged = int(([acknowledged] + child.stdout.read().split(b"\n")[:-1])[-1])
        finally:
            child.kill()
            child.communicate(timeout=30)
        with Journal.open(tmp_path) as journal:
            assert journal.size >= acknowledged
            assert journal.size % 20 == 0
    with Journal.open(tmp_path, read_only=True) as journal:
        assert len(journal.files()) > 2
        check_entries(journal, filler=50)
        journal.verify()


@pytest.mark.parametrize(
    "step", ["sealed", "created", "renamed", "checkpointed", "journal_mode", "finished"]
)
def test_killed_in_a_rotation_it_is_completed(tmp_path: Path, step: str) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        journal.append(batch(journal))
    child = _child("rotate", str(tmp_path), step)
    try:
        child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == -signal.SIGKILL
    with Journal.open(tmp_path, read_only=True) as reader:
        check_entries(reader)
    with Journal.open(tmp_path) as journal:
        assert [f.sealed for f in journal.files()] == [True, False]
        assert journal.files()[0].path.stat().st_mode & 0o777 == 0o444
        journal.append(batch(journal))
        check_entries(journal)
        journal.verify()
    assert {p.name for p in tmp_path.iterdir()} == {
        "journal-000001.db",
        "journal-000002.db",
        "journal.lock",
    }


def test_one_writer_many_readers(tmp_path: Path) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        journal.append(batch(journal))
        with pytest.raises(StateError, match="process [0-9]+") as caught:
            Journal.open(tmp_path)
        assert caught.value.code == "state.locked"
        with Journal.open(tmp_path, read_only=True) as reader:
            assert _code(lambda: reader.append(batch(journal))) == "state.read_only"
            journal.append(batch(journal))
            assert reader.size == 3
            journal.rotate()  # a reader holds the file: sealed, made plain the next time
            journal.append(batch(journal))
            reader.refresh()
            check_entries(reader)
        journal.rotate()
        assert all(f.path.stat().st_mode & 0o222 == 0 for f in journal.files()[:-1])
        check_entries(journal)
    assert _code(lambda: journal.append(batch(journal))) == "state.closed"
    assert _code(lambda: journal.entry(0)) == "state.closed"
    Journal.open(tmp_path).close()


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        journal.append(batch(journal))
        connection: sqlite3.Connection = journal._open[1]._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        assert _code(lambda: journal.append(batch(journal, 500))) == "state.full"
        assert journal.size == 3
        connection.execute("PRAGMA max_page_count=1000000")
        journal.append(batch(journal, 500))
        check_entries(journal)


def _three_files(directory: Path) -> list[Path]:
    with Journal.create(directory, network=NETWORK) as journal:
        for _ in range(3):
            journal.append(batch(journal, 60))
            journal.append(batch(journal, 60))
            journal.rotate()
        journal.append(batch(journal, 60))
        return [f.path for f in journal.files()]


def _read_all(directory: Path) -> None:
    with Journal.open(directory) as journal:
        journal.verify()
        check_entries(journal)


def test_flipped_bytes_give_a_typed_error_or_change_nothing(tmp_path: Path) -> None:
    source = tmp_path / "good"
    names = [p.name for p in _three_files(source)]
    chance = random.Random(3)
    noticed = 0
    for turn in range(40):
        copy = tmp_path / f"bad{turn}"
        shutil.copytree(source, copy)
        victim = copy / chance.choice(names)
        victim.chmod(0o600)
        data = bytearray(victim.read_bytes())
        for _ in range(8):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        victim.write_bytes(data)
        try:
            _read_all(copy)
        except StateError as error:
            assert error.hint
            noticed += 1
        shutil.rmtree(copy)
    assert noticed > 25  # the rest hit unused bytes of pages


def test_a_changed_byte_of_an_entry_is_noticed_though_sqlite_does_not(tmp_path: Path) -> None:
    path = _three_files(tmp_path)[1]
    path.chmod(0o600)
    data = path.read_bytes()
    assert data.count(blob("sealed", 130)) == 1
    path.write_bytes(data.replace(blob("sealed", 130), blob("forged")))
    with Journal.open(tmp_path) as journal, pytest.raises(StateError, match=path.name) as caught:
        list(journal.entries())
    assert caught.value.code == "state.corrupt"
    path.chmod(0o600)  # opening it made it read-only again
    path.write_bytes(data.replace(blob("id", 130), blob("forged")))
    with Journal.open(tmp_path) as journal:
        assert _code(lambda: journal.position(1, 0, 130)) == "state.corrupt"
        assert _code(journal.verify) == "state.corrupt"


@pytest.mark.parametrize("keep", [0, 50, 4096, 20_000])
def test_a_file_cut_short_is_corrupt(tmp_path: Path, keep: int) -> None:
    path = _three_files(tmp_path)[2]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StateError, match=path.name) as caught:
        _read_all(tmp_path)
    assert caught.value.code == "state.corrupt"
    assert "restore" in caught.value.hint


def test_files_have_to_be_the_ones_of_the_chain(tmp_path: Path) -> None:
    good, other, foreign = tmp_path / "good", tmp_path / "other", tmp_path / "foreign"
    paths = _three_files(good)
    _three_files(other)

    def with_change(change: Callable[[Path], object]) -> str:
        copy = tmp_path / "copy"
        shutil.copytree(good, copy)
        change(copy)
        try:
            return _code(lambda: Journal.open(copy))
        finally:
            shutil.rmtree(copy)

    def write(name: str, statement: str, copy: Path) -> None:
        (copy / name).chmod(0o600)
        with sqlite3.connect(copy / name) as connection:
            connection.execute(statement)
        connection.close()

    def put(source: Path, target: Path) -> None:
        target.unlink()  # a sealed file is read-only: only root could write over it
        shutil.copy(source, target)

    with Journal.create(foreign, network="did:web:else.example") as journal:
        for _ in range(3):
            journal.append(batch(journal, 120))
            journal.rotate()
    assert with_change(lambda c: (c / paths[1].name).unlink()) == "state.gap"
    assert with_change(lambda c: (c / paths[0].name).unlink()) == "state.gap"
    swap = foreign / paths[2].name
    assert with_change(lambda c: put(swap, c / swap.name)) == "state.foreign"
    last = paths[3].name
    assert with_change(lambda c: write(last, "UPDATE meta SET schema=2", c)) == "state.schema"
    for statement in (
        "UPDATE meta SET previous=zeroblob(32)",
        "UPDATE meta SET first=first+1",
        "UPDATE meta SET network=zeroblob(9)",
        "DELETE FROM meta",
        "DROP TABLE batches",
        "UPDATE batches SET note='text'",
    ):
        assert with_change(partial(write, last, statement)) == "state.corrupt"
    drop = "DELETE FROM batches WHERE number=(SELECT max(number) FROM batches)"
    assert with_change(lambda c: write(paths[1].name, drop, c)) == "state.corrupt"
    assert _code(lambda: Journal.create(good, network=NETWORK)) == "state.exists"
    assert _code(lambda: Journal.open(tmp_path / "nothing")) == "state.missing"
    _read_all(good)


def test_a_commit_is_synchronous(tmp_path: Path) -> None:
    with Journal.create(tmp_path, network=NETWORK) as journal:
        connection = journal._open[1]._connection
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_schema_that_is_no_text_is_corrupt(tmp_path: Path) -> None:
    """SQLite quotes it in its error, and Python cannot decode that error."""
    with Journal.create(tmp_path, network=NETWORK) as journal:
        journal.append(batch(journal))
    path = next(tmp_path.glob("journal-*.db"))
    data = path.read_bytes()
    for word in (b"CREATE TABLE", b"batches", b"meta"):
        path.write_bytes(data.replace(word, b"\xec" * len(word)))
        with pytest.raises(StateError) as refused:
            Journal.open(tmp_path, read_only=True)
        assert refused.value.code == "state.corrupt"
