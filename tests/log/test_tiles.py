"""Tiles on disk: other people's logs, re-opening, crashes, rewriting, audit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import LogError
from tests.log.helpers import KEY, ORIGIN, entries, mth, published_log, signed
from tests.paths import vectors
from verify.log import (
    NoteKey,
    TileLog,
    decode_bundle,
    encode_bundle,
    leaf_hash,
    root_of,
    tile_path,
    verify_checkpoint,
    verify_consistency,
    verify_log,
)

# The key of the log of github.com/transparency-dev/tessera, testdata (its key id is in the notes).
TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def refuses(code: str, call: Callable[[], object]) -> LogError:
    with pytest.raises(LogError) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def test_paths() -> None:
    """Examples of c2sp.org/tlog-tiles."""
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(3, 5, 17) == "tile/3/005.p/17"
    assert tile_path(-1, 1000, 255) == "tile/entries/x001/000.p/255"
    assert tile_path(63, 999) == "tile/63/999"
    for arguments in ((64, 0), (-2, 0), (0, -1), (0, 0, 0), (0, 0, 257)):
        refuses("log.tile", partial(tile_path, *arguments))


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles(items: list[bytes]) -> None:
    data = encode_bundle(items)
    assert decode_bundle(data, len(items)) == items
    refuses("log.tile", lambda: decode_bundle(data, len(items) + 1))
    if items:
        refuses("log.tile", lambda: decode_bundle(data, len(items) - 1))
        refuses("log.tile", lambda: decode_bundle(data[:-1], len(items)))


@given(st.binary(max_size=600), st.integers(0, 256))
def test_bundle_noise(noise: bytes, count: int) -> None:
    try:
        items = decode_bundle(noise, count)
    except LogError:
        return
    assert encode_bundle(items) == noise


def test_entries_that_are_too_long_are_refused(tmp_path: Path) -> None:
    log = TileLog(tmp_path, ORIGIN)
    refuses("log.entry", lambda: log.append([b"short", bytes(65_536)]))
    assert log.size == 0
    log.append([bytes(65_535)])
    log.flush()
    assert TileLog(tmp_path, ORIGIN).leaf(0) == bytes(65_535)


def test_a_log_that_tessera_wrote(tmp_path: Path) -> None:
    source = vectors("tessera-log/testdata/log")
    key = NoteKey.parse(TESSERA)
    assert verify_log(source, key.name, [key]).size == 15
    log = TileLog(source, key.name)
    assert log.size == 15
    for size in range(16):
        note = (source / f"checkpoint.{size}").read_bytes()
        checkpoint = verify_checkpoint(note, [key])
        assert checkpoint.size == size
        assert log.root(size) == checkpoint.root
        verify_consistency(size, 15, log.consistency_proof(size), checkpoint.root, log.root())
        # The audit finds each older head in the newer files, too.
        folder = tmp_path / str(size)
        shutil.copytree(source, folder)
        (folder / "checkpoint").write_bytes(note)
        assert verify_log(folder, key.name, [key]) == checkpoint
    # What tessera wrote, this writer writes: byte for byte, one leaf at a time.
    ours = TileLog(tmp_path / "ours", key.name)
    for index in range(15):
        ours.append([log.leaf(index)])
        ours.flush()
    theirs = {name: data for name, data in snapshot(source).items() if name.startswith("tile")}
    assert snapshot(tmp_path / "ours") == theirs


@pytest.mark.parametrize("batches", [[1] * 20, [255, 1, 1], [256], [300, 300, 70], [513, 0, 511]])
def test_reopening_after_every_flush(tmp_path: Path, batches: list[int]) -> None:
    leaves = entries(sum(batches))
    done = 0
    for batch in batches:
        log = TileLog(tmp_path, ORIGIN)
        assert (log.size, log.flushed_size) == (done, done)
        assert log.root() == mth(leaves[:done])
        assert log.append(leaves[done : done + batch]) == done
        done += batch
        assert log.root() == mth(leaves[:done])
        assert log.flush() == done
        log.publish_checkpoint(signed(log.checkpoint()))
        assert verify_log(tmp_path, ORIGIN, [KEY]).size == done
    log = TileLog(tmp_path, ORIGIN)
    assert [log.leaf(index) for index in range(done)] == leaves


def test_many_tiles_and_levels(tmp_path: Path) -> None:
    """Beyond 65,536 leaves: three levels, tiles of which are read again."""
    leaves = entries(66_000)
    log = TileLog(tmp_path, ORIGIN)
    for start in range(0, len(leaves), 7_777):
        log.append(leaves[start : start + 7_777])
        log.flush()
    assert log.root() == root_of([leaf_hash(leaf) for leaf in leaves])
    log.publish_checkpoint(signed(log.checkpoint()))
    calls: list[tuple[int, int]] = []
    checkpoint = verify_log(
        tmp_path, ORIGIN, [KEY], progress=lambda done, total: calls.append((done, total))
    )
    assert checkpoint.root == log.root()
    assert calls[-1] == (66_000, 66_000)
    assert len(calls) == 258
    again = TileLog(tmp_path, ORIGIN, size=65_537)
    assert again.root() == log.root(65_537)
    again.append(leaves[65_537:65_999])
    assert again.root() == log.root(65_999)


def test_an_older_size_takes_the_same_leaves_and_no_others(tmp_path: Path) -> None:
    leaves = entries(700)
    log = published_log(tmp_path, 600)
    before = snapshot(tmp_path)
    for size in (0, 1, 255, 256, 257, 512, 599, 600):
        again = TileLog(tmp_path, ORIGIN, size=size)
        assert again.root() == mth(leaves[:size])
        again.append(leaves[size:600])
        assert again.flush() == 600
        assert again.root() == log.root()
        assert snapshot(tmp_path) == before
    # Differing leaves: before, inside and beyond what is published, in one or several flushes.
    for size, count in ((0, 1), (0, 255), (0, 700), (100, 30), (300, 300), (520, 10), (599, 60)):
        again = TileLog(tmp_path, ORIGIN, size=size)
        again.append(entries(count, b"other"))
        refuses("log.rewrite", again.flush)
        assert again.flushed_size == size
    refuses("log.range", lambda: TileLog(tmp_path, ORIGIN, size=601))
    refuses("log.range", lambda: TileLog(tmp_path, ORIGIN, size=-1))
    assert verify_log(tmp_path, ORIGIN, [KEY]).size == 600


def test_a_later_flush_does_not_slip_past_wider_partial_tiles(tmp_path: Path) -> None:
    published_log(tmp_path, 50)
    again = TileLog(tmp_path, ORIGIN, size=10)
    again.append(entries(50)[10:20])
    again.flush()
    again.append(entries(5, b"other"))
    refuses("log.rewrite", again.flush)


def test_partial_tiles_of_a_full_tile_are_dropped(tmp_path: Path) -> None:
    log = published_log(tmp_path, 200)
    log.append(entries(300)[200:])
    log.flush()
    names = set(snapshot(tmp_path))
    assert {"tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/1/000.p/1"} < names
    assert not any(name.startswith(("tile/0/000.p", "tile/entries/000.p")) for name in names)


class Stop(Exception):
    """The process ends here."""


def test_a_crash_at_every_write_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before the n-th rename, leave its temporary file: what is open again is a log."""
    leaves = entries(700)
    replace = os.replace
    limit, count = 0, 0

    def stopping(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count > limit:
            Path(target).parent.joinpath(".tmp-left").write_bytes(b"half")
            raise Stop
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopping)
    for limit in range(40):
        folder = tmp_path / str(limit)
        monkeypatch.setattr(os, "replace", replace)
        published_log(folder, 100)
        monkeypatch.setattr(os, "replace", stopping)
        count = 0
        log = TileLog(folder, ORIGIN)
        log.append(leaves[100:])
        try:
            log.flush()
            finished = True
        except Stop:
            finished = False
            assert log.flushed_size == 100
        monkeypatch.setattr(os, "replace", replace)
        again = TileLog(folder, ORIGIN)
        assert again.size in (100, 256, 512, 700)
        assert again.root() == mth(leaves[: again.size])
        again.append(leaves[again.size :])
        assert again.flush() == 700
        again.publish_checkpoint(signed(again.checkpoint()))
        assert verify_log(folder, ORIGIN, [KEY]).root == mth(leaves)
        # The stopped writer can go on, too.
        assert log.flush() == 700
        if finished:
            return
    raise AssertionError("the flush never came to its end")


