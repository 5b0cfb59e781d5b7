"""Quotas: token buckets in integers (thousandths of a token, milliseconds)."""

from __future__ import annotations

from typing import NamedTuple


class Bucket(NamedTuple):
    """A token bucket: thousandths of tokens at a receipt time in milliseconds since 1970."""

    tokens_milli: int
    at_ms: int


def full(burst: int, now_ms: int) -> Bucket:
    """The bucket of somebody who is new."""
    return Bucket(burst * 1000, now_ms)


def take(
    bucket: Bucket | None, now_ms: int, per_minute: int, burst: int, count: int = 1
) -> tuple[Bucket, bool]:
    """Take tokens, all or none.

    Args:
        bucket: as the last call left it; None for the first.
        now_ms: receipt time; one before the last counts as the same moment.
        per_minute: tokens that come back each minute; 0 is no limit.
        burst: the most tokens that are kept.
        count: tokens to take.

    Returns:
        The bucket to keep, and whether the tokens were there. However the calls are spaced, no
        more than ``burst + per_minute * minutes`` tokens are given.
    """
    held, at_ms = bucket if bucket is not None else full(burst, now_ms)
    if per_minute == 0:
        return Bucket(held, max(at_ms, now_ms)), True
    room = burst * 1000
    gained = max(0, now_ms - at_ms) * per_minute // 60
    if held + gained >= room:
        held, at_ms = room, max(at_ms, now_ms)
    else:
        # Only the time that was turned into tokens is spent: nothing is lost between calls.
        held += gained
        at_ms += -(-gained * 60 // per_minute)
    wanted = count * 1000
    return (Bucket(held - wanted, at_ms), True) if held >= wanted else (Bucket(held, at_ms), False)
