"""Sparkplug B: births give meaning, numbers are followed, values are exact.

Shapes: field numbers and types of the Sparkplug 3.0 specification as Eclipse Tahu's protobuf names
them; births and data as the specification's examples (bdSeq, Node Control/Rebirth, names with
slashes, aliases in data) and as Tahu's and Ignition's clients send them (signed integers as two's
complement of 32 or 64 bits, UInt32 in the long field, engUnit among the properties).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError, ReadingError
from depin_id.senml import Decimal64
from firmware_bridge.sources.sparkplug import Sparkplug
from firmware_bridge.sources.sparkplug_wire import decode, encode, shortest
from tests.bridge.sources.hearing import Heard, make, message, values

NODE = "spBv1.0/Plant 1/{}/EdgeA"
DEVICE = NODE + "/Meter-7"
INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)
FLOAT, DOUBLE, BOOLEAN, STRING = 9, 10, 11, 12
DATASET, TEMPLATE = 16, 19
STAMP = 1_486_144_502_122
READINGS = [
    {"path": "Properties/Temperature", "name": "temperature", "unit": "Cel"},
    {"path": "Supply pressure", "name": "pressure", "unit": "Pa", "scale": "100"},
    {"path": "Count", "name": "count", "unit": "count"},
    {"path": "Running", "name": "running", "type": "bool"},
    {"path": "Name", "name": "name", "type": "text"},
]
NAMES = {"Plant 1/EdgeA/Meter-7": "meter", "Plant 1/EdgeA": "edge"}


def source(**options: Any) -> Sparkplug:
    url = {"url": "mqtt://127.0.0.1", "reading": READINGS, "names": NAMES}
    made = make("sparkplug", **{**url, **options})
    assert isinstance(made, Sparkplug)
    return made


def unit(name: str) -> dict[str, Any]:
    value = {"type": STRING, "string_value": name.encode()}
    return {"keys": [b"engUnit", b"engLow"], "values": [value, {"type": DOUBLE}]}


def metric(name: str | None, datatype: int | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"timestamp": STAMP, **fields}
    if name is not None:
        found["name"] = name.encode()
    if datatype is not None:
        found["datatype"] = datatype
    return found


def payload(seq: int | None, *metrics: dict[str, Any]) -> bytes:
    return encode(seq, STAMP, metrics)


NBIRTH = payload(
    0,
    metric("bdSeq", INT64, long_value=3),
    metric("Node Control/Rebirth", BOOLEAN, boolean_value=False),
    metric("Properties/Temperature", FLOAT, alias=1, float_value=20.5, properties=unit("°C")),
)
DBIRTH = payload(
    1,
    metric("Properties/Temperature", FLOAT, alias=2, float_value=1, properties=unit("°C")),
    metric("Supply pressure", DOUBLE, alias=3, double_value=1013.25, properties=unit("hPa")),
    metric("Count", INT32, alias=4, int_value=0),
    metric("Running", BOOLEAN, alias=5, boolean_value=True),
    metric("Name", STRING, alias=6, string_value=b"x"),
    metric("Table", DATASET, alias=7),
)


def born(**options: Any) -> Sparkplug:
    one = source(**options)
    assert one.read(NODE.format("NBIRTH"), NBIRTH) == (None, True)
    assert one.read(DEVICE.format("DBIRTH"), DBIRTH) == (None, True)
    return one


def ddata(one: Sparkplug, seq: int, *metrics: dict[str, Any]) -> dict[str, str]:
    item, _ = one.read(DEVICE.format("DDATA"), payload(seq, *metrics))
    return {} if item is None else values(item)


def refusal(one: Sparkplug, topic: str, data: bytes) -> str:
    with pytest.raises(ReadingError) as error:
        one.read(topic, data)
    return error.value.code


def test_births_give_data_its_meaning() -> None:
    one = born()
    item, whole = one.read(
        DEVICE.format("DDATA"),
        payload(
            2,
            metric(None, alias=2, float_value=21.3),
            metric("Supply pressure", double_value=1013.25),
            metric(None, alias=5, boolean_value=False),
            metric(None, alias=6, string_value=b"pump"),
        ),
    )
    assert whole and item is not None and item.sensor == "meter"
    # A 32-bit 21.3 is 21.299999237060547: what the sensor meant is the shortest that it can be.
    assert values(item) == {
        "temperature": "21.3 Cel",
        "pressure": "101325 Pa",
        "running": "False",
        "name": "pump",
    }
    item, _ = one.read(NODE.format("NDATA"), payload(3, metric(None, alias=1, float_value=-0.0)))
    assert item is not None and item.sensor == "edge" and values(item)["temperature"] == "0 Cel"
    # Their own values only where that is configured; a rebirth begins anew.
    item, _ = source(births=True, time="metric").read(NODE.format("NBIRTH"), NBIRTH)
    assert item is not None and values(item) == {"temperature": "20.5 Cel"}


def test_data_before_birth_is_refused_at_every_step() -> None:
    one = source()
    data = payload(0, metric("Count", int_value=1))
    assert refusal(one, NODE.format("NDATA"), data) == "sparkplug.unborn"
    one.read(NODE.format("NBIRTH"), NBIRTH)
    assert refusal(one, DEVICE.format("DDATA"), payload(1)) == "sparkplug.unborn"
    one = born()
    for odd in (metric("Other", int_value=1), metric(None, alias=99), metric(None, alias=1)):
        assert refusal(one, DEVICE.format("DDATA"), payload(2, odd)) == "sparkplug.unborn"
        one = born()
    one.read(DEVICE.format("DDEATH"), payload(2))
    assert refusal(one, DEVICE.format("DDATA"), payload(3)) == "sparkplug.unborn"
    # A death of an earlier session is none of this one; its own is.
    old = payload(None, metric("bdSeq", INT64, long_value=2))
    assert refusal(one, NODE.format("NDEATH"), old) == "sparkplug.old_death"
    one.read(NODE.format("NDEATH"), payload(None, metric("bdSeq", INT64, long_value=3)))
    assert refusal(one, NODE.format("NDATA"), payload(4)) == "sparkplug.unborn"


def test_numbers_are_followed_round_the_clock() -> None:
    one = born()
    for seq in (*range(2, 256), *range(3)):
        assert ddata(one, seq, metric(None, alias=4, int_value=seq)) == {"count": f"{seq} count"}
    again = payload(2, metric(None, alias=4, int_value=1))
    assert refusal(one, DEVICE.format("DDATA"), again) == "sparkplug.duplicate"
    assert refusal(one, DEVICE.format("DDATA"), payload(256)) == "sparkplug.seq"
    assert refusal(one, DEVICE.format("DDATA"), payload(None)) == "sparkplug.seq"


class Broker:
    """Stands in for the connection."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def publish(self, topic: str, data: bytes) -> None:
        self.said.append((topic, data))


