"""What an outsider tried against the bridge's sources and service, each held by one check."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.errors import ConfigError, ReadingError, TransportError
from depin_id.readings import reading as make_reading
from firmware_bridge import Spool, ha_discovery
from firmware_bridge import web as web_module
from firmware_bridge.batches import Receipt
from firmware_bridge.config import load_config
from firmware_bridge.items import Behalf, SensorReadings
from firmware_bridge.logs import ForPeople, JsonLines
from firmware_bridge.mapping import sensor_name
from firmware_bridge.recognise import Recogniser
from firmware_bridge.reload import seen
from firmware_bridge.sources import airrohr
from firmware_bridge.sources.airrohr import AirrohrOptions
from firmware_bridge.sources.base import kinds
from firmware_bridge.web import Web, json_page
from tests.bridge.sources.hearing import Heard, make, message, values
from tests.bridge.sources.lorawan_shapes import CHIRPSTACK, TOPIC
from tests.bridge.sources.test_airrohr import post, serving
from tests.bridge.sources.test_airrohr import source as airrohr_source
from tests.bridge.sources.test_sparkplug import DEVICE, born, metric, payload, unit
from tests.bridge.sources.test_sparkplug import source as sparkplug_source
from tests.bridge.test_bridge import Done, gateway
from tests.bridge.world import Net, until

HEAD = '[bridge]\ndevice="d"\ncard="c"\nspool="s"\n[uplink]\nurl="mqtts://b.example.org"\n'
READING = '[[source.reading]]\npath="v"\nname="n"\nunit="Cel"\n'


def one_reading(value: int) -> list[SensorReadings]:
    return [SensorReadings("a", (make_reading("LAeq", value, "dB"),))]


@pytest.mark.parametrize(
    ("kind", "topic", "fixed", "held"),
    [
        ("mqtt_json", "s/+/data", 'sensor="hall"', True),
        ("mqtt_json", "s/#", 'sensor="hall"', True),
        ("mqtt_json", "s/hall/data", 'sensor="hall"', False),
        ("mqtt_json", "s/+/{sensor}/data", "", True),
        ("mqtt_json", "s/{sensor}/+/data", "", False),
        ("tasmota", "+/{sensor}/SENSOR", "", True),
        ("tasmota", "%prefix%/%topic%/", "", False),
        ("esphome", "+/sensor/+/state", 'sensor="hall"\ndiscovery=""', True),
        ("esphome", "hall/sensor/+/state", 'sensor="hall"\ndiscovery=""', False),
        ("esphome", "+/{sensor}/sensor/+/state", 'discovery=""', True),
        ("esphome", "{sensor}/sensor/+/state", 'discovery=""', False),
    ],
)
def test_no_g1_where_another_publisher_could_be_the_sensor(
    tmp_path: Path, kind: str, topic: str, fixed: str, held: bool
) -> None:
    file = tmp_path / "bridge.toml"
    source = f'[[source]]\nkind="{kind}"\nlevel="G1"\ndevices="mtls"\nurl="mqtts://b.example.org"\n'
    reading = READING if kind != "tasmota" else ""
    file.write_text(f'{HEAD}{source}topic="{topic}"\n{fixed}\n{reading}')
    if held:
        with pytest.raises(ConfigError, match="one sensor"):
            load_config(file)
    else:
        assert load_config(file).sources[0].level == "G1"


def test_nobody_takes_the_name_that_another_was_given() -> None:
    names = {"0x00158d": "garden", "same": "same"}
    assert sensor_name("0x00158d", names) == "garden" and sensor_name("same", names) == "same"
    with pytest.raises(ReadingError, match="another sensor"):
        sensor_name("garden", names)
    options: dict[str, Any] = {"url": "mqtt://127.0.0.1", "names": {"g/n/d": "g:m"}}
    reading = {"path": "v", "name": "n", "unit": "Cel"}
    plant = make("sparkplug", reading=[reading], **options)
    assert plant._sensor("g/n", "d") == "g:m"
    with pytest.raises(ReadingError, match="another sensor"):
        plant._sensor("g/m", "")


def test_another_authority_of_clients_is_a_change(tmp_path: Path) -> None:
    """Or stations of an authority that was thrown out would go on as G1 after a reload."""
    file = tmp_path / "bridge.toml"
    file.write_text(
        f'{HEAD}[[source]]\nkind="airrohr"\nport=0\ncert="s.pem"\nkey="s.key"\nclient_ca="ca.pem"\n'
    )
    config = load_config(file)
    options = config.sources[0].options
    assert isinstance(options, AirrohrOptions)
    found = set()
    for content in ("one", "two"):
        (tmp_path / "ca.pem").write_text(content)
        found.add(seen(config, options))
    assert len(found) == 2


def test_every_file_that_is_read_once_is_watched() -> None:
    """Files that sources write or read all the time apart."""
    watched = {"ca", "client_ca", "cert", "key", "password_file", "capability"}
    others = {"memory", "path"}
    for kind in kinds().values():
        for name, field in kind.options.model_fields.items():
            if "Path" in str(field.annotation):
                assert name in watched | others, name


def test_a_number_in_a_certificate_is_one_chip() -> None:
    for chip, names in {
        "esp8266-7": {"7", "esp8266-7", "urn:example:7", "urn:example:esp8266-7"},
        "esp32-7": {"esp32-7", "urn:example:esp32-7"},
    }.items():
        for name in ("7", "esp8266-7", "esp32-7", "urn:example:7", "urn:example:esp32-7"):
            if name not in names:
                assert not airrohr._names(frozenset((name,)), chip), (chip, name)
        for name in names:
            assert airrohr._names(frozenset((name,)), chip), (chip, name)


@pytest.mark.parametrize("text", ["-", ".", "--", "-.-", "0.", ".0", "0.0.0", "-0-", "００"])
def test_what_is_no_number_is_not_zero(text: str) -> None:
    with pytest.raises(ReadingError):
        airrohr._number("P1", text)
    assert str(airrohr._number("P1", "-0.00")) == "0"


def test_a_web_page_pushes_no_readings() -> None:
    """A browser reaches what listens on loopback; it says which page it speaks for."""
    heard = Heard()
    with serving(airrohr_source(), heard) as port:
        assert post(port, headers={"Origin": "https://example.org"}) == 403
        assert post(port, headers={"Origin": "null", "Content-Type": "text/plain"}) == 403
        assert not heard.items and post(port) == 200


def test_a_unit_that_changed_since_birth_is_refused() -> None:
    one = born()
    for said in ("°F", "mbar", "K"):
        changed = metric(None, alias=2, float_value=70, properties=unit(said))
        with pytest.raises(ReadingError, match="declared is Cel") as why:
            one.read(DEVICE.format("DDATA"), payload(2, changed))
        assert why.value.code == "sparkplug.unit"
        one = born()
    same = metric(None, alias=2, float_value=21, properties=unit("°C"))
    item, _ = one.read(DEVICE.format("DDATA"), payload(2, same))
    assert item is not None and values(item) == {"temperature": "21 Cel"}


def test_births_make_no_old_value_new() -> None:
    """Anyone who may send a node a command could have its last value signed as one of now."""
    with pytest.raises(ValueError, match="births may be old"):
        sparkplug_source(births=True)


def ask(port: int, host: str, head: bytes = b"") -> bytes:
    with socket.create_connection((host, port), 30) as sock:
        sock.sendall(head)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def test_metrics_are_for_those_who_know_the_address() -> None:
    for host in ("127.0.0.1", "::1"):
        try:
            web = Web(f"[{host}]:0" if ":" in host else f"{host}:0", {"/x": lambda: json_page(1)})
        except TransportError:
            assert ":" in host, "a machine may be without IPv6"
            continue
        try:
            for name in (f"{host}:1", "localhost:9464", "LOCALHOST", "127.0.0.1", "[::1]:9464"):
                answer = ask(web.port, host, b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % name.encode())
                assert b" 200 " in answer, name
            for name in ("rebound.example.org:9464", "example.org", "127.0.0.1.example.org", ""):
                answer = ask(web.port, host, b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % name.encode())
                assert b" 404 " in answer, name
        finally:
            web.close()


def test_a_dripping_request_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "_SECONDS", 0.5)
    web = Web("127.0.0.1:0", {"/x": lambda: json_page(1)})
    try:
        with contextlib.ExitStack() as held:
            slow = [
                held.enter_context(socket.create_connection(("127.0.0.1", web.port), 30))
                for _ in range(8)
            ]
            ended = threading.Event()

            def drip() -> None:
                while not ended.wait(0.1):
                    for sock in slow:
                        with contextlib.suppress(OSError):
                            sock.sendall(b"a")

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                for sock in slow:
                    sock.settimeout(10)
                    with contextlib.suppress(ConnectionError):
                        assert sock.recv(100) == b""
                until(lambda: b" 200 " in ask(web.port, "127.0.0.1", b"GET /x HTTP/1.0\r\n\r\n"))
            finally:
                ended.set()
                thread.join()
    finally:
        web.close()


def test_no_log_line_is_written_by_a_sensor() -> None:
    hostile = "t\n2026-11-22 12:00:00,000 ERROR depin_bridge: x\r\x1b[2J\x9b31m\u202e"
    record = logging.LogRecord("n", logging.WARNING, "", 0, "%s: %s", ("in", hostile), None)
    for formatter in (ForPeople(), JsonLines()):
        line = formatter.format(record)
        assert line.isprintable() and "ERROR" in line
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = ForPeople().format(record)
    assert "Traceback" in text and all(map(str.isprintable, text.split("\n")))


def test_what_comes_behind_blanks_is_part_of_the_number() -> None:
    assert ha_discovery.plain_number(b" 21.5\n") == "21.5"
    with pytest.raises(ReadingError):
        ha_discovery.plain_number(b"21.5" + b" " * 80 + b"is what it is not")


@pytest.mark.parametrize("key", ["unit_of_measurement", "device_class", "state_topic", "~"])
def test_entities_are_small(key: str) -> None:
    """They are kept, thousands of them."""
    found = {"state_topic": "n/t", "unit_of_measurement": "°C", "device_class": "temperature"}
    topic = "homeassistant/sensor/n/t/config"
    assert ha_discovery.read("homeassistant", topic, json.dumps(found).encode())
    long: dict[str, Any] = {**found, key: "x" * 300}
    if key == "~":
        long = {"~": "x" * 300, "cmps": {"x" * 300: {"p": "sensor", **found}}}
        topic = "homeassistant/device/n/config"
    with pytest.raises(ReadingError, match="discovery.malformed"):
        ha_discovery.read("homeassistant", topic, json.dumps(long).encode())


def test_listening_keeps_few_values_a_topic() -> None:
    heard = Recogniser()
    deep: Any = {f"k{n:02}{'x' * 60}": 1 for n in range(48)}
    for level in range(2):
        deep = {f"l{level}{n}{'y' * 60}": deep for n in range(4)}
    for change in range(3):
        text = json.dumps(deep).replace("kx", f"k{change}").encode()
        heard.take("a/b", text[:-1] + b', "last%d": 1}' % change)
    assert 0 < len(heard._plain["a/b"]) <= 48


def test_a_tasmota_block_is_one_sensor_once() -> None:
    one = make("tasmota", url="mqtt://127.0.0.1")
    probe = {"Id": "01", "Temperature": 1}
    document = {
        "DS18B20-1": probe,
        "DS18B20-2": {**probe, "Temperature": 2},
        "BME280-a.BME280": {"Humidity": 3},
        "TX23": {"Speed": {"Act": 4}, "Speed.Act": 5},
        "TempUnit": "C",
        "SpeedUnit": "m/s",
    }
    items, refused = one.read("tele/d/SENSOR", json.dumps(document).encode())
    assert [(item.sensor, [str(r.value) for r in item.readings]) for item in items] == [
        ("d.DS18B20-01", ["1"]),
        ("d.TX23", ["4"]),
    ]
    assert sorted(e.code for e in refused) == ["sensor.name", "tasmota.twice", "tasmota.twice"]


def test_what_came_while_a_reload_failed_is_taken_once(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    """The broker does not send it again, and waits with everything behind it."""
    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(gateway_device, net, spool, batch_age=0, max_unanswered=1)
        emit, done = gate.emitter("s", "G0"), Done()
        assert not gate.drain("s", 0)  # nobody works, so it is not done in time
        assert emit(one_reading(1), done)
        gate.step(0)
        assert len(spool) == done.count == 0
        gate.resume("s")
        gate.step(0)
        assert len(spool) == done.count == 1 and gate.counts.taken["s"] == 1
        assert emit(one_reading(2), done)
        gate.step(0)
        assert len(spool) == done.count == 2


def test_a_straggler_of_a_source_that_ended_is_nobodys(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    """Or a slow request would open a pack that goes on under the owner, or level, of before."""
    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(gateway_device, net, spool)
        before = gate.emitter("s", "G1", Behalf(net.card().network, bytes(16)))
        gate.forget("s", 0)
        assert not before(one_reading(1), wait=False) and not before(one_reading(1))
        after = gate.emitter("s", "G1")
        assert after(one_reading(2))
        # And should one have come through all the same, it stays apart.
        gate._collect(
            gate.emitter("s", "G1", before.behalf), one_reading(3)[0], Receipt(1, None), 0.0, 0.0
        )
        gate.step(0)
        assert after(one_reading(4))
        gate.stop()
        gate.run()
        claims = [parse_envelope(entry.data).claims for entry in spool.peek()]
    assert [claim.cap for claim in claims] == [bytes(16), None]


def test_a_frame_that_found_no_room_is_not_a_duplicate_of_itself(tmp_path: Path) -> None:
    reading = {"path": "temperature", "name": "t", "unit": "Cel"}
    one = make("chirpstack", tmp_path, url="mqtt://127.0.0.1", reading=[reading])
    heard, done = Heard(), Done()

    def take(counter: int) -> None:
        document = {**CHIRPSTACK, "fCnt": counter, "deduplicationId": f"d{counter}"}
        one.take(message(TOPIC, json.dumps(document).encode(), done), heard)

    take(1)
    heard.full = True
    for counter in (2, 3):
        take(counter)
    assert done.count == 1 and not one.memory._pending
    heard.full = False
    for counter in (2, 3, 3, 2, 1):
        take(counter)
    assert len(heard.items) == 3 and done.count == 6
    assert heard.refused == ["frame.duplicate"] * 3


def test_anybody_may_not_lock_out_whom_the_broker_knows(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(gateway_device, net, spool, max_sensors=2)
        open_to_all, known = gate.emitter("udp", "G0"), gate.emitter("broker", "G1")
        value = one_reading(1)[0].readings
        for emit, sensor in (
            (open_to_all, "a"),
            (open_to_all, "b"),
            (known, "a"),
            (open_to_all, "a"),
            (known, "c"),
            (open_to_all, "b"),
            (known, "d"),
        ):
            emit([SensorReadings(sensor, value)])
        gate.stop()
        gate.run()
        found = [parse_envelope(entry.data).claims for entry in spool.peek()]
    assert [(claim.sub, claim.level) for claim in found] == [
        ("#a", "G0"), ("#b", "G0"), ("#a", "G1"), ("#c", "G1")
    ]  # fmt: skip
    assert gate.counts.refused == {
        ("udp", "sensor.taken"): 1, ("udp", "sensor.too_many"): 1, ("broker", "sensor.too_many"): 1
    }  # fmt: skip
