"""Packs: the RFC's examples, exact round trips between every form, and hostile input."""

from __future__ import annotations

import json
import random
import struct
import time
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.errors import DepinError, EncodingError
from depin_id.senml import (
    Decimal64,
    Record,
    decode_pack,
    encode_pack,
    format_cbor,
    format_json,
    parse_cbor,
    parse_json,
)
from depin_id.senml import cbor as senml_cbor
from tests.senml import rfc8428
from tests.senml.strategies import PACKS

D = Decimal64.from_text
SUBJECT = "did:web:gateway.example#sensor"
EXPECTED = [Record(n, u, D(v), D(t)) for n, u, t, v in rfc8428.RESOLVED]


def _code(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(EncodingError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_rfc_examples() -> None:
    assert parse_json(rfc8428.SINGLE) == [Record("urn:dev:ow:10e2073a01080063", "Cel", D("23.1"))]
    assert [r.name[-7:] for r in parse_json(rfc8428.MULTIPLE)] == ["voltage", "current"]
    assert parse_json(rfc8428.BASES) == EXPECTED
    assert parse_cbor(rfc8428.BASES_CBOR) == EXPECTED
    assert [r.value for r in parse_json(rfc8428.TYPES)] == [
        D("23.1"), "Machine Room", False, b"hi \n"
    ]  # fmt: skip
    assert [r.value for r in parse_json(rfc8428.COLLECTION)] == [D("27.2"), D("80")]


def test_wire_form_is_standard_senml() -> None:
    """An independent reader sees RFC 8428 labels, and the general parser reads the same."""
    records = [Record("LAeq", "dB", D(f"6{i}.3"), D(str(1795233047 + i))) for i in range(3)]
    data = encode_pack(records)
    assert cbor2.loads(data) == [
        {-2: "LAeq", -3: 1795233047, -4: "dB", 2: Decimal("60.3")},
        {2: Decimal("61.3"), 6: 1},
        {2: Decimal("62.3"), 6: 2},
    ]
    assert parse_cbor(data) == records
    assert encode_pack([Record("p", "hPa", D("1013"))]) == cbor.encode(
        [{-1: 26, 0: "p", 1: "hPa", 2: 1013}]
    )


@given(PACKS)
def test_every_form_round_trips_exactly(records: list[Record]) -> None:
    data = encode_pack(records)
    assert decode_pack(data) == records
    assert decode_pack(data, subject=SUBJECT) == records
    assert parse_cbor(data) == records
    for base in (True, False):
        assert parse_json(format_json(records, base=base)) == records
    assert parse_cbor(format_cbor(records)) == records
    assert parse_cbor(format_cbor(records, floats=True)) == records
    assert encode_pack(decode_pack(data)) == data


def test_sixty_readings_are_small() -> None:
    source = random.Random(1)
    sizes = {}
    for count in (1, 10, 60):
        pack = [
            Record("LAeq", "dB", D(f"{source.uniform(45, 75):.1f}"), D(str(1795233047 + i)))
            for i in range(count)
        ]
        sizes[count] = len(encode_pack(pack))
    assert sizes[1] <= 24 and sizes[10] <= 120 and sizes[60] <= 720


def test_subject_and_base_name() -> None:
    def pack(bn: Any) -> bytes:
        return cbor.encode([{-2: bn, 0: "x", 2: 1}])

    assert decode_pack(pack(SUBJECT), subject=SUBJECT)[0].name == "x"
    assert decode_pack(pack("room."), subject=SUBJECT)[0].name == "room.x"
    assert _code(decode_pack, pack(SUBJECT)) == "senml.name"
    for other in ("did:web:other#sensor", SUBJECT + ":", "urn:dev:a:", "a b", 5, None, "n" * 129):
        assert _code(decode_pack, pack(other), subject=SUBJECT) == "senml.name"
    # The name must not be only the subject: nothing then says what was measured.
    assert _code(decode_pack, cbor.encode([{-2: SUBJECT, 2: 1}]), subject=SUBJECT) == "senml.name"


def _one(**labels: Any) -> bytes:
    names = {"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}
    names |= {"bt": -3, "bu": -4, "bv": -5, "bs": -6, "bver": -1, "x": 99, "neg": -7}
    return cbor.encode([{0: "a"} | {names.get(k, k): v for k, v in labels.items()}])


def _tag(number: int, value: Any) -> Any:
    return cbor.Tag(number, value)


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({"v": 1.5}, "value"), ({"v": float("nan")}, "value"), ({"v": float("inf")}, "value"),
        ({"v": -0.0}, "value"), ({"v": 2**63}, "value"), ({"v": -(2**63) - 1}, "value"),
        ({"v": True}, "value"), ({"v": None}, "value"), ({"v": "1"}, "value"),
        ({"v": b"1"}, "value"), ({"v": []}, "value"), ({"v": {}}, "value"),
        ({"v": _tag(2, b"\1")}, "value"), ({"v": _tag(3, b"\1")}, "value"),
        ({"v": _tag(5, [1, 1])}, "value"), ({"v": _tag(1, 1)}, "value"),
        ({"v": _tag(4, [-19, 1])}, "value"), ({"v": _tag(4, [19, 1])}, "value"),
        ({"v": _tag(4, [10**6, 1])}, "value"), ({"v": _tag(4, [-1, 2**63])}, "value"),
        ({"v": _tag(4, [-1])}, "value"), ({"v": _tag(4, [-1, 1, 1])}, "value"),
        ({"v": _tag(4, [True, 1])}, "value"), ({"v": _tag(4, [-1, 1.0])}, "value"),
        ({"v": _tag(4, [-1, _tag(2, b"\1")])}, "value"), ({"v": _tag(4, 5)}, "value"),
        ({"v": _tag(4, [18, 2**62])}, None), ({"v": _tag(4, [-1, 10])}, None),
        ({"v": 1, "vs": "x"}, "malformed"), ({"vb": True, "vs": "x"}, "malformed"),
        ({}, "malformed"), ({"t": 1}, "malformed"), ({"vb": 1}, "value"), ({"vs": 1}, "value"),
        ({"vs": "x" * 4097}, "value"), ({"vd": "x"}, "value"), ({"vd": bytes(4097)}, "value"),
        ({"s": 1}, None), ({"s": 1.0}, "value"), ({"v": 1, "s": None}, "value"),
        ({"v": 1, "ut": "x"}, "value"), ({"v": 1, "t": "x"}, "value"),
        ({"v": 1, "t": None}, "value"), ({"v": 1, "t": 2**63}, "value"),
        ({"v": 1, "u": None}, "value"), ({"v": 1, "u": ""}, "unit"), ({"v": 1, "u": 5}, "unit"),
        ({"v": 1, "u": "x" * 17}, "unit"), ({"v": 1, "u": "d B"}, "unit"),
        ({"v": 1, "n": ""}, "name"), ({"v": 1, "n": "-a"}, "name"), ({"v": 1, "n": "a#"}, "name"),
        ({"v": 1, "n": "é"}, "name"), ({"v": 1, "n": 5}, "name"),
        ({"v": 1, "n": "a" * 129}, "name"),
        ({"v": 1, "n": None}, "name"), ({"v": 1, "n": "a\n"}, "name"),
        ({"v": 1, "x": 1}, "malformed"), ({"v": 1, "neg": 1}, "malformed"),
        ({"v": 1, "foo": 1}, "malformed"), ({"v": 1, "foo_": 1}, "malformed"),
        ({"v": 1, "bv": 1}, "malformed"), ({"v": 1, "bs": 1}, "malformed"),
        ({"v": 1, "bver": 11}, "malformed"), ({"v": 1, "bver": True}, "malformed"),
        ({"v": 1, "bt": 2**62, "t": 2**62}, "value"), ({"v": 1, "bu": 5}, "unit"),
        ({"v": 1, "bt": 1.5}, "value"), ({"v": 1, "bt": 2**62, "t": _tag(4, [-18, 1])}, "value"),
    ],
)  # fmt: skip
def test_wire_refuses(labels: dict[str, Any], code: str | None) -> None:
    data = _one(**labels)
    if code is None:
        assert len(decode_pack(data)) == 1
    else:
        assert _code(decode_pack, data) == f"senml.{code}"


def test_wire_refuses_shapes() -> None:
    assert _code(decode_pack, b"") == "senml.malformed"
    assert _code(decode_pack, b"\x80") == "senml.empty"
    assert _code(decode_pack, b"\xa0") == "senml.malformed"
    assert _code(decode_pack, cbor.encode([5])) == "senml.malformed"
    assert _code(decode_pack, cbor.encode([{0: "a", 2: 1}, None])) == "senml.malformed"
    assert _code(decode_pack, cbor.encode([{0: "a", 2: 1}, {-4: "dB", 2: 1}])).startswith("senml.")
    base_later = cbor.encode([{0: "a", 2: 1}, {-4: "dB", 0: "a", 2: 1}])
    assert _code(decode_pack, base_later) == "senml.malformed"
    nested: Any = 1
    for _ in range(10):
        nested = [nested]
    assert _code(decode_pack, _one(v=nested)) == "encoding.too_deep"
    swapped = bytes.fromhex("81a2020100616100")[:-1]
    assert _code(decode_pack, swapped) == "encoding.not_deterministic"
    assert _code(decode_pack, bytes.fromhex("9fa20061610201ff")) == "encoding.not_deterministic"
    assert _code(decode_pack, bytes.fromhex("81a3006161020102" + "01")) == (
        "encoding.not_deterministic"
    )


def test_too_many_is_refused_before_anything_is_built() -> None:
    million = b"\x9a" + struct.pack(">I", 10**6) + bytes.fromhex("a20061610201") * 20_000
    started = time.process_time()
    assert _code(decode_pack, million) == "senml.too_many"
    assert _code(decode_pack, b"\x9b" + b"\xff" * 8) == "senml.too_many"
    assert _code(decode_pack, bytes(131_073)) == "senml.too_many"
    assert _code(parse_cbor, million) == "senml.too_many"
    assert time.process_time() - started < 1
    ten = encode_pack([Record("a", None, D("1"))] * 10)
    assert _code(decode_pack, ten, max_records=9) == "senml.too_many"
    assert len(decode_pack(ten, max_records=10)) == 10
    assert _code(encode_pack, [Record("a", None, D("1"))] * 4097) == "senml.too_many"
    assert _code(encode_pack, []) == "senml.empty"
    assert _code(encode_pack, [Record("a", None, "x" * 4000)] * 40) == "senml.too_many"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "malformed"), ("{}", "malformed"), ("[5]", "malformed"), ("[]", "empty"),
        ('[{"n":"a","v":1,"v":2}]', "malformed"), ('[{"n":"a","v":NaN}]', "value"),
        ('[{"n":"a","v":Infinity}]', "value"), ('[{"n":"a","v":-Infinity}]', "value"),
        ('[{"n":"a","v":-0}]', "value"), ('[{"n":"a","v":-0.0}]', "value"),
        ('[{"n":"a","v":1e1000000}]', "value"), ('[{"n":"a","v":1e-1000000}]', "value"),
        ('[{"n":"a","v":' + "9" * 100_000 + "}]", "value"), ('[{"n":"a","v":"1"}]', "value"),
        ('[{"n":"a","v":null}]', "value"), ('[{"n":"a","v":true}]', "value"),
        ('[{"n":"a","v":[1]}]', "value"), ('[{"n":"a","v":{}}]', "value"),
        ('[{"n":"a","vb":1}]', "value"), ('[{"n":"a","vs":1}]', "value"),
        ('[{"n":"a","vs":"\\ud800"}]', "value"), ('[{"n":"a","vd":"aGkgCg=="}]', "value"),
        ('[{"n":"a","vd":"aGkgCh"}]', "value"), ('[{"n":"a","vd":"a"}]', "value"),
        ('[{"n":"a","vd":5}]', "value"), ('[{"n":"a","v":1,"vs":"x"}]', "malformed"),
        ('[{"n":"a"}]', "malformed"), ('[{"v":1}]', "name"), ('[{"n":5,"v":1}]', "name"),
        ('[{"bn":5,"n":"a","v":1}]', "name"), ('[{"n":"a","u":5,"v":1}]', "unit"),
        ('[{"n":"a","v":1,"must_":1}]', "malformed"), ('[{"n":"a","bver":11,"v":1}]', "malformed"),
        ('[{"n":"a","bver":10,"v":1},{"n":"a","bver":5,"v":1}]', "malformed"),
        ('[{"n":"a","v":1},{"n":"a","bver":10,"v":1}]', "malformed"),
        ('[{"n":"a","bver":0.5,"v":1}]', "malformed"), ('[{"n":"a","v":01}]', "malformed"),
        ("[" * 200_000, "malformed"), ('[{"n":' * 50_000, "malformed"),
        ("[" + ",".join(['{"n":"a","v":1}'] * 4097) + "]", "too_many"),
        (" " * (1 << 20) + "[]", "too_many"),
    ],
)  # fmt: skip
def test_json_refuses(text: str, code: str) -> None:
    assert _code(parse_json, text) == f"senml.{code}"


