"""Discovered entities: real declarations, templates that only name a value, and nothing more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge import ha_discovery
from firmware_bridge.filters import matches, overlap
from firmware_bridge.sources.base import Context
from firmware_bridge.sources.homeassistant import HomeAssistant, HomeAssistantOptions
from tests.bridge.sources import shapes
from tests.bridge.world import Net

CONTEXT = Context("ha", Path("."), "00" * 8, Net().card(), lambda: 1_700_000_000.0)
Found = dict[str, dict[str, tuple[str, str | None]]]


def source(topic: str, *configs: tuple[str, str], **changed: Any) -> HomeAssistant:
    options = {"kind": "homeassistant", "url": "mqtt://127.0.0.1", "topic": topic, **changed}
    made = HomeAssistant(HomeAssistantOptions.model_validate(options), CONTEXT)
    for place, text in configs:
        assert made.learn(place, text.encode()) == []
    return made


def read(made: HomeAssistant, topic: str, payload: str) -> Found:
    items, refused = made.read(topic, payload.encode())
    assert refused == []
    return {item.sensor: {r.name: (str(r.value), r.unit) for r in item.readings} for item in items}


def test_declarations_as_they_were_seen() -> None:
    zigbee = source("myhome/+", shapes.ZIGBEE)
    assert read(zigbee, "myhome/Temp Sensor", '{"temperature":21.5,"battery":100}') == {
        "zigbee2mqtt_0x00124b00253c5f14": {"temperature": ("21.5", "Cel")}
    }
    boiler = source("ems-esp/+", shapes.BOILER, shapes.BOILER_PRESSURE)
    assert read(boiler, "ems-esp/boiler_data", '{"boiltemp":61.2,"syspress":1.4}') == {
        "ems-esp-boiler": {
            "boiler_boiltemp": ("61.2", "Cel"),
            "boiler_system_pressure": ("140000", "Pa"),
        }
    }
    tasmota = source("+/tele/SENSOR", shapes.TASMOTA, names={"ED76DA": "cellar"})
    text = '{"DS18B20-2":{"Id":"0301A279EA92","Temperature":19.4},"TempUnit":"C"}'
    assert read(tasmota, "DVES_ED76DA/tele/SENSOR", text) == {
        "cellar": {"ED76DA_DS18B20-2_Temperature": ("19.4", "Cel")}
    }
    rules = [{"path": "ea334450945afc/some_unique_id2", "name": "humidity"}]
    kitchen = source("sensorBedroom/#", shapes.KITCHEN, reading=rules)
    assert read(kitchen, "sensorBedroom/state", '{"temperature":23.20,"humidity":43.7}') == {
        "ea334450945afc": {
            "some_unique_component_id1": ("23.2", "Cel"),
            "humidity": ("43.7", "%RH"),
        }
    }


def test_a_weighted_level_has_the_weighting_in_its_name_and_declared_units_come_first() -> None:
    config = ("homeassistant/sensor/n/noise/config", '{"stat_t":"n/noise","unit_of_meas":"dBA"}')
    assert read(source("n/+", config), "n/noise", " 52.10\n") == {"n": {"noise-a": ("52.1", "dB")}}
    rules = [{"path": "noise", "name": "temperature", "unit": "°F"}]
    assert read(source("n/+", config, reading=rules), "n/noise", "50") == {
        "n": {"temperature": ("10", "Cel")}
    }


@pytest.mark.parametrize(
    ("template", "payload", "value"),
    [
        ("{{ value }}", "21.50", "21.50"),
        ("{{value|float}}", "21.5", "21.5"),
        ("{{- value_json -}}", "-3", "-3"),
        ("{{ value_json.a.b }}", '{"a":{"b":1e2}}', "1e2"),
        ("{{ value_json['a'][\"b c\"][1] }}", '{"a":{"b c":[0,"7.0"]}}', "7.0"),
        ("{{ value_json.a | float | round(1) }}", '{"a":21.50}', "21.50"),
        ("{{ value_json.a | int }}", '{"a":21.0}', "21.0"),
    ],
)
def test_templates_that_name_a_value(template: str, payload: str, value: str) -> None:
    assert ha_discovery.compile_template(template)(payload.encode()) == value


@pytest.mark.parametrize(
    "template",
    [
        "{{ value_json.a * 2 }}",
        "{{ value_json.a | float(0) }}",
        "{{ value_json.a | default(1) }}",
        "{{ value_json.a | multiply(2) }}",
        "{{ value_json.a | int(5) }}",
        "{{ value_json.a if value_json.a else 0 }}",
        "{% if value %}1{% endif %}",
        "{{ value }}{{ value }}",
        "{{ value.a }}",
        "{{ states('x') }}",
        "{{ value_json.__class__.__mro__ | list }}",
        "{{ value_jsonx.a }}",
        "value",
        "",
        "{{ value }} W",
        "{{ value_json" + ".a" * 200 + " }}",
        "{{" * 120,
    ],
)
def test_templates_that_do_more_are_refused(template: str) -> None:
    with pytest.raises(ReadingError) as error:
        ha_discovery.compile_template(template)
    assert error.value.code == "discovery.template"


@pytest.mark.parametrize(
    ("template", "payload", "code"),
    [
        ("{{ value|round(1) }}", "21.55", "discovery.inexact"),
        ("{{ value|int }}", "21.5", "discovery.inexact"),
        ("{{ value|round }}", "1e-3", "discovery.inexact"),
        ("{{ value }}", "nan", "input.number"),
        ("{{ value }}", "unavailable", "input.number"),
        ("{{ value }}", "1" * 70, "input.number"),
        ("{{ value_json.a }}", '{"a":"ON"}', "input.type"),
        ("{{ value_json.a }}", '{"a":true}', "input.type"),
        ("{{ value_json.a }}", '{"b":1}', "input.missing"),
        ("{{ value_json.a }}", '{"a":1,"a":2}', "input.json"),
        ("{{ value_json.a }}", "[" * 900 + "]" * 900, "input.json"),
    ],
)
def test_values_that_are_none(template: str, payload: str, code: str) -> None:
    with pytest.raises(ReadingError) as error:
        ha_discovery.compile_template(template)(payload.encode())
    assert error.value.code == code


def config(**keys: Any) -> bytes:
    return json.dumps({"stat_t": "n/t", "unit_of_meas": "°C", **keys}).encode()


PLACE = "homeassistant/sensor/n/t/config"


def test_what_was_declared_first_stays() -> None:
    made = source("n/+", (PLACE, config().decode()))
    changed = made.learn(PLACE, config(unit_of_meas="°F"))
    assert [error.code for error in changed] == ["discovery.changed"]
    assert made.read("n/t", b"1")[1][0].code == "discovery.unknown"
    # Taking it back and declaring it anew does not change it either.
    assert made.learn(PLACE, b"") == []
    assert [e.code for e in made.learn(PLACE, config(val_tpl="{{ value_json.x }}"))] == [
        "discovery.changed"
    ]
    assert made.learn(PLACE, config()) == []
    assert read(made, "n/t", "1") == {"n": {"t": ("1", "Cel")}}
    # Nor does a stranger's declaration of the same object.
    other = made.learn(
        "homeassistant/device/n/config",
        json.dumps({"dev": {"ids": "n"}, "cmps": {"t": {"p": "sensor", "stat_t": "n/x"}}}).encode(),
    )
    assert [error.code for error in other] == ["discovery.taken"]


def test_entities_are_bounded_and_only_those_allowed_are_heard() -> None:
    made = source("n/+", max_entities=2)
    for name in ("a", "b", "c"):
        refused = made.learn(f"homeassistant/sensor/n/{name}/config", config(stat_t=f"n/{name}"))
    assert [error.code for error in refused] == ["discovery.too_many"]
    assert made.learn("homeassistant/sensor/n/d/config", config(stat_t="elsewhere/d")) == []
    assert made.read("elsewhere/d", b"1")[0] == []
    with pytest.raises(ConfigError):
        source("homeassistant/#")


@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        ("homeassistant/sensor/a/b/c/config", config(), "discovery.topic"),
        ("homeassistant/sensor/a b/config", config(), "discovery.topic"),
        (PLACE, b"[]", "discovery.malformed"),
        (PLACE, b"{", "input.json"),
        (PLACE, config(stat_t=None), "discovery.malformed"),
        (PLACE, config(stat_t="n/#"), "discovery.malformed"),
        (PLACE, config(stat_t=["n/t"]), "discovery.malformed"),
        (PLACE, config(state_topic="n/u"), "discovery.malformed"),
        (PLACE, config(dev=["x"]), "discovery.malformed"),
        (PLACE, config(val_tpl="{{ value | abs }}"), "discovery.template"),
        ("homeassistant/device/n/config", config(), "discovery.malformed"),
    ],
)
def test_declarations_that_are_refused(topic: str, payload: bytes, code: str) -> None:
    with pytest.raises(ReadingError) as error:
        source("n/+").learn(topic, payload)
    assert error.value.code == code


def test_units_that_are_not_known_are_refused_when_there_is_a_reading() -> None:
    for keys in ({"unit_of_meas": "UV index"}, {"unit_of_meas": None}, {"unit_of_meas": "F"}):
        made = source("n/+", (PLACE, config(**keys).decode()))
        items, refused = made.read("n/t", b"1")
        assert items == [] and [error.code for error in refused] == ["input.unit"]
    odd = source("n/+", (PLACE, config(dev={"ids": ["a b"]}).decode()))
    assert [error.code for error in odd.read("n/t", b"1")[1]] == ["sensor.name"]


@given(st.text(max_size=60), st.binary(max_size=60))
def test_templates_and_payloads_raise_nothing_else(template: str, payload: bytes) -> None:
    for text in (template, "{{ value_json." + template + " }}", "{{ value " + template + "}}"):
        try:
            ha_discovery.compile_template(text)(payload)
        except ReadingError:
            pass


LEVELS = st.sampled_from(["a", "b", "+", "#", ""])
FILTERS = st.lists(LEVELS, min_size=1, max_size=4).map(
    lambda parts: "/".join(
        p if p != "#" or i == len(parts) - 1 else "+" for i, p in enumerate(parts)
    )
)


@given(FILTERS, FILTERS, st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4))
def test_filters_that_match_one_topic_overlap(one: str, other: str, topic: list[str]) -> None:
    text = "/".join(topic)
    if matches(one, text) and matches(other, text):
        assert overlap(one, other) and overlap(other, one)


def test_filters() -> None:
    assert matches("a/#", "a") and matches("+/b", "/b") and not matches("#", "$SYS/x")
    assert not matches("a/+", "a") and not matches("a", "a/b")
    assert not overlap("a/+/c", "a/b") and not overlap("a/#", "b/#") and overlap("+/#", "b")
