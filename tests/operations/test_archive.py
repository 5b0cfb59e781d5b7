"""Archives of sealed journal files, in folders and in an S3-compatible store."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from depin_id.errors import DepinError, StateError
from tests.operations.s3 import ACCESS, REGION, SECRET, Store, s3_server
from tests.operations.support import begin, check, speak
from tests.verify.net import Net
from verify.audit import audit
from verify.dataset import Dataset
from verify.operations.archive import archive, fetch, read_pointers
from verify.operations.backup import backup
from verify.operations.copying import digest_of
from verify.operations.places import Folder, Place, open_place
from verify.operations.restore import restore
from verify.reading import Reader
from verify.store import Journal


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", REGION)
    with s3_server() as store:
        yield store


SEGMENT = 16


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are full after a few entries: journal files become dispensable sooner."""
    defaults = Dataset.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "segment_entries", SEGMENT)


def long_story(folder: Path) -> tuple[Net, list[bytes]]:
    """Two sealed files, the first of which nothing needs every day."""
    net = Net(folder / "live")
    device = begin(net)
    sent = speak(net, device, 40)
    net.aggregator.journal.rotate()
    speak(net, device, 2 * SEGMENT)
    net.aggregator.publish()
    net.aggregator.save_snapshot()
    net.aggregator.journal.rotate()
    speak(net, device, 2)
    return net, sent


def test_archived_files_are_small_and_nothing_of_every_day_needs_them(tmp_path: Path) -> None:
    net, sent = long_story(tmp_path)
    place = Folder(tmp_path / "cold")
    first = net.root / "journal" / "journal-000001.db"
    other = net.device("other")
    speak(net, other, 1)
    made = archive(net.root, place, keep=1)
    assert [item.name for item in made.copied] == ["journal-000001.db", "journal-000002.db"]
    assert made.stripped == ["journal-000001.db"] and made.freed > 0 and not made.needed
    assert first.stat().st_mode & 0o777 == 0o444
    assert read_pointers(net.root / "journal")["journal-000001.db"].place == place.name
    # Positions, acknowledgements, restart, erasure and the log go on as ever.
    assert net.send(net.make(), *sent).duplicates == 40
    net.reopen()
    assert net.send(net.make(), *sent).duplicates == 40
    net.erase(other)
    net.close()
    # What needs what is gone says which file, and where to get it.
    for what in (lambda: audit(net.root), lambda: Reader(net.root).opened(4)):
        with pytest.raises(StateError) as caught:
            what()
        assert caught.value.code == "state.archived"
        assert "journal-000001.db" in caught.value.message
        assert "--from" in caught.value.hint
    shutil.rmtree(net.root / "snapshots")
    with pytest.raises(StateError) as caught:
        net._open()
    assert caught.value.code == "state.archived"
    assert fetch(net.root, place).fetched == ["journal-000001.db"]
    net.reopen()
    net.close()
    check(net.root, net.did)


def test_files_that_are_still_needed_stay_whole(tmp_path: Path) -> None:
    with Net(tmp_path / "live") as net:
        begin(net)
        net.aggregator.journal.rotate()
        made = archive(net.root, Folder(tmp_path / "cold"), keep=0)
        assert not made.stripped and "snapshot" in made.needed["journal-000001.db"]
        net.aggregator.save_snapshot()
        made = archive(net.root, Folder(tmp_path / "cold"), keep=0)
        assert not made.stripped and "segments" in made.needed["journal-000001.db"]


def test_what_is_archived_is_never_replaced_and_never_mixed_up(tmp_path: Path) -> None:
    net, _ = long_story(tmp_path)
    with net:
        cold = tmp_path / "cold"
        archive(net.root, Folder(cold))
        again = archive(net.root, Folder(cold))
        assert len(again.copied) == 2
        held = cold / "journal-000001.db"
        held.chmod(0o600)
        data = held.read_bytes()
        held.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(StateError) as caught:
            archive(net.root, Folder(cold), keep=0)
        assert caught.value.code == "archive.differs"
        with Journal.open(net.root / "journal", read_only=True) as journal:
            assert not any(info.stripped for info in journal.files())
        held.write_bytes(data)
        archive(net.root, Folder(cold), keep=1)
        # Another file of the chain, or a damaged one, is not taken back.
        second = (cold / "journal-000002.db").read_bytes()
        for wrong in (second, data[:-4096], data[:4096] + bytes(64) + data[4160:]):
            held.write_bytes(wrong)
            with pytest.raises(StateError) as caught:
                fetch(net.root, Folder(cold))
            assert caught.value.code in ("state.foreign", "state.corrupt")
        held.unlink()
        with pytest.raises(StateError) as caught:
            fetch(net.root, Folder(cold))
        assert caught.value.code == "state.missing"
        assert not list((net.root / "journal").glob("*.fetched"))


def test_a_changed_byte_of_a_small_file_is_noticed(tmp_path: Path) -> None:
    net, _ = long_story(tmp_path)
    with net:
        archive(net.root, Folder(tmp_path / "cold"), keep=1)
    path = net.root / "journal" / "journal-000001.db"
    with Journal.open(net.root / "journal", read_only=True) as journal:
        leaf = journal.entry(3).leaf
        journal.verify()
    data = path.read_bytes()
    at = data.index(leaf) + 40
    path.chmod(0o600)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    path.chmod(0o444)
    with Journal.open(net.root / "journal", read_only=True) as journal:
        with pytest.raises(StateError) as caught:
            journal.entry(3)
        assert caught.value.code == "state.corrupt"


