"""A running aggregator whose publishing or journal fails between batches."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import StateError
from depin_id.testing import NOW as NOW_S
from tests.endtoend.world import until
from tests.verify.net import Net, level
from verify import service
from verify.service import LiveHandler


class _Time:
    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


def _at_work(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    made = _Time()
    monkeypatch.setattr(service, "time", made)
    return made


def test_segments_that_cannot_be_written_do_not_end_intake(tmp_path: Path, clock: _Time) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    with Net(tmp_path) as net:
        device = net.device()
        net.aggregator.close()
        segments = net.root / "public" / "segments"
        shutil.rmtree(segments, ignore_errors=True)
        segments.write_bytes(b"a file where a folder has to be")
        handler = LiveHandler(net.root, lambda kind, about: events.append((kind, about)))
        try:
            now = net.now_ms + 3_600_000
            tried = []
            for _ in range(40):
                failed = len(events)
                assert not handler.idle(now)
                if len(events) > failed:
                    tried.append(int(clock.seconds - 1000))
                until(lambda: not _at_work("segments"), "the segments")
                clock.seconds += 1
            # Again after 1, 2, 4, ... seconds, and nobody fills a disk with reports of it; what is
            # written beside the commits is heard of when somebody looks, here a second later.
            assert tried == [1, 3, 6, 11, 20, 37]
            assert {kind for kind, _ in events} == {"publish.failed"}
            assert events[0][1]["code"] and str(segments) in str(events[0][1]["message"])
            took = handler.commit([net.message(device, device.next([level(50, NOW_S)]))])
            assert took and events[-1][0] == "committed"
            segments.unlink()
            clock.seconds += 300
            failed = len(events)
            handler.idle(now)
            handler.aggregator.publisher.settle(wait=True)
            assert len(events) == failed and segments.is_dir()
        finally:
            if segments.is_file():
                segments.unlink()
            handler.close()
        net.aggregator = net._open()


def test_a_log_that_cannot_be_written_does_not_end_intake(tmp_path: Path, clock: _Time) -> None:
    """What is durable is acknowledged, published or not."""
    events: list[str] = []
    with Net(tmp_path) as net:
        device = net.device()
        net.aggregator.close()
        handler = LiveHandler(net.root, lambda kind, _: events.append(kind))
        checkpoint = net.root / "public" / "log" / "checkpoint"
        kept = checkpoint.read_bytes()
        checkpoint.unlink()
        checkpoint.mkdir()
        try:
            for at in (50, 51):
                sent = device.next([level(at, NOW_S + at)])
                assert handler.commit([net.message(device, sent)])
            assert events == ["committed", "publish.failed", "committed"]
        finally:
            checkpoint.rmdir()
            checkpoint.write_bytes(kept)
        clock.seconds += 10
        before = handler.aggregator.publisher.published
        handler.idle(handler.aggregator.now() + 2000)
        after = handler.aggregator.publisher.published
        assert after is not None and after.size == handler.aggregator.fold.size
        assert before is None or before.size < after.size
        assert events[3:] == []
        handler.close()
        net.aggregator = net._open()


def test_a_journal_that_fails_between_batches_is_opened_again(
    tmp_path: Path, clock: _Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    with Net(tmp_path) as net:
        device = net.device()
        net.aggregator.close()
        handler = LiveHandler(net.root, lambda kind, _: events.append(kind))
        try:
            broken = handler.aggregator

            def full(_: object) -> None:
                raise StateError("state.io", "no space left on device")

            monkeypatch.setattr(broken.journal, "append", full)
            assert handler.idle(net.now_ms + 3_600_000) == ()
            assert events == ["publish.failed"] and handler.aggregator is not broken
            assert handler.commit([net.message(device, device.next([level(50, NOW_S)]))])
            assert handler.aggregator.fold.size == handler.aggregator.journal.size
        finally:
            handler.close()
        net.aggregator = net._open()
