"""What is slow or silent instead of broken: disks, connections that nobody hears the end of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from depin_id.device import Device
from depin_id.errors import StateError
from depin_id.testing import NOW
from tests.brokers import mosquitto
from tests.endtoend.world import (
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.faults.kills import POLICY, UNLIMITED
from tests.faults.load import Speaker
from tests.faults.proxy import Proxy
from tests.ingest.support import Recorder, running, send
from tests.verify.net import Net, level
from verify import snapshots
from verify.aggregator import Aggregator
from verify.dataset.builder import Dataset
from verify.ingest import link
from verify.service import LiveHandler, run


@contextmanager
def _at_work(root: Path, port: int) -> Iterator[list[str]]:
    """An aggregator in this process; gives the kinds of its events."""
    stop, events = threading.Event(), list[str]()
    thread = threading.Thread(
        target=run,
        args=(root, f"mqtt://127.0.0.1:{port}"),
        kwargs={"on_event": lambda kind, _: events.append(kind), "stop": stop},
    )
    thread.start()
    try:
        until(lambda: "mqtt.subscribed" in events, "subscription")
        yield events
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def _all_is_well(root: Path, speaker: Speaker) -> None:
    entries = list(journal(root))
    check_nothing_twice(entries)
    check_acknowledged(entries, speaker)
    assert set(speaker.acknowledged) == set(speaker.sent)
    check_audit(root)


def _story(folder: Path, during: Callable[[Proxy, Speaker, list[str]], None]) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(Device.create(folder / "device", profile="noise"))
        root, card = make_network(folder, device.enrolment, policy=POLICY)
        broker = stack.enter_context(mosquitto(folder, extra=UNLIMITED))
        proxy = stack.enter_context(Proxy(broker.port))
        with _at_work(root, proxy.port) as events:
            speaker = stack.enter_context(Speaker(device, card, broker, 7, rest_s=0.02))
            until(lambda: len(speaker.acknowledged) > 10, "acknowledgements")
            during(proxy, speaker, events)
            speaker.stop()
            until(lambda: not speaker.unanswered, "the last acknowledgement")
        _all_is_well(root, speaker)


def test_a_connection_that_only_one_side_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is gone for the aggregator, and nobody tells it: it has to find out."""
    monkeypatch.setattr(link, "KEEPALIVE_S", 2)

    def during(proxy: Proxy, speaker: Speaker, events: list[str]) -> None:
        before = events.count("mqtt.subscribed")
        proxy.forsake()
        until(lambda: events.count("mqtt.subscribed") > before, "it to notice")
        known = len(speaker.acknowledged)
        until(lambda: len(speaker.acknowledged) > known + 10, "it to go on")

    _story(tmp_path, during)


def test_a_slow_disk_slows_down_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LiveHandler.commit

    def slow(self: LiveHandler, messages: Any) -> Any:
        files: Any = self.aggregator.journal._open
        newest = files[self.aggregator.journal.files()[-1].sequence]
        newest._connection.set_trace_callback(
            lambda text: time.sleep(0.4) if text == "COMMIT" else None
        )
        return real(self, messages)

    monkeypatch.setattr(LiveHandler, "commit", slow)

    def during(_: Proxy, speaker: Speaker, events: list[str]) -> None:
        known, began = len(speaker.acknowledged), time.monotonic()
        until(lambda: len(speaker.acknowledged) > known + 30, "acknowledgements")
        assert time.monotonic() - began > 0.4, "the disk is not slow"
        assert not {"commit.failed", "mqtt.disconnected"} & set(events)

    _story(tmp_path, during)


def test_a_disk_that_is_full_for_long_is_not_given_up(tmp_path: Path) -> None:
    """Other errors are: to try them for ever would hide them."""
    with mosquitto(tmp_path) as broker:
        handler = Recorder()
        handler.failures = [StateError("state.full", "full") for _ in range(7)]
        with running(broker, handler, commit_tries=2) as source:
            source.subscribed()
            send(broker, [b"0", b"1", b"2"])
            until(lambda: len(handler.data) == 3, "the eighth try")
        assert source.error is None and source.kinds().count("commit.failed") == 7