def test_a_backup_of_a_small_journal_is_restored_with_its_archive(tmp_path: Path) -> None:
    net, _ = long_story(tmp_path)
    cold, copy, keys = Folder(tmp_path / "cold"), tmp_path / "copy", tmp_path / "keys"
    archive(net.root, cold, keep=1)
    net.close()
    backup(net.root, copy, keys=keys)
    public = net.root / "public"
    made = restore(copy, tmp_path / "again", keys=keys, published=public)
    with pytest.raises(StateError) as caught:
        audit(tmp_path / "again")
    assert caught.value.code == "state.archived" and not made.fetched and not made.public
    made = restore(copy, tmp_path / "whole", keys=keys, published=public, archive=cold)
    assert made.fetched == ["journal-000001.db"]
    shutil.rmtree(net.root)
    (tmp_path / "whole").rename(net.root)
    net.reopen()
    net.close()
    check(net.root, net.did)


def test_an_s3_store_holds_and_gives_back_the_same_bytes(tmp_path: Path, s3: Store) -> None:
    net, _ = long_story(tmp_path)
    with net:
        place = open_place("s3://cold/agg/one", endpoint=s3.url)
        made = archive(net.root, place, keep=1)
        assert sorted(s3.objects) == [
            "cold/agg/one/journal-000001.db",
            "cold/agg/one/journal-000002.db",
        ]
        assert made.stripped == ["journal-000001.db"] and not s3.refused
        puts = sum(line.startswith("PUT") for line in s3.requests)
        archive(net.root, place)
        assert sum(line.startswith("PUT") for line in s3.requests) == puts
        assert fetch(net.root, place).fetched == ["journal-000001.db"]
    check(net.root, net.did)


def test_what_a_store_adds_to_a_file_is_not_taken(tmp_path: Path, s3: Store) -> None:
    net, _ = long_story(tmp_path)
    with net:
        place = open_place("s3://cold/agg", endpoint=s3.url)
        archive(net.root, place, keep=1)
        whole = s3.objects["cold/agg/journal-000001.db"]
        beside = tmp_path / "changed.db"
        beside.write_bytes(whole)
        with closing(sqlite3.connect(beside)) as database:
            database.execute("CREATE TABLE extra(a)")
            database.commit()
        for wrong in (beside.read_bytes(), whole + bytes(64 << 20)):
            s3.objects["cold/agg/journal-000001.db"] = wrong
            with pytest.raises(StateError) as caught:
                fetch(net.root, place)
            assert caught.value.code == "state.foreign"
        assert not list((net.root / "journal").glob("*.fetched"))
        s3.objects["cold/agg/journal-000001.db"] = whole
        assert fetch(net.root, place).fetched == ["journal-000001.db"]


def test_large_files_go_in_parts(tmp_path: Path, s3: Store) -> None:
    source, back = tmp_path / "large", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20) * 21)
    place = open_place("s3://cold", endpoint=s3.url)
    assert place.put(source, "large") == place.get("large", back) == digest_of(source)
    assert sum("partNumber" in line for line in s3.requests) == 3 and not s3.uploads
    assert back.read_bytes() == source.read_bytes() == s3.objects["cold/large"]


def test_what_a_store_gives_back_changed_is_not_removed_here(tmp_path: Path, s3: Store) -> None:
    with Net(tmp_path / "live") as net:
        begin(net)
        net.aggregator.journal.rotate()
        s3.damage = lambda data: data[:-1] + b"?"
        with pytest.raises(StateError) as caught:
            archive(net.root, open_place("s3://cold/agg", endpoint=s3.url), keep=0)
        assert caught.value.code == "archive.differs"
        assert not read_pointers(net.root / "journal")


def test_credentials_are_never_said(
    tmp_path: Path, s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "another-secret-of-the-test"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    with Net(tmp_path / "live") as net:
        begin(net)
        net.aggregator.journal.rotate()
        with pytest.raises(DepinError) as caught:
            archive(net.root, open_place("s3://cold/agg", endpoint=s3.url))
    assert caught.value.code == "archive.refused" and s3.refused
    assert wrong not in str(caught.value) and ACCESS not in str(caught.value)
    for text in (
        "s3://AKID:secret@cold/x",
        "http://cold/x",
        "s3://",
        "s3://Cold_/x",
        "s3://a/../b",
    ):
        with pytest.raises(DepinError) as caught:
            open_place(text)
        assert caught.value.code == "archive.place" and "secret" not in str(caught.value)
    with pytest.raises(DepinError) as caught:
        open_place("s3://cold/x", endpoint="http" + "://AKID:secret@127.0.0.1:1")
    assert caught.value.code == "archive.place" and "secret" not in str(caught.value)


def test_a_store_that_is_not_there_is_said(tmp_path: Path, s3: Store) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(DepinError) as caught:
        open_place("s3://nobucket/agg", endpoint=s3.url).put(tmp_path / "file", "file")
    assert caught.value.code == "archive.store" and "bucket" in caught.value.hint
    assert "\n" not in caught.value.message
    place: Place = open_place("s3://cold/agg", endpoint="http://127.0.0.1:9")
    with pytest.raises(DepinError) as caught:
        place.digest("x")
    assert caught.value.code == "archive.store" and caught.value.hint
