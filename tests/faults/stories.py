"""Stories of a disk that fails under a running aggregator; those that mount run by themselves.

``python -m tests.faults.stories NAME FOLDER``, started by :func:`tests.faults.disks.tell`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.errors import StateError
from depin_id.network import NetworkCard
from depin_id.readings import reading
from tests.brokers import Mosquitto, mosquitto
from tests.endtoend.world import (
    Process,
    Publisher,
    aggregator_process,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.faults.disks import SmallDisk, limit_files
from verify.aggregator import Aggregator
from verify.reading import Reader

POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 0\n'
UNLIMITED = ("max_queued_messages 0",)


class Watchdog:
    """``depin-verify run``, started again whenever it ends, as a service manager does it."""

    def __init__(self, root: Path, broker: Mosquitto, log: Path) -> None:
        self._root, self._broker = root, broker
        self.log_file = log
        self.process = self._make()
        self.limit: int | None = None
        self.restarts = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _make(self) -> Process:
        url = f"mqtt://127.0.0.1:{self._broker.port}"
        command = ("run", self._root, "--mqtt", url, "--json-logs")
        return Process("verify.cli", *command, log=self.log_file)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            if not self.process.running:
                self.restarts += 1
                self.process = self._make()
                self.apply(self.limit)

    def apply(self, limit: int | None) -> None:
        """Bound the files that it may write, now and after a restart."""
        self.limit = limit
        try:
            limit_files(self.process.pid, limit)
        except ProcessLookupError:
            pass  # the next one gets it

    def finish(self) -> None:
        self._stop.set()
        self._thread.join()
        self.process.finish()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.process.kill()


class Meter:
    """A device that measures while it is told to."""

    def __init__(self, device: Device, card: NetworkCard, broker: Mosquitto) -> None:
        self._device, self._card = device, card
        self._second = int(time.time()) - 1_000_000
        self.publisher = Publisher(device, card, broker, window=40, resend_s=1.0)
        self.sent: list[bytes] = []

    def speak(self, times: int) -> None:
        for _ in range(times):
            self._second += 1
            found = [reading("laeq", 40 + self._second % 50, "dB", self._second)]
            data = self._device.sign(found, network=self._card.network)
            envelope = parse_envelope(data)
            identity = envelope.verify(self._card.network, self._device.public_key)
            assert self.publisher.send(data, [identity])
            self.sent.append(identity)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.close()


def survives(
    stack: ExitStack,
    root: Path,
    device: Device,
    card: NetworkCard,
    folder: Path,
    fault: Callable[[Watchdog], None],
    relief: Callable[[Watchdog], None],
) -> Watchdog:
    """The story of every fault that a running aggregator meets."""
    broker = stack.enter_context(mosquitto(folder, extra=UNLIMITED))
    service = stack.enter_context(Watchdog(root, broker, folder / "aggregator.log"))
    until(lambda: "mqtt.subscribed" in service.log, "subscription", log=lambda: service.log)
    meter = stack.enter_context(Meter(device, card, broker))
    publisher = meter.publisher
    meter.speak(20)
    until(lambda: not publisher.unanswered, "acknowledgements", log=lambda: service.log)
    fault(service)
    meter.speak(30)
    until(
        lambda: "commit.failed" in service.log or service.restarts,
        "the failure to be noticed",
        log=lambda: service.log,
    )
    failed = service.log
    assert '"state.full"' in failed or '"state.io"' in failed, failed[-2000:]
    waiting = publisher.unanswered
    assert waiting, "it acknowledged what it could not write"
    relief(service)
    until(lambda: not publisher.unanswered, "it to come back by itself", log=lambda: service.log)
    meter.speak(20)
    until(lambda: not publisher.unanswered, "it to go on", log=lambda: service.log)
    service.finish()
    assert not service.restarts, "it gave up on a disk that healed"
    assert "Traceback" not in service.log
    entries = list(journal(root))
    check_nothing_twice(entries)
    check_acknowledged(entries, publisher)
    assert {entry.id for entry in entries} == set(meter.sent) == set(publisher.acknowledged)
    assert not publisher.contradictions
    check_audit(root)
    return service


def full_disk(folder: Path) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(SmallDisk(folder / "disk", 8))
        device = stack.enter_context(Device.create(folder / "device", profile="noise"))
        root, card = make_network(disk.path, device.enrolment, policy=POLICY)
        survives(
            stack,
            root,
            device,
            card,
            folder,
            lambda _: disk.fill(),
            lambda _: disk.relieve(),
        )


def read_only_disk(folder: Path) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(SmallDisk(folder / "disk", 8))
        device = stack.enter_context(Device.create(folder / "device", profile="noise"))
        root, card = make_network(disk.path, device.enrolment, policy=POLICY)
        broker = stack.enter_context(mosquitto(folder, extra=UNLIMITED))
        disk.remount("ro")
        with pytest.raises(StateError) as caught:
            Aggregator(root)
        assert caught.value.code in ("state.io", "state.read_only")
        assert caught.value.hint and str(root) in caught.value.message
        with Reader(root) as reader:
            assert reader.status()["devices"] == 1
        check_audit(root)
        disk.remount("rw")
        process = stack.enter_context(aggregator_process(root, broker))
        meter = stack.enter_context(Meter(device, card, broker))
        meter.speak(3)
        until(lambda: not meter.publisher.unanswered, "acknowledgements", process=process)
        process.finish()
        check_audit(root)


STORIES = {story.__name__: story for story in (full_disk, read_only_disk)}

if __name__ == "__main__":
    STORIES[sys.argv[1]](Path(sys.argv[2]))
