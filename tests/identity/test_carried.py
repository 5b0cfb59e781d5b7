"""A bridge carries statements up and what answers them down, both unchanged."""

from __future__ import annotations

import hashlib
import queue
import threading
from pathlib import Path

from depin_id.ack import Challenge, sign_challenge
from depin_id.device import Device
from depin_id.network import topics
from depin_id.possession import enrol_statement
from depin_id.statements import CHALLENGE, write_statement
from firmware_bridge.carrying import MAX_WAITING, Carrier
from firmware_bridge.config import load_config
from firmware_bridge.service import Bridge
from tests.bridge.world import Net as Bare
from tests.brokers import mosquitto
from tests.http.support import levels, running, wait_for
from tests.identity.factory import Maker
from tests.identity.test_ways import trusting
from tests.ingest.support import publisher
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.reading import Reader
from verify.verdict import ACCEPTED


def test_a_device_behind_a_gateway_takes_itself_in(tmp_path: Path) -> None:
    maker = Maker()
    site = trusting(tmp_path, maker)
    with Device.create(tmp_path / "gateway", role="gateway") as gateway:
        with Aggregator(site.root) as aggregator:
            assert not enrol(aggregator, [gateway.enrolment])["refused"]
    with (
        Device.create(tmp_path / "device", profile="noise") as device,
        mosquitto(tmp_path / "outside") as outside,
        mosquitto(tmp_path / "inside") as inside,
        publisher(inside) as client,
    ):
        (tmp_path / "bridge.toml").write_text(
            '[bridge]\ndevice = "gateway"\ncard = "net/card.cbor"\n'
            'spool = "spool"\n'
            f'[uplink]\nurl = "mqtt://127.0.0.1:{outside.port}"\nack_timeout = 5.0\n'
            '[[source]]\nkind = "native_mqtt"\nname = "in"\ntopic = "depin/v1/+/up/+"\n'
            f'url = "mqtt://127.0.0.1:{inside.port}"\n'
        )
        certificate = maker.birth(device.public_key)
        up, down = topics(site.card.name, device.public_key.kid)
        heard: queue.Queue[bytes] = queue.Queue()
        client.on_message = lambda _c, _d, message: heard.put(bytes(message.payload))
        client.subscribe(down, qos=1)
        bridge = Bridge(load_config(tmp_path / "bridge.toml"))
        worker = threading.Thread(target=bridge.run)
        with running(site, f"mqtt://127.0.0.1:{outside.port}") as at:
            wait_for(lambda: "mqtt.subscribed" in at.kinds(), "the subscription")
            worker.start()
            try:
                asked = write_statement(CHALLENGE, device.public_key.thumbprint)
                wait_for(lambda: bridge.uplink.connected, "the uplink")

                def challenge() -> bytes | None:
                    # Whoever asks and hears nothing asks again: the source may not be up yet.
                    client.publish(up, asked, qos=1)
                    try:
                        return heard.get(timeout=2)
                    except queue.Empty:
                        return None

                answer = wait_for(challenge, "the challenge")
                client.publish(up, device.sign(levels(1), network=site.card.network), qos=1)
                proof = device.prove(answer, card=site.card, certificate=certificate)
                statement = enrol_statement(proof, certificate)
                client.publish(up, statement, qos=1)
                identity = hashlib.sha256(statement).digest()

                def result() -> str | None:
                    data = heard.get(timeout=60)
                    if data == answer or len(data) < 200:
                        return None
                    for item in device.take_ack(data, card=site.card).items:
                        if item.id == identity:
                            return item.code
                    return None

                assert wait_for(result, "the result") == ACCEPTED
                wait_for(lambda: not len(bridge.spool), "the acknowledgement")
                assert bridge.uplink.counts.statements >= 2
                assert bridge.uplink.counts.handed_down >= 2
            finally:
                bridge.stop()
                worker.join(60)
                bridge.close()
    with Reader(site.root) as reader:
        assert device.did in reader.fold.identity.births
        assert reader.fold.tally.verdicts.get(ACCEPTED) == 1


def test_what_is_carried_is_bounded_and_the_gateway_s_own_goes_nowhere() -> None:
    carrier, net = Carrier(), Bare()
    got: list[tuple[bytes, bytes]] = []
    for n in range(MAX_WAITING + 5):
        carrier.state(b"%d" % n)
    assert carrier.take() == b"5"
    carrier.listen(lambda kid, data: got.append((kid, data)))
    card = net.card()
    data = sign_challenge(Challenge(b"d" * 32, b"n" * 16, 1), network=card.network, signer=net.ack)
    assert carrier.hand_down(data, card, b"g" * 8)
    assert got == [(b"d" * 8, data)]
    assert not carrier.hand_down(data, card, b"d" * 8)
    forged = sign_challenge(
        Challenge(b"d" * 32, b"n" * 16, 1), network=card.network, signer=net.log
    )
    for junk in (forged, data[:-1], b"", b"\xd2", data[:-1] + bytes([data[-1] ^ 1])):
        assert not carrier.hand_down(junk, card, b"g" * 8)
    assert len(got) == 1
