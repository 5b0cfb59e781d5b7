"""A city to listen to: where its sensors stand, and how loud it is there at any second.

Everything is a pure function of a seed, a place and a time, so two sensors that hear the same lorry
agree on it, and a second run hears the same city. Levels leave this module as exact decimals.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from depin_id.claims import Place
from depin_id.senml import Decimal64

CENTRE_LAT, CENTRE_LON = 48.137, 11.575
RADIUS_M = 3_000.0
_M_PER_DEGREE = 111_320.0
_GUST_S = 20
_LORRY_S = 40
_LORRIES = 3


@dataclass(frozen=True, slots=True)
class Site:
    """Where a sensor stands.

    Attributes:
        name: for people.
        east_m, north_m: from the centre of the city.
        base_db: level of a quiet night there.
        swing_db: how much louder the day is.
    """

    name: str
    east_m: float
    north_m: float
    base_db: float
    swing_db: float

    @property
    def place(self) -> Place:
        """Its position on Earth."""
        lat = CENTRE_LAT + self.north_m / _M_PER_DEGREE
        lon = CENTRE_LON + self.east_m / (_M_PER_DEGREE * math.cos(math.radians(CENTRE_LAT)))
        return Place(round(lat * 1e7), round(lon * 1e7))


class City:
    """Sensors spread over a city with two main roads, and what they hear.

    Args:
        sensors: how many sites.
        seed: decides places and sounds.
    """

    def __init__(self, sensors: int, seed: int) -> None:
        self.seed = seed
        self.sites = [_site(index, seed) for index in range(sensors)]

    def level(self, site: Site, at: int) -> Decimal64:
        """LAeq of one second in dB, with one decimal.

        Args:
            at: whole seconds since 1970.
        """
        background = site.base_db + site.swing_db * day_curve(at) + 2.5 * self._wind(at)
        own = random.Random(f"{self.seed}/{site.name}/{at}").gauss(0.0, 0.8)
        energy = 10 ** ((background + own) / 10)
        for lorry in range(_LORRIES):
            energy += 10 ** (self._lorry(lorry, site, at) / 10)
        return Decimal64(round(100 * math.log10(energy)), -1)

    def _wind(self, at: int) -> float:
        """What the whole city hears, between -1 and 1, changing slowly."""
        step, into = divmod(at, _GUST_S)
        share = into / _GUST_S
        return (1 - share) * _noise(self.seed, step) + share * _noise(self.seed, step + 1)

    def _lorry(self, lorry: int, site: Site, at: int) -> float:
        """The level in dB at a site of a lorry on its way along one of the main roads."""
        trip, into = divmod(at + 13 * lorry, _LORRY_S)
        along = (into / _LORRY_S * 2 - 1) * RADIUS_M
        if _noise(self.seed + lorry + 1, trip) > 0:
            east, north = along, 0.0
        else:
            east, north = 0.0, along
        away = math.hypot(site.east_m - east, site.north_m - north)
        return 94.0 - 20 * math.log10(max(10.0, away))


def day_curve(at: int) -> float:
    """How busy the city is at a time (seconds since 1970), from 0 at 3 in the night to 1."""
    hour = at % 86_400 / 3_600
    return 0.5 - 0.5 * math.cos((hour - 3) / 24 * 2 * math.pi)


def _site(index: int, seed: int) -> Site:
    chance = random.Random(f"{seed}/site/{index}")
    angle, out = chance.uniform(0, 2 * math.pi), RADIUS_M * math.sqrt(chance.random())
    east, north = out * math.cos(angle), out * math.sin(angle)
    road = min(abs(east), abs(north))
    near = math.exp(-road / 400)
    return Site(f"noise-{index + 1:02d}", east, north, 34 + 14 * near, 12 + 8 * near)


@lru_cache(maxsize=4096)
def _noise(seed: int, step: int) -> float:
    return random.Random(f"{seed}/{step}").uniform(-1.0, 1.0)
