"""What one entry puts into the public log, and what its two commitments open to.

A leaf holds nothing that can be guessed back into a reading: a random device reference, salted
commitments, the verdict. ``commitment = SHA-256(salt || content)``; one salt opens one leaf, and
deleting the key that makes salts closes it for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from depin_id import cbor
from depin_id.claims import Place, is_uint
from depin_id.envelope import MAX_POSITION
from depin_id.errors import EncodingError, EnvelopeError, LogError
from depin_id.senml import Decimal64
from verify.columns import MAX_TIME_MS, RecordColumns, RecordRow, Rows, Value
from verify.columns_cbor import read_rows, write_rows
from verify.store.data_key import commitment

__all__ = [
    "KIND_ENVELOPE",
    "MAX_TIME_MS",
    "AdminLeaf",
    "EnvelopeLeaf",
    "Leaf",
    "RecordRow",
    "RecordsContent",
    "commitment",
    "parse_leaf",
]

LEAF_VERSION = 1
KIND_ENVELOPE = 16
"""Kind of the entries that judge an envelope; smaller numbers are administration."""
MAX_KIND = 31
"""Kinds of administration: 1 to 15, and 17 to this."""
MAX_LEAF = 8192
MAX_CODE = 64
_LEVELS = ("", "G0", "G1", "D1", "D2", "D3")
MAX_RECORDS_BYTES = 3 << 19
"""1.5 MiB. No pack comes to more: 4096 rows of 300 bytes, and as much text as an envelope holds."""
_RECORDS = "depin-records/1"


class EnvelopeLeaf(NamedTuple):
    """The public face of one judged envelope.

    Attributes:
        device: random reference of the device, 16 bytes.
        epoch, n: its position.
        envelope: commitment to the envelope's bytes, 32 bytes.
        records: commitment to the records it became, 32 bytes, or None when it became none.
        code: ``accepted`` or the code of the verdict.
        flags: sorted.
        level: G0, G1, D1, D2 or D3; empty when not accepted.
        received_at: milliseconds since 1970.
        policy: first 16 bytes of the policy's digest.
        rules: rules version.
    """

    device: bytes
    epoch: int
    n: int
    envelope: bytes
    records: bytes | None
    code: str
    flags: tuple[str, ...]
    level: str
    received_at: int
    policy: bytes
    rules: int

    def encode(self) -> bytes:
        """The leaf's bytes, deterministic CBOR; :func:`parse_leaf` names its parts."""
        records = self.records
        return b"".join(
            (
                b"\x8d\x01\x10",
                cbor.bytes_head(len(self.device)),
                self.device,
                cbor.uint(self.epoch) + cbor.uint(self.n),
                cbor.bytes_head(len(self.envelope)),
                self.envelope,
                b"\xf6" if records is None else cbor.bytes_head(len(records)) + records,
                cbor.short_text(self.code),
                _flags_part(self.flags),
                cbor.short_text(self.level),
                cbor.uint(self.received_at),
                cbor.bytes_head(len(self.policy)),
                self.policy,
                cbor.uint(self.rules),
            )
        )


@lru_cache(maxsize=4096)
def _signer_part(did: str, thumbprint: bytes, subject: str) -> bytes:
    """Everything of a content before its rows."""
    return b"\x85" + cbor.encode_plain([_RECORDS, did, thumbprint, subject])[1:]


@lru_cache(maxsize=4096)
def _flags_part(flags: tuple[str, ...]) -> bytes:
    return cbor.encode_plain(flags)


class AdminLeaf(NamedTuple):
    """The public face of an entry of administration: its kind, when, and what it says publicly."""

    kind: int
    received_at: int
    body: Any

    def encode(self) -> bytes:
        """The leaf's bytes, deterministic CBOR."""
        return cbor.encode([LEAF_VERSION, self.kind, self.received_at, self.body])


Leaf = EnvelopeLeaf | AdminLeaf


def _wrong(what: str) -> NoReturn:
    raise LogError("log.leaf", what, hint="the log holds something this version does not write")


def _is_bytes(value: Any, size: int) -> bool:
    return type(value) is bytes and len(value) == size


@lru_cache(maxsize=8)
def parse_leaf(data: bytes) -> Leaf:
    """Read a leaf. Raises LogError ``log.leaf`` or EncodingError.

    The last few are remembered: who goes through a journal asks for the time, then for the rest.
    """
    value = cbor.decode(data, max_bytes=MAX_LEAF)
    if not isinstance(value, list) or len(value) < 4:
        _wrong("the leaf is no array of four or more")
    if type(value[0]) is not int or value[0] != LEAF_VERSION:
        _wrong("the leaf is no array of a known version")
    if not is_uint(value[1], 255):
        _wrong("the leaf has no kind")
    if value[1] != KIND_ENVELOPE:
        if not 0 < value[1] <= MAX_KIND:
            _wrong("the leaf is of no known kind")
        if len(value) != 4 or not is_uint(value[2], MAX_TIME_MS):
            _wrong("the leaf of administration is not an array of four")
        return AdminLeaf(value[1], value[2], value[3])
    if len(value) != 13:
        _wrong("the leaf of an envelope is not an array of thirteen")
    fields: list[Any] = [*value[2:8], _flags(value[8]), *value[9:13]]
    leaf = EnvelopeLeaf(*fields)
    _check(leaf)
    return leaf


