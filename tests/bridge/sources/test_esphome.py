"""ESPHome: plain numbers, whose units were declared by the configuration or by the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.sources.base import Context
from firmware_bridge.sources.esphome import EspHome, EspHomeOptions
from firmware_bridge.sources.presence import Presence
from tests.bridge.sources import shapes
from tests.bridge.world import Net

CONTEXT = Context("esp", Path("."), "00" * 8, Net().card(), lambda: 1_700_000_000.0)


def source(*configs: tuple[str, str], **changed: Any) -> EspHome:
    options = {"kind": "esphome", "url": "mqtt://127.0.0.1", **changed}
    made = EspHome(EspHomeOptions.model_validate(options), CONTEXT)
    for topic, text in configs:
        assert made._registry.learn(topic, text.encode()) == []
    return made


def read(made: EspHome, topic: str, payload: str) -> tuple[str, str, str, str | None]:
    item = made.read(topic, payload.encode())
    (reading,) = item.readings
    assert str(reading.time) == "1700000000"
    return item.sensor, reading.name, str(reading.value), reading.unit


def test_units_that_the_node_declares() -> None:
    made = source(shapes.ESPHOME_CONFIG, shapes.ESPHOME_GAS)
    assert read(made, "c3-debug/sensor/pressure_voltage/state", "3.104") == (
        "c3-debug",
        "pressure_voltage",
        "3.104",
        "V",
    )
    topic = "bedroom_environment/sensor/bedroom_gas/state"
    assert read(made, topic, "61234")[1:] == ("bedroom_gas", "61234", "Ohm")
    for payload in ("nan", "NaN", "None", "inf", "", "1,5", "1 2"):
        with pytest.raises(ReadingError) as error:
            made.read(topic, payload.encode())
        assert error.value.code == "input.number"


def test_units_that_the_configuration_declares() -> None:
    # esphome/esphome, issue "Binary Sensor States Not Published": prefix weather-sensor.
    rules = [
        {"path": "temperature", "name": "temperature", "unit": "°F"},
        {"path": "roof/pressure", "name": "pressure", "unit": "hPa"},
    ]
    made = source(discovery="", reading=rules, names={"weather-sensor": "station"})
    topic = "weather-sensor/sensor/temperature/state"
    assert read(made, topic, "-4.0") == ("station", "temperature", "-20", "Cel")
    assert read(made, "roof/sensor/pressure/state", "1000")[2:] == ("100000", "Pa")
    with pytest.raises(ReadingError) as error:
        made.read("weather-sensor/sensor/pressure/state", b"1000")
    assert error.value.code == "esphome.unit"


def test_a_name_from_the_configuration_and_the_unit_from_the_node() -> None:
    made = source(shapes.ESPHOME_CONFIG, reading=[{"path": "pressure_voltage", "name": "supply"}])
    assert read(made, "c3-debug/sensor/pressure_voltage/state", "3.1")[1:] == ("supply", "3.1", "V")


def test_a_stranger_cannot_give_a_topic_another_unit() -> None:
    stranger = "homeassistant/sensor/evil/pressure_voltage/config"
    made = source(
        shapes.ESPHOME_CONFIG,
        (stranger, '{"stat_t":"c3-debug/sensor/pressure_voltage/state","unit_of_meas":"mV"}'),
    )
    with pytest.raises(ReadingError) as error:
        made.read("c3-debug/sensor/pressure_voltage/state", b"3.1")
    assert error.value.code == "esphome.unit"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"topic": "{sensor}/binary_sensor/+/state"}, "config.mapping"),
        ({"topic": "home/sensor/+/state"}, "config.mapping"),
        ({"sensor": "x"}, "config.mapping"),
        ({"reading": [{"path": "t", "name": "t", "unit": "F"}]}, "config.unit"),
        ({"reading": [{"path": "t", "name": "t t"}]}, "config.mapping"),
        ({"reading": [{"path": "t", "name": "a"}, {"path": "t", "name": "b"}]}, "config.mapping"),
    ],
)
def test_wrong_configurations(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as error:
        source(**changed)
    assert error.value.code == code


def test_learned_units_are_g1_only_where_nobody_else_can_write_them() -> None:
    base = {"kind": "esphome", "url": "mqtts://broker.example.org", "devices": "mtls"}
    assert "discovery" in (EspHomeOptions.model_validate(base).unauthenticated() or "")
    for changed in ({"discovery": ""}, {"discovery_protected": True}):
        assert EspHomeOptions.model_validate({**base, **changed}).unauthenticated() is None
    alone = {**base, "discovery": "", "devices": None}
    assert EspHomeOptions.model_validate(alone).unauthenticated() is not None


def test_presence_is_remembered_within_bounds() -> None:
    presence = Presence("esp")
    assert presence.say("roof", b"online") == "online"
    assert presence.say("roof", b"Offline") == "offline"
    assert presence.say("roof", b"off") is None
    assert all(presence.say(str(n), b"online") for n in range(1023))
    assert presence.say("one more", b"online") is None


@given(st.binary(max_size=80))
def test_payloads_raise_nothing_else(payload: bytes) -> None:
    try:
        source(shapes.ESPHOME_CONFIG).read("c3-debug/sensor/pressure_voltage/state", payload)
    except ReadingError:
        pass
