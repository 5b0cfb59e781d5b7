"""Log entries as they stand in ``did.jsonl``: strict lines, entry hashes, the SCID."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from depin_id.did.webvh.location import PLACEHOLDER
from depin_id.did.webvh.parameters import multihash
from depin_id.did.webvh.refusal import refuse
from depin_id.did.webvh.times import parse_version_time
from depin_id.errors import EncodingError
from depin_id.jcs import canonicalize
from depin_id.strict_json import MAX_BYTES, parse

MAX_LOG: Final = 1 << 23
"""Bytes of a log. With it the time that a hostile one takes is bounded to a few seconds."""
MAX_ENTRIES: Final = 10_000
_MEMBERS: Final = frozenset({"versionId", "versionTime", "parameters", "state", "proof"})
_VERSION_ID: Final = re.compile(r"([1-9][0-9]{0,8})-(Qm[1-9A-HJ-NP-Za-km-z]{44})", re.ASCII)


def lines(data: bytes) -> Iterator[bytes]:
    """The lines of a log, bounded before the first is read.

    Raises:
        DIDError: ``did.webvh.too_large``, ``did.webvh.log``.
    """
    if not isinstance(data, bytes):
        refuse("log", "a log is given as bytes")
    if len(data) > MAX_LOG:
        refuse("too_large", f"the log has {len(data)} bytes, at most {MAX_LOG} are read")
    if data.count(b"\n") > MAX_ENTRIES:
        refuse("too_large", f"the log has over {MAX_ENTRIES} lines")
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + 1


def split_version_id(text: Any) -> tuple[int, str]:
    """Number and entry hash of a ``versionId``.

    Raises:
        DIDError: ``did.webvh.version_id``.
    """
    match = _VERSION_ID.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        refuse("version_id", f"{str(text)[:60]!r} is not a versionId")
    return int(match[1]), match[2]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, read and not yet believed.

    Attributes:
        time: ``versionTime`` in nanoseconds since 1970. body: canonical JSON of parameters and
            state, without the closing brace.
    """

    version_id: str
    number: int
    entry_hash: str
    version_time: str
    time: int
    parameters: Any
    state: dict[str, Any]
    proof: Any
    body: bytes

    def canonical(self, version_id: str) -> bytes:
        """RFC 8785 of the entry without proof, with this ``versionId``.

        Its four names sort as parameters, state, versionId, versionTime, and the last two values
        have no character that JSON escapes: nothing is written twice for the hash and the proof.
        """
        tail = f',"versionId":"{version_id}","versionTime":"{self.version_time}"}}'
        return self.body + tail.encode()


def make_entry(value: Any) -> Entry:
    """An entry of parsed JSON.

    Raises:
        DIDError: ``did.webvh.log``, ``did.webvh.version_id``, ``did.webvh.version_time``.
    """
    if not isinstance(value, dict):
        refuse("log", "an entry is not an object")
    if value.keys() != _MEMBERS:
        if value.keys() == _MEMBERS - {"proof"}:
            refuse("proof", "an entry has no proof")
        refuse("log", "an entry has not just the five members that entries have")
    number, entry_hash = split_version_id(value["versionId"])
    version_time, state = value["versionTime"], value["state"]
    time = parse_version_time(version_time)
    if not isinstance(state, dict):
        refuse("log", "the state of an entry is not an object")
    try:
        body = canonicalize({"parameters": value["parameters"], "state": state})[:-1]
    except EncodingError as error:
        refuse("log", f"an entry cannot be canonicalized: {error.message}")
    return Entry(
        value["versionId"],
        number,
        entry_hash,
        version_time,
        time,
        value["parameters"],
        state,
        value["proof"],
        body,
    )


def read_entry(line: bytes) -> Entry:
    """An entry of one line; raises as :func:`make_entry`."""
    try:
        value = parse(line, max_bytes=MAX_BYTES)
    except EncodingError as error:
        refuse("log", f"a line is not strict JSON: {error.message}")
    return make_entry(value)


def scid_of(first: Entry, scid: str) -> str:
    """The SCID that the first entry makes, its present one taken out of it.

    Raises:
        DIDError: ``did.webvh.scid``.
    """
    if PLACEHOLDER.encode() in first.body:
        # With and without the SCID in its place there would be two first entries of one SCID.
        refuse("scid", f"the first entry still holds {PLACEHOLDER}")
    text = first.canonical(PLACEHOLDER).decode().replace(scid, PLACEHOLDER)
    try:
        return multihash(canonicalize(parse(text, max_bytes=2 * MAX_BYTES)))
    except EncodingError as error:
        refuse("scid", f"the first entry cannot be taken apart: {error.message}")


def entry_hash(entry: Entry, before: str) -> str:
    """The hash of an entry.

    Args:
        before: ``versionId`` of the entry before it, the SCID for the first.
    """
    return multihash(entry.canonical(before))
