"""Mappings, lines and JSON: exact values, nothing guessed, nothing that crashes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError, DepinError, ReadingError
from depin_id.senml import Decimal64
from firmware_bridge import mapping, strict_json
from firmware_bridge.items import SensorReadings
from firmware_bridge.sources.base import Context, kinds
from firmware_bridge.sources.lines import Lines, LinesOptions, LineSplitter
from firmware_bridge.sources.mqtt_json import MqttJson, MqttJsonOptions
from tests.bridge.world import Net, until

NOW = Decimal64(1_700_000_000)
CONTEXT = Context("in", Path("."), "00" * 8, Net().card(), lambda: 1_700_000_000.25)
TEMPERATURE = {"path": "t", "name": "temperature", "unit": "Cel"}


def mqtt_json(**changed: Any) -> MqttJson:
    options = {
        "kind": "mqtt_json",
        "url": "mqtt://127.0.0.1",
        "topic": "tele/{sensor}/SENSOR",
        "reading": [TEMPERATURE],
        **changed,
    }
    return MqttJson(MqttJsonOptions.model_validate(options), CONTEXT)


def lines(**changed: Any) -> Lines:
    options = {
        "kind": "lines",
        "input": "stdin",
        "sensor": "s1",
        "reading": [{"path": "LAeq", "name": "LAeq", "unit": "dB"}],
        **changed,
    }
    return Lines(LinesOptions.model_validate(options), CONTEXT)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4
    ),
    st.sampled_from(["1", "0.1", "100", "-0.001", "3.6", "1e3"]),
)
def test_values_are_scaled_exactly(value: Decimal, scale: str) -> None:
    value = abs(value) if value == 0 else value
    found = mapping.declare([{**TEMPERATURE, "scale": scale}], where="x")
    (reading,) = found.read(strict_json.parse(f'{{"t": {value:f}}}'), NOW)
    assert isinstance(reading.value, Decimal64)
    assert Decimal(str(reading.value)) == value * Decimal(scale)
    assert (reading.name, reading.unit, reading.time) == ("temperature", "Cel", NOW)


def test_paths_types_and_times() -> None:
    found = mapping.declare(
        [
            {"path": "$.a.b[1].v", "name": "x", "unit": "V"},
            {"path": "on", "name": "on", "type": "bool"},
            {"path": "say", "name": "say", "type": "text", "required": False},
        ],
        where="x",
        time="when",
        time_unit="ms",
    )
    document = strict_json.parse('{"a":{"b":[0,{"v":2.50}]},"on":true,"when":1700000000123}')
    readings = found.read(document, NOW)
    assert [(r.name, r.value) for r in readings] == [("x", Decimal64(25, -1)), ("on", True)]
    assert str(readings[0].time) == "1700000000.123"
    for bad in ('{"a":{"b":[0]},"on":true,"when":1}', '{"a":{"b":[0,{"v":"2"}]},"on":1,"when":1}'):
        with pytest.raises(ReadingError):
            found.read(strict_json.parse(bad), NOW)


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        ({"path": "t", "name": "t"}, "config.unit"),
        ({"path": "t", "name": "t", "unit": "degC"}, "config.unit"),
        ({"path": "t", "name": "t", "unit": "dBA"}, "config.unit"),
        ({"path": "t", "name": "t", "unit": "Cel", "type": "text"}, "config.mapping"),
        ({"path": "t", "name": "t", "unit": "Cel", "scale": "0"}, "config.mapping"),
        ({"path": "t", "name": "t", "unit": "Cel", "scale": "1/3"}, "config.mapping"),
        ({"path": "t", "name": "t t", "unit": "Cel"}, "config.mapping"),
        ({"path": "a..b", "name": "t", "unit": "Cel"}, "config.mapping"),
    ],
)
def test_wrong_mappings_are_refused_at_start(reading: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as error:
        mapping.declare([reading], where="source x")
    assert error.value.code == code
    assert "source x" in error.value.message


def test_nothing_mapped_and_names_given_twice() -> None:
    for readings in ([], [TEMPERATURE, TEMPERATURE]):
        with pytest.raises(ConfigError):
            mapping.declare(readings, where="x")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"t":1,"t":2}', "input.json"),
        ('{"t":NaN}', "input.json"),
        ('{"t":-Infinity}', "input.json"),
        ('{"t":1e999}', "input.number"),
        ('{"t":-0}', "input.number"),
        ('{"t":' + "1" * 5000 + "}", "input.number"),
        ('{"t":"1"}', "input.type"),
        ('{"t":true}', "input.type"),
        ('{"t":null}', "input.missing"),
        ("{}", "input.missing"),
        ("[1]", "input.missing"),
        ("[" * 30000, "input.json"),
        ("", "input.json"),
        ('{"t":1} x', "input.json"),
        ('{"t":1,"x":"' + "y" * 70000 + '"}', "input.too_large"),
    ],
)
def test_hostile_json(text: str, code: str) -> None:
    source = mqtt_json()
    with pytest.raises(ReadingError) as error:
        source.read("tele/a/SENSOR", text.encode())
    assert error.value.code == code
    with pytest.raises(ReadingError):
        source.read("tele/a/SENSOR", b"\xff\xfe")


def test_what_is_not_mapped_does_not_matter() -> None:
    found = mqtt_json().read("tele/a/SENSOR", b'{"t":21.5,"other":1e999,"more":{"t":[]}}')
    assert found.sensor == "a" and str(found.readings[0].value) == "21.5"


@pytest.mark.parametrize("name", ["a b", "", "x" * 65, "ä", "a#", "a+", "\0"])
def test_sensor_names_from_topics_are_refused_not_bent(name: str) -> None:
    with pytest.raises(ReadingError) as error:
        mqtt_json().read(f"tele/{name}/SENSOR", b'{"t":1}')
    assert error.value.code == "sensor.name"


def test_odd_names_can_be_mapped() -> None:
    source = mqtt_json(names={"Bad Zimmer": "bath"}, prefix="home.")
    assert source.read("tele/Bad Zimmer/SENSOR", b'{"t":1}').sensor == "home.bath"


def test_the_sensor_is_named_once() -> None:
    for changed in ({"sensor": "x"}, {"topic": "a/b"}, {"topic": "a/{sensor}/{sensor}"},
                    {"topic": "a/#/{sensor}"}, {"topic": "a/x{sensor}"}):  # fmt: skip
        with pytest.raises(ConfigError):
            mqtt_json(**changed)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_reading_or_a_reason(data: bytes) -> None:
    for source in (lines(), lines(format="plain"), lines(format="csv", columns=["LAeq", "x"])):
        try:
            assert isinstance(source.read(data), SensorReadings)
        except ReadingError as error:
            assert error.code


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.sampled_from(["t", "LAeq", "x"])


@given(st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x)))
def test_any_json_is_a_reading_or_a_reason(document: Any) -> None:
    text = json.dumps(document).encode()
    calls: list[Callable[[], SensorReadings]] = [
        lambda: lines().read(text[:4096]),
        lambda: mqtt_json().read("tele/a/SENSOR", text),
    ]
    for call in calls:
        try:
            call()
        except ReadingError as error:
            assert error.code


def test_plain_lines_need_the_declared_unit() -> None:
    source = lines(format="plain")
    found = source.read(b"LAeq 52.1 dB\r")
    assert found.sensor == "s1" and str(found.readings[0].value) == "52.1"
    assert str(found.readings[0].time) == "1700000000.25"
    for line, code in (
        (b"LAeq 52.1", "line.unit"),
        (b"LAeq 52.1 dBA", "line.unit"),
        (b"other 52.1 dB", "line.unmapped"),
        (b"LAeq", "line.format"),
        (b"LAeq x dB", "input.number"),
        (b"\xff 1 dB", "line.encoding"),
        (b"LAeq " + b"1" * 5000, "line.too_long"),
    ):
        with pytest.raises(ReadingError) as error:
            source.read(line)
        assert error.value.code == code


def test_csv_lines_and_a_sensor_in_them() -> None:
    source = lines(
        format="csv", columns=["time", "id", "LAeq"], time="time", sensor=None, sensor_path="id"
    )
    found = source.read(b"2026-11-21T14:00:00Z,m7,52.10")
    assert found.sensor == "m7" and str(found.readings[0].time) == "1795269600"
    for line in (b"1700000000,m7", b"1700000000,m7,1,2", b"now,m7,1", b"1700000000,a b,1", b'"'):
        with pytest.raises(ReadingError):
            source.read(line)
    wrongs: list[tuple[str, Any]] = [
        ("columns", []),
        ("columns", ["time"]),
        ("sensor", "x"),
        ("format", "plain"),
    ]
    for key, wrong in wrongs:
        with pytest.raises(ConfigError):
            lines(**{"format": "csv", "columns": ["LAeq"], "sensor_path": "id", key: wrong})


@given(st.lists(st.binary(max_size=40), max_size=12), st.lists(st.integers(1, 9), max_size=40))
def test_lines_are_the_same_however_they_arrive(parts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(parts)
    counted: list[str] = []
    whole = LineSplitter(20, counted.append)
    expected = [*whole.feed(data), *whole.end()]
    again: list[str] = []
    splitter = LineSplitter(20, again.append)
    found: list[bytes] = []
    rest = data
    for cut in cuts:
        found += splitter.feed(rest[:cut])
        rest = rest[cut:]
    found += [*splitter.feed(rest), *splitter.end()]
    assert found == expected and again == counted
    assert all(len(line) <= 20 for line in found)


class Collected:
    """Stands in for an emitter."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.refused: list[str] = []

    def __call__(self, items: list[Any], done: Any = None, *, wait: bool = True) -> bool:
        self.items += items
        return True

    def refuse(self, code: str, detail: str = "") -> None:
        self.refused.append(code)


def test_udp_is_bound_to_the_loopback_and_survives_anything() -> None:
    source = lines(input="udp")
    emit: Any = Collected()
    stop = threading.Event()
    thread = threading.Thread(target=source.run, args=(emit, stop))
    thread.start()
    try:
        host, port = until(lambda: source.bound)
        assert host == "127.0.0.1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in (b"", b"\xff" * 60000, b"{", b'{"LAeq":1}\n{"LAeq":2}\nx', b'{"LAeq":3}'):
                sender.sendto(data, (host, port))
            until(lambda: len(emit.items) == 3 and len(emit.refused) == 3)
    finally:
        stop.set()
        thread.join(30)
    assert [str(item.readings[0].value) for item in emit.items] == ["1", "2", "3"]


def test_kinds_are_found() -> None:
    assert set(kinds()) >= {"native_mqtt", "native_files", "mqtt_json", "lines"}


def test_serial_without_pyserial_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    collected: Any = Collected()
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(DepinError) as error:
        lines(input="serial", device="/dev/null").run(collected, threading.Event())
    assert error.value.code == "config.serial"
