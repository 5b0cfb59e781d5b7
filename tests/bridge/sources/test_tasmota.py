"""Tasmota: real messages, the units they name, and nothing where they name none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Link
from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.sources.base import Context
from firmware_bridge.sources.tasmota import Tasmota, TasmotaOptions
from tests.bridge.world import Net

NOW = 1_700_000_000.25
CONTEXT = Context("tas", Path("."), "00" * 8, Net().card(), lambda: NOW)

# home-assistant/core, issue "Tasmota autodetect DS18B20 sensor does not show temperature".
STATION = (
    '{"Time":"2023-08-20T11:09:47","DS18B20":{"Id":"3CE10457A8F9","Temperature":27.9},'
    '"BME280":{"Temperature":27.8,"Humidity":54.5,"DewPoint":17.8,"Pressure":1018.0},'
    '"BH1750":{"Illuminance":171},"PressureUnit":"hPa","TempUnit":"C"}'
)
STATION_STATE = (
    '{"Time":"2023-08-20T11:09:47","Uptime":"0T00:20:10","UptimeSec":1210,"Heap":19,'
    '"SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,"MqttCount":1,"POWER":"ON","Wifi":{"AP":1,'
    '"SSId":"net","BSSId":"00:00:5E:00:53:01","Channel":11,"Mode":"11n","RSSI":28,"Signal":-86,'
    '"LinkCount":1,"Downtime":"0T00:00:04"}}'
)
# GaryMilne/Hubitat-Tasmota, issue "DS18B20 temperature sensor to support multiple sensors".
FRIDGE = (
    '{"Time":"2025-03-03T20:47:51","DS18B20-1":{"Id":"0301A279D4D4","Temperature":44.3},'
    '"DS18B20-2":{"Id":"0301A279EA92","Temperature":2.4},"TempUnit":"F"}'
)
# ioBroker/ioBroker.sonoff, "Add support for Nova Fitness SDS011 Particle concentration sensor".
DUST = '{"Time":"2018-04-12T09:52:15","Switch1":"ON","SDS0X1":{"PM2.5":2.1,"PM10":4.7}}'
# arendst/Tasmota, "Add support for Plantower PMSx003T AQI models with temperature and humidity".
PLANTOWER = (
    '{"Time":"2022-10-31T11:53:07","PMS5003":{"CF1":5,"CF2.5":8,"CF10":8,"PM1":5,"PM2.5":8,'
    '"PM10":8,"PB0.3":996,"PB0.5":264,"PB1":59,"PB2.5":2,"Temperature":69.6,"Humidity":46.9},'
    '"TempUnit":"F"}'
)
# tasmota/docs, pages on the SCD4x; arendst/Tasmota, "mh-z19b should send temperature by mqtt".
CARBON = (
    '{"Time":"2023-05-28T20:04:27","SCD40":{"CarbonDioxide":618,"eCO2":623,"Temperature":23.8,'
    '"Humidity":61.1,"DewPoint":15.8},"MHZ19B":{"CarbonDioxide":836,"Temperature":21.0},'
    '"TempUnit":"C"}'
)
# arendst/Tasmota, issue "Period Always 0 - TelePeriod=300".
PLUG = (
    '{"Time":"2019-01-16T01:07:31","ENERGY":{"TotalStartTime":"2019-01-15T04:12:42",'
    '"Total":235.743,"Yesterday":0.037,"Today":0.002,"Period":0,"Power":1,"ApparentPower":16,'
    '"ReactivePower":16,"Factor":0.06,"Voltage":121,"Current":0.136}}'
)
# arendst/Tasmota, xsns_35_tx20.ino, the format of its JSON.
WIND = (
    '{"Time":"2024-01-01T00:00:00","TX23":{"Speed":{"Act":14.8,"Avg":8.5,"Min":0.0,"Max":14.8},'
    '"Dir":{"Card":"WSW","Deg":247.5,"Avg":266.1,"AvgCard":"W","Min":247.5,"Max":315.0,'
    '"Range":67.5}},"SpeedUnit":"km/h"}'
)


def source(**changed: Any) -> Tasmota:
    options = {"kind": "tasmota", "url": "mqtt://127.0.0.1", **changed}
    return Tasmota(TasmotaOptions.model_validate(options), CONTEXT)


def read(text: str, **changed: Any) -> dict[str, dict[str, tuple[str, str | None]]]:
    items, refused = source(**changed).read("tele/garden/SENSOR", text.encode())
    assert refused == []
    return {item.sensor: {r.name: (str(r.value), r.unit) for r in item.readings} for item in items}


def codes(text: str, **changed: Any) -> list[str]:
    items, refused = source(**changed).read("tele/garden/SENSOR", text.encode())
    assert items == []
    return [error.code for error in refused]


def test_messages_as_devices_send_them() -> None:
    assert read(STATION) == {
        "garden.DS18B20-3CE10457A8F9": {"temperature": ("27.9", "Cel")},
        "garden.BME280": {
            "temperature": ("27.8", "Cel"),
            "humidity": ("54.5", "%RH"),
            "dew-point": ("17.8", "Cel"),
            "pressure": ("101800", "Pa"),
        },
        "garden.BH1750": {"illuminance": ("171", "lx")},
    }
    assert read(FRIDGE) == {
        "garden.DS18B20-0301A279D4D4": {"temperature": ("6.8333", "Cel")},
        "garden.DS18B20-0301A279EA92": {"temperature": ("-16.4444", "Cel")},
    }
    assert read(DUST) == {"garden.SDS0X1": {"pm25": ("2.1", "ug/m3"), "pm10": ("4.7", "ug/m3")}}
    plantower = read(PLANTOWER)["garden.PMS5003"]
    assert plantower["temperature"] == ("20.8889", "Cel") and len(plantower) == 8
    assert plantower["pm25"] == ("8", "ug/m3")
    carbon = read(CARBON)
    assert carbon["garden.SCD40"]["co2"] == ("618", "ppm")
    assert carbon["garden.MHZ19B"] == {"co2": ("836", "ppm"), "temperature": ("21", "Cel")}
    plug = read(PLUG)["garden.ENERGY"]
    assert plug["energy"] == ("235.743", "kWh") and plug["power-factor"] == ("0.06", "/")
    assert plug["reactive-power"] == ("16", "var") and len(plug) == 7
    wind = read(WIND)["garden.TX23"]
    assert wind["wind-speed"] == ("4.1111", "m/s") and wind["wind-direction"] == ("247.5", "deg")


def test_phases_are_told_apart() -> None:
    found = read('{"Time":"x","ENERGY":{"Voltage":[230,231,229],"Total":[1.5,2,3]}}')
    assert found["garden.ENERGY"]["voltage-2"] == ("231", "V")
    assert len(found["garden.ENERGY"]) == 6
    assert codes('{"ENERGY":{"Voltage":[1,2,3,4]}}') == ["tasmota.value"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"DS18B20":{"Temperature":1}}', "input.unit"),
        ('{"DS18B20":{"Temperature":1},"TempUnit":"K"}', "input.unit"),
        ('{"DS18B20":{"Temperature":1},"TempUnit":"hPa"}', "input.unit"),
        ('{"BMP280":{"Pressure":1},"PressureUnit":"C"}', "input.unit"),
        ('{"BMP280":{"Pressure":1},"PressureUnit":"km/h"}', "input.unit"),
        ('{"TX20":{"Speed":{"Act":1}},"SpeedUnit":["km/h"]}', "input.unit"),
        ('{"XYZ9":{"Temperature":1},"TempUnit":"C"}', "tasmota.block"),
        ('{"ENERGY":{"Warp":1}}', "tasmota.field"),
        ('{"SDS0X1":{"PM10":null}}', "tasmota.value"),
        ('{"SDS0X1":{"PM10":"4.7"}}', "tasmota.value"),
        ('{"SDS0X1":{"PM10":true}}', "tasmota.value"),
        ('{"SDS0X1":{"PM10":1e400}}', "input.number"),
        ('{"DS18B20":{"Id":7,"Temperature":1},"TempUnit":"C"}', "sensor.name"),
        ('{"DS18B20":{"Id":"a b","Temperature":1},"TempUnit":"C"}', "sensor.name"),
        ('{"ENERGY-a b":{"Power":1}}', "sensor.name"),
    ],
)
def test_what_is_not_known_is_refused_with_its_reason(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_one_unknown_block_does_not_cost_the_others() -> None:
    text = '{"Time":"x","XYZ":{"a":1},"SDS0X1":{"PM10":4.7,"PM99":1},"TempUnit":"C"}'
    items, refused = source().read("tele/garden/SENSOR", text.encode())
    assert [item.sensor for item in items] == ["garden.SDS0X1"]
    assert [error.code for error in refused] == ["tasmota.block", "tasmota.field"]


def test_the_clock_is_the_bridges_unless_the_configuration_says_otherwise() -> None:
    def time_of(text: str, clock: str) -> str:
        message = json.dumps({"Time": text, "SDS0X1": {"PM10": 1}}).encode()
        items, _ = source(clock=clock).read("tele/garden/SENSOR", message)
        return str(items[0].readings[0].time)

    assert time_of("2018-04-12T09:52:15", "receipt") == "1700000000.25"
    assert time_of("2023-11-14T22:13:20", "utc") == "1700000000"
    assert time_of("2023-11-15T00:13:20+02:00", "zone") == "1700000000"
    for text, clock in [
        ("2023-11-14T22:13:20+00:00", "utc"),
        ("2023-11-14T22:13:20", "zone"),
        ("1970-01-01T00:00:07", "utc"),  # it has not found a time server yet
        ("2023-11-14T22:15:20", "utc"),
        ("2018.02.04 10:24:19", "utc"),
        ("", "utc"),
    ]:
        with pytest.raises(ReadingError) as error:
            time_of(text, clock)
        assert error.value.code == "tasmota.time"


def test_the_signal_belongs_to_the_readings_of_the_same_second_and_device_only() -> None:
    made = source(link=True)
    made.note_state("tele/garden/STATE", STATION_STATE.encode())
    for topic, text, link in [
        ("tele/garden/SENSOR", STATION, Link(rssi_dbm=-86)),
        ("tele/roof/SENSOR", STATION, None),
        ("tele/garden/SENSOR", STATION.replace(":47", ":48", 1), None),
    ]:
        items, _ = made.read(topic, text.encode())
        assert {item.link for item in items} == {link}
    quiet = source()
    quiet.note_state("tele/garden/STATE", STATION_STATE.encode())
    assert quiet.read("tele/garden/SENSOR", STATION.encode())[0][0].link is None


def test_topics_and_names() -> None:
    made = source(topic="home/%topic%/%prefix%/", names={"garden.SDS0X1": "dust-1"}, prefix="h-")
    assert made._topics == ["home/+/tele/SENSOR", "home/+/tele/LWT"]
    items, _ = made.read("home/garden/tele/SENSOR", DUST.encode())
    assert items[0].sensor == "h-dust-1"
    for bad in ("tele/+/SENSOR", "tele/{sensor}/STATE", "%prefix%/x/", "%topic%/%x%/"):
        with pytest.raises(ConfigError):
            source(topic=bad)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["BME280", "ENERGY", "DS18B20-1", "Id", "Voltage", "TempUnit"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_nothing_that_arrives_raises_anything_else(document: Any) -> None:
    made = source(clock="receipt", link=True)
    data = json.dumps(document).encode()
    try:
        items, _ = made.read("tele/garden/SENSOR", data)
    except ReadingError:
        return
    assert all(reading.unit for item in items for reading in item.readings)
