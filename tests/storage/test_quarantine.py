"""The quarantine: bounded, fair, in order; and files written durably."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.durable import create_file, replace_file
from depin_id.errors import StateError
from verify.store import Quarantine
from verify.store.quarantine import ROW_BYTES, Arrival

KID = b"12345678"
COST = ROW_BYTES + 100 + 1 + len(KID)


def _open(directory: Path, *, total: int = 100, principal: int = 10, kid: int = 50) -> Quarantine:
    return Quarantine.open(
        directory,
        max_total_bytes=total * COST,
        max_per_principal_bytes=principal * COST,
        max_per_kid=kid,
    )


def _data(number: int) -> bytes:
    return b"%0100d" % number


def test_parked_bytes_come_back_in_order_of_receipt(tmp_path: Path) -> None:
    with _open(tmp_path) as quarantine:
        arrivals = [Arrival("p", KID, time, _data(time)) for time in (3, 1, 2)]
        assert quarantine.park_many(arrivals) == [True] * 3
        assert quarantine.park("q", b"another!", 0, _data(0))
    with _open(tmp_path) as quarantine:
        parked = quarantine.take(KID)
        assert [(p.received_at, p.principal, p.data) for p in parked] == [
            (t, "p", _data(t)) for t in (1, 2, 3)
        ]
        assert quarantine.take(KID, limit=2) == parked[:2]
        assert quarantine.take(b"") == []
        assert quarantine.counts().cost == 4 * COST
        assert quarantine.delete([p.id for p in parked] * 2) == 3
        assert quarantine.take(KID) == []
        counts = quarantine.counts()
        assert (counts.parked, counts.cost, counts.dropped, counts.refused) == (1, COST, 0, 0)


def test_a_flooder_loses_its_own_bytes_only(tmp_path: Path) -> None:
    with _open(tmp_path, total=15) as quarantine:
        for i in range(5):
            assert quarantine.park("h", KID, i, _data(i))
        for i in range(100):
            assert quarantine.park("f", b"%08d" % i, i, _data(i))
        assert len(quarantine.take(KID)) == 5
        assert [len(quarantine.take(b"%08d" % i)) for i in range(100)] == [0] * 90 + [1] * 10
        # All is full: a third is refused, one with items gives way to itself alone.
        assert not quarantine.park("n", KID, 9, _data(9))
        assert quarantine.park("h", KID, 9, _data(9))
        assert [p.received_at for p in quarantine.take(KID)] == [1, 2, 3, 4, 9]
        assert not quarantine.park("f", KID, 0, bytes(20 * COST))
        counts = quarantine.counts()
        assert (counts.parked, counts.dropped, counts.refused) == (15, 91, 2)
        assert counts.cost == 15 * COST
    with _open(tmp_path, total=15) as quarantine:
        assert quarantine.counts() == counts


def test_who_has_many_addresses_does_not_fill_it(tmp_path: Path) -> None:
    cost = ROW_BYTES + 100 + len("http:000") + len(KID)
    most = 100 * COST // 4 // cost
    with _open(tmp_path) as quarantine:
        assert quarantine.park("p", KID, 0, _data(0))
        for n in range(100):
            assert quarantine.park(f"http:{n:03}", KID, 1 + n, _data(n))
        parked = quarantine.take(KID)
        assert [item.principal for item in parked] == [
            "p", *(f"http:{n:03}" for n in range(100 - most, 100))
        ]  # fmt: skip
        assert quarantine.delete([parked[1].id, parked[3].id]) == 2
    with _open(tmp_path) as quarantine:
        before = quarantine.take(KID)
        for n in range(100, 104):
            assert quarantine.park(f"http:{n}", KID, 1 + n, _data(n))
        assert len(quarantine.take(KID)) == 1 + most
        assert [item.id for item in quarantine.take(KID)][1:] == [
            *(item.id for item in before[3:]),
            *(item.id for item in quarantine.take(KID)[-4:]),
        ]
        assert not quarantine.park("http:104", KID, 0, bytes(26 * COST))
        assert all(quarantine.park(f"q{n % 8}", KID, 0, _data(n)) for n in range(70))
        assert len(quarantine.take(KID)) == 1 + most + 70
        for n in range(3000):  # one loses its own, again and again
            assert quarantine.park("http:one", KID, 0, _data(n))
        assert len(quarantine._strangers) < 1200


def test_a_kid_cannot_be_filled_by_somebody_else(tmp_path: Path) -> None:
    with _open(tmp_path, kid=2) as quarantine:
        for i in range(5):
            assert quarantine.park("f", KID, i, _data(i))
        assert quarantine.park("h", KID, 9, _data(9))
        assert [(p.principal, p.received_at) for p in quarantine.take(KID)] == [
            ("f", 3),
            ("f", 4),
            ("h", 9),
        ]


def test_empty_data_costs_too(tmp_path: Path) -> None:
    with _open(tmp_path) as quarantine:
        for i in range(200):
            quarantine.park("f", b"%d" % i, i, b"")
        assert quarantine.counts().parked < 20


def test_a_full_disk_undoes_the_whole_batch(tmp_path: Path) -> None:
    with _open(tmp_path, total=9000, principal=9000, kid=9000) as quarantine:
        quarantine.park("p", KID, 0, _data(0))
        quarantine._connection.execute("PRAGMA max_page_count=10")
        with pytest.raises(StateError) as caught:
            quarantine.park_many([Arrival("p", KID, i, _data(i)) for i in range(2000)])
        assert caught.value.code == "state.full"
        counts = quarantine.counts()
        assert (counts.parked, counts.cost) == (1, COST)


def test_one_opener_and_typed_errors(tmp_path: Path) -> None:
    with _open(tmp_path) as quarantine, pytest.raises(StateError) as caught:
        _open(tmp_path)
    assert caught.value.code == "state.locked"
    with pytest.raises(StateError) as caught:
        quarantine.park("p", KID, 0, b"")
    assert caught.value.code == "state.closed"
    path = tmp_path / "quarantine.db"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(StateError) as caught:
        _open(tmp_path).take(KID)
    assert caught.value.code == "state.corrupt"


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one", mode=0o640)
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(StateError) as caught:
        create_file(path, b"two")
    assert caught.value.code == "state.exists"
    assert path.read_bytes() == b"one"
    replace_file(path, b"three")
    assert path.read_bytes() == b"three"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError) as caught:
        replace_file(tmp_path / "none" / "file", b"")
    assert caught.value.code == "state.io"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
