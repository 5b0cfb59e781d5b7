"""All radio and industry sources in one bridge: a real broker, HTTP, a receiver, and a kill."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.senml.cbor import decode_pack
from tests.bridge.sources.lorawan_shapes import TOPIC, TTN_TOPIC, chirpstack, ttn
from tests.bridge.sources.test_airrohr import post
from tests.bridge.sources.test_nmea import FLIGHT, LOGGER
from tests.bridge.sources.test_sparkplug import DBIRTH, DEVICE, NBIRTH, NODE, metric, payload
from tests.bridge.test_bridge import Process, write_config
from tests.bridge.world import Aggregator, Net, until
from tests.brokers import mosquitto

SOURCES = """
[[source]]
kind = "chirpstack"
name = "lora"
url = "{url}"
level = "G1"
publishers = "network_server"
reading = [{{ path = "temperature", name = "temperature", unit = "Cel" }}]
[[source]]
kind = "ttn"
name = "ttn"
url = "{url}"
reading = [{{ path = "temperature", name = "temperature", unit = "Cel" }}]
[[source]]
kind = "sparkplug"
name = "plant"
url = "{url}"
rebirth = true
names = {{ "Plant 1/EdgeA/Meter-7" = "meter" }}
reading = [{{ path = "Count", name = "count", unit = "count" }}]
[[source]]
kind = "nmea"
name = "gnss"
input = "tcp"
port = {gnss}
sensor = "mast"
take = ["position"]
[[source]]
kind = "airrohr"
name = "air"
port = 0
"""


REFUSED = {
    "lora: frame.duplicate": 2,
    "ttn: frame.duplicate": 1,
    "plant: sparkplug.unborn": 1,
}


def refused(process: Process) -> dict[str, int]:
    """What a bridge said last that it had refused of frames and births."""
    found = re.findall(r'"(\w+: (?:frame|sparkplug)\.\w+)": (\d+)', process.said())
    return {name: int(count) for name, count in found}


def receiver(server: socket.socket, stop: threading.Event) -> None:
    """A GNSS receiver with a network: whoever connects hears one moment after the other."""
    server.settimeout(0.2)
    while not stop.is_set():
        try:
            connection, _ = server.accept()
            with connection:
                connection.sendall("\r\n".join([*FLIGHT, *LOGGER, ""]).encode())
                stop.wait(0.5)
        except OSError:
            continue


def test_each_source_is_signed_for_and_a_frame_stays_one_over_a_kill(
    tmp_path: Path, net: Net
) -> None:
    with Device.create(tmp_path / "gateway-device", role="gateway") as made:
        key = made.public_key
    stop = threading.Event()
    with (
        mosquitto(tmp_path) as broker,
        Aggregator(net, key) as aggregator,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        aggregator.connect(broker.port)
        url = f"mqtt://127.0.0.1:{broker.port}"
        sources = SOURCES.format(url=url, gnss=server.getsockname()[1])
        config = write_config(tmp_path, net, broker.port, sources, batch_age=0.1, status_every=0.2)
        gnss = threading.Thread(target=receiver, args=(server, stop))
        gnss.start()
        client = aggregator.client
        assert client is not None

        def signed() -> Counter[str]:
            found: Counter[str] = Counter()
            for data in list(aggregator.envelopes.values()):
                envelope = parse_envelope(data)
                claims = envelope.claims
                name = f"{claims.sub} {claims.level}"
                if claims.link is not None:
                    name += f" {claims.link.rssi_dbm} {claims.link.snr_ddb}"
                found[name] += len({record.time for record in decode_pack(envelope.payload)})
            return found

        def publish() -> None:
            for topic, data in (
                (TOPIC, chirpstack()),
                (TOPIC, chirpstack(rxInfo=[])),
                (TTN_TOPIC, ttn()),
                (NODE.format("NBIRTH"), NBIRTH),
                (DEVICE.format("DBIRTH"), DBIRTH),
                (DEVICE.format("DDATA"), payload(2, metric(None, alias=4, int_value=7))),
            ):
                client.publish(topic, data, qos=1)

        def ready(process: Process) -> None:
            # Of this life: one that connected twice in the life before must not stand for another.
            until(lambda: process.said().count("connected, MQTT 5") >= 4, "its connections")

        wanted = {
            "#ffffff200000b703 G1 -66 142",
            "#70b3d5499eaa6c64 G0 -3 88",
            "#meter G0",
            "#mast G0",
            "#esp8266-12331981 G0 -94 None",
        }
        try:
            with Process(config) as process:
                ready(process)
                publish()
                listens = re.compile(r"air: http at [0-9.]+, port (\d+)")
                (port,) = until(lambda: listens.findall(process.said()), "its HTTP")
                assert post(int(port)) == 200
                until(lambda: signed().keys() == wanted, "all of them")
                process.end(signal.SIGKILL)
            with Process(config) as process:
                ready(process)
                # Data before its birth; and every frame again, as a broker would after a crash.
                client.publish(DEVICE.format("DDATA"), payload(3), qos=1)
                publish()
                until(lambda: signed()["#meter G0"] == 2, "the births of after")
                # Each source has a connection of its own: one being done says nothing of others.
                until(lambda: refused(process) == REFUSED, "what was refused")
                assert process.end(signal.SIGTERM) == 0
        finally:
            stop.set()
            gnss.join(30)
        found = signed()
        assert found.keys() == wanted
        assert found["#ffffff200000b703 G1 -66 142"] == found["#70b3d5499eaa6c64 G0 -3 88"] == 1
        assert refused(process) == REFUSED
