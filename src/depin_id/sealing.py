"""What happens between readings and the key: SenML records, sizes, and the use of a position."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from depin_id.did.key import parse_did_key
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import EncodingError, ReadingError
from depin_id.keys import PublicKey, Signer
from depin_id.position import Position
from depin_id.readings import Reading
from depin_id.senml import RELATIVE_LIMIT, Decimal64, Record

MAX_PAYLOAD: Final = MAX_BUNDLE - 2048
"""Bound on a payload, in bytes: headers and signature have to fit beside it."""

_ZERO: Final = Decimal64(0)


@lru_cache(maxsize=256)
def check_network(network: str) -> None:
    """Refuse (DIDError, KeyRefused) what is no network's DID."""
    parse_did_key(network)


def check_size(payload: bytes, limit: int = MAX_PAYLOAD) -> None:
    """Refuse (EncodingError ``encoding.too_large``) a payload before a position is used for it."""
    if len(payload) > limit:
        raise EncodingError(
            "encoding.too_large",
            f"a payload of {len(payload)} bytes, at most {limit} are taken",
            hint="put less in it",
        )


class PositionSigner:
    """Marks the position as used when, and only when, bytes are handed to the key."""

    def __init__(self, signer: Signer, position: Position) -> None:
        self._signer, self._position = signer, position

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign, and use up the position whatever comes of it."""
        self._position.used(message)
        return self._signer.sign(message)


def to_records(readings: Iterable[Reading], *, now: float, clock: int | None) -> list[Record]:
    """Readings as SenML records.

    Args:
        now: the wall clock at sealing, in seconds; without a clock only differences to it count.
        clock: error bound of the wall clock in seconds; None makes times relative to sealing.

    Raises:
        ReadingError: ``reading.time`` for a time that would be read as a relative one.
    """
    milliseconds = Decimal64(round(now * 1000), -3)
    # A clock that is right to a second or worse says nothing in milliseconds.
    sealing = Decimal64(round(now)) if clock else milliseconds
    records = []
    for item in readings:
        if item.time is None:
            when = _ZERO if clock is None else sealing
        elif item.time < RELATIVE_LIMIT:
            raise ReadingError(
                "reading.time",
                f"the time {item.time} of {item.name!r} is before 1978: it would count as relative",
                hint="give seconds since 1970, or None for now",
            )
        else:
            when = item.time if clock is not None else item.time - milliseconds
        records.append(Record(item.name, item.unit, item.value, when))
    return records
