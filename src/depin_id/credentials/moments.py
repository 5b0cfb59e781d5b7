"""Moments as credentials write them: whole seconds of UTC, one spelling each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from depin_id import rfc3339
from depin_id.errors import CredentialError

PATTERN: Final = (
    "^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
)
MAX_MS: Final = 253_402_300_799_999
"""The last moment that four digits of a year can say."""


def parse_moment(text: str) -> int:
    """Milliseconds since 1970 of ``2026-11-21T09:30:00Z``.

    Raises:
        CredentialError: ``credential.malformed``, there is no such day or time.
    """
    found = rfc3339.milliseconds(text)
    if found is None:
        raise CredentialError(
            "credential.malformed",
            f"{str(text)[:40]!r} is no moment",
            hint="write 2026-11-21T09:30:00Z",
        )
    return found


def format_moment(milliseconds: int) -> str:
    """The text of a moment, its part of a second cut off.

    Raises:
        CredentialError: ``credential.malformed``: before 1970 or after the year 9999.
    """
    if type(milliseconds) is not int or not 0 <= milliseconds <= MAX_MS:
        raise CredentialError(
            "credential.malformed", f"{str(milliseconds)[:40]} is no moment in milliseconds"
        )
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")
