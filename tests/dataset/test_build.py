"""Building: the same bytes whichever way, nothing replaced unasked, erasure, crashes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depin_id import cbor
from tests.dataset.support import KEY, entries, entry, publish, refuses, snapshot
from verify.dataset import Dataset, OpenEntry, verify_dataset
from verify.dataset.rows import read_records
from verify.leaf import RecordsContent


def test_round_trip(tmp_path: Path) -> None:
    publish(tmp_path, 100)
    calls: list[tuple[int, int]] = []
    report = verify_dataset(tmp_path, keys=[KEY], progress=lambda *call: calls.append(call))
    assert (report.covered, report.segments, report.complete) == (100, 3, True)
    assert report.administration == 10
    assert report.closed == 9 and report.opened == 81
    assert report.cell_resolution == 9
    assert calls[-1] == (200, 200)
    assert calls == sorted(calls)
    rows = [
        (item.index, number, row)
        for item in entries(100)
        if item.records is not None and item.index % 7
        for number, row in enumerate(RecordsContent.decode(item.records).rows)
        if not row.code
    ]
    assert report.readings == len(rows) > 200
    names = sorted(os.listdir(tmp_path / "segments"))
    assert names == [
        f"{table}-{span}.parquet"
        for table in ("entries", "readings")
        for span in ("0-40", "40-80", "80-100")
    ]
    stored = [
        row
        for span in ("0-40", "40-80", "80-100")
        for row in pq.ParquetFile(tmp_path / f"segments/readings-{span}.parquet").read().to_pylist()
    ]
    assert [(row["log_index"], row["record"]) for row in stored] == [row[:2] for row in rows]
    first = stored[0]
    assert first["mantissa"] == -7 and first["exponent"] == -18 and first["value"] == -7e-18
    assert first["h3_cell"].startswith("89") and first["lat"] == 48.1234568
    assert first["received_at"].isoformat() == "2025-10-09T08:53:21.010000+00:00"


def test_the_same_bytes_whichever_way(tmp_path: Path) -> None:
    made = entries(130)
    publish(tmp_path / "a", 130)
    step = Dataset(tmp_path / "b", segment_entries=40)
    for upto in (1, 30, 39, 40, 41, 120, 121, 130):
        assert step.flush(made[step.sealed :], upto) == upto
        assert step.sealed == upto - upto % 40
    sealed = Dataset(tmp_path / "c", segment_entries=40)
    assert sealed.seal(iter(made), 130) == 120
    assert sealed.size == 120
    rebuilt = Dataset(tmp_path / "d", segment_entries=40)
    assert rebuilt.rebuild(iter(made)) == 130
    wanted = snapshot(tmp_path / "a/segments")
    assert snapshot(tmp_path / "b/segments") == wanted == snapshot(tmp_path / "d/segments")
    assert {n: d for n, d in wanted.items() if "-120-" not in n} == snapshot(
        tmp_path / "c/segments"
    )
    before = {path: path.stat().st_ino for path in (tmp_path / "d/segments").iterdir()}
    assert rebuilt.rebuild(made, 130) == 130
    assert {path: path.stat().st_ino for path in (tmp_path / "d/segments").iterdir()} == before
    assert rebuilt.flush([], 130) == 130


def test_other_content_is_refused_unless_rebuilt(tmp_path: Path) -> None:
    made = entries(80)
    dataset = publish(tmp_path, 80)
    changed = [item.closed() if item.index == 45 else item for item in made]
    (tmp_path / "segments/entries-40-80.parquet").unlink()
    before = snapshot(tmp_path / "segments")
    refuses("dataset.differs", lambda: dataset.seal(changed, 80))
    assert snapshot(tmp_path / "segments") == before
    assert dataset.seal(made, 80) == 80
    assert dataset.rebuild(changed) == 80
    assert verify_dataset(tmp_path, keys=[KEY]).closed == 8
    # A rebuild with other boundaries leaves nothing of the old ones.
    other = Dataset(tmp_path, segment_entries=33)
    refuses("dataset.layout", lambda: other.size)
    assert other.rebuild(changed) == 80
    assert len(list((tmp_path / "segments").iterdir())) == 6
    assert verify_dataset(tmp_path, keys=[KEY]).closed == 8


def test_erasure_keeps_everything_about_others(tmp_path: Path) -> None:
    dataset = publish(tmp_path, 100)
    before = verify_dataset(tmp_path, keys=[KEY])
    erased = [index for index in range(100) if index % 3 == 1 and index < 60]
    untouched = snapshot(tmp_path / "segments")
    assert dataset.rewrite_without(erased) == 2
    assert dataset.rewrite_without(erased) == 2
    after = verify_dataset(tmp_path, keys=[KEY])
    gone = [i for i in erased if i % 10 and i % 11]
    assert after.closed == before.closed + len(gone)
    assert (after.accepted, after.covered) == (before.accepted, before.covered)
    files = snapshot(tmp_path / "segments")
    same = [name for name in files if files[name] == untouched[name]]
    assert same == ["entries-80-100.parquet", "readings-80-100.parquet"]
    for span in ("0-40", "40-80"):
        table = pq.ParquetFile(tmp_path / f"segments/entries-{span}.parquet").read()
        for row in table.to_pylist():
            whole = entry(row["index"])
            hidden = row["index"] in erased
            assert row["leaf"] == whole.leaf
            assert row["salt"] == (None if hidden else whole.salt)
            assert row["records"] == (None if hidden else whole.records)
        readings = pq.ParquetFile(tmp_path / f"segments/readings-{span}.parquet").read()
        assert not set(erased) & set(readings.column("log_index").to_pylist())
    # What the journal gives after the erasure is the same dataset.
    closed = [item.closed() if item.index in erased else item for item in entries(100)]
    again = Dataset(tmp_path / "again", segment_entries=40)
    again.rebuild(closed)
    assert snapshot(tmp_path / "again/segments") == files


class Stop(Exception):
    """The process ends here."""


@pytest.mark.parametrize("work", ["flush", "erase", "rebuild"])
def test_a_crash_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    made = entries(60)
    erased = {5, 7, 25, 43}
    limit = count = 0

    def stopping(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count > limit:
                raise Stop
            return real(*args, **kwargs)

        return call

    def run(folder: Path) -> None:
        dataset = Dataset(folder, segment_entries=20)
        if work == "flush":
            dataset.flush(made[dataset.sealed :], 60)
        elif work == "erase":
            dataset.rewrite_without(erased)
        else:
            dataset.rebuild([e.closed() if e.index in erased else e for e in made])

    whole = tmp_path / "whole"
    Dataset(whole, segment_entries=20).flush(made, 50 if work == "flush" else 60)
    run(whole)
    finished = False
    for limit in range(60):
        folder = tmp_path / str(limit)
        Dataset(folder, segment_entries=20).flush(made, 50 if work == "flush" else 60)
        count = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopping(os.replace))
            patch.setattr(Path, "unlink", stopping(Path.unlink))
            patch.setattr(os, "fsync", stopping(os.fsync))
            try:
                run(folder)
                finished = True
            except Stop:
                pass
        run(folder)
        assert snapshot(folder) == snapshot(whole)
        if finished:
            break
    assert finished


def test_what_is_left_over_is_removed(tmp_path: Path) -> None:
    dataset = publish(tmp_path, 50)
    wanted = snapshot(tmp_path / "segments")
    old = Dataset(tmp_path / "old", segment_entries=40)
    old.flush(entries(45), 45)
    for file in (tmp_path / "old/segments").glob("*-40-45.parquet"):
        file.rename(tmp_path / "segments" / file.name)
    (tmp_path / "segments/.tmp-readings-40.77").write_bytes(b"half")
    assert Dataset(tmp_path, segment_entries=40).size == 50 == dataset.size
    assert snapshot(tmp_path / "segments") == wanted


def test_entries_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path, segment_entries=10)
    made = entries(20)
    whole = made[3]
    assert whole.records is not None and whole.envelope is not None and whole.salt is not None
    shifted = whole.salt + whole.envelope[:1]
    wrong = [
        ("dataset.commitment", OpenEntry(3, whole.leaf, whole.salt, b"x", whole.records)),
        ("dataset.commitment", OpenEntry(3, whole.leaf, whole.salt, whole.envelope, None)),
        ("dataset.commitment", OpenEntry(3, whole.leaf, None, whole.envelope, None)),
        ("dataset.commitment", OpenEntry(3, whole.leaf, whole.salt, None, whole.records)),
        (
            "dataset.commitment",
            OpenEntry(3, whole.leaf, shifted, whole.envelope[1:], whole.records),
        ),
        ("dataset.leaf", OpenEntry(3, whole.leaf + b"x", None, None, None)),
        ("dataset.gap", made[4]),
    ]
    for code, item in wrong:
        refuses(code, partial(dataset.flush, [*made[:3], item, *made[4:]], 20))
        assert list((tmp_path / "segments").iterdir()) == []
    refuses("dataset.gap", lambda: dataset.flush(made[:15], 16))
    assert dataset.sealed == 10
    refuses("dataset.gap", lambda: dataset.rebuild(made[:15], 16))
    refuses("dataset.argument", lambda: Dataset(tmp_path, segment_entries=0))
    refuses("dataset.argument", lambda: Dataset(tmp_path, cell_resolution=16))


@pytest.mark.parametrize("value", [["x"], [1] * 9, [1, "", 1, 0, 0, None, None, "", []], "rows"])
def test_records_of_another_form_are_refused(tmp_path: Path, value: object) -> None:
    data = cbor.encode(["depin-records/1", "did:a", bytes(32), "did:a", [value]])
    refuses("dataset.records", lambda: read_records(1, data))
    number = cbor.Tag(4, [1, 2, 3])
    row = ["", "", number, 0, 0, None, None, "", []]
    data = cbor.encode(["depin-records/1", "did:a", bytes(32), "did:a", [row]])
    refuses("dataset.records", lambda: read_records(1, data))