def test_a_directory_that_cannot_be_opened_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        net.aggregator.close()
        handler = LiveHandler(net.root, lambda *_: None)
        real = Aggregator
        left = [2]

        def failing(root: Path) -> Any:
            left[0] -= 1
            if left[0] >= 0:
                raise StateError("state.full", "no space left on device")
            return real(root)

        def full(_: object) -> None:
            raise StateError("state.full", "no space left on device")

        monkeypatch.setattr("verify.service.Aggregator", failing)
        monkeypatch.setattr(handler.aggregator.journal, "append", full)
        message = net.message(device, device.next([level(50, NOW)]))
        try:
            for _ in range(2):
                with pytest.raises(StateError):
                    handler.commit([message])
            assert handler.commit([message])
            assert handler.aggregator.fold.tally.verdicts == {"accepted": 1}
        finally:
            handler.close()
        net.aggregator = net._open()


def test_no_commit_waits_for_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they take to write: here, until all commits are through."""
    gate = threading.Event()
    real = Dataset.take

    def held(self: Dataset, parts: Any) -> int:
        assert gate.wait(60)
        return real(self, parts)

    with Net(tmp_path) as net:
        monkeypatch.setattr(Dataset, "take", held)
        device = net.device()
        net.send(device, device.next([level(50, NOW - 100)]))
        net.advance(3600)
        net.aggregator.idle(net.now_ms)
        assert net.aggregator.publisher.busy
        for n in range(20):
            net.advance(1)
            assert net.send(device, device.next([level(50, NOW + n)])).accepted
            net.aggregator.idle(net.now_ms)
        published = net.aggregator.publisher.published
        assert published is not None and published.size > 20
        gate.set()
        net.aggregator.publisher.settle(wait=True)
        net.aggregator.publish()
        assert net.aggregator.publisher.dataset().size == published.size
    check_audit(net.root)


def test_segments_read_again_after_a_kill_take_what_is_committed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verify.publisher.FEW", 3)
    with Net(tmp_path) as net:
        device = net.device()
        for n in range(12):
            net.send(device, device.next([level(50, NOW - 100 + n)]))
        net.reopen()
        # More than a few are not in a full segment: they are read again, beside the commits.
        assert not net.aggregator.publisher._tail.end
        gate, real = threading.Event(), Dataset.take
        monkeypatch.setattr(Dataset, "take", lambda *a: gate.wait(60) and real(*a))
        net.send(device, device.next([level(50, NOW - 50)]))
        net.advance(3600)
        net.aggregator.idle(net.now_ms)
        for n in range(5):
            net.send(device, device.next([level(50, NOW + n)]))
        gate.set()
        net.aggregator.publisher.settle(wait=True)
        assert net.aggregator.publisher._tail.end == net.size
        net.send(device, device.next([level(50, NOW + 6)]))
        net.aggregator.publish()
        assert net.aggregator.publisher.dataset().size == net.size
    check_audit(net.root)


def test_snapshots_are_taken_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill only what came since is replayed."""
    monkeypatch.setattr(snapshots, "ENTRIES", 10)
    monkeypatch.setattr(snapshots, "SHARE", 0)
    with Net(tmp_path) as net:
        device = net.device()
        for n in range(35):
            net.send(device, device.next([level(50, NOW - 100 + n)]))
            net.aggregator.idle(net.now_ms)
            until(lambda: not _thread("snapshot"), "the snapshot")
        # As after a kill: nothing is closed in order.
        shown = net.size
        for part in (net.aggregator.publisher, net.aggregator._snapshots):
            part.close()
        for store in (net.aggregator.quarantine, net.aggregator.keys, net.aggregator.journal):
            store.close()
        taken = sorted((net.root / "snapshots").iterdir())
        assert 1 <= len(taken) <= 2
        net.aggregator = net._open()
        assert net.aggregator._snapshots.size > shown - 22
        assert net.fold.size == shown


def test_an_erasure_reaches_what_a_crash_left_of_a_snapshot(tmp_path: Path) -> None:
    """Half a snapshot is sealed under a key too."""
    with Net(tmp_path) as net:
        device = net.device()
        net.send(device, device.next([level(50, NOW - 10)]))
        folder = net.root / "snapshots"
        ref = b"\x07" * 16
        net.aggregator.keys.ensure([(ref, 197001)])
        half = folder / f".state-000000000004-{ref.hex()}.snapshot.tmp"
        folder.mkdir(exist_ok=True)
        half.write_bytes(b"half")
        net.erase(device)
        assert not half.exists()
        with pytest.raises(StateError) as caught:
            net.aggregator.keys.get(ref, 197001)
        assert caught.value.code == "state.erased"


def _thread(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())
