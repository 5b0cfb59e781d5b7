"""What devices say while things break: by MQTT, over HTTP, through a bridge.

Each of them sends a message again until all of it is acknowledged, and keeps what it was told.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.ack import AckItem
from depin_id.closing import Closing
from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.network import NetworkCard
from depin_id.readings import reading
from depin_id.senml import Decimal64
from tests.brokers import Mosquitto
from tests.endtoend.world import At, Publisher
from tests.http.support import acks_of

BACKWARDS_S = 1_000_000
"""How long ago the first second was that is measured: one a second, however fast they come."""


class Meter(Closing):
    """A device that measures; every second once.

    Attributes:
        sent: identities of what it handed over. acknowledged: of those that were, by identity.
        contradictions: acknowledgements of one envelope that say different things.
    """

    def __init__(self, device: Device, card: NetworkCard, seed: int) -> None:
        self.device, self.card = device, card
        self._random = random.Random(seed)
        self._second = int(time.time()) - BACKWARDS_S
        self.sent: list[bytes] = []
        self.acknowledged: dict[bytes, AckItem] = {}
        self.contradictions: list[tuple[AckItem, AckItem]] = []

    @property
    @abstractmethod
    def unanswered(self) -> int:
        """Messages of which something is not acknowledged."""

    @property
    @abstractmethod
    def resent(self) -> int:
        """Messages that were sent once more."""

    @abstractmethod
    def stop(self) -> None:
        """Measure no more; what is under way is still sent again."""

    def bundle(self) -> tuple[bytes, list[bytes]]:
        """A few envelopes and their identities."""
        dice, envelopes = self._random, []
        for _ in range(dice.randrange(1, 5)):
            readings = []
            for _ in range(dice.randrange(1, 4)):
                self._second += 1
                readings.append(reading("laeq", dice.randrange(300, 900) / 10, "dB", self._second))
            envelopes.append(self.device.sign(readings, network=self.card.network))
        network, key = self.card.network, self.device.public_key
        ids = [parse_envelope(data).verify(network, key) for data in envelopes]
        self.sent += ids
        return b"".join(envelopes), ids


class Speaker(Meter):
    """Measures as fast as its messages are acknowledged by MQTT, with rests.

    Args:
        rest_s: the longest rest between two messages.
    """

    def __init__(
        self,
        device: Device,
        card: NetworkCard,
        broker: At,
        seed: int,
        *,
        rest_s: float = 0.0,
    ) -> None:
        super().__init__(device, card, seed)
        self._stop = threading.Event()
        self._rest_s = rest_s
        self.publisher = Publisher(device, card, broker, window=30, resend_s=1.5)
        self.acknowledged = self.publisher.acknowledged
        self.contradictions = self.publisher.contradictions
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def unanswered(self) -> int:
        return self.publisher.unanswered

    @property
    def resent(self) -> int:
        return self.publisher.resent

    def _work(self) -> None:
        while not self._stop.wait(self._random.uniform(0, self._rest_s)):
            payload, ids = self.bundle()
            while not self.publisher.send(payload, ids, wait_s=0.2):
                if self._stop.is_set():
                    # Signed and never handed over: the next positions are missing for good.
                    del self.sent[-len(ids) :]
                    return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self.publisher.close()


class Poster(Meter):
    """Measures over HTTP; a bundle is posted until its acknowledgement names all of it.

    Args:
        port: gives where the aggregator listens now, None while it does not.
        most: bundles after which it has nothing more to say; None has no end.
    """

    def __init__(
        self,
        device: Device,
        card: NetworkCard,
        port: Callable[[], int | None],
        seed: int,
        *,
        rest_s: float = 0.0,
        most: int | None = None,
    ) -> None:
        super().__init__(device, card, seed)
        self._port, self._rest_s, self._most = port, rest_s, most
        self._resent = 0
        self.answers: dict[str, int] = {}
        self._stop, self._give_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def unanswered(self) -> int:
        return int(self._thread.is_alive())

    @property
    def resent(self) -> int:
        return self._resent

    def _work(self) -> None:
        number = 0
        while not self._stop.wait(self._random.uniform(0, self._rest_s)):
            payload, ids = self.bundle()
            while not self._post(payload, ids):
                self._resent += 1
                if self._give_up.wait(0.05):
                    return
            number += 1
            if number == self._most:
                return

    def _post(self, payload: bytes, ids: list[bytes]) -> bool:
        port = self._port()
        if port is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            head = {"content-type": "application/cbor-seq"}
            connection.request("POST", "/v1/bundles", payload, head)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._count(type(error).__name__)
            return False
        finally:
            connection.close()
        self._count(str(answer.status))
        if answer.status != 200:
            return False
        acks = acks_of(body, self.card, self.device.public_key.thumbprint)
        told = {item.id: item for ack in acks for item in ack.items}
        for identity, item in told.items():
            known = self.acknowledged.setdefault(identity, item)
            if known != item:
                self.contradictions.append((known, item))
        return set(ids) <= set(told)

    def _count(self, what: str) -> None:
        self.answers[what] = self.answers.get(what, 0) + 1

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._stop.set()
        self._give_up.set()
        self._thread.join()


# --- the bridge -----------------------------------------------------------------------------------

SENSORS = ("attic", "cellar", "roof")
SOURCES = """
[[source]]
kind = "native_mqtt"
name = "natives"
topic = "site/envelopes/+"
url = "{url}"
[[source]]
kind = "mqtt_json"
name = "json"
topic = "tele/{{sensor}}/STATE"
url = "{url}"
time = "at"
[[source.reading]]
path = "laeq"
name = "laeq"
unit = "dB"
"""


def write_bridge(folder: Path, broker: Mosquitto) -> Path:
    """A configuration with both kinds of devices, beside the gateway's device."""
    url = f"mqtt://127.0.0.1:{broker.port}"
    config = folder / "bridge.toml"
    config.write_text(
        '[bridge]\ndevice = "gateway"\ncard = "net/card.cbor"\nspool = "bridge.spool"\n'
        f'batch_age = 0.1\n[uplink]\nurl = "{url}"\nack_timeout = 1.0\nretry_most = 0.5\n'
        + SOURCES.format(url=url)
    )
    return config


