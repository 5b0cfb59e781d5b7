"""State is a fold of the journal: whatever happens, two runs come to the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id.claims import Claims, Place
from depin_id.errors import ConfigError, StateError
from depin_id.readings import reading
from depin_id.testing import NOW, TestDevice
from tests.verify.net import POLICY, Net, level, picture
from verify.entries import Enrolled, Revoked
from verify.ingest import Message


def _eventful(net: Net) -> None:
    """A bit of everything, so that no column and no map stays empty."""
    owner = "did:example:owner"
    net.policy(POLICY + "[quota]\nowner_per_minute = 600\nowner_burst = 50\n")
    device = net.device("a", owner=owner, place=Place(450_000_000, 200_000_000))
    mobile = net.device("m", profile="mobile-noise", curve="p256")
    gateway, gone = net.gateway("g"), net.device("gone", owner=owner)
    net.send(device, device.next([level(50 + i % 17, NOW - 60 + i) for i in range(50)]))
    net.advance(12)
    net.aggregator.publish()
    net.send(device, device.envelope([level(70, NOW + 5)], n=9))
    beacon = net.acks(device, device.envelope([level(71, NOW + 6)], n=7))[0].beacon
    fix = [reading("lat", 45, "lat", NOW), reading("lon", 20, "lon", NOW), level(50, NOW)]
    net.send(mobile, mobile.next(fix))
    made = device.envelope([level(72, NOW + 7)], n=12, clock=None, claims=Claims(nonce=beacon))
    net.send(device, made, b"garbage", net.make("unknown").next([level()]))
    net.send(gateway, gateway.wrap(gone.next([level(40 + i % 9, NOW - 40 + i) for i in range(30)])))
    for i in range(3):
        net.send(gateway, gateway.next([level(60, NOW - i)], subject=f"#s{i}"))
    net.send(gone, gone.envelope([level(44)]))
    net.rotate(mobile, "m2")
    net.revoke(device, since=net.now_ms + 10**6)
    net.erase(gone)
    net.send(gone, gone.next([level()]))
    net.send(device, device.envelope([level(73, NOW + 8)], n=9))


def test_every_way_back_gives_the_same_state(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        _eventful(net)
        told = picture(net.fold)
        filled = {name for name, value in told.items() if value not in ([], {}, None, b"")}
        assert filled | {"asserted"} >= set(told)
        assert any(subject[2] for subject in told["subjects"])
        assert any(subject[3] for subject in told["subjects"])
        assert picture(net.replayed()) == told
        net.reopen()  # from the snapshot alone
        assert picture(net.fold) == told
        net.reopen(forget_snapshot=True)  # from the journal alone
        assert picture(net.fold) == told
        device = net.make("a", owner="did:example:owner")
        net.reopen()
        snapshots = shutil.copytree(net.root / "snapshots", tmp_path / "kept")
        net.send(device, device.envelope([level(74, NOW + 9)], n=20))
        net.send(device, device.envelope([level(75, NOW + 10)], n=22))
        told = picture(net.fold)
        assert picture(net.replayed()) == told
        # An older snapshot with what came after, as a crash leaves it.
        net.aggregator._broken = StateError("state.io", "a crash: nothing is saved at the end")
        net.aggregator.close()
        assert sorted(p.name for p in (net.root / "snapshots").iterdir()) == sorted(
            p.name for p in snapshots.iterdir()
        )
        net.aggregator = net._open()
        assert picture(net.fold) == told


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_snapshot_is_a_shortcut_lost_and_no_more(tmp_path: Path, damage: str) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        net.send(device, device.next([level()]))
        told = picture(net.fold)
        net.aggregator.close()
        [path] = (net.root / "snapshots").glob("*.snapshot")
        data = path.read_bytes()
        flipped = data[:60] + bytes([data[60] ^ 1]) + data[61:]
        changed = {"cut": data[:-9], "flipped": flipped, "empty": b"", "foreign": b"x" * 500}
        path.write_bytes(changed[damage])
        net.aggregator = net._open()
        assert picture(net.fold) == told


# --- batches --------------------------------------------------------------------------------------


def test_one_ingest_is_one_durable_batch(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        devices = [net.device(f"d{i}") for i in range(5)]
        batches = len(list(net.aggregator.journal.batches()))
        net.ingest(
            *[net.message(d, d.next([level()]), d.next([level(51, NOW - 5)])) for d in devices],
            net.message("x", b"garbage"),
            Message(devices[0].next([level(52, NOW - 9)]), "x", 0, "mqtt", b"\x07"),
        )
        made = list(net.aggregator.journal.batches())
        assert len(made) == batches + 1
        assert net.aggregator.journal.offset("mqtt") == b"\x07"
        # Nothing to say is no batch, but an offset is kept.
        net.ingest()  # the tick that was due
        batches = len(list(net.aggregator.journal.batches()))
        assert batches == len(made) + 1
        net.ingest()
        assert len(list(net.aggregator.journal.batches())) == batches
        net.ingest(Message(b"", "x", 0, "mqtt", b"\x08"))
        assert net.aggregator.journal.offset("mqtt") == b"\x08"


def test_acknowledged_is_what_the_journal_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Net(tmp_path) as net:
        device, order = net.device(), []
        journal, signer = net.aggregator.journal, net.aggregator._acknowledger
        append, sign = journal.append, signer._sign

        def appended(batch: Any) -> int:
            order.append("committed")
            return append(batch)

        def signed(*args: Any) -> Any:
            order.append("acknowledged")
            return sign(*args)

        monkeypatch.setattr(journal, "append", appended)
        monkeypatch.setattr(signer, "_sign", signed)
        net.acks(device, device.next([level()]))
        assert order == ["committed", "acknowledged"]


@pytest.mark.parametrize("where", ["append", "keys", "quarantine", "judging"])
def test_a_failed_batch_stops_the_aggregator_and_opening_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with Net(tmp_path) as net:
        device, stranger = net.device(), net.make("stranger")
        net.send(device, device.next([level()]))
        told, size = picture(net.fold), net.size

        def fails(*_: Any, **__: Any) -> Any:
            raise StateError("state.full", "no space left")

        aggregator = net.aggregator
        places: dict[str, tuple[Any, str]] = {
            "append": (aggregator.journal, "append"),
            "keys": (aggregator.keys, "ensure"),
            "quarantine": (aggregator.quarantine, "park_many"),
            "judging": (aggregator.journal, "position"),
        }
        second = device.next([level(51, NOW - 5)])
        # A duplicate at the end makes the judging look into the journal.
        again = device.envelope([level(99)], n=0)
        with monkeypatch.context() as patched:
            patched.setattr(*places[where], fails)
            with pytest.raises(StateError) as failed:
                net.send(device, second, stranger.next([level()]), again)
            assert failed.value.code == "state.full"
        for attempt in (
            lambda: net.send(device, second),
            lambda: net.enrol(stranger),
            lambda: net.ingest(),
        ):
            with pytest.raises(StateError) as broken:
                attempt()
            assert broken.value.code == "state.broken"
        assert net.size == size
        net.reopen()
        assert picture(net.fold) == told
        assert net.codes(device, second) == ["accepted"]
        assert picture(net.replayed()) == picture(net.fold)


def test_a_list_with_one_wrong_entry_changes_nothing(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, new = net.device(), net.make("new")
        told, size = picture(net.fold), net.size
        wrong = Enrolled(net.random(16), 0, device.enrolment)
        right = Enrolled(net.random(16), 0, new.enrolment)
        for entries in ([wrong, right], [right, wrong], [Revoked("did:key:zNobody", 0, "")]):
            with pytest.raises(ConfigError):
                net.aggregator.administer(entries)
            net.reopen()
            assert (picture(net.fold), net.size) == (told, size)
        for act in (lambda: net.rotate(new, "x"), lambda: net.revoke(new)):
            with pytest.raises(ConfigError) as refused:
                act()
            assert refused.value.code == "registry.unknown_device"
        # The first of a list was refused before anything changed: it goes on without opening.
        assert net.codes(device, device.next([level()])) == ["accepted"]
        net.erase(device)
        with pytest.raises(ConfigError) as refused:
            net.rotate(device)
        assert refused.value.code == "registry.erased"
        net.enrol(new)
        assert net.codes(new, new.next([level(51, NOW - 2)])) == ["accepted"]


def test_a_snapshot_of_another_history_is_not_taken(tmp_path: Path) -> None:
    """An older journal is restored, grows as long as the lost one, and its process is killed."""
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        net.aggregator.close()
        kept = shutil.copytree(net.root, tmp_path / "kept")
        net.reopen()
        net.send(device, device.next([level(50)]), device.next([level(51, NOW - 1)]))
        size = net.size
        net.aggregator.close()
        [foreign] = (net.root / "snapshots").iterdir()
        for name in ("journal", "public"):
            shutil.rmtree(net.root / name)
            shutil.copytree(kept / name, net.root / name)
        net.reopen()
        net.send(other, other.next([level(60)]), other.next([level(61, NOW - 1)]))
        assert net.size == size
        told = picture(net.fold)
        with net.aggregator.journal, net.aggregator.keys, net.aggregator.quarantine:
            assert foreign.exists()
        net.aggregator = net._open()
        assert picture(net.fold) == told == picture(net.replayed())


def test_erasure_leaves_nothing_personal_in_memory_or_snapshot(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device("somebody", owner="did:example:them", role="gateway")
        net.send(device, device.next([level()]), device.next([level(51)], subject="#kitchen"))
        net.erase(device)
        held = net.fold.registry.device(device.did)
        assert held is not None
        assert (held.enrolment.name, held.enrolment.owner, held.enrolment.place) == ("", "", None)
        assert not any(s.series or s.track for s in net.fold.state.subjects)
        # What it still sends leaves no content either, not even for sensors unheard of.
        size = len(net.leaves())
        later = [device.next([level(53, NOW - i)], subject=s) for i, s in enumerate((None, "#new"))]
        assert net.codes(device, *later) == ["device.erased"] * 2
        assert len(net.leaves()) == size + 1
        assert not any(entry.sealed for entry in net.aggregator.journal.entries(net.size - 2))
        told = picture(net.fold)
        for forget in (False, True):
            net.reopen(forget_snapshot=forget)
            assert picture(net.fold) == told


# --- a model --------------------------------------------------------------------------------------

Op = tuple[str, int, int]
_OPS = st.lists(
    st.tuples(
        st.sampled_from(("next", "again", "skip", "late", "fork", "boot", "wrap", "rotate")),
        st.integers(0, 5),
        st.integers(0, 20),
    ),
    min_size=4,
    max_size=24,
)


class Model:
    """What has to hold whatever is sent: one envelope a position, one payment a slot."""

    def __init__(self, net: Net, name: str) -> None:
        self.net, self.name = net, name
        self.gateway = net.gateway(f"{name} gateway")
        self.device: TestDevice = net.device(f"{name} 0")
        self.root = self.device
        self.keys = 1
        self.epoch, self.n = 1, 0
        self.taken: dict[tuple[bytes, int, int], bytes] = {}
        self.skipped: list[tuple[int, int]] = []
        self.suspended = False
        self.last = b""

    def step(self, op: Op) -> None:
        kind, slot, value = op
        match kind:
            case "skip":
                self.skipped.append((self.epoch, self.n))
                self.n += 1 + value % 2
            case "boot":
                self.epoch, self.n = self.epoch + 1, 0
            case "rotate":
                self.device = self.net.rotate(self.root, f"{self.name} {self.keys}")
                self.keys, self.suspended, self.epoch, self.n = self.keys + 1, False, 1, 0
                self.taken = {k: v for k, v in self.taken.items() if k[0] != self.device.key.kid}
                self.skipped, self.last = [], b""
            case "again" if self.last:
                assert self.net.send(self.device, self.last).duplicates == 1
            case "late" if self.skipped:
                epoch, n = self.skipped.pop()
                self._send(epoch, n, slot, value, kind)
            case "fork" if self.taken:
                epoch, n = max(key[1:] for key in self.taken)
                self._send(epoch, n, slot, value, kind)
            case "next" | "wrap":
                self._send(self.epoch, self.n, slot, value, kind)
                self.n += 1

    def _send(self, epoch: int, n: int, slot: int, value: int, kind: str) -> None:
        device = self.device
        prev = self.taken.get((device.key.kid, epoch, n - 1), bytes(16))
        readings = [level(40 + value, NOW - slot), level(41 + value, NOW - slot - 1)]
        made = device.envelope(readings, epoch=epoch, n=n, prev=prev)
        identity = device.identity(made)
        where = (device.key.kid, epoch, n)
        if kind == "wrap":
            code = self.net.codes(self.gateway, self.gateway.wrap(made))[0]
        else:
            [code] = self.net.codes(device, made)
        held = self.taken.get(where)
        if held is not None:
            same = held == identity[:16]
            assert same or code == "sequence.forked"
            self.suspended |= not same
            return
        after = self.taken.get((device.key.kid, epoch, n + 1))
        self.taken[where] = identity[:16]
        self.last = made
        if self.suspended:
            assert code in ("key.suspended", "chain.broken")
        else:
            # Filling a gap below a known successor breaks: the model's chains skip what was lost.
            assert code == "accepted" or (code == "chain.broken" and after is not None)

    def check(self) -> None:
        net = self.net
        accepted = [
            (entry.change.thumbprint, entry.change.subject_did, entry.change.epoch, entry.change.n)
            for entry in net.judged()
            if entry.code == "accepted"
        ]
        assert len(set(accepted)) == len(accepted)
        paid = net.paid()
        assert len(set(paid)) == len(paid)
        # Seven slots were named at most, whatever was done.
        assert len([who for who, _, _ in paid if who == self.root.did]) <= 7


def test_no_position_counts_twice_and_no_slot_is_paid_twice(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        names = count()

        @settings(max_examples=30)
        @given(ops=_OPS, reopen=st.integers(0, 60))
        def run(ops: Sequence[Op], reopen: int) -> None:
            model = Model(net, f"model {next(names)}")
            for at, op in enumerate(ops):
                if at == reopen:
                    net.reopen(forget_snapshot=bool(reopen % 2))
                model.step(op)
            model.check()

        run()
        assert picture(net.replayed()) == picture(net.fold)


def test_two_runs_over_the_same_bytes_write_the_same_journal(tmp_path: Path) -> None:
    """Order within messages and batches is all that counts: not the clock of the machine, not
    dictionaries, not how the messages were cut into batches."""
    leaves = []
    chance = random.Random(7)
    with Net(tmp_path / "make") as net:
        made = [net.make(f"d{i}") for i in range(4)]
        sent = [d.envelope([level(50 + n, NOW - n)], n=n) for d in made for n in range(0, 12, 2)]
        chance.shuffle(sent)
    for run in ("one", "two"):
        shutil.copytree(tmp_path / "make" / "net", tmp_path / run / "net")
        with Net(tmp_path / run, network=tmp_path / run / "net") as net:
            net.enrol(*made)
            step = 3 if run == "one" else 24
            for at in range(0, len(sent), step):
                net.ingest(*[net.message("x", data) for data in sent[at : at + step]])
            leaves.append([(leaf.epoch, leaf.n, leaf.code, leaf.flags) for leaf in net.leaves()])
            told = picture(net.fold)
            rows = told["rows"]
            leaves[-1].append((0, 0, rows.hex(), ()))
    assert leaves[0] == leaves[1]
