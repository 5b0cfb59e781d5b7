"""Targets: what the bridge's sources of radio and industry are sent."""

from __future__ import annotations

import json
from typing import Any

from depin_id.errors import DepinError
from depin_id.senml import Decimal64
from firmware_bridge.sources.airrohr import Airrohr
from firmware_bridge.sources.chirpstack import Chirpstack
from firmware_bridge.sources.http_push import Push
from firmware_bridge.sources.nmea import Nmea, NmeaOptions
from firmware_bridge.sources.sparkplug import Sparkplug
from firmware_bridge.sources.sparkplug_state import Nodes
from firmware_bridge.sources.sparkplug_wire import encode
from firmware_bridge.sources.ttn import Ttn
from tests.bridge.sources.hearing import context, make
from tests.bridge.sources.lorawan_shapes import READINGS, TOPIC, TTN_TOPIC, chirpstack, ttn
from tests.fuzz.target import target, text

_URL: dict[str, Any] = {"url": "mqtt://127.0.0.1", "reading": READINGS, "radio": True}
_CHIRPSTACK: Chirpstack = make("chirpstack", time="server", **_URL)
_TTN: Ttn = make("ttn", time="gateway", **_URL)
_NMEA = NmeaOptions(kind="nmea", input="stdin", sensor="x", time="gnss")
_AIRROHR: Airrohr = make("airrohr", port=0)
_METRICS = [{"path": "a", "name": "a", "unit": "Cel"}]
_SPARKPLUG: Sparkplug = make(
    "sparkplug", url="mqtt://127.0.0.1", reading=_METRICS, births=True, time="metric"
)


def take_lorawan(data: bytes) -> None:
    """An uplink, read by both: of one device, with a frame that counts from 0."""
    for source, topic in ((_CHIRPSTACK, TOPIC), (_TTN, TTN_TOPIC)):
        try:
            uplink = source.parse(topic, data)
            if uplink is None:
                continue
            item = source.read(uplink)
        except DepinError as error:
            assert error.code
            continue
        assert 0 <= uplink.frame.counter < 1 << 32 and item.readings


def take_sparkplug(data: bytes) -> None:
    """Data, birth and data as the first byte cuts them: no data is anything before its birth."""
    source = _SPARKPLUG
    source.nodes = Nodes()
    cut = data[0] if data else 0
    for kind, part in (
        ("NDATA", data[1:]),
        ("NBIRTH", data[1 : 1 + cut]),
        ("NDATA", data[1 + cut :]),
    ):
        try:
            item, _ = source.read(f"spBv1.0/g/{kind}/n", part)
        except DepinError as error:
            assert error.code
            continue
        assert item is None or len(source.nodes) == 1, "data before birth"


def take_nmea(data: bytes) -> None:
    """Sentences; what comes out is on Earth."""
    source = Nmea(_NMEA, context(), monotonic=lambda: 1.0)
    for line in data.split(b"\n")[:50]:
        try:
            item = source.read(line)
        except DepinError as error:
            assert error.code
            continue
        for reading in () if item is None else item.readings:
            assert isinstance(reading.value, Decimal64)
            assert reading.unit not in ("lat", "lon") or abs(reading.value.to_float()) <= 180


def take_airrohr(data: bytes) -> None:
    """A header's chip and a body."""
    head, _, body = data.partition(b"\n")
    item = _AIRROHR.read(Push({"x-sensor": text(head)} if head else {}, body, frozenset()))
    assert item.readings and item.sensor.startswith("esp")


_UNIT = {"keys": [b"engUnit"], "values": [{"type": 12, "string_value": b"Cel"}]}
_BORN: dict[str, Any] = {"name": b"a", "datatype": 9, "alias": 1, "float_value": 20.5}
_BIRTH = encode(0, 1_700_000_000_000, [_BORN | {"properties": _UNIT, "timestamp": 1}])
_DATA = encode(1, 1_700_000_000_000, [{"alias": 1, "float_value": 21.5}])
_STATION = {"value_type": "SDS_P1", "value": "0.40"}, {"value_type": "signal", "value": "-94"}

target("lorawan", take_lorawan, [chirpstack(), ttn()])
target(
    "sparkplug",
    take_sparkplug,
    [bytes([len(_BIRTH)]) + _BIRTH, b"\x00" + _DATA, bytes([len(_BIRTH)]) + _BIRTH + _DATA],
)
target(
    "nmea",
    take_nmea,
    [
        "$GNGGA,064607.000,4546.2282,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,*77\r\n"
        "$GNRMC,064607.000,A,4546.2282,N,00311.6590,E,0.76,0.00,230619,,,A*7D\r\n"
        "$GPRMC,201230.00,A,6026.86949,N,02217.14087,E,0.689,,150722,,,A*72\r\n",
        "$GPGSA,A,2,29,25,12,,,,,,,,,,4.49,4.38,1.00,1*16\n",
    ],
)
target(
    "airrohr",
    take_airrohr,
    [
        "esp8266-1\n" + json.dumps({"esp8266id": "1", "sensordatavalues": _STATION}),
        "\n" + json.dumps({"esp8266id": "1", "sensordatavalues": _STATION[:1]}),
    ],
)
