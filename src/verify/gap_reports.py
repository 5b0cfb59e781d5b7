"""What gateways report as given up: ranges in accepted statuses, as far as they can be true.

A report is a gateway's word about itself, under one key: it speaks of that key's streams only.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from depin_id import cbor
from depin_id.claims import check_foreign, check_subject, is_uint
from depin_id.envelope import CONTENT_STATUS, MAX_POSITION, MAX_STATUS, Envelope, parse_envelope
from depin_id.errors import EnvelopeError, StateError
from verify.entries import Judged, decode_delta, delta_kind
from verify.leaf import KIND_ENVELOPE
from verify.reading import Reader
from verify.verdict import ACCEPTED

MEMBER: Final = "dropped"
MAX_CLAIMS: Final = 262_144
"""Ranges that are taken from the reports of one key; what is beyond explains nothing."""
_PAGE: Final = 1024


class Claim(NamedTuple):
    """Positions that a gateway says it gave up, both ends included, and the entry that says so."""

    epoch: int
    first: int
    last: int
    entry: int


@dataclass
class Reports:
    """What the accepted reports of one key say.

    Attributes:
        claims: ranges by stream. refused: what explains nothing, by reason: ``malformed``,
            ``ahead`` of what the gateway had signed, ``unknown`` stream, ``too_many``; and statuses
            that nobody can read, ``erased`` or ``archived``.
    """

    claims: dict[int, list[Claim]] = field(default_factory=dict)
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    taken: int = 0


def read_reports(reader: Reader, thumbprint: bytes) -> Reports:
    """What the accepted statuses of a gateway's key, in its own stream, say of dropped ranges."""
    found, fold = Reports(), reader.fold
    holder = fold.registry.holder(thumbprint)
    if holder is None or (holder[0].enrolment.role != "gateway" and not holder[0].erased):
        return found
    own = fold.state.streams.find(thumbprint, holder[0].subject)
    if own is None:
        return found
    for _, _, index in positions(reader, own):
        envelope = _status(reader, index, found)
        if envelope is not None:
            _take(reader, envelope, holder[0].did, thumbprint, index, found)
    return found


def positions(reader: Reader, stream: int) -> Iterator[tuple[int, int, int]]:
    """The used positions of a stream, as (epoch, n, entry), rising."""
    after = (-1, -1)
    while page := reader.journal.positions_of(stream, after, _PAGE):
        # What an aggregator has written since we opened is not in our state.
        yield from (row for row in page if row[2] < reader.size)
        after = page[-1][:2]


def _status(reader: Reader, index: int, found: Reports) -> Envelope | None:
    """The status that an entry is, if it was accepted and still counts."""
    stored = reader.journal.entry(index)
    if delta_kind(stored.delta) != KIND_ENVELOPE:
        return None
    entry = decode_delta(stored.delta, None, reader.fold.did_of)
    # Most of what a gateway signs for itself are sightings: these are not opened.
    if not isinstance(entry, Judged) or entry.sighting or entry.readings:
        return None
    if entry.code != ACCEPTED or reader.fold.identity.is_rescored(index):
        return None
    try:
        private = reader.opened(index).private
    except StateError as error:
        if error.code != "state.archived":
            raise
        found.refused["archived"] += 1
        return None
    if private is None:
        found.refused["erased"] += 1
        return None
    envelope = parse_envelope(private.envelope)
    return envelope if envelope.content_type == CONTENT_STATUS else None


def _take(
    reader: Reader, status: Envelope, did: str, thumbprint: bytes, index: int, found: Reports
) -> None:
    """Take the ranges of a report, as far as they are well-formed and can be true."""
    body = cbor.decode(status.payload, max_bytes=MAX_STATUS)
    ranges = body.get(MEMBER, []) if isinstance(body, dict) else []
    if not isinstance(ranges, list):
        found.refused["malformed"] += 1
        return
    state, at = reader.fold.state, status.provenance
    for item in ranges:
        if not _well_formed(item):
            found.refused["malformed"] += 1
            continue
        name, epoch, first, last = item
        if epoch > at.epoch or (name is None and epoch == at.epoch and last >= at.n):
            found.refused["ahead"] += 1
            continue
        subject = state.subject_of(did + (name or "") if not name or name[0] == "#" else name)
        stream = None if subject is None else state.streams.find(thumbprint, subject)
        if stream is None:
            found.refused["unknown"] += 1
        elif found.taken >= MAX_CLAIMS:
            found.refused["too_many"] += 1
        else:
            found.taken += 1
            found.claims.setdefault(stream, []).append(Claim(epoch, first, last, index))


def _well_formed(item: Any) -> bool:
    if not isinstance(item, list) or len(item) != 4:
        return False
    name, epoch, first, last = item
    if not all(is_uint(number, MAX_POSITION) for number in (epoch, first, last)) or first > last:
        return False
    if name is None:
        return True
    if not isinstance(name, str):
        return False
    try:
        check_subject(name) if name.startswith("#") else check_foreign(name)
    except EnvelopeError:
        return False
    return True
