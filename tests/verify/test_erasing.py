"""An erasure that fails half way, or is cut off, leaves nothing published and is finished later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depin_id.errors import StateError
from depin_id.testing import TestDevice
from tests.verify.net import Net, level
from verify.aggregator import DATASET_MS
from verify.entries import Erased


def published(net: Net, envelope: bytes) -> bool:
    """Whether any published table holds these bytes."""
    files = (net.root / "public" / "segments").glob("entries-*.parquet")
    return any(envelope in pq.read_table(file)["envelope"].to_pylist() for file in files)


@contextmanager
def reader_of_keys(net: Net) -> Iterator[None]:
    """Somebody who holds on to the key store as it is now, as a long audit may."""
    with closing(sqlite3.connect(net.root / "keys" / "keys.db", isolation_level=None)) as found:
        # It is not waited for as long as usual: that would only cost the test time.
        net.aggregator.keys._connection.execute("PRAGMA busy_timeout=50")
        found.execute("BEGIN")
        found.execute("SELECT count(*) FROM keys").fetchone()
        yield


def refs_of(net: Net, device: TestDevice) -> tuple[bytes, ...]:
    subjects = net.fold.state.subjects
    return tuple(subjects.ref(index) for index in subjects.of_device(device.did))


@pytest.mark.parametrize("before", [False, True], ids=["waiting", "published"])
def test_a_reader_of_the_keys_makes_it_fail_half_way(tmp_path: Path, before: bool) -> None:
    with Net(tmp_path) as net:
        gone, other = net.device("gone"), net.device("other")
        secret, kept = gone.envelope([level(50)]), other.envelope([level(51)])
        net.send(gone, secret)
        net.send(other, kept)
        if before:
            net.aggregator.publish()
            assert published(net, secret)
        with reader_of_keys(net):
            with pytest.raises(StateError) as caught:
                net.erase(gone)
            assert caught.value.code == "state.locked"
            assert not published(net, secret)
            net.aggregator.publish()
            assert not published(net, secret) and published(net, kept)
        assert (net.root / "erasing").exists()
        net.advance(DATASET_MS / 1000)
        net.aggregator.idle(net.now_ms)
        assert not (net.root / "erasing").exists()
        assert not published(net, secret) and published(net, kept)


def test_cut_off_after_the_keys_it_is_finished_at_the_next_start(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gone = net.device("gone")
        secret = gone.envelope([level(50)])
        net.send(gone, secret)
        net.aggregator.publish()
        net.aggregator.save_snapshot()
        snapshots = set((net.root / "snapshots").iterdir())
        refs, old = refs_of(net, gone), net.aggregator
        old._erasing.begin()
        old.administer([Erased(gone.did, refs)])
        old.keys.erase_again(refs)
        for store in (old.quarantine, old.keys, old.journal):  # killed here
            store.close()
        assert published(net, secret)
        net.aggregator = net._open()
        assert not published(net, secret)
        assert not snapshots & set((net.root / "snapshots").iterdir())
        assert not (net.root / "erasing").exists()
