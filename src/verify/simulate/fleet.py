"""Who is in a simulated fleet: each device a pure function of seed and number, none kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import gcd
from typing import Final, Literal

from depin_id.claims import Place
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import SoftwareSigner
from depin_id.testing import key_from_seed
from verify.simulate.chance import Chance
from verify.simulate.cheats import CHEATS
from verify.simulate.signals import PERIODS, PROFILES, RECORDS, Kind

START: Final = 1_767_571_200
"""When a run begins if nothing else is said: 2026-01-05T00:00:00Z."""
MAX_PACK: Final = 500
BLOCK: Final = 512
"""Devices that live at the same time, and share a file, at most."""

_CITIES: Final = (
    *((481_370_000, 115_750_000), (525_200_000, 134_050_000), (407_130_000, -740_060_000)),
    *((356_760_000, 1_396_500_000), (-235_500_000, -466_330_000), (12_900_000, 1_038_500_000)),
)
_SPREAD_E7: Final = 600_000
_OWNERS: Final = 20
"""Devices of one owner, about."""


@dataclass(frozen=True)
class Plan:
    """A run, whole.

    Attributes:
        devices: how many. minutes: how long they measure. seed: decides everything.
        kind: what they are. shares: share of the devices for each cheat.
        pack: measurements in an envelope. bundle: envelopes that a device sends at once.
        start: seconds since 1970. burst: the policy's burst of a device, for who exceeds it.

    Raises:
        ConfigError: ``simulate.options``, ``simulate.cheats``.
    """

    devices: int
    minutes: int
    seed: str = "1"
    kind: Kind | Literal["mixed"] = "mixed"
    shares: Mapping[str, Fraction] = field(default_factory=dict)
    pack: int = 60
    bundle: int = 1
    start: int = START
    burst: int = 3_600

    def __post_init__(self) -> None:
        if not 1 <= self.devices <= 10**9 or not 0 <= self.minutes <= 527_040:
            raise ConfigError("simulate.options", "devices from 1, minutes up to a year")
        if not 1 <= self.pack <= MAX_PACK or not 1 <= self.bundle <= 1_000:
            raise ConfigError("simulate.options", f"a pack is 1 to {MAX_PACK}, a bundle 1 to 1000")
        for name in self.shares:
            kinds = CHEATS[name].kinds
            if self.kind != "mixed" and self.kind not in kinds:
                raise ConfigError(
                    "simulate.cheats",
                    f"{name} is for {', '.join(kinds)} only",
                    hint=f"add --kind {kinds[0]}, or --kind mixed",
                )
        if sum(self.counts.values()) >= self.devices and self.shares:
            raise ConfigError(
                "simulate.cheats",
                "no honest device would be left",
                hint="give more devices: each cheat has one at least",
            )

    @property
    def run_s(self) -> int:
        """How long it lasts, in seconds."""
        return self.minutes * 60

    @property
    def end(self) -> int:
        """When the last reading has been delivered, seconds since 1970."""
        return self.start + self.run_s + 120

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many devices do what: at least one of each cheat that is asked for."""
        return {name: max(1, int(share * self.devices)) for name, share in self.shares.items()}

    @property
    def blocks(self) -> int:
        """How many groups of devices there are; a group lives on its own."""
        return -(-self.devices // BLOCK)

    def block(self, number: int) -> range:
        """The devices of a group: groups are about equally large."""
        blocks = self.blocks
        return range(number * self.devices // blocks, (number + 1) * self.devices // blocks)

    def cheat(self, index: int) -> str:
        """How a device cheats, "" if it does not: cheats are spread, and counted exactly."""
        rank = (index * self._stride + 7) % self.devices
        for name, count in self.counts.items():
            if rank < count:
                return name
            rank -= count
        return ""

    @cached_property
    def _stride(self) -> int:
        stride = max(1, self.devices * 618 // 1_000)
        while gcd(stride, self.devices) != 1:
            stride += 1
        return stride

    def member(self, index: int) -> Member:
        """A device."""
        cheat = self.cheat(index)
        chance = Chance(self.seed, "member", index)
        draw = chance.below(4)
        if self.kind == "mixed":
            kind: Kind = "noise" if draw < 2 else "weather" if draw == 2 else "tracks"
        else:
            kind = self.kind
        if cheat and kind not in CHEATS[cheat].kinds:
            kind = CHEATS[cheat].kinds[0]
        victim = None
        if cheat == "copied":
            victim = self._victim(index)
            kind = self.member(victim).kind
        lat, lon = _CITIES[chance.below(len(_CITIES))]
        place = Place(lat + chance.normal(_SPREAD_E7), lon + chance.normal(_SPREAD_E7))
        return Member(self, index, kind, cheat, place, victim)

    def _victim(self, index: int) -> int:
        """Whom a device copies: the next honest one of its group."""
        number = index * self.blocks // self.devices
        while index not in self.block(number):
            number += 1
        group = self.block(number)
        for step in range(1, len(group)):
            found = group[(index - group.start + step) % len(group)]
            if not self.cheat(found):
                return found
        raise ConfigError("simulate.cheats", "there is no honest device to copy", hint="give more")

    def envelopes(self, kind: Kind) -> int:
        """The most envelopes that an honest device of a kind sends."""
        return -(-self.run_s // (PERIODS[kind] * self.pack)) + 1


@dataclass(frozen=True, slots=True)
class Member:
    """A device of the fleet.

    Attributes:
        index: its number. kind: what it measures. cheat: how it cheats, "" if it does not.
        place: where it is at the start. victim: the device that it copies.
    """

    plan: Plan
    index: int
    kind: Kind
    cheat: str
    place: Place
    victim: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind}-{self.index}"

    def chance(self, what: str) -> Chance:
        """Random numbers of its own."""
        return Chance(self.plan.seed, what, self.index)

    def signer(self) -> SoftwareSigner:
        """Its key; whoever knows the seed can make it."""
        return key_from_seed(f"simulate {self.plan.seed}", f"device {self.index}")

    def enrolment(self) -> Enrolment:
        """What a network takes it in with."""
        return Enrolment.of(
            self.signer().public_key,
            name=self.name,
            profile=PROFILES[self.kind],
            owner=f"owner-{self.index // _OWNERS}",
            place=None if self.kind == "tracks" else self.place,
        )

    @property
    def enrolled(self) -> bool:
        """Whether the network knows it."""
        return self.cheat != "unknown-device"

    @property
    def records(self) -> int:
        """Readings of one of its measurements."""
        return RECORDS[self.kind]
