"""What is wrong with the lines of a batch: all kinds at once, the list of each bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from depin_id.errors import CredentialError

MAX_LISTED: Final = 20
"""Lines listed of each kind; the others are counted."""
KINDS: Final = {
    "factory.empty": "there are no devices",
    "factory.too_many": "too many devices for one batch",
    "factory.header": "the first line does not name the columns",
    "factory.line": "a line cannot be read",
    "factory.field": "a field is missing or malformed",
    "factory.key": "a key is malformed",
    "factory.curve": "a key is on another curve, or on another than it says",
    "factory.point": "a key is no admissible point",
    "factory.test_key": "the private half of a key is published",
    "factory.key_repeated": "a key occurs twice",
    "factory.serial_repeated": "a serial occurs twice",
    "factory.mac_repeated": "a hardware address occurs twice",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        line: of the input, from 1; 0 for the input as a whole.
        code: one of :data:`KINDS`.
        message: what it is.
    """

    line: int
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"line": self.line, "code": self.code, "message": self.message}


class Faults:
    """Faults as they are found.

    Attributes:
        counts: how many of each kind.
        listed: the first ones of each kind, in the order in which they were found.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.listed: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, line: int, code: str, message: str) -> None:
        """Note one."""
        count = self.counts[code] = self.counts.get(code, 0) + 1
        if count <= MAX_LISTED:
            self.listed.append(Fault(line, code, message[:300]))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: counts by kind, and what is listed."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "faults": [fault.to_json() for fault in self.listed],
        }


class BatchRefused(CredentialError):
    """A batch with faults: nothing of it was issued.

    Attributes:
        faults: what is wrong, by line.
    """

    def __init__(self, faults: Faults) -> None:
        total = sum(faults.counts.values())
        lines = [f"{total} fault{'s' if total > 1 else ''}, no device of the batch is issued"]
        lines += [
            f"  {code}: {KINDS[code]}: {count}" for code, count in sorted(faults.counts.items())
        ]
        lines += [
            f"  line {fault.line}: {fault.message}" if fault.line else f"  {fault.message}"
            for fault in sorted(faults.listed, key=lambda fault: fault.line)
        ]
        left = total - len(faults.listed)
        if left:
            lines.append(f"  and {left} more, not listed")
        super().__init__(
            "factory.refused",
            "\n".join(lines),
            hint="correct these lines and give the whole batch again",
        )
        self.faults = faults

    def to_json(self) -> dict[str, Any]:
        """The error with its faults, JSON-ready."""
        return super().to_json() | self.faults.to_json()
