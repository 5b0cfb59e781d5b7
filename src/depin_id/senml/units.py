"""Unit names of SenML as data: the primary registry and the secondary one.

Sources: RFC 8428 section 12.1 (primary units), RFC 8798 sections 2 and 3 (more primary units, and
secondary units with the scale that leads back to a primary one). The weighting of a sound level
belongs in the reading's name, not in the unit: the unit is ``dB``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from depin_id.errors import EncodingError

PRIMARY_UNITS: Final[frozenset[str]] = frozenset(
    "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l "
    "m/s m/s2 m3/s l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min "
    "beat/min beats S/m "
    "B VA VAs var vars J/m kg/m3 deg".split()
)


@dataclass(frozen=True, slots=True)
class SecondaryUnit:
    """A unit that is a linear function of a primary one: ``primary = value * scale + offset``."""

    primary: str
    scale: Fraction
    offset: int = 0


_TABLE = """
ms s 1/1000; min s 60; h s 3600; MHz Hz 1000000; kW W 1000; kVA VA 1000; kvar var 1000;
Ah C 3600; Wh J 3600; kWh J 3600000; varh vars 3600; kvarh vars 3600000; kVAh VAs 3600000;
Wh/km J/m 18/5; KiB B 1024; GB B 1000000000; Mbit/s bit/s 1000000; B/s bit/s 8;
MB/s bit/s 8000000; mV V 1/1000; mA A 1/1000; dBm dBW 1 -30; ug/m3 kg/m3 1/1000000000;
mm/h m/s 1/3600000; m/h m/s 1/3600; ppm / 1/1000000; /100 / 1/100; /1000 / 1/1000; hPa Pa 100;
mm m 1/1000; cm m 1/100; km m 1000; km/h m/s 5/18
"""


def _secondary() -> dict[str, SecondaryUnit]:
    rows = (row.split() for row in _TABLE.replace("\n", " ").split(";"))
    return {
        row[0]: SecondaryUnit(row[1], Fraction(row[2]), int(row[3]) if len(row) > 3 else 0)
        for row in rows
    }


SECONDARY_UNITS: Final[Mapping[str, SecondaryUnit]] = MappingProxyType(_secondary())


def is_unit(name: str) -> bool:
    """Whether ``name`` is registered, as a primary or a secondary unit."""
    return name in PRIMARY_UNITS or name in SECONDARY_UNITS


def require_unit(name: str) -> str:
    """``name`` itself when it is a registered unit.

    Raises:
        EncodingError: ``senml.unit``.
    """
    if type(name) is not str or not is_unit(name):
        shown = name[:32] if isinstance(name, str) else type(name).__name__
        raise EncodingError(
            "senml.unit",
            f"{shown!r} is not a registered SenML unit",
            hint="use a symbol of RFC 8428 section 12.1 or RFC 8798 (dB, Cel, %RH, Pa, lat, lon)",
        )
    return name
