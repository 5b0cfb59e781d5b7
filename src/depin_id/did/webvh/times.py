"""``versionTime``: UTC in ISO 8601, exact to the nanosecond when compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from depin_id import rfc3339
from depin_id.did.webvh.refusal import refuse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""


def parse_version_time(text: Any) -> int:
    """Nanoseconds since 1970 of a ``versionTime``.

    Raises:
        DIDError: ``did.webvh.version_time``: not UTC in the form ``2026-11-21T14:00:00Z``.
    """
    found = rfc3339.nanoseconds(text, utc=True)
    if found is None:
        refuse("version_time", f"{str(text)[:40]!r} is not a time in UTC")
    return found


def milliseconds(nanoseconds: int) -> int:
    """The first whole millisecond at which it has begun."""
    return -(-nanoseconds // 1_000_000)


def format_time(ms: int) -> str:
    """A ``versionTime`` of milliseconds since 1970; without fraction where there is none.

    Raises:
        DIDError: ``did.webvh.version_time``: before 1970 or after the year 9999.
    """
    if not 0 <= ms <= MAX_MS:
        refuse("version_time", "the time is not between 1970 and 9999")
    when = _EPOCH + timedelta(milliseconds=ms)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    # Six digits: a reader that writes times again before it hashes them writes six, or none.
    return f"{text}.{ms % 1000:03d}000Z" if ms % 1000 else f"{text}Z"