class Site:
    """A device that signs and sensors that cannot; all of them say each thing once.

    Attributes:
        native: ids of the envelopes that the broker confirmed.
        sensed: (sensor, second, value) of the messages that the broker confirmed.
    """

    def __init__(self, device: Device, card: NetworkCard, broker: Mosquitto, seed: int) -> None:
        self._device, self._card = device, card
        self._random = random.Random(seed)
        self._second = int(time.time()) - 1_000_000
        self._handed: dict[int, bytes | tuple[str, int, str]] = {}
        # Written by the client's thread alone; no lock, for it calls back under its own.
        self._confirmed: set[int] = set()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "site", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.on_publish = lambda _, __, mid, *___: self._confirmed.add(mid)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        self._client = client
        self._stop = threading.Event()
        self._speaking: threading.Thread | None = None

    def begin(self, every_s: float) -> None:
        """Speak now and then, until :meth:`stop`."""
        self._speaking = threading.Thread(target=self._work, args=(every_s,), daemon=True)
        self._speaking.start()

    def _work(self, every_s: float) -> None:
        while not self._stop.wait(self._random.uniform(0, 2 * every_s)):
            self.speak(1)

    def stop(self) -> None:
        """Say no more."""
        self._stop.set()
        if self._speaking is not None:
            self._speaking.join()

    def _publish(self, topic: str, payload: bytes, what: bytes | tuple[str, int, str]) -> None:
        self._handed[self._client.publish(topic, payload, qos=1).mid] = what

    def speak(self, times: int) -> None:
        """So many messages of each kind."""
        for _ in range(times):
            self._second += 1
            level = Decimal64(self._random.randrange(300, 900), -1)
            data = self._device.sign(
                [reading("laeq", level, "dB", self._second)], network=self._card.network
            )
            identity = parse_envelope(data).verify(self._card.network, self._device.public_key)
            self._publish("site/envelopes/meter", data, identity)
            sensor = self._random.choice(SENSORS)
            message = f'{{"at": {self._second}, "laeq": {level}}}'
            self._publish(
                f"tele/{sensor}/STATE", message.encode(), (sensor, self._second, str(level))
            )

    @property
    def waiting(self) -> int:
        """Messages that the broker has not confirmed."""
        return len(self._handed) - len(self._confirmed)

    @property
    def native(self) -> set[bytes]:
        return {what for what in self._handed.values() if isinstance(what, bytes)}

    @property
    def sensed(self) -> set[tuple[str, int, str]]:
        return {what for what in self._handed.values() if isinstance(what, tuple)}

    def close(self) -> None:
        self.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
