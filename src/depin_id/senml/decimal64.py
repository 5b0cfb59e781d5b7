"""Exact decimal numbers that fit a wire: an int64 mantissa and a power of ten.

Sensor values are decimal text long before they are binary floats, and verdicts must not depend on
how a machine rounds. So every number of a reading is ``mantissa * 10**exponent`` in integers,
the decimal fraction of RFC 8949 section 3.4.4 with bounds that keep all arithmetic cheap.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import EncodingError

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
MAX_EXPONENT: Final = 18
_MAX_TEXT: Final = 64
_TEXT = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_POWERS: Final[tuple[int, ...]] = tuple(10**i for i in range(2 * MAX_EXPONENT + 1))


def _refuse(message: str) -> NoReturn:
    raise EncodingError(
        "senml.value",
        message,
        hint="numbers need a mantissa within int64 and an exponent from -18 to 18; round the value",
    )


def canonical(mantissa: int, exponent: int) -> tuple[int, int]:
    """The one spelling of ``mantissa * 10**exponent``: the exponent nearest to 0 that fits.

    A negative exponent means that no trailing zero is left; a positive one that the mantissa
    could not grow. Zero is ``(0, 0)``.

    Raises:
        EncodingError: ``senml.value``, the value fits no mantissa and exponent in the bounds.
    """
    if mantissa == 0:
        return 0, 0
    if not -999 <= exponent <= 999 or mantissa.bit_length() > 256:
        _refuse("the number is out of range")
    while exponent < 0 and mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    while exponent > 0 and INT64_MIN <= mantissa * 10 <= INT64_MAX:
        mantissa *= 10
        exponent -= 1
    while exponent >= 0 and mantissa % 10 == 0 and not INT64_MIN <= mantissa <= INT64_MAX:
        mantissa //= 10
        exponent += 1
    if not INT64_MIN <= mantissa <= INT64_MAX or not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
        _refuse("the number needs more digits or a wider exponent than the wire carries")
    return mantissa, exponent


@dataclass(frozen=True, slots=True)
class Decimal64:
    """An exact number, ``mantissa * 10**exponent``, always in canonical form.

    Any spelling may be handed to the constructor; equal numbers are equal objects.

    Args:
        mantissa: within int64 once canonical.
        exponent: -18 to 18 once canonical.

    Raises:
        EncodingError: ``senml.value``.
    """

    mantissa: int
    exponent: int = 0

    def __post_init__(self) -> None:
        if type(self.mantissa) is not int or type(self.exponent) is not int:
            _refuse("mantissa and exponent must be integers")
        mantissa, exponent = canonical(self.mantissa, self.exponent)
        if exponent != self.exponent:
            object.__setattr__(self, "mantissa", mantissa)
            object.__setattr__(self, "exponent", exponent)

    @classmethod
    def from_int(cls, value: int) -> Decimal64:
        """An integer as it is. Raises ``senml.value`` when it does not fit."""
        return cls(value, 0)

    @classmethod
    def from_text(cls, text: str) -> Decimal64:
        """A decimal number in JSON's grammar, leading zeros allowed, at most 64 characters.

        Raises:
            EncodingError: ``senml.value``: not a number, minus zero, or out of range.
        """
        if type(text) is not str or len(text) > _MAX_TEXT:
            _refuse("a number is text of at most 64 characters")
        match = _TEXT.fullmatch(text)
        if match is None:
            _refuse(f"{text!r} is not a decimal number")
        sign, whole, fraction, power = match.groups()
        fraction = fraction or ""
        magnitude = int(whole + fraction)
        if sign and magnitude == 0:
            _refuse("minus zero is not a value")
        return cls(-magnitude if sign else magnitude, int(power or 0) - len(fraction))

    @classmethod
    def from_float(cls, value: float) -> Decimal64:
        """The shortest decimal that reads back as ``value`` (what ``repr`` prints).

        Raises:
            EncodingError: ``senml.value``: NaN, infinity, minus zero, or out of range.
        """
        if not math.isfinite(value):
            _refuse(f"{value!r} is not a value")
        return cls.from_text(repr(float(value)))

    def scaled(self, exponent: int) -> int:
        """The number as an integer of ``10**exponent``, exactly.

        Args:
            exponent: -18 to 18, the unit of the answer (-3: thousandths).

        Raises:
            EncodingError: ``senml.value``: the number is not a whole multiple of that unit, or
                ``exponent`` is out of bounds.
        """
        if not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
            _refuse(f"cannot scale to an exponent of {exponent}")
        shift = self.exponent - exponent
        if shift >= 0:
            return self.mantissa * _POWERS[shift]
        quotient, rest = divmod(self.mantissa, _POWERS[-shift])
        if rest:
            _refuse(f"{self} is not a whole number of 1e{exponent}")
        return quotient

    def floor_scaled(self, exponent: int) -> int:
        """Like :meth:`scaled`, rounding down to a whole multiple instead of refusing."""
        if not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
            _refuse(f"cannot scale to an exponent of {exponent}")
        shift = self.exponent - exponent
        if shift >= 0:
            return self.mantissa * _POWERS[shift]
        return self.mantissa // _POWERS[-shift]

    def to_float(self) -> float:
        """The nearest binary double; for people and plots, never for verdicts."""
        return float(f"{self.mantissa}e{self.exponent}")

    def _aligned(self, other: Decimal64) -> tuple[int, int, int]:
        low = min(self.exponent, other.exponent)
        return (
            self.mantissa * _POWERS[self.exponent - low],
            other.mantissa * _POWERS[other.exponent - low],
            low,
        )

    def __add__(self, other: Decimal64) -> Decimal64:
        left, right, exponent = self._aligned(other)
        return Decimal64(left + right, exponent)

    def __sub__(self, other: Decimal64) -> Decimal64:
        left, right, exponent = self._aligned(other)
        return Decimal64(left - right, exponent)

    def __lt__(self, other: Decimal64) -> bool:
        left, right, _ = self._aligned(other)
        return left < right

    def __le__(self, other: Decimal64) -> bool:
        left, right, _ = self._aligned(other)
        return left <= right

    def __gt__(self, other: Decimal64) -> bool:
        left, right, _ = self._aligned(other)
        return left > right

    def __ge__(self, other: Decimal64) -> bool:
        left, right, _ = self._aligned(other)
        return left >= right

    def __str__(self) -> str:
        if self.exponent == 0:
            return str(self.mantissa)
        if self.exponent > 0:
            return f"{self.mantissa}e{self.exponent}"
        digits = str(abs(self.mantissa)).rjust(1 - self.exponent, "0")
        sign = "-" if self.mantissa < 0 else ""
        return f"{sign}{digits[: self.exponent]}.{digits[self.exponent :]}"


ZERO: Final = Decimal64(0, 0)

_new: Any = object.__new__
_set_mantissa: Any = Decimal64.__dict__["mantissa"].__set__
_set_exponent: Any = Decimal64.__dict__["exponent"].__set__


def unchecked(mantissa: int, exponent: int) -> Decimal64:
    """A Decimal64 from parts that are canonical already (three times faster; decoders only)."""
    number: Decimal64 = _new(Decimal64)
    _set_mantissa(number, mantissa)
    _set_exponent(number, exponent)
    return number
