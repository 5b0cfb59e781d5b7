"""A network, devices and a stand-in for the aggregator that signs real acknowledgements."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.ack import Ack, AckItem, sign_ack
from depin_id.envelope import KIND_GATEWAY, open_gateway_payload, parse_envelope, split_bundle
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.network import NetworkCard, network_did, sign_card, topics

PATIENCE = 40.0


def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen in {PATIENCE:g} s")


@dataclass
class Net:
    """A network's keys and card."""

    root: SoftwareSigner = field(default_factory=SoftwareSigner.generate)
    ack: SoftwareSigner = field(default_factory=SoftwareSigner.generate)
    log: SoftwareSigner = field(default_factory=SoftwareSigner.generate)

    def card(self, number: int = 1, ack: SoftwareSigner | None = None) -> NetworkCard:
        return NetworkCard(
            network=network_did(self.root.public_key),
            name="testnet",
            number=number,
            not_before=0,
            not_after=1 << 40,
            ack_keys=((ack or self.ack).public_key,),
            log_origin="testnet/log",
            log_key=self.log.public_key,
        )

    def signed_card(self, number: int = 1, ack: SoftwareSigner | None = None) -> bytes:
        return sign_card(self.card(number, ack), self.root)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.signed_card())
        return path


def identity(key: PublicKey, network: str, envelope: bytes) -> bytes:
    parsed = parse_envelope(envelope)
    return parsed.verify(network, key)


class Aggregator:
    """Takes bundles of known devices from a broker and acknowledges each after "committing" it.

    ``mute`` makes it take nothing in; ``code`` is the verdict it gives.
    """

    def __init__(self, net: Net, *devices: PublicKey) -> None:
        self.net = net
        self.keys = {key.kid: key for key in devices}
        self.signer = net.ack
        self.mute = False
        self.code = "accepted"
        self.number = 1
        self.seen: list[bytes] = []
        self.envelopes: dict[bytes, bytes] = {}
        self.messages: list[list[bytes]] = []
        self.acks: list[tuple[str, bytes]] = []
        self._inner: set[bytes] = set()
        self._opened = 0
        self._ready = threading.Event()
        self.client: paho.Client | None = None

    def connect(self, port: int) -> Aggregator:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "aggregator", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda c, *_: c.subscribe("depin/v1/testnet/up/+", 1)
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = lambda _, __, message: self.take(message.topic, bytes(message.payload))
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.client = client
        assert self._ready.wait(PATIENCE)
        return self

    def close(self) -> None:
        if self.client is not None:
            self.client.disconnect()
            self.client.loop_stop()

    def __enter__(self) -> Aggregator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, topic: str, payload: bytes) -> None:
        if self.mute:
            return
        key = self.keys[bytes.fromhex(topic.rsplit("/", 1)[1])]
        network = self.net.card().network
        ids = []
        for part in split_bundle(payload):
            found = identity(key, network, part)
            ids.append(found)
            self.seen.append(found)
            self.envelopes.setdefault(found, part)
        self.messages.append(ids)
        self.send(key, ids)

    def ack(self, key: PublicKey, ids: list[bytes], **changed: Any) -> Ack:
        self.number += 1
        items = tuple(AckItem(item, self.code, None, None) for item in ids)
        ack = Ack(key.thumbprint, self.number, 1, None, "testnet/log", items, None)
        return replace(ack, **changed)

    def send(self, key: PublicKey, ids: list[bytes], **changed: Any) -> None:
        data = sign_ack(
            self.ack(key, ids, **changed), network=self.net.card().network, signer=self.signer
        )
        self.publish(key, data)

    def publish(self, key: PublicKey, data: bytes, retain: bool = False) -> None:
        assert self.client is not None
        down = topics("testnet", key.kid)[1]
        self.acks.append((down, data))
        self.client.publish(down, data, qos=1, retain=retain)

    def inner(self) -> set[bytes]:
        """SHA-256 of every device envelope that arrived inside a gateway envelope."""
        # Tests ask often while more arrives: each envelope is opened once.
        for data in list(self.envelopes.values())[self._opened :]:
            parsed = parse_envelope(data)
            if parsed.kind == KIND_GATEWAY:
                payload = open_gateway_payload(parsed.payload).raw
                self._inner.add(hashlib.sha256(payload).digest())
            self._opened += 1
        return self._inner
