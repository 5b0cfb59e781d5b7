"""Disks that are full or read-only under a running aggregator: it waits, and comes back by itself.

Nothing that was acknowledged is lost, nothing is accepted twice, and audit passes afterwards.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from depin_id.device import Device
from tests.brokers import mosquitto
from tests.endtoend.world import (
    Process,
    aggregator_process,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.faults.disks import tell
from tests.faults.stories import POLICY, UNLIMITED, Meter, survives


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    tell("full_disk", tmp_path)


def test_a_read_only_disk_is_said_and_can_be_read(tmp_path: Path) -> None:
    tell("read_only_disk", tmp_path)


def test_files_that_may_not_grow_are_waited_out(tmp_path: Path) -> None:
    """The same with a bound on the size of files, which every system gives everybody."""
    with ExitStack() as stack:
        device = stack.enter_context(Device.create(tmp_path / "device", profile="noise"))
        root, card = make_network(tmp_path, device.enrolment, policy=POLICY)
        survives(
            stack,
            root,
            device,
            card,
            tmp_path,
            lambda service: service.apply(40_000),
            lambda service: service.apply(None),
        )


def test_a_second_aggregator_is_refused_and_takes_over_after_a_kill(tmp_path: Path) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(Device.create(tmp_path / "device", profile="noise"))
        root, card = make_network(tmp_path, device.enrolment, policy=POLICY)
        broker = stack.enter_context(mosquitto(tmp_path, extra=UNLIMITED))
        first = stack.enter_context(aggregator_process(root, broker))
        until(lambda: "mqtt.subscribed" in first.log, "subscription", process=first)
        meter = stack.enter_context(Meter(device, card, broker))
        meter.speak(10)
        for command in (
            ("run", root, "--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
            ("ingest", root, tmp_path / "nothing.cbor"),
            ("rebuild", root),
        ):
            second = stack.enter_context(
                Process("verify.cli", *command, log=tmp_path / "second.log")
            )
            second.wait()
            assert "state.locked" in second.log and f"process {first.pid}" in second.log
            assert "Traceback" not in second.log
        until(lambda: not meter.publisher.unanswered, "the first to go on", process=first)
        first.kill()
        third = stack.enter_context(aggregator_process(root, broker))
        meter.speak(10)
        until(lambda: not meter.publisher.unanswered, "the third to take over", process=third)
        third.finish()
        entries = list(journal(root))
        check_nothing_twice(entries)
        check_acknowledged(entries, meter.publisher)
        check_audit(root)
