"""Discovering: each kind is recognised, nothing guessed, and the proposal is a configuration."""

from __future__ import annotations

import json
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from depin_id.device import Device
from depin_id.errors import TransportError
from depin_id.network import read_card
from depin_id.readings import reading
from firmware_bridge.cli import main
from firmware_bridge.config import load_config
from firmware_bridge.discover import listen
from firmware_bridge.items import SensorReadings
from firmware_bridge.options import MqttOptions
from firmware_bridge.proposal import propose, quote, warnings
from firmware_bridge.recognise import Limits, Recogniser
from firmware_bridge.sources.base import Context, kinds
from tests.bridge.sources import heard as said
from tests.bridge.world import Net, until
from tests.brokers import Mosquitto, mosquitto

CREDENTIALS = {"url": "mqtt://127.0.0.1:1883"}
Topics = list[tuple[str, str]]


def listened(messages: Topics, envelope: bytes | None = None, retained: bool = False) -> Recogniser:
    heard = Recogniser()
    for topic, text in messages:
        heard.take(topic, text.encode(), retained=retained)
    if envelope is not None:
        heard.take("site/envelopes/0011", envelope)
    return heard


def envelope(device: Device, net: Net) -> bytes:
    return device.sign([reading("laeq", 54.2, "dB")], network=net.card().network)


def test_every_kind_is_recognised(device: Device, net: Net) -> None:
    heard = listened(said.CONFIGS + said.READINGS, envelope(device, net))
    found = {(part.kind, part.topic): part for part in heard.sources()}
    assert {key: part.ready for key, part in found.items()} == {
        ("tasmota", "tele/{sensor}/SENSOR"): True,
        ("esphome", "{sensor}/sensor/+/state"): True,
        ("homeassistant", "myhome/#"): True,
        ("native_mqtt", "site/envelopes/+"): True,
        ("chirpstack", "application/+/device/{sensor}/event/+"): False,
        ("ttn", "v3/+/devices/{sensor}/up"): False,
        ("sparkplug", "spBv1.0/+/+/+/#"): False,
        ("mqtt_json", "meter/{sensor}/out"): False,
    }
    tasmota = found["tasmota", "tele/{sensor}/SENSOR"]
    assert tasmota.seen["garden.BME280"] == "dew-point, humidity, pressure, temperature"
    assert "NOT known" in tasmota.seen["garden.ODD"]
    assert found["esphome", "{sensor}/sensor/+/state"].todo == {"noise": "?"}
    assert found["ttn", "v3/+/devices/{sensor}/up"].todo["luminosity"] == "0.4"
    assert found["mqtt_json", "meter/{sensor}/out"].sensors == {"1", "2"}


def check_proposal(text: str, tmp_path: Path, net: Net) -> list[str]:
    """Loads and makes all that is proposed; gives the kinds."""
    file = tmp_path / "bridge.toml"
    file.write_text(text)
    config = load_config(file)
    config.make_sources(read_card(net.signed_card()), "00" * 8)
    return [part.kind for part in config.sources]


def test_the_proposal_is_a_configuration(tmp_path: Path, device: Device, net: Net) -> None:
    heard = listened(said.CONFIGS + said.READINGS, envelope(device, net))
    text = propose(heard.sources(), CREDENTIALS)
    assert check_proposal(text, tmp_path, net) == [
        "esphome",
        "homeassistant",
        "native_mqtt",
        "tasmota",
    ]
    assert check_proposal(propose([], CREDENTIALS), tmp_path, net) == ["native_files"]
    # With its comments taken away and its units declared, the rest is one too.
    for part in heard.sources():
        if not part.ready and part.kind in kinds():
            lines = propose([part], CREDENTIALS).splitlines()
            start = lines.index("# [[source]]")
            rest = [line[2:] for line in lines[start:] if "level" not in line]
            whole = "\n".join([*lines[:start], *rest]).replace('unit = "" ', 'unit = "dB" ')
            assert check_proposal(whole, tmp_path, net) == ["native_files", part.kind]


def test_warnings() -> None:
    heard = listened([said.TASMOTA, *said.STATES], retained=True)
    heard.take("x/tele/SENSOR", said.TASMOTA[1].encode())
    heard.take("meter/garden.BME280/out", b'{"t":1}')
    heard.take("meter/other/out", b'{"t":1}')
    found = "\n".join(warnings(heard, exposed=True, secure=False, named=False))
    assert "no TLS" in found and "without a name" in found
    assert "4 topics hold retained readings" in found and "garden.BME280 has two sources" in found
    assert warnings(Recogniser(), exposed=False, secure=True, named=True) == []
    # What configures is retained as it should be.
    assert not listened(said.CONFIGS, retained=True).retained


