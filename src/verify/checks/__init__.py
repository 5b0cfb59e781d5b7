"""The checks of the appraisal, one file a family: pure functions over integers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found to be wrong.

    Attributes:
        code: stable dotted name, of the verdict table.
        measured: what was found, as exact text.
        limit: what is allowed.
        at_fault: device, gateway, network, owner, aggregator or nobody.
    """

    code: str
    measured: str = ""
    limit: str = ""
    at_fault: str = "device"
