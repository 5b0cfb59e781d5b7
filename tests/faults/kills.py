"""Kill -9 of a running aggregator and bridge under load, as often as wanted, and what is left.

::

    python -m tests.faults.kills --times 100 --what both

A real broker, ``depin-verify run`` with MQTT and HTTP at once, ``depin-bridge run``; devices that
speak all the time. The processes are killed at random moments and while certain things happen, and
come back by themselves. At the end everything that was sent is acknowledged and in the journal
once, the journal is judged again, the published data set is checked, and every checkpoint that a
reader ever saw continues the one before.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from depin_id.device import Device
from depin_id.errors import StateError
from tests.brokers import mosquitto
from tests.endtoend.world import (
    Held,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from tests.faults.load import Meter, Poster, Site, Speaker, write_bridge
from tests.faults.moments import Moment, aggregator_moments, bridge_moments
from tests.faults.service import Service
from tests.faults.watching import CheckpointWatcher
from verify.control import ask
from verify.dataset import verify_dataset
from verify.reading import Reader
from verify.workspace import Workspace

What = Literal["aggregator", "bridge", "both"]
POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 0\ngateway_per_minute = 0\n'
UNLIMITED = ("max_queued_messages 0",)
"""What the broker confirmed it must also hold while nobody fetches it."""
SLOWEST_START_S = 60.0


@dataclass
class Report:
    """What a run came to.

    Attributes:
        kills: of each process by the moment. starts_s: seconds from a start to being at work.
        unexpected: exit statuses of lives that ended by themselves.
    """

    seed: int
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    entries: int = 0
    envelopes: int = 0
    carried: int = 0
    acknowledged: int = 0
    resent: int = 0
    enrolled: int = 0
    checkpoints: int = 0
    unexpected: list[int] = field(default_factory=list)


class Scene:
    """Everything at work.

    Args:
        rest_s: the longest rest of each device between messages; 0 is as fast as it goes.
    """

    def __init__(self, stack: ExitStack, folder: Path, seed: int, *, rest_s: float) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self._stack, self._rest_s = stack, rest_s
        devices = [self.device(f"device-{number}") for number in range(4)]
        with Device.create(folder / "gateway", role="gateway") as made:
            gateway = made.enrolment
        self.gateway = gateway.did
        enrolments = [*(device.enrolment for device in devices), gateway]
        self.root, self.card = make_network(folder, *enrolments, policy=POLICY)
        self.workspace = Workspace(self.root)
        broker = stack.enter_context(mosquitto(folder, extra=UNLIMITED))
        with Reader(self.root) as reader:
            key = reader.log_key()
        self.watcher = stack.enter_context(CheckpointWatcher(self.workspace.log, key))
        url = f"mqtt://127.0.0.1:{broker.port}"
        self.aggregator = stack.enter_context(
            Service(
                *("verify.cli", "run", self.root, "--mqtt", url, "--http", "127.0.0.1:0"),
                *("--http-rate", "0", "--json-logs", "--quiet"),
                log=folder / "aggregator.log",
            )
        )
        self.bridge = stack.enter_context(
            Service(
                *("firmware_bridge.cli", "run", write_bridge(folder, broker), "--json-logs"),
                log=folder / "bridge.log",
            )
        )
        self.aggregator.wait_for("mqtt.subscribed")
        # Once, so that the broker holds the sessions before the first message.
        until(lambda: self.bridge.process.log.count("connected, MQTT") == 3, "the bridge")
        self._port: tuple[int, int | None] = (0, None)
        self.speakers = [
            stack.enter_context(Speaker(device, self.card, broker, self._seed(), rest_s=rest_s))
            for device in devices[:2]
        ]
        self.posters = [self.poster(devices[2])]
        self.newcomers: list[threading.Thread] = []
        self.native = devices[3]
        self.site = stack.enter_context(Site(self.native, self.card, broker, self._seed()))
        self.site.begin(rest_s or 0.01)

    def _seed(self) -> int:
        return self.dice.randrange(1 << 30)

    def device(self, name: str) -> Device:
        """A new device that is not enrolled."""
        return self._stack.enter_context(Device.create(self.folder / name, profile="noise"))

    def poster(self, device: Device, *, most: int | None = None) -> Poster:
        """Have it speak over HTTP."""
        made = Poster(
            device, self.card, self.port, self._seed(), rest_s=self._rest_s or 0.002, most=most
        )
        return self._stack.enter_context(made)

    def port(self) -> int | None:
        """Where the aggregator takes requests now."""
        life, port = self._port
        if life != self.aggregator.lives or port is None:
            found = self.aggregator.events("http.listening")
            port = int(found[-1]["url"].rpartition(":")[2]) if found else None
            self._port = (self.aggregator.lives, port)
        return port

    def settled(self) -> int:
        """Envelopes that are acknowledged."""
        loads: list[Meter] = [*self.speakers, *self.posters]
        return sum(len(load.acknowledged) for load in loads)

    def enrol_newcomer(self) -> None:
        """A device that speaks before it is enrolled, and an operator who insists."""
        device = self.device(f"newcomer-{len(self.newcomers)}")
        since = int(time.time() * 1000)
        self.posters.append(self.poster(device, most=5))
        request = {
            "op": "enrol",
            "documents": json.dumps(device.enrolment.to_json()),
            "effective_from": since,
        }

        def insist() -> None:
            while True:
                try:
                    answer = ask(self.workspace, request, wait_s=10)
                except StateError as error:
                    assert error.code == "state.no_reply", error
                    continue
                assert not answer["refused"], answer
                return

        thread = threading.Thread(target=insist, daemon=True)
        thread.start()
        self.newcomers.append(thread)


def _kill(scene: Scene, service: Service, moments: Sequence[Moment], report: Report) -> None:
    moment = scene.dice.choices(moments, [moment.weight for moment in moments])[0]
    moment.wait(scene, service)
    name = "bridge" if service is scene.bridge else "aggregator"
    where = f"{name}: {moment.name}"
    report.kills[where] = report.kills.get(where, 0) + 1
    service.kill()


def _timed(service: Service, sign: str, report: Report) -> None:
    """Wait until the newest life is at work, and note how long that took."""
    until(lambda: service.said(sign), "the service to come back", log=lambda: service.log)
    report.starts_s.append(round(time.monotonic() - service.began, 2))


def run(
    folder: Path,
    *,
    times: int,
    what: What = "both",
    seed: int = 20261,
    rest_s: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Kill, and check what is left.

    Args:
        folder: empty; everything is in it. times: kills of each process.
        rest_s: the longest rest of each device between messages.

    Raises:
        AssertionError: something was lost, came twice, or did not come back.
    """
    report, began = Report(seed), time.monotonic()
    with ExitStack() as stack:
        scene = Scene(stack, folder, seed, rest_s=rest_s)
        plan = [scene.aggregator] * times * (what != "bridge")
        plan += [scene.bridge] * times * (what != "aggregator")
        scene.dice.shuffle(plan)
        moments = {scene.aggregator: aggregator_moments(), scene.bridge: bridge_moments()}
        signs = {scene.aggregator: "mqtt.subscribed", scene.bridge: "connected, MQTT"}
        for number, service in enumerate(plan, 1):
            _kill(scene, service, moments[service], report)
            # Now and then the next one comes before the first is back.
            if scene.dice.random() < 0.8:
                _timed(service, signs[service], report)
            if not number % 10:
                say(f"{number} kills, {scene.settled()} envelopes acknowledged")
        _end(scene)
        report.unexpected = scene.aggregator.statuses + scene.bridge.statuses
        _check(scene, report)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _end(scene: Scene) -> None:
    """Everybody falls silent; what is under way arrives; then all is ended in order."""
    loads: list[Meter] = [*scene.speakers, *scene.posters]
    for load in loads:
        load.stop()
    scene.site.stop()
    service = scene.aggregator
    for thread in scene.newcomers:
        thread.join(120)
        assert not thread.is_alive(), f"no answer to an enrolment\n{service.log[-4000:]}"
    until(
        lambda: not any(load.unanswered for load in loads),
        "the last acknowledgement",
        log=lambda: service.log,
    )
    site = scene.site
    until(lambda: not site.waiting, "the broker's last answer")

    def missing() -> int:
        time.sleep(0.2)
        entries = list(journal(scene.root))
        found = {entry.id for entry in entries if entry.code == "accepted"}
        return len(site.native - found) + len(site.sensed - set(sensed(entries, scene.gateway)))

    until(lambda: not missing(), "the last reading", log=lambda: scene.bridge.log)
    # While it starts, a signal would end it as it ends any process.
    scene.bridge.wait_for("connected, MQTT")
    scene.bridge.finish()
    service.wait_for("mqtt.subscribed")
    service.finish()


