"""CBOR of others: what is read, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from depin_id.errors import EncodingError
from verify.attestation.foreign_cbor import Tag, decode


def _read(text: str, **bounds: int) -> Any:
    return decode(bytes.fromhex(text), max_bytes=4096, **bounds)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("01", 1),
        ("1801", 1),  # longer than needed
        ("1b0000000000000001", 1),
        ("3a000124f7", -75000),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3bffffffffffffffff", -(2**64)),
        ("590001ff", b"\xff"),
        ("6161", "a"),
        ("a203010102", {3: 1, 1: 2}),  # not sorted
        ("a24161016161f5", {b"a": 1, "a": True}),
        ("80", []),
        ("8203f6", [3, None]),
        ("f93c00", 1.0),
        ("fa3f800000", 1.0),
        ("fb3ff0000000000000", 1.0),
        ("f4", False),
        ("c11a00000000", Tag(1, 0)),
        ("c24101", Tag(2, b"\x01")),
        ("d9018fa0", Tag(399, {})),
        ("d81c8201d81d00", Tag(28, [1, Tag(29, 0)])),  # sharing is not followed
        ("d901008101", Tag(256, [1])),
    ],
)
def test_what_is_well_formed_is_read_and_tags_are_kept(text: str, value: object) -> None:
    found = _read(text)
    assert found == value and type(found) is type(value)


def test_a_number_that_is_none_is_read() -> None:
    assert math.isnan(_read("f97e00"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "ends"),
        ("18", "ends"),
        ("4201", "ends"),
        ("9bffffffffffffffff", "more items"),
        ("bb7fffffffffffffff", "more items"),
        ("0101", "follow"),
        ("a000", "follow"),
        ("180100", "follow"),
        ("a201020103", "twice"),
        ("a20102180103", "twice"),
        ("a2616101616102", "twice"),
        ("81a201020103", "twice"),
        ("c1a201020103", "twice"),
        ("a1f501", "neither"),
        ("a1f93c0001", "neither"),
        ("a18001", "neither"),
        ("a1c10001", "neither"),
        ("9f01ff", "indefinite"),
        ("bf0102ff", "indefinite"),
        ("5f4101ff", "indefinite"),
        ("7f6161ff", "indefinite"),
        ("ff", "indefinite"),
        ("1c", "reserved"),
        ("f7", "no meaning"),
        ("e0", "no meaning"),
        ("f820", "no meaning"),
        ("61ff", "UTF-8"),
        ("62c080", "UTF-8"),
        ("63eda080", "UTF-8"),
    ],
)
def test_what_nobody_needs_is_refused(text: str, what: str) -> None:
    with pytest.raises(EncodingError, match=what) as caught:
        _read(text)
    assert caught.value.code == "encoding.malformed"


def test_bounds() -> None:
    assert _read("81" * 15 + "80", max_depth=16) is not None
    for head in ("81", "c1", "a100"):
        with pytest.raises(EncodingError) as caught:
            _read(head * 17 + "80", max_depth=16)
        assert caught.value.code == "encoding.too_deep"
    for text, most in (("8400010203", 4), ("a200010203", 4), ("c1c100", 2)):
        assert _read(text, max_items=most + 1) is not None
        with pytest.raises(EncodingError) as caught:
            _read(text, max_items=most)
        assert caught.value.code == "encoding.too_large"
    with pytest.raises(EncodingError) as caught:
        decode(bytes(11), max_bytes=10)
    assert caught.value.code == "encoding.too_large"