def test_json_base_fields() -> None:
    text = """[{"bn":"d/","bv":20,"bs":100,"bt":10,"bu":"Cel","n":"a","v":-3,"s":5,"extra":[1]},
      {"bn":"e/","n":"b","u":"V","t":-1,"s":-1}, {"bt":0,"n":"c","vs":"x","bs":0}]"""
    assert parse_json(text) == [
        Record("d/a", "Cel", D("17"), D("10"), D("105")),
        Record("e/b", "V", D("20"), D("9"), D("99")),
        Record("e/c", "Cel", "x", D("0"), D("0")),
    ]
    assert _code(parse_json, b"\xff") == "senml.malformed"
    with_secondary = json.loads(format_json([Record("a", "km/h", D("5"))]))
    assert with_secondary[0]["bver"] == 26


@pytest.mark.parametrize(
    "data",
    [
        "", "80", "9fff", "a0", "81", "8105", "81a2006161020102", "81bf00616102f97e00ff",
        "81a200616102f97c00", "81a200616102f98000", "81a200616102c2420101", "81a3006161020102" "01",
        "81a200616102c5820101", "81a200616102c4821a7fffffff01", "81a200616102c48201f93c00",
        "81a20061610280", "81a200616102f6", "81a200616102f7", "81a3006161020161615f",
        "81a3006161020162615f01", "81a2006161021c", "81a20062c32802", "81bb" + "ff" * 8,
        "81a200" + "7b" + "ff" * 8, "81a2007f4161ff0201", "81a200616102ff", "9f", "81bf", "81bf00",
        "81a20061610201" "00", "81a300616102014141" "01",
    ],
)  # fmt: skip
def test_standard_cbor_refuses(data: str) -> None:
    assert _code(parse_cbor, bytes.fromhex(data)).startswith("senml.")


