"""Strict JSON and its canonical form: other people's vectors, and the two ways held equal."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from depin_id import jcs, strict_json
from depin_id.errors import EncodingError
from tests.paths import vectors

_PLAIN = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
_VALUES = st.recursive(
    _PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_both_writers_agree(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(EncodingError):
            jcs.canonicalize(value)
        return
    assert jcs.canonicalize(value) == expected


def test_published_canonical_forms() -> None:
    folder = vectors("jcs-rfc8785/testdata")
    found = sorted((folder / "input").glob("*.json"))
    assert len(found) == 6
    for path in found:
        value = json.loads(path.read_text(encoding="utf-8"))
        assert jcs.canonicalize(value) == (folder / "output" / path.name).read_bytes()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {"\udfff": 1}, b"", {1: 2}]
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    for case in (value, [value], {"a": value}):
        with pytest.raises(EncodingError, match="not_canonical"):
            jcs.canonicalize(case)


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EncodingError):
        jcs.canonicalize(value)


def test_member_names_sort_by_utf16() -> None:
    # U+1F600 is a pair of surrogates, below U+FB33 in UTF-16 and above it in code points.
    assert (
        jcs.canonicalize({"\ufb33": 1, "\U0001f600": 2})
        == b'{"\xf0\x9f\x98\x80":2,"\xef\xac\xb3":1}'
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":2}',
        "NaN",
        "[-Infinity]",
        "[1e999]",
        "[9007199254740992]",
        '["\\ud800"]',
        '{"\\udc00":0}',
        "\ufeff{}",
        "{} {}",
        "",
        "[" * 100 + "]" * 100,
        "[" * 100_000,
        "1" * 5000,
    ],
)
def test_what_readers_disagree_about_is_refused(text: str) -> None:
    with pytest.raises(EncodingError, match="json.malformed"):
        strict_json.parse(text)


def test_bytes_are_utf8_and_bounded() -> None:
    with pytest.raises(EncodingError, match="json.malformed"):
        strict_json.parse(b'"\xff"')
    with pytest.raises(EncodingError, match="json.too_large"):
        strict_json.parse(b"[]", max_bytes=1)
    assert strict_json.parse(b'{"e":["\\ud83d\\ude00",1.5,"[[[["]}') == {"e": ["😀", 1.5, "[[[["]}


@given(_VALUES)
def test_what_is_canonical_reads_back(value: Any) -> None:
    try:
        data = jcs.canonicalize(value)
        back = strict_json.parse(data)
    except EncodingError:
        return
    assert jcs.canonicalize(back) == data


@pytest.mark.parametrize("ends", ["", '"]', "\\"])
def test_a_text_that_does_not_end_costs_time_in_its_length_alone(ends: str) -> None:
    # Brackets enough for a look at how deep they nest, all of them inside of one text.
    text = '["' + '\\"' * 200_000 + "[" * 65 + ends
    began = time.process_time()
    with contextlib.suppress(EncodingError):
        strict_json.parse(text)
    assert time.process_time() - began < 2


def test_brackets_in_texts_do_not_nest() -> None:
    for inside in ("[" * 99, '\\"' + "[" * 99, "\\\\", '\\\\\\"[[' * 40):
        assert strict_json.parse('["' + inside + '",' + "[]," * 70 + "0]")[0]
        with pytest.raises(EncodingError, match="nested deeper"):
            strict_json.parse('["' + inside + '",' + "[" * 64 + "]" * 64 + "]")


@pytest.mark.parametrize("number", ["1" * 400 + ".0", "-" + "9" * 310 + ".5", "1e309", "-1E999"])
def test_a_number_beyond_what_a_double_holds_is_refused(number: str) -> None:
    with pytest.raises(EncodingError, match="too large"):
        strict_json.parse(f'{{"a":[{number}]}}')
