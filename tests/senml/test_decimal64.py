"""Exact decimals: one spelling, bounds, and agreement with Python's own decimals."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import EncodingError
from depin_id.senml import PRIMARY_UNITS, SECONDARY_UNITS, Decimal64, is_unit, require_unit

I64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.builds(Decimal64, st.integers(-(10**17), 10**17), st.integers(-18, 18))


def _fraction(number: Decimal64) -> Fraction:
    return Fraction(number.mantissa) * Fraction(10) ** number.exponent


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("61.30", (613, -1)), ("0", (0, 0)), ("0.000", (0, 0)), ("1000", (1000, 0)),
        ("1e3", (1000, 0)), ("-2.50E-1", (-25, -2)), ("1e19", (10**18, 1)), ("007", (7, 0)),
        ("9223372036854775807", (2**63 - 1, 0)), ("-9223372036854775808", (-(2**63), 0)),
        ("9223372036854775810", (922337203685477581, 1)), ("9e36", (9 * 10**18, 18)),
        ("1e-18", (1, -18)), ("10e-19", (1, -18)), ("0e-999", (0, 0)),
    ],
)  # fmt: skip
def test_one_spelling(text: str, parts: tuple[int, int]) -> None:
    number = Decimal64.from_text(text)
    assert (number.mantissa, number.exponent) == parts
    assert Decimal64.from_text(str(number)) == number


@pytest.mark.parametrize(
    "text",
    ["", "-0", "-0.0", "-0e5", "NaN", "inf", "1.", ".5", "+1", "1 ", "0x1", "1_000", "１", "1e-19",
     "1e37", "9.3e36", "9223372036854775809", "1e1000000", "1e-1000000", "1e9999999999", "1" * 65,
     "0." + "1" * 19, "1\n", None, 5, b"1"],
)  # fmt: skip
def test_refused_text(text: Any) -> None:
    with pytest.raises(EncodingError) as caught:
        Decimal64.from_text(text)
    assert caught.value.code == "senml.value"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.0, 1e300, 5e-324])
def test_refused_floats(value: float) -> None:
    with pytest.raises(EncodingError):
        Decimal64.from_float(value)


@pytest.mark.parametrize(
    "parts", [(2**63, 0), (-(2**63) - 1, 0), (1, 10**9), (1, -(10**9)), (10**400, -400), (1.0, 0)]
)
def test_refused_parts(parts: tuple[Any, Any]) -> None:
    with pytest.raises(EncodingError):
        Decimal64(*parts)


@given(I64, st.integers(-18, 18))
def test_text_round_trip_and_decimal_agree(mantissa: int, exponent: int) -> None:
    number = Decimal64(mantissa, exponent)
    with localcontext() as context:
        context.prec = 60
        assert Decimal(str(number)) == Decimal(mantissa).scaleb(exponent)
    assert Decimal64.from_text(str(number)) == number
    assert number.to_float() == float(Decimal(mantissa).scaleb(exponent))


@given(st.floats(min_value=-1e6, max_value=1e6).map(lambda value: round(value, 6)))
def test_floats_come_back(value: float) -> None:
    if value != 0:
        assert Decimal64.from_float(value).to_float() == value


@given(NUMBERS, NUMBERS)
def test_order_and_sums_are_exact(left: Decimal64, right: Decimal64) -> None:
    a, b = _fraction(left), _fraction(right)
    assert (left < right, left <= right, left > right, left >= right, left == right) == (
        a < b, a <= b, a > b, a >= b, a == b
    )  # fmt: skip
    for operation, expected in ((Decimal64.__add__, a + b), (Decimal64.__sub__, a - b)):
        try:
            result = operation(left, right)
        except EncodingError:
            continue
        assert _fraction(result) == expected
        assert hash(result) == hash(Decimal64(result.mantissa, result.exponent))


@given(NUMBERS, st.integers(-18, 18))
def test_scaling_is_exact_or_refused(number: Decimal64, exponent: int) -> None:
    exact = _fraction(number) / Fraction(10) ** exponent
    assert number.floor_scaled(exponent) == exact.__floor__()
    if exact.denominator == 1:
        assert number.scaled(exponent) == exact
    else:
        with pytest.raises(EncodingError):
            number.scaled(exponent)
    for out in (19, -19, 10**9):
        with pytest.raises(EncodingError):
            number.scaled(out)


def test_units() -> None:
    assert len(PRIMARY_UNITS) == 58 + 8  # RFC 8428 and RFC 8798
    assert all(row.primary in PRIMARY_UNITS for row in SECONDARY_UNITS.values())
    assert not PRIMARY_UNITS & SECONDARY_UNITS.keys()
    assert is_unit("dB") and is_unit("ug/m3") and is_unit("/100") and not is_unit("dBA")
    assert SECONDARY_UNITS["dBm"].offset == -30
    assert SECONDARY_UNITS["km/h"].scale * 36 == 10
    assert require_unit("Cel") == "Cel"
    wrong: Any
    for wrong in ("dBA", "", "°C", None, 5):
        with pytest.raises(EncodingError) as caught:
            require_unit(wrong)
        assert caught.value.code == "senml.unit"