def test_files_that_are_cut_off_are_found_and_can_be_made_again(tmp_path: Path) -> None:
    published_log(tmp_path, 300)
    before = snapshot(tmp_path)
    for name in ("tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1", "tile/0/000"):
        for content in (before[name][:-1], b"", before[name] + b"\x00"):
            (tmp_path / name).write_bytes(content)
            refuses("log.tile", lambda: verify_log(tmp_path, ORIGIN, [KEY]))
            refuses("log.tile", lambda: TileLog(tmp_path, ORIGIN))
        (tmp_path / name).unlink()
        refuses("log.tile", lambda: verify_log(tmp_path, ORIGIN, [KEY]))
        again = TileLog(tmp_path, ORIGIN, size=0)
        again.append(entries(300))
        again.flush()
        assert snapshot(tmp_path) == before


def test_the_audit_finds_every_changed_file(tmp_path: Path) -> None:
    published_log(tmp_path, 300)
    # An older partial tile that was not removed is checked, too.
    (tmp_path / "tile/0/000.p").mkdir()
    (tmp_path / "tile/0/000.p/3").write_bytes((tmp_path / "tile/0/000").read_bytes()[:96])
    (tmp_path / "tile/0/000.p/.tmp-x").write_bytes(b"half")
    assert verify_log(tmp_path, ORIGIN, [KEY]).size == 300
    for name, content in snapshot(tmp_path).items():
        if name.endswith(".tmp-x"):
            continue
        # A bit of the first, a middle and the last byte; every bit of the checkpoint elsewhere.
        for place in (0, len(content) // 2, len(content) - 1):
            for bit in (0, 7):
                changed = bytearray(content)
                changed[place] ^= 1 << bit
                (tmp_path / name).write_bytes(changed)
                with pytest.raises(LogError):
                    verify_log(tmp_path, ORIGIN, [KEY])
        (tmp_path / name).write_bytes(content)
    tile = tmp_path / "tile/0/000"
    altered = bytearray(tile.read_bytes())
    altered[17 * 32] ^= 1
    tile.write_bytes(altered)
    error = refuses("log.differs", lambda: verify_log(tmp_path, ORIGIN, [KEY]))
    assert "tile/0/000 " in error.message
    assert "hash 17 " in error.message


def test_the_audit_finds_a_log_that_was_remade_under_an_old_checkpoint(tmp_path: Path) -> None:
    published_log(tmp_path / "a", 300)
    other = TileLog(tmp_path / "b", ORIGIN)
    other.append(entries(300, b"other"))
    other.flush()
    shutil.copy(tmp_path / "a/checkpoint", tmp_path / "b/checkpoint")
    error = refuses("log.differs", lambda: verify_log(tmp_path / "b", ORIGIN, [KEY]))
    assert "root" in error.message
    refuses("log.rewrite", lambda: other.publish_checkpoint(signed(other.checkpoint())))
    refuses("log.origin", lambda: verify_log(tmp_path / "a", "another", [KEY]))
    refuses("log.signature", lambda: verify_log(tmp_path / "a", ORIGIN, []))
    refuses("log.checkpoint", lambda: verify_log(tmp_path, ORIGIN, [KEY]))


def test_the_audit_looks_at_what_the_checkpoint_covers(tmp_path: Path) -> None:
    log = published_log(tmp_path, 300)
    log.append(entries(900)[300:])
    log.flush()
    assert verify_log(tmp_path, ORIGIN, [KEY]).size == 300


def test_a_damaged_edge_is_not_signed(tmp_path: Path) -> None:
    """An upper tile or entries that do not fit the leaf hashes: no log opens on them."""
    published_log(tmp_path, 300)
    for name in ("tile/1/000.p/1", "tile/entries/001.p/44", "tile/0/001.p/44"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refuses("log.tile", lambda: TileLog(tmp_path, ORIGIN))
        (tmp_path / name).write_bytes(content)
    assert TileLog(tmp_path, ORIGIN).root() == mth(entries(300))


def test_disk_errors_are_ours_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TileLog(tmp_path, ORIGIN)
    log.append(entries(300))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", full)
    refuses("log.io", log.flush)
    assert log.flushed_size == 0
    monkeypatch.setattr(os, "fsync", fsync)
    assert log.flush() == 300
    assert not any(".tmp-" in name for name in snapshot(tmp_path))
    assert TileLog(tmp_path, ORIGIN).root() == mth(entries(300))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    published_log(tmp_path, 30)
    for name in ("checkpoint", "tile/entries/000.p/30", "tile/0/000.p/30"):
        path = tmp_path / name
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        refuses("log.tile", lambda: verify_log(tmp_path, ORIGIN, [KEY]))
        path.unlink()
        path.mkdir()
        with pytest.raises(LogError):
            verify_log(tmp_path, ORIGIN, [KEY])
        path.rmdir()
        path.write_bytes(content)
    shutil.rmtree(tmp_path / "tile/0")
    (tmp_path / "tile/0").write_bytes(b"a file where a folder should be")
    log = TileLog(tmp_path, ORIGIN)
    log.append(entries(30))
    refuses("log.io", log.flush)
