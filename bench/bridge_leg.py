"""The bridge, from what a source hands over to the acknowledgement that empties the spool."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.broker import QUEUE, wait_for
from bench.table import Row, Target
from bench.world import BenchError, Lab
from depin_id.ack import Ack, AckItem, sign_ack
from depin_id.device import Device
from depin_id.envelope import KIND_ENVELOPE, split_bundle
from depin_id.keys import PublicKey, Signer
from depin_id.network import topics
from depin_id.networkdir import NetworkDir
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, Item, SensorReadings
from firmware_bridge.signing import signed_identity
from firmware_bridge.spool import Spool
from firmware_bridge.uplink import Uplink
from tests.brokers import Mosquitto

GROUP = "bridge"
AGE = 0.5
Items = Callable[[int, int], list[list[Item]]]
_UNANSWERED = 4_000


def stand_in(network: Path, port: int, key: bytes, ready: Event, stop: Event) -> None:
    """What acknowledges, in a process of its own: it signs as the network does, and judges nothing.

    Args:
        network: the network's folder. key: of the gateway, as a COSE key.
    """
    directory = NetworkDir(network)
    taker = _Taker(directory.card.network, directory.card.log_origin, directory.ack_signer, key)
    up, taker.down = topics(directory.card.name, taker.key.kid)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda c, *_: c.subscribe(up, 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda c, _, message: taker.answer(c, bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    stop.wait()
    client.disconnect()
    client.loop_stop()


class _Taker:
    def __init__(self, network: str, origin: str, signer: Signer, key: bytes) -> None:
        self.network, self.origin, self.signer = network, origin, signer
        self.key, self.down, self.number = PublicKey.from_cose_key(key), "", 0

    def answer(self, client: paho.Client, bundle: bytes) -> None:
        """Acknowledge everything in a message."""
        self.number += 1
        items = tuple(
            AckItem(
                signed_identity(self.key, self.network, part, KIND_ENVELOPE), "accepted", None, None
            )
            for part in split_bundle(bundle)
        )
        at = int(time.time())
        ack = Ack(self.key.thumbprint, self.number, at, None, self.origin, items, None)
        client.publish(self.down, sign_ack(ack, network=self.network, signer=self.signer), qos=1)


def acknowledged(
    lab: Lab, folder: Path, messages: Sequence[Sequence[Item]], batch: int, *, answered: bool = True
) -> float:
    """Messages a second, from the first handed over to the last envelope out of the spool.

    Args:
        batch: readings in a pack. answered: whether each message's source waits to be told.
    """
    folder.mkdir(parents=True)
    limits = GatewayLimits(
        batch_count=batch, batch_age=AGE, queue=1_000, max_unanswered=_UNANSWERED
    )
    network = lab.network.card.network
    spawn = multiprocessing.get_context("spawn")
    ready, stop = spawn.Event(), spawn.Event()
    done: list[bool] = []
    with (
        Mosquitto(folder / "broker", extra=QUEUE) as broker,
        Device.create(folder / "gateway", role="gateway") as device,
        Spool.open(folder / "spool", max_envelopes=1 << 22) as spool,
    ):
        where = (lab.network.path, broker.port, device.public_key.cose_key, ready, stop)
        other = spawn.Process(target=stand_in, args=where, daemon=True)
        other.start()
        try:
            if not ready.wait(60):
                raise BenchError("nobody acknowledges")
            url = f"mqtt://{broker.host}:{broker.port}"
            with Uplink(device, lab.network.card, spool, url) as uplink:
                wait_for(lambda: uplink.connected, "the uplink")
                gate = Gateway(device, network, spool, limits=limits, notify=uplink.wake)
                worker = threading.Thread(target=gate.run, daemon=True)
                worker.start()
                emit = gate.emitter("bench", "G0")
                begin = time.perf_counter()
                for message in messages:
                    emit(message, (lambda: done.append(True)) if answered else None)
                gate.stop()  # what is begun is sealed
                worker.join()
                wait_for(lambda: not len(spool), "the last acknowledgement")
                took = time.perf_counter() - begin
            if gate.counts.refused or (answered and len(done) != len(messages)):
                raise BenchError(f"the bridge refused: {gate.counts.refused}")
            if uplink.counts.resends:
                raise BenchError("something was sent twice")
        finally:
            stop.set()
            other.join(30)
    return len(messages) / took


def measure(lab: Lab, items: Items, signing: Callable[[float], float]) -> list[Row]:
    """One by one, in packs, and in packs of messages that hold one reading each.

    Args:
        items: makes messages of a source: how many readings, how many in a message.
        signing: the yardstick of the same run, for so many seconds.
    """
    settings = lab.settings
    readings = settings.packs * 60
    cases = (
        ("each reading signed", items(settings.singles, 1), 1, Target(5_000, "value")),
        ("packs of 60", items(readings, 60), 60, Target(100_000, "value")),
        ("packs of 60, a message a reading", items(readings // 3, 1), 60, None),
    )
    found = []
    for number, (what, messages, batch, target) in enumerate(cases):
        values, ratios = [], []
        each = sum(map(_readings, messages)) / len(messages)
        for run in range(settings.runs):
            raw = signing(settings.raw_seconds)
            folder = lab.folder / f"bridge-leg-{number}-{run}"
            values.append(acknowledged(lab, folder, messages, batch) * each)
            ratios.append(values[-1] / raw)
        name = f"source to acknowledged through mosquitto, {what}"
        found.append(Row(GROUP, name, "readings/s", values, ratios, "signatures alone", target))
    return found


def _readings(message: Sequence[Item]) -> int:
    return sum(len(item.readings) for item in message if isinstance(item, SensorReadings))
