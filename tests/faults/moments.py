"""When a process is killed: at random, and while something happens that takes several steps."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depin_id.durable import replace_file
from tests.endtoend.world import until

if TYPE_CHECKING:
    from tests.faults.kills import Scene
    from tests.faults.service import Service


@dataclass(frozen=True)
class Moment:
    """A kind of moment.

    Attributes:
        wait: returns when it has come. weight: how often it is chosen, beside others.
    """

    name: str
    wait: Callable[[Scene, Service], None]
    weight: int = 1


def _pause(scene: Scene, most_s: float) -> None:
    time.sleep(scene.dice.uniform(0.0, most_s))


def _seen(look: Callable[[], bool], within_s: float) -> bool:
    """Look as often as possible; what lasts a millisecond has to be met."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.0005)
    return False


def _at_work(service: Service, sign: str) -> None:
    until(lambda: service.said(sign), "the service", log=lambda: service.log)


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def _starting(scene: Scene, service: Service) -> None:
    service.kill()
    _pause(scene, 1.5)


def _working(scene: Scene, service: Service) -> None:
    _at_work(service, "mqtt.subscribed")
    wanted = scene.settled() + scene.dice.randrange(1, 200)
    # If nothing comes any more, that is for the end to say.
    _seen(lambda: scene.settled() >= wanted, 10)
    _pause(scene, 0.06)


def _publishing(scene: Scene, service: Service) -> None:
    """A checkpoint is due a second after the last: shortly before, during or after the next."""
    _at_work(service, "mqtt.subscribed")
    checkpoint = scene.workspace.log / "checkpoint"

    def stamp() -> int:
        with suppress(OSError):
            return checkpoint.stat().st_mtime_ns
        return 0

    before = stamp()
    _seen(lambda: stamp() != before, 5)
    time.sleep(1.0 + scene.dice.uniform(-0.05, 0.05))


def _segments(scene: Scene, service: Service) -> None:
    """Shortly after a start segments are written."""
    _seen(lambda: any(n.startswith(".tmp-") for n in _names(scene.workspace.segments)), 8)
    _pause(scene, 0.03)


def _snapshot(scene: Scene, service: Service) -> None:
    """A snapshot is taken while it is shut down."""
    _at_work(service, "mqtt.subscribed")
    with suppress(ProcessLookupError):
        os.kill(service.process.pid, signal.SIGTERM)
    folder = scene.workspace.snapshots
    if scene.dice.random() < 0.5:
        _seen(lambda: any(n.endswith(".tmp") for n in _names(folder)), 5)
        _pause(scene, 0.01)
    else:
        _pause(scene, 0.6)


def _policy(scene: Scene, service: Service) -> None:
    _at_work(service, "mqtt.subscribed")
    file = scene.workspace.policy
    age = 2_592_000 + scene.dice.randrange(1000)
    text, found = re.subn(r"max_age_s = [0-9]+", f"max_age_s = {age}", file.read_text())
    assert found == 1
    replace_file(file, text.encode())
    with suppress(ProcessLookupError):
        os.kill(service.process.pid, signal.SIGHUP)
    _pause(scene, 0.8)


def _enrolment(scene: Scene, service: Service) -> None:
    _at_work(service, "mqtt.subscribed")
    scene.enrol_newcomer()
    _pause(scene, 0.9)


def aggregator_moments() -> list[Moment]:
    """When aggregators are killed."""
    return [
        Moment("working", _working, 6),
        Moment("starting", _starting, 3),
        Moment("publishing", _publishing, 3),
        Moment("segments", _segments, 3),
        Moment("shutting down", _snapshot, 3),
        Moment("policy", _policy, 2),
        Moment("enrolment", _enrolment, 2),
    ]


def _carrying(scene: Scene, service: Service) -> None:
    _at_work(service, "connected, MQTT")
    _pause(scene, 1.2)


def _spooling(scene: Scene, service: Service) -> None:
    """While the spool is written: it grows with what is sealed, and shrinks by acknowledgement."""
    _at_work(service, "connected, MQTT")
    log = scene.folder / "bridge.spool-wal"

    def stamp() -> int:
        with suppress(OSError):
            return log.stat().st_mtime_ns
        return 0

    before = stamp()
    _seen(lambda: stamp() != before, 3)
    time.sleep(scene.dice.uniform(0, 0.004))


def _stopping(scene: Scene, service: Service) -> None:
    _at_work(service, "connected, MQTT")
    with suppress(ProcessLookupError):
        os.kill(service.process.pid, signal.SIGTERM)
    _pause(scene, 0.3)


def _reloading(scene: Scene, service: Service) -> None:
    """Another configuration: each source is ended, and begun again, under load."""
    _at_work(service, "connected, MQTT")
    file = scene.folder / "bridge.toml"
    text, found = re.subn(r"keepalive_[0-9]+", f"keepalive_{scene.dice.randrange(1000)}",
                          file.read_text())  # fmt: skip
    if not found:
        prefix = 'kind = "mqtt_json"\nnames = { keepalive_0 = "unused" }'
        text = text.replace('kind = "mqtt_json"', prefix)
    replace_file(file, text.encode())
    with suppress(ProcessLookupError):
        os.kill(service.process.pid, signal.SIGHUP)
    _pause(scene, 1.2)


def bridge_moments() -> list[Moment]:
    """When bridges are killed."""
    return [
        Moment("carrying", _carrying, 4),
        Moment("spooling", _spooling, 3),
        Moment("starting", _starting, 2),
        Moment("shutting down", _stopping, 1),
        Moment("reloading", _reloading, 3),
    ]