def test_a_gap_is_counted_makes_aliases_doubtful_and_asks_only_if_told() -> None:
    for rebirth in (False, True):
        one, broker = born(rebirth=rebirth), Broker()
        heard: Any = Heard()
        lost: Any = broker
        one.take(
            message(DEVICE.format("DDATA"), payload(9, metric("Count", int_value=1))), heard, lost
        )
        assert heard.refused == ["sparkplug.gap"] and len(heard.items) == 1
        # The alias may have been born again as something else in what was lost.
        doubtful = payload(10, metric(None, alias=4, int_value=1))
        one.take(message(DEVICE.format("DDATA"), doubtful), heard, lost)
        assert heard.refused[1:] == ["sparkplug.doubtful"] and len(heard.items) == 1
        assert [topic for topic, _ in broker.said] == [NODE.format("NCMD")] * rebirth
        for _, data in broker.said:
            (command,) = decode(data).metrics
            assert (command.name, command.read(BOOLEAN)) == ("Node Control/Rebirth", True)
        one.read(NODE.format("NBIRTH"), NBIRTH)
        one.read(DEVICE.format("DBIRTH"), DBIRTH)
        assert ddata(one, 2, metric(None, alias=4, int_value=7)) == {"count": "7 count"}


@pytest.mark.parametrize(
    ("datatype", "field", "raw", "value"),
    [
        (INT8, "int_value", 0xFF, -1),
        (INT8, "int_value", 0xFFFFFF80, -128),
        (INT8, "int_value", 0x80, -128),
        (INT8, "int_value", 0x100, None),
        (INT16, "int_value", 0x8000, -32768),
        (INT16, "int_value", 0xFFFF7FFF, None),
        (INT32, "int_value", 0xFFFFFFFE, -2),
        (INT32, "long_value", 2**64 - 2, -2),
        (INT64, "long_value", 2**63, -(2**63)),
        (INT64, "long_value", 2**63 - 1, 2**63 - 1),
        (UINT8, "int_value", 256, None),
        (UINT16, "int_value", 65535, 65535),
        (UINT32, "long_value", 2**32 - 1, 2**32 - 1),
        (UINT32, "long_value", 2**32, None),
        (UINT64, "long_value", 10**18, 10**18),
        (UINT64, "double_value", 1.0, None),
        (FLOAT, "double_value", 1.0, None),
        (DOUBLE, "double_value", float("nan"), None),
        (FLOAT, "float_value", float("inf"), None),
        (TEMPLATE, "int_value", 1, None),
    ],
)
def test_values_are_of_the_type_that_was_born(
    datatype: int, field: str, raw: Any, value: int | None
) -> None:
    one = source()
    one.read(NODE.format("NBIRTH"), payload(0, metric("Count", datatype, alias=1)))
    data = payload(1, metric(None, alias=1, **{field: raw}))
    if value is None:
        assert refusal(one, NODE.format("NDATA"), data) == "sparkplug.type"
    else:
        item, _ = one.read(NODE.format("NDATA"), data)
        assert item is not None and item.readings[0].value == Decimal64(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_are_the_shortest_that_read_back(value: float) -> None:
    text = shortest(value)
    assert struct.pack("<f", float(text)) == struct.pack("<f", value + 0.0 if value else 0.0)
    digits = len(text.split("e")[0].replace(".", "").strip("-0"))
    assert digits <= 9
    if digits > 1:  # one digit less would be another number
        shorter = float(f"{value:.{digits - 1}g}")
        assert abs(shorter) > 3.4028235e38 or struct.pack("<f", shorter) != struct.pack("<f", value)


def test_units_have_to_agree_with_the_birth() -> None:
    def read(said: str, **options: Any) -> str:
        one = source(**options)
        birth = metric("Supply pressure", DOUBLE, alias=1, properties=unit(said))
        one.read(NODE.format("NBIRTH"), payload(0, birth))
        data = payload(1, metric(None, alias=1, double_value=1013.25))
        try:
            item, _ = one.read(NODE.format("NDATA"), data)
        except ReadingError as error:
            return error.code
        assert item is not None
        return values(item)["pressure"]

    assert read("hPa") == read("mbar") == read("") == "101325 Pa"
    for wrong in ("Pa", "kPa", "psi", "°C", "made up"):
        assert read(wrong) == "sparkplug.unit"
    assert read("Hektopascal", units={"Hektopascal": "hPa"}) == "101325 Pa"
    with pytest.raises(ConfigError):
        source(units={"x": "no unit"})


def test_history_needs_its_own_time_and_null_is_no_reading() -> None:
    past = metric(None, alias=4, int_value=1, is_historical=True, timestamp=STAMP - 5000)
    assert refusal(born(), DEVICE.format("DDATA"), payload(2, past)) == "sparkplug.historical"
    item, _ = born(time="metric").read(DEVICE.format("DDATA"), payload(2, past))
    assert item is not None and str(item.readings[0].time) == "1486144497.122"
    assert ddata(born(), 2, metric(None, alias=4, is_null=True)) == {}
    late = metric(None, alias=4, int_value=1, timestamp=2**60)
    assert refusal(born(time="metric"), DEVICE.format("DDATA"), payload(2, late)) == "input.time"


def test_topics_names_and_mappings() -> None:
    one = source()
    for kind in ("NCMD", "DCMD"):
        topic = (DEVICE if kind[0] == "D" else NODE).format(kind)
        assert one.read(topic, b"\xff") == (None, True)
    assert one.read("spBv1.0/STATE/host", b"{}") == (None, True)
    for odd in (
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/X/n",
        "a/b/NDATA/c",
        "spBv1.0",
    ):
        assert refusal(one, odd, payload(0)) == "sparkplug.topic"
    plain = source(names={})
    birth = payload(0, metric("Count", INT32))
    for node, sensor in (("spBv1.0/g/{}/n", "g:n"), ("spBv1.0/g:1/{}/n", None)):
        plain.read(node.format("NBIRTH"), birth)
        data = payload(1, metric("Count", int_value=1))
        if sensor is None:
            assert refusal(plain, node.format("NDATA"), data) == "sensor.name"
        else:
            item, _ = plain.read(node.format("NDATA"), data)
            assert item is not None and item.sensor == sensor
    for readings in ([], [READINGS[0], READINGS[0]], [READINGS[0], {**READINGS[0], "path": "b"}]):
        with pytest.raises(ConfigError):
            source(reading=readings)


def test_births_that_make_no_sense_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    state = "firmware_bridge.sources.sparkplug_state"
    one = born()
    twice = metric("a", INT8), metric("a", INT8)
    alias = metric("a", INT8, alias=1), metric("b", INT8, alias=1)
    for bad in (twice, alias, (metric("a"),), (metric(None, INT8, alias=1),)):
        assert refusal(one, NODE.format("NBIRTH"), payload(0, *bad)) == "sparkplug.birth"
        assert refusal(one, NODE.format("NDATA"), payload(1)) == "sparkplug.unborn"
    monkeypatch.setattr(f"{state}.MAX_NODES", 2)
    monkeypatch.setattr(f"{state}.MAX_TOTAL", 6)
    one = source()
    for name in "ab":
        one.read(f"spBv1.0/g/NBIRTH/{name}", payload(0, metric("Count", INT8)))
    many = payload(0, metric("Count", INT8))
    assert refusal(one, "spBv1.0/g/NBIRTH/c", many) == "sparkplug.too_many"
    full = payload(0, *(metric(f"m{index}", INT8) for index in range(7)))
    assert refusal(one, "spBv1.0/g/NBIRTH/a", full) == "sparkplug.too_many"
    assert len(one.nodes) == 1


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=4))
def test_any_bytes_are_a_payload_or_a_reason(noise: bytes, at: int, cut: bytes) -> None:
    one = source()
    broken = DBIRTH[:at] + cut + DBIRTH[at + len(cut) :]
    for kind, data in (("NBIRTH", broken), ("NDATA", noise), ("NBIRTH", NBIRTH + noise)):
        try:
            one.read(NODE.format(kind), data)
        except ReadingError as error:
            assert error.code
    for huge in (b"\x12\x00" * 4097, bytes(131_073)):
        assert refusal(one, NODE.format("NBIRTH"), huge) == "input.too_large"
    assert refusal(one, NODE.format("NBIRTH"), b"\x0b" * 100_000) == "sparkplug.payload"
