"""How devices of a simulated fleet cheat, and what the checks promise to say of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from depin_id.errors import ConfigError
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from verify.simulate.signals import KINDS, Kind
from verify.verdict import ACCEPTED

DUPLICATE: Final = "duplicate"
"""What becomes of an envelope that came before: no entry, no verdict, not paid."""
BACK_S: Final = 45 * 86_400
"""How far behind a clock is: more than the default policy takes (30 days)."""
AHEAD_S: Final = 7_200
"""How far ahead a clock is of the end of the run."""
FAR_DEGREES: Final = 3
"""Of latitude: some 330 km."""
_SHARE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}|/[1-9][0-9]{0,8})?")


@dataclass(frozen=True, slots=True)
class Cheat:
    """A way to cheat.

    Attributes:
        name: as on the command line. does: in words.
        code: the code that the checks promise; ``accepted`` where they promise nothing (see
            docs/threat-model.md).
        of: what the code is said of: ``envelope`` or ``record``.
        kinds: the sensors that can do it.
    """

    name: str
    does: str
    code: str
    of: str = "envelope"
    kinds: tuple[Kind, ...] = KINDS

    @property
    def caught(self) -> bool:
        """Whether the checks promise to catch it."""
        return self.code != ACCEPTED


_ALL: Final = (
    Cheat("replayed", "envelopes of a device are sent again by somebody else", DUPLICATE),
    Cheat("copied", "a device signs what another measured, under its own key", "content.repeated"),
    Cheat("teleport", "jumps 330 km and back", "location.speed", "record", ("tracks",)),
    Cheat("clock-ahead", "times that lie after receipt", "time.future", "record"),
    Cheat("clock-behind", "times 45 days ago", "time.stale", "record"),
    Cheat("cloned-key", "a second machine signs with the same key", "sequence.forked"),
    Cheat("spoofed-location", "a consistent way in a city it is not in", ACCEPTED, "", ("tracks",)),
    Cheat("constant", "the same value for ever", ACCEPTED, ""),
    Cheat(
        "out-of-range", "a physically impossible value in a pack", "value.out_of_range", "record"
    ),
    Cheat("unknown-device", "a good key that nobody enrolled", "device.unknown"),
    Cheat("tampered", "payloads altered on the way", "signature.invalid"),
    Cheat("over-quota", "one burst above the policy's quota of a device", "quota.exceeded"),
)
CHEATS: Final[dict[str, Cheat]] = {cheat.name: cheat for cheat in _ALL}


def read_shares(text: str) -> dict[str, Fraction]:
    """``name=share,...``, exactly: ``copied=0.01,teleport=1/200``; ``all=SHARE`` is each of them.

    Raises:
        ConfigError: ``simulate.cheats``.
    """
    shares: dict[str, Fraction] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = part.partition("=")
        if name != "all" and name not in CHEATS:
            raise _wrong(f"there is no cheat {name[:40]!r}")
        share = Fraction(number) if _SHARE.fullmatch(number) else None
        if not equals or share is None or share > Fraction(1, 2):
            raise _wrong(f"{part[:40]!r} is not NAME=SHARE with a share from 0 to 0.5")
        for each in CHEATS if name == "all" else (name,):
            shares[each] = share
    if sum(shares.values()) > Fraction(1, 2):
        raise _wrong("more than half of the devices would cheat")
    return {name: share for name, share in shares.items() if share}


def _wrong(what: str) -> ConfigError:
    return ConfigError(
        "simulate.cheats", what, hint="`depin-verify simulate --cheats help` lists the cheats"
    )


def distort(
    cheat: str, kind: Kind, moments: Sequence[list[Reading]], pack: int, run_s: int
) -> tuple[list[Reading], str]:
    """The readings of a pack as the cheat sends them.

    Args:
        cheat: "" leaves them as they are.
        moments: what was measured, a list for each moment.
        pack: number of the pack, from 0.
        run_s: seconds of the whole run.

    Returns:
        The readings, and the code that at least one of its records must get; "" for none.
    """
    code = CHEATS[cheat].code if cheat else ""
    if cheat == "clock-ahead":
        return [_shifted(item, run_s + AHEAD_S) for item in _flat(moments)], code
    if cheat == "clock-behind":
        return [_shifted(item, -BACK_S) for item in _flat(moments)], code
    if cheat == "out-of-range" and pack % 3 == 0:
        name, value = _IMPOSSIBLE[kind]
        first = [replace(item, value=value) if item.name == name else item for item in moments[0]]
        return _flat([first, *moments[1:]]), code
    if cheat == "teleport" and (len(moments) > 1 or pack % 3 == 1):
        half = len(moments) // 2
        far = [[_far(item) for item in moment] for moment in moments[half:]]
        return _flat([*moments[:half], *far]), code
    return _flat(moments), ""


_IMPOSSIBLE: Final[dict[Kind, tuple[str, Decimal64]]] = {
    "noise": ("laeq", Decimal64(260)),
    "weather": ("temperature", Decimal64(120)),
    "tracks": ("speed", Decimal64(400)),
}


def _flat(moments: Sequence[list[Reading]]) -> list[Reading]:
    return [item for moment in moments for item in moment]


def _shifted(item: Reading, seconds: int) -> Reading:
    return item if item.time is None else replace(item, time=item.time + Decimal64(seconds))


def _far(item: Reading) -> Reading:
    if item.name != "lat" or not isinstance(item.value, Decimal64):
        return item
    degrees = Decimal64(-FAR_DEGREES if item.value.mantissa > 0 else FAR_DEGREES)
    return replace(item, value=item.value + degrees)
