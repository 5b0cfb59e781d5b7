"""Units of sources: exact where decimals can be, and never a guess."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ReadingError
from depin_id.senml.units import is_unit
from firmware_bridge import units


@pytest.mark.parametrize(
    ("number", "text", "quantity", "value", "unit"),
    [
        ("32", "°F", "temperature", "0", "Cel"),
        ("-40", "°F", None, "-40", "Cel"),
        ("70.3", "°F", None, "21.2778", "Cel"),
        ("0.1", "°F", None, "-17.7222", "Cel"),
        ("21.50", "℃", None, "21.5", "Cel"),
        ("294.65", "K", "temperature", "21.5", "Cel"),
        ("4000", "K", None, "4000", "K"),
        ("1018.0", "hPa", None, "101800", "Pa"),
        ("760", "mmHg", None, "101325.0144354", "Pa"),
        ("29.92", "inHg", None, "101320.74811900272", "Pa"),
        ("1", "psi", None, "6894.76", "Pa"),
        ("36", "km/h", None, "10", "m/s"),
        ("10", "mph", None, "4.4704", "m/s"),
        ("54.5", "%", "humidity", "54.5", "%RH"),
        ("80", "%", "battery", "80", "%EL"),
        ("80", "%", "power_factor", "80", "%"),
        ("12.5", "µg/m³", None, "12.5", "ug/m3"),
        ("12.5", "\u03bcg/m\u00b3", None, "12.5", "ug/m3"),
        ("415", "ppb", None, "0.415", "ppm"),
        ("1", "L/min", None, "0.0167", "l/s"),
        ("1.5", "kW", None, "1500", "W"),
        ("0.0", "dBA", None, "0", "dB"),
        ("-0.0", "°C", None, "0", "Cel"),
        ("5", "Cel", None, "5", "Cel"),
    ],
)
def test_conversions(number: str, text: str, quantity: str, value: str, unit: str) -> None:
    found = units.require(text, quantity)
    assert (str(found.apply(number)), found.unit) == (value, unit)


@given(
    st.sampled_from(sorted(units.COMMON)),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-9999, max_value=9999, places=2),
)
def test_conversions_lose_nothing_that_the_source_resolves(text: str, number: Decimal) -> None:
    found = units.COMMON[text]
    assert is_unit(found.unit)
    exact = Fraction(number) * found.scale + found.offset
    error = Fraction(str(found.apply(str(number)))) - exact
    assert abs(error) <= found.scale / 20_000
    if exact.limit_denominator(10**9) == exact and 10**9 % exact.denominator == 0:
        assert error == 0


@pytest.mark.parametrize("text", ["", "C", "F", "c", "HPA", "dBX", "ug", "UV index", "x" * 99, "º"])
def test_unknown_units_are_refused(text: str) -> None:
    assert units.find(text) is None
    with pytest.raises(ReadingError) as error:
        units.require(text)
    assert error.value.code == "input.unit"


@pytest.mark.parametrize(
    "number", ["", "nan", "inf", "1e999", "9" * 60, "0x1", "1,5", " 1", "-", "--0"]
)
def test_what_is_no_number_is_refused(number: str) -> None:
    for text in ("°C", "°F"):
        with pytest.raises(ReadingError) as error:
            units.require(text).apply(number)
        assert error.value.code == "input.number"


def test_the_weighting_of_a_level_is_kept_apart_from_its_unit() -> None:
    found = units.require("dBA")
    assert (found.unit, found.weighting) == ("dB", "A")
    assert units.require("dB").weighting == ""
