"""Statements: what a device, an owner or a service says to a network beside readings.

A statement is one deterministic CBOR array ``["depin-statement/1", kind, part...]``, parts being
byte strings. It travels where bundles do, as a message of its own, and is told from them by how it
begins: a bundle begins with the tag of a COSE_Sign1. It signs nothing itself; its parts do.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, NoReturn

from depin_id import cbor
from depin_id.errors import EnvelopeError

TYPE: Final = "depin-statement/1"
MAX_STATEMENT: Final = 98_304
"""Bound on a statement, in bytes: a certificate has at most 64 KiB."""
MAX_PARTS: Final = 8
MAX_KIND: Final = 32
CHALLENGE: Final = "challenge"
"""Asks for a challenge: ``[thumbprint of the key that will answer, 32 bytes]``."""
ENROL: Final = "enrol"
"""Asks to be taken in: ``[proof of possession, birth certificate]``."""
_HEAD: Final = cbor.short_text(TYPE)


class Statement(NamedTuple):
    """A statement as it was read.

    Attributes:
        kind: what is asked. parts: byte strings, what they hold depends on the kind.
        id: SHA-256 of its bytes, by which it is answered.
    """

    kind: str
    parts: tuple[bytes, ...]
    id: bytes


def _wrong(what: str) -> NoReturn:
    raise EnvelopeError("statement.malformed", what)


def statement_id(data: bytes) -> bytes:
    """What a result names a statement by: SHA-256 of its bytes."""
    return hashlib.sha256(data).digest()


def is_statement(data: bytes) -> bool:
    """Whether a message says that it is a statement, and so is no bundle."""
    return data[:1] >= b"\x80" and data[0] < 0xA0 and data[1 : 1 + len(_HEAD)] == _HEAD


def write_statement(kind: str, *parts: bytes) -> bytes:
    """The message.

    Raises:
        EnvelopeError: ``statement.malformed``, too large or not of this form.
    """
    data = cbor.encode([TYPE, kind, *parts])
    read_statement(data)
    return data


def read_statement(data: bytes) -> Statement:
    """Read a statement strictly.

    Raises:
        EnvelopeError: ``statement.malformed``. EncodingError: not deterministic CBOR, too large.
    """
    value = cbor.decode(data, max_bytes=MAX_STATEMENT, max_depth=2)
    if not isinstance(value, list) or not 2 <= len(value) <= 2 + MAX_PARTS or value[0] != TYPE:
        _wrong(f"it is no array of {TYPE}, a kind and at most {MAX_PARTS} parts")
    _, kind, *parts = value
    if not isinstance(kind, str) or not 0 < len(kind) <= MAX_KIND:
        _wrong("the kind is not a short text")
    if not all(isinstance(part, bytes) for part in parts):
        _wrong("a part is not a byte string")
    return Statement(kind, tuple(parts), statement_id(data))