def test_standard_cbor_takes_what_the_wire_does_not() -> None:
    text = bytes.fromhex("9fbf007f61616162ff02fa3fc00000 6465787472f5ff ff".replace(" ", ""))
    # {0: (_ "a", "b"), 2: 1.5, "extr": true}, all of indefinite length
    assert parse_cbor(text) == [Record("ab", None, D("1.5"))]


@given(st.binary(max_size=80), st.booleans())
def test_bytes_raise_only_our_errors(data: bytes, prefixed: bool) -> None:
    data = b"\x81\xa3\x00\x61a" + data if prefixed else data
    for call in (decode_pack, parse_cbor, parse_json):
        try:
            call(data)
        except DepinError:
            pass


@given(st.data())
def test_flipped_bytes_raise_only_our_errors(data: st.DataObject) -> None:
    pack = bytearray(encode_pack(data.draw(PACKS)))
    for _ in range(data.draw(st.integers(1, 3))):
        pack[data.draw(st.integers(0, len(pack) - 1))] = data.draw(st.integers(0, 255))
    for call in (decode_pack, parse_cbor):
        try:
            call(bytes(pack))
        except DepinError:
            pass


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from("bver bn bt bu bv bs n u v vs vb vd s t ut x x_".split()), inner
        ),
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4))
def test_wrong_types_everywhere_raise_only_our_errors(document: list[Any]) -> None:
    try:
        parse_json(json.dumps(document))
    except DepinError:
        pass