def test_what_is_heard_is_bounded() -> None:
    heard = Recogniser(Limits(topics=3, bytes=40, message=20, sources=1))
    for index in range(9):
        heard.take(f"tele/{index}/SENSOR", b'{"ENERGY":{"a":1}}')
    assert (heard.topics, heard.bytes, heard.left_out) == (2, 36, 7)
    heard.take("t", b"1" * 21)
    heard.take("$SYS/x", b"1")
    assert heard.topics == 2 and heard.messages == 11
    assert any(
        "9 messages" in line for line in warnings(heard, exposed=False, secure=True, named=True)
    )


@given(st.text(max_size=40))
def test_texts_are_quoted_for_toml_and_terminals(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert quote(text).isprintable()
    assert tomllib.loads(f"a = {quote(text)} # {quote(text)}") == {"a": text}


TOPIC = st.lists(
    st.sampled_from(["tele", "SENSOR", "sensor", "state", "a", "", "x\n[[source]]", '"', "\u202e"]),
    min_size=1,
    max_size=5,
).map("/".join)


@given(st.lists(st.tuples(TOPIC, st.sampled_from([t for _, t in said.READINGS]) | st.text())))
def test_hostile_topics_never_break_out_of_the_proposal(messages: Topics) -> None:
    heard = Recogniser()
    for topic, text in messages:
        heard.take(topic, text.encode("utf-8", "replace"))
    document = tomllib.loads(propose(heard.sources(), CREDENTIALS))
    for part in document["source"]:
        assert part["kind"] in kinds() and "SENSOR" not in part


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


class _Household:
    """Publishes what a household's devices do, again and again."""

    def __init__(self, port: int) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "household")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        for topic, text in said.CONFIGS:
            self.client.publish(topic, text, qos=1, retain=True).wait_for_publish(30)
        self.client.publish("old/sensor/x/state", "1", qos=1, retain=True).wait_for_publish(30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for topic, text in said.READINGS:
                self.client.publish(topic, text)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def household(broker: Mosquitto) -> Iterator[_Household]:
    made = _Household(broker.port)
    try:
        yield made
    finally:
        made.close()


class _Sink:
    """Takes what sources hand over, in place of a gateway."""

    def __init__(self) -> None:
        self.items: list[SensorReadings] = []
        self.refused: set[str] = set()

    def __call__(self, items: list[SensorReadings], done: Any = None, *, wait: bool = True) -> bool:
        self.items += items
        if done is not None:
            done()
        return True

    def refuse(self, code: str, detail: str = "") -> None:
        self.refused.add(code)

    def names(self) -> set[tuple[str, str, str]]:
        return {
            (item.sensor, one.name, f"{one.value!s} {one.unit}")
            for item in list(self.items)
            for one in item.readings
        }


def test_at_a_broker_the_proposal_reads_what_was_discovered(
    broker: Mosquitto, household: _Household, tmp_path: Path, net: Net, capsys: Any
) -> None:
    url, file = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "bridge.toml"
    for seconds in ("0.5", "4", "20"):  # a loaded machine takes longer to say everything
        file.unlink(missing_ok=True)
        main(["discover", "--mqtt", url, "--seconds", seconds, "-o", str(file)])
        shown = capsys.readouterr()
        if "3 sources ready, 4 to be completed" in shown.out:
            break
    assert "3 sources ready, 4 to be completed" in shown.out
    assert "without a name" in shown.err and "old/sensor/x/state" in shown.err
    config = load_config(file)
    sink, stop, card = _Sink(), threading.Event(), net.card()
    threads = []
    for part in config.sources:
        source = part.make.make(part.options, Context(part.name, tmp_path, "00" * 8, card))
        threads.append(threading.Thread(target=source.run, args=(sink, stop)))
        threads[-1].start()
    wanted = {
        ("garden.BME280", "pressure", "101800 Pa"),
        ("garden.DS18B20-3CE10457A8F9", "temperature", "27.9 Cel"),
        ("c3-debug", "pressure_voltage", "3.104 V"),
        ("zigbee2mqtt_0x00124b00253c5f14", "temperature", "21.5 Cel"),
    }
    try:
        until(lambda: wanted <= sink.names(), "every source's readings")
        until(lambda: {"mqtt.retained", "esphome.unit", "tasmota.block"} <= sink.refused)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not any(item.sensor == "old" for item in sink.items)
    with pytest.raises(SystemExit):
        main(["discover", "--mqtt", url, "--seconds", "0.1", "-o", str(file)])


def test_as_json_and_for_some_topics(broker: Mosquitto, household: _Household, capsys: Any) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    for seconds in ("0.3", "4", "20"):
        main(["discover", "--mqtt", url, "--seconds", seconds, "--json", "--topic", "tele/#"])
        document = json.loads(capsys.readouterr().out)
        if document["messages"]:
            break
    assert [part["kind"] for part in document["sources"]] == ["tasmota"]
    assert document["sources"][0]["sensors"] == ["garden.BME280", "garden.DS18B20"]


def test_a_broker_that_does_not_answer_is_said(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TransportError) as error:
        listen(MqttOptions.from_url("mqtt://127.0.0.1:1", connect_timeout=0.3), 0.2)
    assert error.value.code == "discover.connection"
    assert time.monotonic() - began < 10
