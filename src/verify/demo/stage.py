"""Everything a run needs, set up in a folder and taken down again whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from depin_id.claims import Place
from depin_id.device import Device
from depin_id.durable import make_directory
from depin_id.enrolment import Enrolment
from depin_id.errors import StateError, TransportError
from depin_id.networkdir import NetworkDir
from verify.demo.actors import CARRIED_TOPIC, Level, Outbox, Sensor, UnsignedSensor, make_device
from verify.demo.bridge import BridgeProcess
from verify.demo.cheats import QUOTA_BURST, QUOTA_PER_MINUTE, Cheat, Scene, make_cheats
from verify.demo.scene import City, Site
from verify.demo.station import Station
from verify.demo.wire import Broker, Connection
from verify.entries import Enrolled
from verify.setup import init
from verify.workspace import Workspace

NETWORK = "demo"
UNSIGNED, UNSIGNED_SHARE = 3, 4
"""Sensors that cannot sign: three, or one in four of a small city."""
CARRIED_SHARE = 8
"""One in eight of the sensors that sign is carried by the bridge."""
PATIENCE_S = 120.0
"""How long anything is waited for on a busy machine before the demo gives up."""
_POLICY = f"""\
default_profile = "noise"
[quota]
device_per_minute = {QUOTA_PER_MINUTE}
device_burst = {QUOTA_BURST}
"""


class Stage:
    """Broker, aggregator, bridge, sensors and cheats, all running and connected.

    Args:
        folder: where everything lies; made, must be empty.
        city: the sites, one a sensor.
        level: what a sensor at the site of this index measures.
        pack: readings an envelope.
        say: told what is being done.

    Raises:
        DepinError: something cannot be set up; what was started is stopped.
    """

    def __init__(
        self,
        folder: Path,
        city: City,
        level: Callable[[int], Level],
        *,
        pack: int,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._level, self._pack, self._say = level, pack, say
        self._closing = ExitStack()
        try:
            self._set_up(city)
        except BaseException:
            self._closing.close()
            raise

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    # --- setting up ------------------------------------------------------------------------------

    def _set_up(self, city: City) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise StateError(
                "state.exists",
                f"{self.folder} is not empty",
                hint="name a folder that the demo may make",
            )
        self._say("starting a broker, a network and an aggregator")
        self.broker = Broker()
        self._closing.callback(self.broker.stop)
        make_directory(self.folder)
        self.network = NetworkDir.create(self.folder / "network", NETWORK)
        self.workspace: Workspace = init(
            self.folder / "aggregator", self.network.path, policy_text=_POLICY
        )
        self.bridge = BridgeProcess(
            self.folder / "bridge", self.network, self.broker.url, Site("", 0, 0, 0, 0).place
        )
        self.station = Station(
            self.workspace.root,
            self.broker.url,
            NETWORK,
            self.bridge.enrolment.key.kid.hex(),
        )
        self._closing.callback(self.station.close)
        self._connect()
        self._say(f"enrolling {len(city.sites)} sensors, a bridge and those who will cheat")
        self._people(city)
        self._enrol()
        self._start()

    def _connect(self) -> None:
        unique = os.urandom(4).hex()
        self._field = Connection(self.broker.port, f"depin-demo-field-{unique}")
        self._closing.callback(self._field.close)
        # Of its own: the flood must not stand in the way of honest sensors on the way out.
        self._shady = Connection(self.broker.port, f"depin-demo-shady-{unique}")
        self._closing.callback(self._shady.close)

    def _people(self, city: City) -> None:
        total = len(city.sites)
        signing = total - min(UNSIGNED, total // UNSIGNED_SHARE)
        carried = max(1, signing // CARRIED_SHARE)
        self.direct: list[Sensor] = []
        self.carried: list[Sensor] = []
        self.unsigned: list[UnsignedSensor] = []
        for index, site in enumerate(city.sites):
            if index >= signing:
                name = f"sensor-{index + 1:02d}"
                self.unsigned.append(UnsignedSensor(name, self._field, self._level(index)))
            elif index < signing - carried:
                self.direct.append(self._sensor(index, site, None))
            else:
                self.carried.append(self._sensor(index, site, f"{CARRIED_TOPIC}/{site.name}"))
        devices = self.folder / "devices"
        scene = Scene(
            devices,
            self.network.card,
            self._shady,
            self.station.books,
            [sensor.outbox for sensor in self.direct],
            self.until,
        )
        self.cheats: list[Cheat] = make_cheats(scene)
        for cheat in self.cheats:
            self._closing.callback(cheat.close)

    def _sensor(self, index: int, site: Site, topic: str | None) -> Sensor:
        device = self._device(site.name, site.place)
        outbox = Outbox(device, self.network.card, self._field)
        if topic is None:
            outbox.listen()
        return Sensor(outbox, self._level(index), pack=self._pack, first=index, topic=topic)

    def _device(self, name: str, place: Place) -> Device:
        device = make_device(self.folder / "devices", name, place)
        self._closing.callback(device.close)
        return device

    def _enrol(self) -> None:
        known: dict[str, Enrolment] = {self.bridge.enrolment.did: self.bridge.enrolment}
        for sensor in (*self.direct, *self.carried):
            known[sensor.outbox.device.did] = sensor.outbox.device.enrolment
        for cheat in self.cheats:
            for device in cheat.devices:
                known[device.did] = device.enrolment
        self.station.aggregator.administer(
            Enrolled(os.urandom(16), 0, enrolment) for enrolment in known.values()
        )

    def _start(self) -> None:
        self._say("starting the bridge")
        self.station.start()
        self._closing.callback(self.bridge.stop)
        self.bridge.start()
        if not self.until(lambda: self.bridge.ready and self.station.ready):
            raise TransportError(
                "demo.start",
                "aggregator or bridge did not connect to the broker: " + self.bridge.last_words,
                hint=f"see {self.bridge.log}",
            )

    # --- while it runs ---------------------------------------------------------------------------

    @property
    def sensors(self) -> list[Sensor | UnsignedSensor]:
        """All honest sensors."""
        return [*self.direct, *self.carried, *self.unsigned]

    def trouble(self) -> str:
        """What has broken for good, "" when nothing has."""
        if self.station.failure is not None:
            return f"the aggregator ended: {self.station.failure}"
        if self.bridge.ended:
            return f"the bridge ended: {self.bridge.last_words}"
        return "" if self.broker.running else "the broker ended"

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False when it does not come within two minutes, or cannot."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline or self.trouble():
                return condition()
            time.sleep(0.05)
        return True

    def delivered(self) -> bool:
        """Whether everything honest sensors sent has been answered or committed."""
        books = self.station.books
        return (
            all(not sensor.outbox.waiting for sensor in self.direct)
            and all(
                envelope in books.carried
                for sensor in self.carried
                for envelope in sensor.outbox.sent.values()
            )
            and all(len(books.spoken.get(f"#{s.name}", ())) >= s.readings for s in self.unsigned)
        )

    def stop(self) -> None:
        """End bridge and aggregator, so that what they hold can be looked at."""
        self.bridge.stop()
        self.station.close()
