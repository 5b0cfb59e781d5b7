"""The units that sources write, as SenML's: exact factors, and nothing that is not in the table.

What a text means can depend on what was measured: ``%`` is ``%RH`` of a humidity and ``%EL`` of a
battery. ``C`` and ``F`` are coulomb and farad to some and temperatures to others, so they are
known only where the source says which it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from depin_id.errors import EncodingError, ReadingError
from depin_id.senml import Decimal64
from depin_id.senml.units import is_unit

_MAX_TEXT = 32
_SPARE_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Conversion:
    """``value * scale + offset`` in ``unit``, a registered SenML unit.

    Attributes:
        weighting: frequency weighting that the unit's text names (``A`` of dBA): it belongs in the
            reading's name, because SenML's unit is ``dB``.
    """

    unit: str
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    weighting: str = ""

    def apply(self, number: str) -> Decimal64:
        """A number's characters as the number in ``unit``.

        It is exact where a decimal can say it. Where none can (a third, as of Fahrenheit), it is
        rounded half to even, at least two digits beyond what the source resolves. Minus zero,
        which sensors print for what rounds to it, is 0.

        Raises:
            ReadingError: ``input.number``: no number, or too large or fine for the wire.
        """
        number = str(number)
        try:
            if number.startswith("-") and not number.strip("-0."):
                number = number[1:]
            given = Decimal64.from_text(number)
            if self.scale == 1 and self.offset == 0:
                return given
            if not -40 <= given.exponent <= 40:
                raise EncodingError("senml.value", "the number is out of range")
            exact = given.mantissa * Fraction(10) ** given.exponent * self.scale + self.offset
            return _decimal(exact, self._places(number))
        except EncodingError as error:
            raise ReadingError("input.number", f"{number[:40]!r}: {error.message}") from error

    def _places(self, number: str) -> int:
        """Digits behind the point that keep what the source resolves."""
        exponent = Decimal(number).as_tuple().exponent
        places = max(0, -exponent) if isinstance(exponent, int) else 0
        scale = abs(self.scale)
        while scale < 1:
            scale, places = scale * 10, places + 1
        return min(18, places + _SPARE_DIGITS)


def _decimal(exact: Fraction, places: int) -> Decimal64:
    """A fraction as a decimal: exactly if it is one, else rounded to ``places``."""
    rest, twos, fives = exact.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    digits = max(twos, fives) if rest == 1 else places
    return Decimal64(round(exact * 10**digits), -digits)


_TABLE = """
°C Cel; °F Cel 5/9 -160/9;
Pa Pa; hPa Pa 100; mbar Pa 100; kPa Pa 1000; bar Pa 100000; mmHg Pa 133.322387415;
inHg Pa 3386.388640341; psi Pa 8896443230521/1290320000;
m/s m/s; km/h m/s 5/18; mph m/s 0.44704; kn m/s 463/900; ft/s m/s 0.3048; yd/s m/s 0.9144;
mm m 0.001; cm m 0.01; m m; km m 1000; in m 0.0254; ft m 0.3048;
mm/h mm/h; in/h mm/h 25.4; ° deg;
ug/m3 ug/m3; mg/m3 ug/m3 1000; ppm ppm; ppb ppm 0.001; % %;
W/m2 W/m2; lx lx; lux lx; dB dB; dBm dBm;
V V; mV V 0.001; kV V 1000; A A; mA A 0.001; W W; mW W 0.001; kW W 1000; MW W 1000000;
VA VA; kVA VA 1000; var var; VAr var; kvar var 1000; kVAr var 1000;
Wh kWh 0.001; kWh kWh; MWh kWh 1000; kvarh kvarh; kVAh kVAh; J J; kJ J 1000; MJ J 1000000;
Hz Hz; kHz Hz 1000; MHz Hz 1000000; rpm 1/min; Ω Ohm; kΩ Ohm 1000;
ms s 0.001; s s; min s 60; h s 3600; d s 86400;
g kg 0.001; kg kg; L l; mL l 0.001; m3 m3; L/s l/s; L/min l/s 1/60; L/h l/s 1/3600;
m3/h m3/s 1/3600; m3/s m3/s; pH pH; uS/cm S/m 0.0001; mS/cm S/m 0.1; S/m S/m
"""
_LEVELS = {"dBA": "A", "dB(A)": "A", "dBC": "C", "dB(C)": "C", "dBZ": "Z", "dB(Z)": "Z"}
_AMBIGUOUS = frozenset(("C", "F"))


def _common() -> dict[str, Conversion]:
    found = {}
    for row in _TABLE.replace("\n", " ").split(";"):
        text, unit, *numbers = row.split()
        scale, offset = (*map(Fraction, numbers), *(Fraction(1), Fraction(0))[len(numbers) :])
        found[_key(text)] = Conversion(unit, scale, offset)
    return found | {text: Conversion("dB", weighting=name) for text, name in _LEVELS.items()}


def _key(text: str) -> str:
    """One spelling of signs that look alike: micro and mu, raised digits, the sign for °C."""
    return unicodedata.normalize("NFKC", text).replace("μ", "u")


COMMON: Final[Mapping[str, Conversion]] = MappingProxyType(_common())
"""What every vocabulary means by a text (see :func:`find`)."""

_BY_QUANTITY: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("%", "humidity"): "%RH",
        ("%", "battery"): "%EL",
    }
)


def find(text: str, quantity: str | None = None) -> Conversion | None:
    """What a unit's text means, or None when that is not known for sure.

    Args:
        text: as the source writes it (``°C``, ``hPa``, ``µg/m³``), or a registered SenML unit.
        quantity: what is measured, where the source says so, in Home Assistant's words for it
            (``humidity``, ``battery``, ``temperature``).
    """
    if len(text) > _MAX_TEXT:
        return None
    key = _key(text)
    special = _BY_QUANTITY.get((key, quantity or ""))
    if special is not None:
        return Conversion(special)
    if key == "K" and quantity == "temperature":
        return Conversion("Cel", offset=Fraction(-27315, 100))
    found = COMMON.get(key)
    if found is None and is_unit(text) and text not in _AMBIGUOUS:
        return Conversion(text)
    return found


def require(text: str | None, quantity: str | None = None) -> Conversion:
    """As :func:`find`. Raises ReadingError ``input.unit`` where it finds nothing."""
    found = None if text is None else find(text, quantity)
    if found is None:
        raise ReadingError(
            "input.unit",
            "there is no unit" if not text else f"the unit {text[:_MAX_TEXT]!r} is not known",
            hint="declare the unit in the configuration; units are never guessed",
        )
    return found