def sensed(entries: Sequence[Held], gateway: str) -> Counter[tuple[str, int, str]]:
    """What counts of the gateway's sensors: (sensor, second, value)."""
    return Counter(
        (row.subject.removeprefix(f"{gateway}#"), row.time_ms // 1000, row.value)
        for entry in entries
        if entry.subject.startswith(f"{gateway}#")
        for row in entry.rows
        if not row.code
    )


def _check(scene: Scene, report: Report) -> None:
    entries = list(journal(scene.root))
    check_nothing_twice(entries)
    loads: list[Meter] = [*scene.speakers, *scene.posters]
    for load in loads:
        check_acknowledged(entries, load)
        assert set(load.acknowledged) == set(load.sent)
    assert {entry.code for entry in entries} == {"accepted"}
    of = Counter(entry.subject for entry in entries)
    for load in loads:
        assert of[load.device.did] == len(load.sent)
    site, native = scene.site, scene.native.did
    assert {entry.id for entry in entries if entry.subject == native} == site.native
    assert sensed(entries, scene.gateway) == Counter(site.sensed)
    # A message that the bridge took twice is signed twice, and counts once.
    codes = Counter(row.code for entry in entries for row in entry.rows)
    assert set(codes) <= {"", "record.repeated"}
    check_audit(scene.root)
    proved = verify_dataset(scene.workspace.public, keys=None, network=scene.card.network)
    assert proved.complete and proved.opened == len(entries)
    report.checkpoints = scene.watcher.check()
    for log in (scene.aggregator.log, scene.bridge.log):
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    report.entries, report.envelopes = proved.checkpoint.size, len(entries)
    report.carried = len(site.native) + len(site.sensed)
    report.acknowledged = sum(len(load.acknowledged) for load in loads)
    report.resent = sum(load.resent for load in loads)
    report.enrolled = len(scene.newcomers)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tests.faults.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="kills of each process")
    parser.add_argument("--what", choices=("aggregator", "bridge", "both"), default="both")
    parser.add_argument("--seed", type=int, default=20261)
    parser.add_argument("--rest", type=float, default=0.05, help="seconds between messages, most")
    parser.add_argument("--json", action="store_true", help="the report as one line of JSON")
    parser.add_argument("--keep", type=Path, help="an empty folder where everything is left")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="depin-kills-") as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(
            folder,
            times=options.times,
            what=options.what,
            seed=options.seed,
            rest_s=options.rest,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    found = asdict(report)
    starts = sorted(found.pop("starts_s"))
    found["start_s"] = {"median": starts[len(starts) // 2], "longest": starts[-1]} if starts else {}
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:12} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