def _flags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(type(flag) is str for flag in value):
        _wrong("the flags are not a list of texts")
    if list(value) != sorted(set(value)):
        _wrong("the flags are not sorted")
    return tuple(value)


def _check(leaf: EnvelopeLeaf) -> None:
    sizes = ((leaf.device, 16), (leaf.envelope, 32), (leaf.policy, 16))
    if not all(_is_bytes(item, size) for item, size in sizes):
        _wrong("a reference or digest of the leaf has the wrong size")
    if leaf.records is not None and not _is_bytes(leaf.records, 32):
        _wrong("the commitment to the records has the wrong size")
    if not is_uint(leaf.epoch, MAX_POSITION) or not is_uint(leaf.n, MAX_POSITION):
        _wrong("the position of the leaf is not two integers of 32 bits")
    if not is_uint(leaf.received_at, MAX_TIME_MS):
        _wrong("the time of the leaf is not whole milliseconds")
    if type(leaf.code) is not str or not 0 < len(leaf.code) <= MAX_CODE:
        _wrong("the code of the leaf is not a short text")
    if leaf.level not in _LEVELS or not is_uint(leaf.rules):
        _wrong("code, level or rules of the leaf are not what they should be")


@dataclass(frozen=True, slots=True)
class RecordsContent:
    """What the records commitment of a leaf opens to.

    Attributes:
        did: DID of the key that signed.
        thumbprint: that key's thumbprint, 32 bytes.
        subject: the DID or DID URL that the records are about.
        rows: in the order of the pack, as a tuple or (faster) as columns read as rows.
        reasons: what was found and what is allowed, by the number of a row that does not count;
            told to its owner, no part of what is committed to.
    """

    did: str
    thumbprint: bytes
    subject: str
    rows: Sequence[RecordRow]
    reasons: Mapping[int, tuple[str, str]] = field(default_factory=dict, compare=False)

    @property
    def columns(self) -> RecordColumns:
        """The rows column by column; given ones (:class:`~verify.columns.Rows`) as they are."""
        return self.rows.columns if isinstance(self.rows, Rows) else RecordColumns.of(self.rows)

    def encode(self) -> bytes:
        """The content's bytes, deterministic CBOR."""
        signer = _signer_part(self.did, self.thumbprint, self.subject)
        return signer + write_rows(self.columns)

    @classmethod
    def decode(cls, data: bytes) -> RecordsContent:
        """Read the content. Raises LogError ``log.records`` or EncodingError."""
        found = cls._decode_columns(data)
        return cls._decode_any(data) if found is None else found

    @classmethod
    def _decode_columns(cls, data: bytes) -> RecordsContent | None:
        """The content that a plain pack became; None when the general reader has to look."""
        if data[:1] != b"\x85" or len(data) > MAX_RECORDS_BYTES:
            return None
        try:
            end = 1
            for _ in range(4):
                end = cbor.item_end(data, end)
            kind, did, thumbprint, subject = cbor.decode(b"\x84" + data[1:end])
        except EncodingError:
            return None
        texts = type(did) is type(subject) is str
        if kind != _RECORDS or not texts or not _is_bytes(thumbprint, 32) or end == len(data):
            return None
        columns = read_rows(data, end)
        return None if columns is None else cls(did, thumbprint, subject, Rows(columns))

    @classmethod
    def _decode_any(cls, data: bytes) -> RecordsContent:
        value = cbor.decode(data, max_bytes=MAX_RECORDS_BYTES)
        if not isinstance(value, list) or len(value) != 5 or value[0] != _RECORDS:
            raise LogError("log.records", "the content is not a list of judged records")
        _, did, thumbprint, subject, rows = value
        if not isinstance(rows, list) or not all(
            isinstance(row, list) and len(row) == 9 and isinstance(row[8], list) for row in rows
        ):
            raise LogError("log.records", "a record is not an array of nine")
        if type(did) is not str or type(subject) is not str or not _is_bytes(thumbprint, 32):
            raise LogError("log.records", "the signer of the records is not named")
        read = tuple(_row_in(row) for row in rows)
        return cls(did, thumbprint, subject, read)


def _row_in(row: list[Any]) -> RecordRow:
    texts = (row[0], row[1], row[7], *row[8])
    if not all(type(text) is str for text in texts) or not is_uint(row[4], MAX_TIME_MS):
        raise LogError("log.records", "a record has texts or a time of the wrong type")
    if row[3] is not None and not is_uint(row[3], MAX_TIME_MS):
        raise LogError("log.records", "a record has an interval of the wrong type")
    if row[5] is not None or row[6] is not None:
        try:
            Place(row[5], row[6])
        except EnvelopeError as error:
            raise LogError("log.records", "a record has a place that is none") from error
    fields: list[Any] = [*row[:2], _value_in(row[2]), *row[3:8], tuple(row[8])]
    return RecordRow(*fields)


def _value_in(value: Any) -> Value:
    if isinstance(value, str | bool | bytes):
        return value
    if type(value) is int:
        return Decimal64(value, 0)
    if isinstance(value, cbor.Tag) and value.tag == 4:
        pair = value.value
        if isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair):
            number = Decimal64(pair[1], pair[0])
            if [number.exponent, number.mantissa] == pair and number.exponent:
                return number
    raise LogError("log.records", "a value is no canonical number, text, truth value or bytes")
