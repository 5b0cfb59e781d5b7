"""What is wrong with a batch is said by line, all kinds at once, and none of it is issued."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import base58, cbor
from depin_id.did.key import did_key
from depin_id.errors import ConfigError, TransportError
from depin_id.factory import BatchRefused, Defaults, Faults, make_batch, read_rows
from depin_id.factory.faults import KINDS, MAX_LISTED
from tests.factory.material import DEFAULTS, MAKER, faults, key, lines, make, options

IDENTITY = "01" + "00" * 31
# RFC 8032 section 7.1, test 1: its private key is printed beside it.
PUBLISHED = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
X25519 = "z" + base58.encode(b"\xec\x01" + bytes(range(32)))
SECP256K1 = cbor.encode({1: 2, -1: 8, -2: bytes(range(32)), -3: bytes(range(32))}).hex()
NOT_ON_P256 = "02" + "ff" * 32


def test_all_kinds_at_once(tmp_path: Path) -> None:
    good = [did_key(key(n)) for n in range(20)]
    rows = [
        "serial,key,curve,mac,role",
        f"A1,{good[0]},,00:11:22:33:44:55,",
        f"a1,{good[1]},,,",  # 3: capitals do not make two serials
        f"A2,{good[0]},,,",  # 4
        f"A3,{key(0).raw.hex()},ed25519,,",  # 5: the same key in another form
        f"A4,{PUBLISHED},ed25519,,",  # 6
        f"A5,{IDENTITY},ed25519,,",  # 7
        f"A6,{NOT_ON_P256},p256,,",  # 8
        f"A7,{X25519},,,",  # 9
        f"A8,{SECP256K1},,,",  # 10
        f"A9,{good[2]},p256,,",  # 11
        f"B1,{key(3).raw.hex()},,,",  # 12
        f"B2,{key(3).raw.hex()},secp256k1,,",  # 13
        f"B3,{good[3]}",  # 14
        f"B4,{good[4]},,001122334455,",  # 15
        f"B5,{good[5]},,0011223344,",  # 16
        f",{good[6]},,,",  # 17
        f"B 6,{good[7]},,,king",  # 18
        "B7,nonsense,,,",  # 19
        f'B8,"{good[8]},,,',  # 20
        "B9,,,,",  # 21
        f"C1,{good[9]}0,,,",  # 22
        f"C2,{key(1).raw.hex()}00,ed25519,,",  # 23
        f"=C3,{good[10]},,,",  # 24: a formula in somebody's spreadsheet
    ]
    assert faults(rows, tmp_path) == [
        (3, "factory.serial_repeated"),
        (4, "factory.key_repeated"),
        (5, "factory.key_repeated"),
        (6, "factory.test_key"),
        (7, "factory.point"),
        (8, "factory.point"),
        (9, "factory.curve"),
        (10, "factory.curve"),
        (11, "factory.curve"),
        (12, "factory.curve"),
        (13, "factory.curve"),
        (14, "factory.line"),
        (15, "factory.mac_repeated"),
        (16, "factory.field"),
        (17, "factory.field"),
        (18, "factory.field"),
        (18, "factory.field"),
        (19, "factory.key"),
        (20, "factory.line"),
        (21, "factory.key"),
        (22, "factory.key"),
        (23, "factory.key"),
        (24, "factory.field"),
    ]


def test_a_line_with_two_faults_has_both(tmp_path: Path) -> None:
    rows = ["serial,key,mac", *(f"A,{did_key(key(1))},x" for _ in range(2))]
    assert faults(rows, tmp_path) == [
        (2, "factory.field"),
        (3, "factory.field"),
        (3, "factory.key_repeated"),
        (3, "factory.serial_repeated"),
    ]


def test_one_fault_at_the_end_issues_none(tmp_path: Path) -> None:
    assert faults([*lines(50), "SN00007,zz"], tmp_path) == [
        (52, "factory.key"),
        (52, "factory.serial_repeated"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", [(0, "factory.empty")]),
        (b"\n\n", [(0, "factory.empty")]),
        (b"serial,key\n", [(0, "factory.empty")]),
        (b"serial\n", [(1, "factory.header")]),
        (b"serial,key,colour\n", [(1, "factory.header")]),
        (b"serial,key,serial\n", [(1, "factory.header")]),
        (b'"serial,key\n', [(1, "factory.header")]),
        (b"serial,key\n\xff\xfe,x\n", [(2, "factory.line")]),
        (
            b"serial,key\n" + b"x" * 5000 + b"\n" + b"y" * 100_000,
            [(2, "factory.line"), (3, "factory.line")],
        ),
        (b"[1]\n", [(1, "factory.header")]),
        (b"{}\n", [(1, "factory.field"), (1, "factory.key")]),
        (b'{"serial":"a","serial":"b","key":""}\n', [(1, "factory.line")]),
        (b'{"serial":1,"key":""}\n', [(1, "factory.line")]),
        (b'{"a":NaN}\n{"b":"' + b"[" * 4000 + b'"}\n', [(1, "factory.line"), (2, "factory.line")]),
        (b'{"x":""}\n{\n', [(1, "factory.line"), (2, "factory.line")]),
    ],
)
def test_lines_that_are_none(tmp_path: Path, text: bytes, expected: list[tuple[int, str]]) -> None:
    assert faults(text, tmp_path) == expected


def test_what_has_to_be_said_for_each_device(tmp_path: Path) -> None:
    found = faults(lines(1), tmp_path, defaults=Defaults())
    assert found == [(2, "factory.field")] * 3
    wrong = ["serial,key,profile,lat,owner", f"a,{did_key(key(1))},No!,5,{'x' * 200}"]
    assert faults(wrong, tmp_path) == [(2, "factory.field")] * 2


def test_the_list_is_bounded_and_every_kind_is_in_it(tmp_path: Path) -> None:
    rows = ["serial,key", *(f"{n},zz" for n in range(500)), f"1,{did_key(key(1))}"]
    with pytest.raises(BatchRefused) as caught:
        make(rows, tmp_path / "batch")
    found = caught.value
    assert found.faults.counts == {"factory.key": 500, "factory.serial_repeated": 1}
    assert len(found.faults.listed) == MAX_LISTED + 1
    assert "and 480 more" in str(found) and "line 502" in str(found)
    assert json.loads(json.dumps(found.to_json()))["counts"]["factory.key"] == 500


@pytest.mark.parametrize("curve", [[], {}, {1: [1]}, None, 1.5, "P-256", True])
def test_a_curve_of_any_type_is_another_curve(curve: Any, tmp_path: Path) -> None:
    text = cbor.encode({1: 1, -1: curve, -2: bytes(32)}).hex()
    expected = "factory.key" if curve is True else "factory.curve"
    assert faults(["serial,key", f"a,{text}"], tmp_path) == [(2, expected)]


def test_the_makers_own_key_is_no_devices(tmp_path: Path) -> None:
    assert faults(["serial,key", f"a,{MAKER.did}"], tmp_path) == [(2, "factory.key")]


def test_a_source_that_fails_is_named(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(TransportError, match="the list of devices"):
        make_batch(Failing(), tmp_path / "batch", options())
    assert list(tmp_path.iterdir()) == []


def test_a_batch_is_of_bounded_size(tmp_path: Path) -> None:
    assert faults(lines(4), tmp_path, max_devices=3) == [(5, "factory.too_many")]
    assert make(lines(3), tmp_path / "batch", max_devices=3).size == 3


def test_what_earlier_batches_hold_does_not_come_again(tmp_path: Path) -> None:
    make(lines(3), tmp_path / "one")
    place = tmp_path / "two"
    place.mkdir()
    rows = ["serial,key", f"sn00001,{did_key(key(8))}", f"X,{did_key(key(2))}"]
    assert faults(rows, place, earlier=(tmp_path / "one",)) == [
        (2, "factory.serial_repeated"),
        (3, "factory.key_repeated"),
    ]
    with pytest.raises(TransportError, match="file.missing"):
        make(rows, place / "x", earlier=(tmp_path / "none",))
    (tmp_path / "one" / "certificates.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="factory.earlier"):
        make(rows, place / "x", earlier=(tmp_path / "one",))
    assert list(place.iterdir()) == []


@given(st.binary(max_size=300), st.booleans())
def test_nothing_but_faults_comes_of_any_bytes(data: bytes, header: bool) -> None:
    found = Faults()
    source = io.BytesIO(b"serial,key,curve,lat,lon\n" + data if header else data)
    for row in read_rows(source, defaults=DEFAULTS, faults=found):
        assert row.enrolment.did == did_key(row.enrolment.key)
    assert set(found.counts) <= set(KINDS)
