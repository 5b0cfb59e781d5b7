"""Bookkeeping of the demo: what each actor sent, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

UNACCOUNTED = "unaccounted"
"""The outcome of what nobody knows anything of; the demo fails when there is any."""
DUPLICATE = "duplicate"


@dataclass
class Account:
    """One actor's envelopes, by what became of each.

    Attributes:
        name: of the actor.
        sent: envelopes sent; for a sensor that cannot sign, readings.
        repeated: arrivals beyond those sent: the broker delivers at least once.
        outcomes: envelopes by ``accepted``, verdict code, ``duplicate``.
        records: judged records by code; "" for those that count.
        expected: the outcomes that there must be; None when all must be accepted.
        expected_records: the same of records.
        readings: readings sent that must all count; None when that is not the actor's point.
        answers: acknowledgements the actor got; None when they are not counted.
        principals: under which names the aggregator counts what it gives no entry.
    """

    name: str
    sent: int
    repeated: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    expected: Mapping[str, int] | None = None
    expected_records: Mapping[str, int] | None = None
    readings: int | None = None
    answers: int | None = None
    principals: frozenset[str] = frozenset()

    @property
    def balanced(self) -> bool:
        """Whether everything sent is accounted for."""
        return not self.outcomes[UNACCOUNTED] and (
            self.sent + self.repeated == self.outcomes.total()
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold: what, whether it does, and what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Book:
    """What the aggregator's journal says of the whole demo.

    Attributes:
        strangers: entries of envelopes that nobody in the demo sent.
        readings: records that count, over all entries.
        counted: what was counted without an entry, by (principal, code).
    """

    strangers: int
    readings: int
    counted: Mapping[tuple[str, str], int]
