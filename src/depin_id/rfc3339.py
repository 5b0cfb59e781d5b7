"""Moments as RFC 3339 section 5.6 writes them, exact to the nanosecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

# Hours are bounded here: newer releases of Python take 24:00 for the next day's midnight.
_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS: Final = 1_000_000_000
_UTC: Final = ("Z", "+00:00")


def nanoseconds(text: object, *, utc: bool = False) -> int | None:
    """Nanoseconds since 1970 of ``2026-11-21T14:00:00.5+01:00``; None when it is no moment.

    Args:
        text: date and time with ``T``, seconds, at most nine digits of a fraction, and a zone.
        utc: take no zone but ``Z`` and ``+00:00``.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None or utc and match[3] not in _UTC:
        return None
    try:
        since = datetime.fromisoformat(match[1] + match[3]) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * _NS + int((match[2] or "").ljust(9, "0"))


def milliseconds(text: object, *, utc: bool = False) -> int | None:
    """The same in whole milliseconds, the rest cut off."""
    found = nanoseconds(text, utc=utc)
    return None if found is None else found // 1_000_000
