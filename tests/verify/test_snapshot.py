"""Snapshots: the same state back, from these bytes alone, and from no others."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from depin_id.claims import Place
from depin_id.errors import StateError
from depin_id.readings import reading
from depin_id.testing import NOW
from tests.verify.net import Net, level, picture
from verify import snapshot

_MAGIC = b"depin-snapshot/2\n"


def _busy(net: Net) -> None:
    for number in range(20):
        device = net.device(f"device {number}", owner=f"did:example:{number}")
        net.send(device, *[device.next([level(50 + n, NOW - n)]) for n in range(3)])
    mobile = net.device("mobile", profile="mobile-noise", place=Place(451234567, 201234567))
    fix = [reading("lat", 45, "lat", NOW), reading("lon", 20, "lon", NOW), level(50, NOW)]
    net.send(mobile, mobile.next(fix))
    net.rotate(mobile, "mobile 2")
    net.revoke(net.device("gone"), since=net.now_ms + 10**6)


def _pieces(data: bytes) -> list[bytes]:
    found, at = [], len(_MAGIC)
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        found.append(data[at : at + 8 + size])
        at += 8 + size
    return found


def _file(net: Net) -> Path:
    [path] = (net.root / "snapshots").glob("*.snapshot")
    return path


def _load(net: Net) -> int:
    """How far the snapshot in the directory takes a start."""
    aggregator = net.aggregator
    return snapshot.load(net.root / "snapshots", aggregator.keys, aggregator.journal).size


def test_columns_in_many_pieces_come_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_PIECE", 100)
    with Net(tmp_path) as net:
        _busy(net)
        told = picture(net.fold)
        net.reopen()
        assert len(_pieces(_file(net).read_bytes())) > 50
        assert _load(net) == net.size
        assert picture(net.fold) == told
        # And it goes on from there as it would have.
        device = net.make("device 3", owner="did:example:3")
        net.send(device, device.envelope([level(99, NOW - 30)], n=7))
        assert picture(net.replayed()) == picture(net.fold)


def test_only_the_pieces_in_their_order_are_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_PIECE", 100)
    with Net(tmp_path) as net:
        _busy(net)
        net.aggregator.save_snapshot()
        path = _file(net)
        pieces = _pieces(path.read_bytes())
        swapped = [*pieces[:2], pieces[3], pieces[2], *pieces[4:]]
        long = struct.pack("<Q", 1 << 60) + pieces[0][8:]
        damaged = {
            "swapped": [_MAGIC, *swapped],
            "one missing": [_MAGIC, *pieces[:2], *pieces[3:]],
            "cut between two": [_MAGIC, *pieces[:-1]],
            "cut in a length": [_MAGIC, *pieces[:-1], pieces[-1][:5]],
            "a length of nothing": [_MAGIC, struct.pack("<Q", 0), *pieces],
            "a length beyond the file": [_MAGIC, long, *pieces[1:]],
            "no pieces": [_MAGIC],
            "another form": [b"depin-snapshot/1\n", *pieces],
        }
        assert _load(net) == net.size
        for name, parts in damaged.items():
            path.write_bytes(b"".join(parts))
            assert _load(net) == 0, name
        # Under another name it says that it is of another time.
        path.write_bytes(b"".join([_MAGIC, *pieces]))
        size = f"{net.size:012d}"
        path.rename(path.with_name(path.name.replace(size, f"{net.size - 1:012d}")))
        assert _load(net) == 0


@pytest.mark.parametrize(("what", "other"), [("VERSION", 3), ("_ORDER", "middle")])
def test_a_snapshot_of_another_version_or_machine_is_replayed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, other: Any
) -> None:
    with Net(tmp_path) as net:
        _busy(net)
        told = picture(net.fold)
        with monkeypatch.context() as patched:
            patched.setattr(snapshot, what, other)
            net.aggregator.save_snapshot()
            assert _load(net) == net.size
        assert _load(net) == 0
        net.reopen()
        assert picture(net.fold) == told


def test_erasure_ends_every_snapshot_before_it(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        _busy(net)
        net.aggregator.save_snapshot()
        old = shutil.copy(_file(net), tmp_path / _file(net).name)
        before = _opened(net)
        device = net.make("device 3", owner="did:example:3")
        for secret in (b"did:example:3\x00", b"laeq"):
            assert secret.strip(b"\0") in before
        net.erase(device)
        shutil.rmtree(net.root / "snapshots")
        (net.root / "snapshots").mkdir()
        shutil.copy(old, net.root / "snapshots")
        assert _load(net) == 0
        with pytest.raises(StateError) as refused:
            _opened(net)
        assert refused.value.code == "state.erased"
        net.aggregator.save_snapshot()
        assert _load(net) == net.size
        after = _opened(net)
        assert b"did:example:4" in after
        assert b"did:example:3" not in after
        subject = net.fold.state.subject_of(device.did)
        assert subject is not None
        assert subject not in net.fold.state.subjects.filled()


def _opened(net: Net) -> bytes:
    """All that the snapshot says, as far as its key still opens it."""
    path = _file(net)
    key = net.aggregator.keys.get(bytes.fromhex(path.stem.rpartition("-")[2]), 197001)
    pieces = _pieces(path.read_bytes())
    return b"".join(key.open(number, piece[8:]) for number, piece in enumerate(pieces))


def test_what_could_not_be_saved_can_still_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing looks at the columns themselves, and a column that is looked at cannot grow."""
    kept: list[Any] = []

    def full(path: Path, parts: Iterable[bytes]) -> None:
        kept.append((next(iter(parts)), next(iter(parts))))
        raise StateError("state.full", f"{path}: no space left")

    with Net(tmp_path) as net:
        _busy(net)
        with monkeypatch.context() as patched:
            patched.setattr(snapshot, "replace_file", full)
            with pytest.raises(StateError) as failed:
                net.aggregator.save_snapshot()
        assert (failed.value.code, len(kept)) == ("state.full", 1)
        device = net.device("one more")
        assert net.codes(device, device.next([level(77, NOW - 40)])) == ["accepted"]
        net.aggregator.save_snapshot()
        assert _load(net) == net.size
