"""What sensors measure: sound of a day, weather, ways of vehicles; all in scaled integers.

Each signal is stepped once a period, from the first moment on, and gives the readings of that
moment. The same seed gives the same signal.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from depin_id.claims import Place
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from verify.simulate.chance import Chance

Kind = Literal["noise", "weather", "tracks"]
KINDS: Final[tuple[Kind, ...]] = ("noise", "weather", "tracks")
PROFILES: Final[dict[Kind, str]] = {"noise": "noise", "weather": "weather", "tracks": "mobility"}
PERIODS: Final[dict[Kind, int]] = {"noise": 1, "weather": 60, "tracks": 1}
"""Seconds between two measurements."""
RECORDS: Final[dict[Kind, int]] = {"noise": 1, "weather": 4, "tracks": 4}
"""Readings of one measurement."""

# How busy a street is at each full hour, in thousandths of its busiest.
_BUSY: Final = (
    *(180, 110, 60, 40, 70, 240, 520, 840, 1000, 930, 850, 860),
    *(890, 870, 860, 890, 960, 1000, 940, 800, 640, 520, 400, 280),
)
# How warm it is at each full hour, in thousandths from the coldest to the warmest.
_WARM: Final = (
    *(260, 190, 130, 80, 30, 0, 40, 150, 310, 480, 640, 780),
    *(890, 960, 1000, 990, 930, 830, 710, 600, 510, 440, 380, 320),
)
_TURNS: Final = (
    *((0, 1024), (392, 946), (724, 724), (946, 392), (1024, 0), (946, -392), (724, -724)),
    *((392, -946), (0, -1024), (-392, -946), (-724, -724), (-946, -392), (-1024, 0)),
    *((-946, 392), (-724, 724), (-392, 946)),
)
"""Sixteen directions as (north, east) in 1/1024."""
_E7_PER_M: Final = 90
"""Units of 1e-7 degree in a metre of latitude."""
_MAX_SPEED: Final = 3_300
"""Centimetres a second: no vehicle here is faster."""


class Signal(Protocol):
    """A sensor's surroundings."""

    def step(self, at: int) -> list[Reading]:
        """The readings at ``at`` (seconds since 1970); called once for each period, in order."""
        ...


def curve(table: tuple[int, ...], at: int) -> int:
    """A day's curve at a time, between its values for full hours."""
    hour, second = divmod(at % 86_400, 3_600)
    low, high = table[hour], table[(hour + 1) % 24]
    return low + (high - low) * second // 3_600


def noise_reading(centibels: int, at: int) -> Reading:
    """A level in hundredths of dB, said with one decimal."""
    return Reading("laeq", Decimal64(centibels // 10, -1), "dB", Decimal64(at))


class Noise:
    """LAeq of each second: the time of day, traffic that comes and goes, single vehicles."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._night = chance.between(3_200, 4_600)
        self._swing = chance.between(900, 2_300)
        self._slow = self._fast = self._passing = 0

    def step(self, at: int) -> list[Reading]:
        """See :class:`Signal`."""
        chance = self._chance
        busy = curve(_BUSY, at)
        self._slow = self._slow * 1_020 // 1_024 + chance.normal(22)
        self._fast = self._fast * 700 // 1_024 + chance.normal(75)
        if chance.below(60_000) < busy:
            self._passing = chance.between(800, 1_900)
        self._passing = self._passing * 900 // 1_024
        level = self._night + self._swing * busy // 1_000 + self._slow + self._fast + self._passing
        return [noise_reading(min(11_900, max(1_900, level)), at)]


class Weather:
    """Each minute: temperature and humidity against each other, pressure, gusts of wind."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._coldest = chance.between(-600, 1_400)
        self._range = chance.between(300, 1_300)
        self._pressure = chance.between(96_000, 102_500)
        self._drift = self._wind = self._front = 0

    def step(self, at: int) -> list[Reading]:
        """See :class:`Signal`."""
        chance, when = self._chance, Decimal64(at)
        warm = curve(_WARM, at)
        self._drift = self._drift * 1_018 // 1_024 + chance.normal(9)
        self._front = self._front * 1_023 // 1_024 + chance.normal(4)
        self._wind = self._wind * 960 // 1_024 + chance.normal(60)
        celsius = self._coldest + self._range * warm // 1_000 + self._drift
        humid = 920 - 480 * warm // 1_000 - self._drift // 4 + chance.normal(4)
        pressure = self._pressure + self._front + chance.normal(12)
        wind = 240 + 260 * warm // 1_000 + self._wind
        return [
            Reading("temperature", Decimal64(celsius // 10, -1), "Cel", when),
            Reading("humidity", Decimal64(min(1_000, max(80, humid)), -1), "%RH", when),
            Reading("pressure", Decimal64(pressure), "Pa", when),
            Reading("wind-speed", Decimal64(max(0, wind) // 10, -1), "m/s", when),
        ]


class Track:
    """Each second where a vehicle is: it speeds up, slows down, turns, waits at lights."""

    def __init__(self, chance: Chance, start: Place) -> None:
        self._chance = chance
        self._north, self._east = start.lat_e7, start.lon_e7
        self._speed = chance.between(0, 1_500)
        self._heading = chance.below(len(_TURNS))
        self._limit = chance.between(1_300, _MAX_SPEED)
        self._waits = 0

    def step(self, at: int) -> list[Reading]:
        """See :class:`Signal`."""
        chance, when = self._chance, Decimal64(at)
        self._drive()
        accuracy = max(15, 40 + chance.normal(12))
        # A receiver's position wanders about the true one, and never stands quite still.
        lat = self._north + chance.normal(accuracy * _E7_PER_M // 40)
        lon = self._east + chance.normal(accuracy * _E7_PER_M // 40)
        return [
            Reading("lat", Decimal64(lat, -7), "lat", when),
            Reading("lon", Decimal64(lon, -7), "lon", when),
            Reading("accuracy", Decimal64(accuracy, -1), "m", when),
            Reading("speed", Decimal64(self._speed // 10, -1), "m/s", when),
        ]

    def _drive(self) -> None:
        chance = self._chance
        if self._waits:
            self._waits -= 1
            self._speed = self._speed * 3 // 5
        else:
            self._speed += chance.between(-110, 130)
            if chance.one_in(90):
                self._waits = chance.between(5, 60)
            if chance.one_in(25):
                self._heading += 1 if chance.one_in(2) else -1
        self._speed = max(0, min(self._limit, self._speed))
        north, east = _TURNS[self._heading % len(_TURNS)]
        step = self._speed * _E7_PER_M
        self._north += step * north // 102_400
        self._east += step * east // 102_400


def signal_of(kind: Kind, chance: Chance, place: Place) -> Signal:
    """The surroundings of a sensor of a kind."""
    if kind == "noise":
        return Noise(chance)
    if kind == "weather":
        return Weather(chance)
    return Track(chance, place)