def _either(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except EncodingError as error:
        return error.code


@given(st.data(), st.integers(0, 2))
def test_the_fast_path_agrees_with_the_general_reader(data: st.DataObject, flips: int) -> None:
    numbers = st.one_of(st.integers(-30, 30), st.integers(-(2**64), 2**64 - 1))
    fraction = st.builds(lambda e, m: _tag(4, [e, m]), st.integers(-20, 20), numbers)
    number = st.one_of(numbers, fraction)
    text = st.sampled_from(("a", "LAeq", "-", "dB", "Cel", "x" * 23, "y" * 24, SUBJECT))
    fields = {0: text, 1: text, 2: number, 6: number}
    record = st.fixed_dictionaries({}, optional=fields)
    head = st.fixed_dictionaries({}, optional=fields | {-2: text, -3: number, -4: text})
    pack = [data.draw(head), *data.draw(st.lists(record, max_size=4))]
    encoded = bytearray(cbor.encode(pack))
    for _ in range(flips):
        encoded[data.draw(st.integers(1, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    received = bytes(encoded)
    assert _either(decode_pack, received) == _either(senml_cbor._decode_any, received, None)


def test_the_common_pack_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record("LAeq", "dB", D(f"6{i % 9}.3"), D(str(10**9 + i))) for i in range(300)]
    mixed = [Record(f"s{i % 3}", "Cel", D(str(i)), D("0")) for i in range(30)]
    packs = [encode_pack(records), encode_pack(records[:1]), encode_pack(mixed)]
    monkeypatch.setattr(senml_cbor, "_decode_any", lambda *_: pytest.fail("general reader"))
    assert [decode_pack(pack) for pack in packs] == [records, records[:1], mixed]


def test_hostile_bytes_cost_the_fast_path_little() -> None:
    head = b"\x99\x10\x00"
    first = bytes.fromhex("a20061610201")
    units = (
        b"\xa4\x00\x77" + b"!" * 23 + b"\x01\x77" + b"!" * 23,
        b"\xa1\x02\xc4\x82",
        b"\xa1\x00",
    )
    started = time.process_time()
    for unit in units:
        body = (unit * 131_072)[: 131_072 - len(head) - len(first)]
        assert _either(decode_pack, head + first + body).startswith("encoding.")
    assert time.process_time() - started < 3
