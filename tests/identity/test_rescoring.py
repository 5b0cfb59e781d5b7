"""A stolen key: what it signed counts no more, by new entries; nothing is edited."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id._testing.world import NOW
from depin_id.errors import ConfigError, DatasetError
from tests.verify.net import Net, level, picture
from verify.admin import perform
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.dataset.exporting import counting, export, runs_in
from verify.explain import explain
from verify.identity.entries import RESCORED
from verify.identity.rescoring import runs_of
from verify.leaf import AdminLeaf
from verify.reading import Reader


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


def _mark(net: Net, did: str, **how: Any) -> dict[str, Any]:
    return perform(net.aggregator, {"op": "compromised", "did": did, **how})


def _exported(net: Net, **how: Any) -> list[int]:
    net.aggregator.publish()
    out = net.path / "out.csv"
    export(net.root / "public", "csv", out, **how)
    with out.open() as file:
        return [int(row["log_index"]) for row in csv.DictReader(file)]


def test_what_a_thief_signed_is_rescored_by_receipt_index(net: Net) -> None:
    victim, other = net.device("victim"), net.device("other")
    for step in range(4):
        net.advance(10)
        net.send(victim, victim.next([level(50, NOW + 10 * step)]))
        net.send(other, other.next([level(60, NOW + 10 * step)]))
    before = {entry.index: entry for entry in net.aggregator.journal.entries()}
    paid = _exported(net)
    assert len(paid) == 8
    stolen = paid[4:]
    answer = _mark(net, victim.did, since_index=paid[4])
    assert (answer["rescored"], answer["readings"]) == (2, 2)
    for entry in list(net.aggregator.journal.entries())[: len(before)]:
        assert entry == before[entry.index]
    mine = set(stolen) & set(_of(net, victim))
    assert sorted(set(paid) - mine) == _exported(net)
    assert _exported(net, rescored=True) == paid
    assert net.fold.tally.readings == 6
    # Twice says nothing new, and what comes from now on is refused.
    assert _mark(net, victim.did, since_index=paid[4])["rescored"] == 0
    assert net.codes(victim, victim.next([level(50, NOW + 60)])) == ["key.compromised"]
    with Reader(net.root) as reader:
        assert "counts no more" in explain(reader, index=sorted(mine)[0]).summary
        assert "counts no more" not in explain(reader, index=paid[0]).summary
    fresh = net.rotate(victim)
    assert net.codes(fresh, fresh.next([level(50, NOW + 61)])) == ["accepted"]
    _sound(net)


def _of(net: Net, device: Any) -> list[int]:
    streams = net.fold.state.streams.under(device.key.thumbprint)
    return [index for stream in streams for index in net.aggregator.journal.entries_of(stream)]


def _sound(net: Net) -> None:
    assert picture(net.replayed()) == picture(net.fold)
    net.reopen(forget_snapshot=True)
    assert picture(net.replayed()) == picture(net.fold)
    net.reopen()
    report = audit(net.root)
    assert report.ok, report
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete


def test_entries_in_many_files_are_found(net: Net) -> None:
    victim = net.device("victim")
    for step in range(6):
        net.advance(10)
        net.send(victim, victim.next([level(50, NOW + 10 * step)]))
        net.aggregator.journal.rotate()
    assert _mark(net, victim.did, since=(NOW + 30) * 1000)["rescored"] == 4
    _sound(net)


def test_many_runs_take_many_entries(net: Net) -> None:
    victim, other = net.device("victim"), net.device("other")
    sent = [
        net.message(device, device.next([level(base + step % 7, NOW - 1000 + step)]))
        for step in range(900)
        for device, base in ((victim, 50), (other, 60))
    ]
    assert net.ingest(*sent)[0].accepted == 1800
    size, readings = net.size, net.fold.tally.readings
    answer = _mark(net, victim.did, since=0)
    assert answer["rescored"] == 900
    assert net.size - size >= 4
    assert net.fold.tally.readings == readings - answer["readings"] > 0
    assert not any(net.fold.identity.is_rescored(index) for index in _of(net, other))
    _sound(net)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"since": 1, "since_index": 1},
        {"since": -1},
        {"since": (NOW + 10) * 1000},
        {"since_index": 10**9},
        {"since": True},
        {"since": 0, "key": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"},
    ],
)
def test_a_request_that_says_too_little_changes_nothing(net: Net, wrong: dict[str, Any]) -> None:
    victim = net.device()
    size = net.size
    with pytest.raises(ConfigError):
        _mark(net, victim.did, **wrong)
    assert net.size == size


def test_runs() -> None:
    assert runs_of([]) == []
    assert runs_of([3, 4, 5, 9, 11, 12]) == [(3, 3), (9, 1), (11, 2)]


def test_a_leaf_that_names_no_entries_is_an_error_of_the_dataset() -> None:
    for body in (None, [], [b"", ""], [b"", "", [1]], [b"", "", [[1, "2"]]], [b"", "", [[-1, 2]]]):
        leaf = AdminLeaf(RESCORED, 1, body).encode()
        with pytest.raises(DatasetError):
            runs_in(leaf)
    for data in (b"", AdminLeaf(RESCORED + 1, 1, [b"", "", [[1, 2]]]).encode()):
        with pytest.raises(DatasetError):
            runs_in(data)
    assert runs_in(AdminLeaf(RESCORED, 1, [b"", "", [[1, 2], [7, 1]]]).encode()) == [(1, 2), (7, 1)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8))
def test_rows_in_no_run_are_left(runs: list[tuple[int, int]]) -> None:
    batch = pa.record_batch([pa.array(range(64), pa.int64())], ["log_index"])
    left = counting(batch, runs).column("log_index").to_pylist()
    gone = {index for first, count in runs for index in range(first, first + count)}
    assert left == [index for index in range(64) if index not in gone]
