"""The uplink over a real broker: nothing leaves the spool without its signed acknowledgement."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import paho.mqtt.client as paho
import pytest

import firmware_bridge
from depin_id.ack import sign_ack
from depin_id.device import Device
from depin_id.errors import ConfigError, DepinError, EnvelopeError
from depin_id.keys import SoftwareSigner
from depin_id.network import network_did
from depin_id.readings import reading
from firmware_bridge import MqttOptions, Sender, Spool, Uplink
from firmware_bridge.backoff import Backoff
from firmware_bridge.mqtt import Message, Session
from tests.bridge.certificates import authority, issue
from tests.bridge.world import Aggregator, Net, identity, until
from tests.brokers import Tls, free_port, mosquitto


def sign(device: Device, net: Net, value: float = 52.1) -> bytes:
    return device.sign([reading("LAeq", value, "dB")], network=net.card().network)


@contextlib.contextmanager
def uplink(
    tmp_path: Path, device: Device, net: Net, port: int, **options: Any
) -> Iterator[tuple[Uplink, Spool]]:
    settings: dict[str, Any] = {"ack_timeout": 30.0, "backoff": Backoff(0.05, 0.3), **options}
    with (
        Spool.open(tmp_path / "spool") as spool,
        Uplink(device, net.card(), spool, f"mqtt://127.0.0.1:{port}", **settings) as up,
    ):
        yield up, spool


def test_one_call_from_readings_to_the_acknowledgement(
    tmp_path: Path, net: Net, device: Device
) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        arguments: Any = {"url": f"mqtt://127.0.0.1:{broker.port}", "spool": tmp_path / "spool"}
        assert firmware_bridge.send(
            device, net.card(), [reading("LAeq", 52.1, "dB")], timeout=60, **arguments
        )
        assert len(aggregator.seen) == 1
        aggregator.mute = True
        assert not firmware_bridge.send(
            device, net.card(), [reading("LAeq", 52.2, "dB")], timeout=0.3, **arguments
        )
        aggregator.mute = False
        with Sender(device, net.card(), **arguments) as sender:
            sender.send([reading("LAeq", 52.3, "dB")])
            assert sender.flush(60)
        assert len(aggregator.envelopes) == 3


def test_in_order_and_many_to_a_message(tmp_path: Path, net: Net, device: Device) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        envelopes = [sign(device, net, n) for n in range(1500)]
        with uplink(tmp_path, device, net, broker.port) as (up, spool):
            ids = up.send_all(envelopes)
            assert up.flush(60)
            assert aggregator.seen == ids
            assert len(aggregator.messages) <= 4
            assert spool.counts.released == 1500
            assert up.counts.verdicts == {"accepted": 1500}


def test_a_rejection_is_final_a_retry_is_not(tmp_path: Path, net: Net, device: Device) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        aggregator.code = "aggregator.retry"
        with uplink(tmp_path, device, net, broker.port, ack_timeout=0.2) as (up, spool):
            up.send(sign(device, net))
            until(lambda: up.counts.retries >= 2)
            assert len(spool) == 1
            aggregator.code = "value.out_of_range"
            assert up.flush(60)
            assert up.counts.resends >= 1


def test_what_frees_nothing(tmp_path: Path, net: Net, device: Device) -> None:
    """PUBACK, replayed, foreign, forged, retained and damaged acknowledgements."""
    other, card = Net(), net.card()
    stranger = SoftwareSigner.generate()
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        with uplink(tmp_path, device, net, broker.port) as (up, spool):
            first = up.send(sign(device, net))
            assert up.flush(60)
            replay = aggregator.acks[-1][1]
            aggregator.mute = True
            second = up.send(sign(device, net))
            until(lambda: up.counts.messages == 2)
            key = device.public_key

            def signed(**changed: object) -> bytes:
                return sign_ack(
                    aggregator.ack(key, [second], **changed),
                    network=card.network,
                    signer=net.ack,
                )

            good = signed()
            foreign_network = sign_ack(
                aggregator.ack(key, [second]),
                network=network_did(other.root.public_key),
                signer=net.ack,
            )
            forged = sign_ack(aggregator.ack(key, [second]), network=card.network, signer=stranger)
            for bad in (
                replay,
                signed(number=2),
                signed(recipient=stranger.public_key.thumbprint),
                signed(origin="other/log"),
                foreign_network,
                forged,
                good[:-1] + bytes([good[-1] ^ 1]),
                b"",
                b"\xff" * 100,
                sign(device, net),
                other.signed_card(9),
            ):
                aggregator.publish(key, bad)
            until(lambda: up.counts.refused.total() == 10, "ten refusals")
            # The network's word for a device that is carried: nothing wrong with it, and not ours.
            assert up.counts.handed_down == 1
            aggregator.send(key, [first, bytes(32)])
            until(lambda: up.counts.verdicts["accepted"] == 3)
            assert [entry.id for entry in spool.peek()] == [second]
            # Not just any refusal: the very same acknowledgement, taken as it is meant, frees it.
            aggregator.send(key, [second])
            assert up.flush(60)


def test_a_retained_acknowledgement_is_refused(tmp_path: Path, net: Net, device: Device) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        aggregator.mute = True
        envelope = sign(device, net)
        own = identity(device.public_key, net.card().network, envelope)
        ack = sign_ack(
            aggregator.ack(device.public_key, [own]), network=net.card().network, signer=net.ack
        )
        aggregator.publish(device.public_key, ack, retain=True)
        with uplink(tmp_path, device, net, broker.port) as (up, spool):
            up.send(envelope)
            until(lambda: up.counts.refused["retained"])
            assert len(spool) == 1


def test_dead_aggregator_then_alive(tmp_path: Path, net: Net, device: Device) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        aggregator.mute = True
        with uplink(tmp_path, device, net, broker.port, ack_timeout=0.1, window=3) as (up, spool):
            ids = [up.send(sign(device, net, n)) for n in range(10)]
            until(lambda: up.counts.resends >= 2)
            assert len(spool) == 10
            aggregator.mute = False
            assert up.flush(60)
            assert list(dict.fromkeys(aggregator.seen)) == ids, "in order, duplicates apart"


def test_dead_broker_then_alive(tmp_path: Path, net: Net, device: Device) -> None:
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        broker.kill()
        # The stand-in may come back after us, and what it was not there for is lost to it.
        with uplink(tmp_path, device, net, broker.port, ack_timeout=0.3) as (up, spool):
            ids = [up.send(sign(device, net, n)) for n in range(3)]
            until(lambda: up.problem)
            broker.start()
            assert up.flush(60)
            broker.kill()
            ids += [up.send(sign(device, net, n)) for n in range(3)]
            until(lambda: not up.connected)
            broker.start()
            assert up.flush(60)
        assert list(dict.fromkeys(aggregator.seen)) == ids


def test_acknowledgement_key_is_replaced_by_a_card_on_the_downlink(
    tmp_path: Path, net: Net, device: Device
) -> None:
    fresh = SoftwareSigner.generate()
    with mosquitto(tmp_path) as broker, Aggregator(net, device.public_key) as aggregator:
        aggregator.connect(broker.port)
        aggregator.signer = fresh
        with uplink(tmp_path, device, net, broker.port, ack_timeout=0.2) as (up, spool):
            up.send(sign(device, net))
            until(lambda: up.counts.refused["network.key_unknown"])
            assert len(spool) == 1
            aggregator.publish(device.public_key, net.signed_card(2, fresh))
            assert up.flush(60)
            assert up.card.number == 2
        # It is kept: an older card in the configuration does not bring the old key back.
        with uplink(tmp_path, device, net, broker.port) as (up, _):
            assert up.card.number == 2


def test_broker_without_mqtt_5(tmp_path: Path, net: Net, device: Device) -> None:
    with (
        mosquitto(tmp_path) as broker,
        Aggregator(net, device.public_key) as aggregator,
        only_311(broker.port) as (port, levels),
    ):
        aggregator.connect(broker.port)
        with uplink(tmp_path, device, net, port) as (up, _):
            up.send(sign(device, net))
            assert up.flush(60)
        assert levels[:2] == [5, 4]


@contextlib.contextmanager
def only_311(upstream: int) -> Iterator[tuple[int, list[int]]]:
    """A broker that refuses every protocol level but 4, as brokers from before MQTT 5 do."""
    levels: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def pipe(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with client:
            head = client.recv(65536)
            levels.append(head[head.index(b"MQTT") + 4])
            if levels[-1] != 4:
                client.sendall(b"\x20\x02\x00\x01")
                return
            with socket.create_connection(("127.0.0.1", upstream)) as broker:
                broker.sendall(head)
                back = threading.Thread(target=pipe, args=(broker, client), daemon=True)
                back.start()
                pipe(client, broker)
                back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], levels
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def test_mutual_tls_and_only_that(tmp_path: Path, net: Net, device: Device) -> None:
    ca, ca_key = authority(tmp_path / "ca")
    cert, key = issue(tmp_path / "broker", ca, ca_key, "127.0.0.1")
    ours, ours_key = issue(tmp_path / "client", ca, ca_key, "gateway")
    strange, strange_key = authority(tmp_path / "strange")
    tls = Tls(ca.path, cert, key, require_certificate=True)
    with mosquitto(tmp_path, tls=tls) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        good = MqttOptions.from_url(url, ca=ca.path, cert=ours, key=ours_key)
        theirs, theirs_key = issue(tmp_path / "theirs", strange, strange_key, "gateway")
        for wrong in (
            MqttOptions.from_url(url, ca=strange.path, cert=ours, key=ours_key),
            MqttOptions.from_url(url, ca=ca.path),
            MqttOptions.from_url(url, ca=ca.path, cert=theirs, key=theirs_key),
        ):
            with Spool.open(tmp_path / "spool") as spool:
                up = Uplink(device, net.card(), spool, wrong, backoff=Backoff(0.05, 0.1))
                with up:
                    until(partial(getattr, up, "problem"))
                    assert not up.connected
        with Spool.open(tmp_path / "spool") as spool, Uplink(device, net.card(), spool, good) as up:
            until(lambda: up.connected)


def test_the_broker_says_how_large_a_packet_may_be(
    tmp_path: Path, net: Net, device: Device
) -> None:
    with mosquitto(tmp_path, extra=["max_packet_size 4096"]) as broker:
        with Aggregator(net, device.public_key) as aggregator:
            aggregator.connect(broker.port)
            with uplink(tmp_path, device, net, broker.port) as (up, spool):
                big = device.sign([reading("text", "x" * 4000)], network=net.card().network)
                ids = up.send_all(
                    [*(sign(device, net, n) for n in range(30)), big, sign(device, net)]
                )
                until(lambda: len(spool) == 1)
                assert [entry.id for entry in spool.peek()] == [ids[30]]
                assert up.counts.too_large == 1
                assert len(aggregator.messages) > 1


def test_only_our_own_envelopes(tmp_path: Path, net: Net, device: Device) -> None:
    with Device.create(tmp_path / "other") as other, Spool.open(tmp_path / "spool") as spool:
        up = Uplink(device, net.card(), spool, "mqtt://127.0.0.1:1")
        with pytest.raises(EnvelopeError) as error:
            up.send(sign(other, net))
        assert error.value.code == "envelope.foreign"
        with pytest.raises(DepinError):
            up.send(b"\xff")
        assert len(spool) == 0


@pytest.mark.parametrize(
    "url",
    ["", "broker", "http://broker", "mqtt://", "mqtt://a:b@host", "mqtt://h:99999", "mqtt://h/x"],
)
def test_wrong_addresses(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        MqttOptions.from_url(url)
    assert error.value.code == "config.url" and error.value.hint


def test_passwords_are_not_shown() -> None:
    options = MqttOptions.from_url("mqtt://h", username="u", password="secret-word")
    assert "secret-word" not in repr(options) + str(options)


def test_no_broker_at_all_ends_quickly(tmp_path: Path, net: Net, device: Device) -> None:
    with uplink(tmp_path, device, net, free_port()) as (up, _):
        until(lambda: up.problem)


class _Silent:
    """A client library that takes everything: to see the order of calls."""

    def __init__(self) -> None:
        self.published: list[bytes] = []

    def publish(self, topic: str, payload: bytes, qos: int) -> paho.MQTTMessageInfo:
        assert qos == 1
        self.published.append(payload)
        info = paho.MQTTMessageInfo(1)
        info.rc = paho.MQTT_ERR_SUCCESS
        return info


def test_window_timeout_and_order_without_a_network(
    tmp_path: Path, net: Net, device: Device
) -> None:
    """At most ``window`` messages under way; after the wait everything again, from the oldest."""
    now = [0.0]
    client = _Silent()
    with Spool.open(tmp_path / "spool") as spool:
        up = Uplink(
            device,
            net.card(),
            spool,
            "mqtt://127.0.0.1:1",
            window=2,
            ack_timeout=10,
            bundle_bytes=200,
            monotonic=lambda: now[0],
        )
        envelopes = [sign(device, net, n) for n in range(6)]
        ids = up.send_all(envelopes)
        up.on_up(Session(cast(Any, client), None, 65535, "5"))
        up.tick()
        up.tick()
        first = [envelopes[0], envelopes[1]]
        assert client.published == first
        ack = Aggregator(net).ack(device.public_key, [ids[1]])
        data = sign_ack(ack, network=net.card().network, signer=net.ack)
        up.on_message(Message("t", data, 1, False, lambda: None))
        up.tick()
        assert client.published == [*first, envelopes[2]], "room for one more"
        now[0] = 20.1
        up.tick()
        assert client.published[3:] == [envelopes[0], envelopes[2]], "again, the oldest first"
        up.on_down()
        up.tick()
        up.on_up(Session(cast(Any, client), None, 65535, "5"))
        up.tick()
        assert client.published[5:] == [envelopes[0], envelopes[2]]
