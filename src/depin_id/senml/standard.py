"""A bounded reader for standard SenML-CBOR of other people's systems (RFC 8428 section 6).

General CBOR readers turn bignums and bigfloats into numbers of any size. A SenML pack needs
little: an array of maps of scalars. This reader takes that and nothing else, in one pass, with
work in proportion to the bytes.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NoReturn

from depin_id.errors import EncodingError
from depin_id.senml.decimal64 import Decimal64
from depin_id.senml.records import BVER, MAX_RECORDS, MAX_TEXT, VB, VD, check_count, fail

MAX_BYTES: Final = 1 << 20
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_MAX_FIELDS: Final = 64


def _malformed(message: str, at: int) -> NoReturn:
    raise EncodingError("senml.malformed", f"{message} at byte {at}")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            _malformed("the data ends inside an item", len(self.data))
        start = self.at
        self.at += count
        return self.data[start : self.at]

    def head(self) -> tuple[int, int | None]:
        """Major type and argument; None is an indefinite length (or the break)."""
        start = self.at
        first = self.take(1)[0]
        info = first & 31
        if info < 24:
            return first >> 5, info
        if info <= 27:
            return first >> 5, int.from_bytes(self.take(1 << (info - 24)), "big")
        if info == 31 and first >> 5 in (2, 3, 4, 5, 7):
            return first >> 5, None
        _malformed("a reserved head", start)

    def break_next(self) -> bool:
        if self.at < len(self.data) and self.data[self.at] == 0xFF:
            self.at += 1
            return True
        return False

    def string(self, major: int, length: int | None) -> bytes:
        if length is not None:
            return self.take(length)
        chunks: list[bytes] = []
        while not self.break_next():
            kind, size = self.head()
            if kind != major or size is None:
                _malformed("a chunk of another type", self.at)
            chunks.append(self.take(size))
        return b"".join(chunks)

    def text(self, length: int | None) -> str:
        start = self.at
        try:
            return self.string(3, length).decode()
        except UnicodeDecodeError:
            _malformed("a text that is not UTF-8", start)

    def scalar(self, index: int) -> object:
        """One value of a record: Decimal64, text, bytes or bool."""
        start = self.at
        first = self.data[start] if start < len(self.data) else 0
        major, argument = self.head()
        if major == 2:
            return self.string(2, argument)
        if major == 3:
            return self.text(argument)
        if argument is None:
            _malformed("a container where a value belongs", start)
        if major in (0, 1):
            return Decimal64.from_int(argument if major == 0 else -1 - argument)
        if major == 6 and argument == 4:
            return self.fraction(index)
        if major == 7 and first in (0xF4, 0xF5):
            return first == 0xF5
        if major == 7 and first & 31 in _FLOATS:
            return self.binary(first & 31, start, index)
        _malformed("something that is not a SenML value", start)

    def binary(self, info: int, start: int, index: int) -> Decimal64:
        layout, size = _FLOATS[info]
        value = struct.unpack(layout, self.data[start + 1 : start + 1 + size])[0]
        if not math.isfinite(value):
            fail("value", "NaN and infinity are not values", index)
        return Decimal64.from_float(value)

    def fraction(self, index: int) -> Decimal64:
        if self.head() != (4, 2):
            _malformed("a decimal fraction that is not two integers", self.at)
        exponent, mantissa = self.integer(), self.integer()
        if not -999 <= exponent <= 999:
            fail("value", "the exponent is out of range", index)
        return Decimal64(mantissa, exponent)

    def integer(self) -> int:
        major, argument = self.head()
        if major not in (0, 1) or argument is None:
            _malformed("a decimal fraction that is not two integers", self.at)
        return argument if major == 0 else -1 - argument

    def record(self, index: int) -> dict[int, object]:
        major, count = self.head()
        if major != 5:
            fail("malformed", "a record is a map", index)
        if count is not None and count > _MAX_FIELDS:
            fail("malformed", f"more than {_MAX_FIELDS} fields", index)
        raw: dict[int, object] = {}
        texts: set[str] = set()
        fields = 0
        while not self.break_next() if count is None else fields < count:
            fields += 1
            if fields > _MAX_FIELDS:
                fail("malformed", f"more than {_MAX_FIELDS} fields", index)
            self.field(raw, texts, index)
        return raw

    def field(self, raw: dict[int, object], texts: set[str], index: int) -> None:
        major, argument = self.head()
        if major == 3:
            key = self.text(argument)
            if key.endswith("_"):
                fail("malformed", f"field {key[:40]!r} must be understood and is not", index)
            if key in texts:
                fail("malformed", "a field occurs twice", index)
            texts.add(key)
            self.scalar(index)  # an extension that may be ignored (section 4.4)
            return
        if major not in (0, 1) or argument is None:
            _malformed("a label that is neither integer nor text", self.at)
        label = argument if major == 0 else -1 - argument
        if label in raw:
            fail("malformed", f"label {label} occurs twice", index)
        value = self.scalar(index)
        if BVER - 5 <= label <= VD and isinstance(value, str | bytes) and len(value) > MAX_TEXT:
            fail("value", f"label {label} is longer than {MAX_TEXT}", index)
        if isinstance(value, bool) and label != VB:
            fail("value", f"label {label} cannot be true or false", index)
        raw[label] = value


def read_pack(data: bytes, *, max_records: int = MAX_RECORDS) -> list[dict[int, object]]:
    """Read a pack into raw records by label, numbers as exact decimals.

    A float becomes the shortest decimal that reads back as it (of the double, for shorter ones).

    Raises:
        EncodingError: ``senml.malformed``, ``senml.value``, ``senml.empty``, ``senml.too_many``.
    """
    if len(data) > MAX_BYTES:
        raise EncodingError("senml.too_many", f"the pack exceeds {MAX_BYTES} bytes")
    reader = _Reader(bytes(data))
    major, count = reader.head()
    if major != 4:
        raise EncodingError("senml.malformed", "a pack is a CBOR array of maps")
    if count is not None:
        check_count(count, max_records)
    pack: list[dict[int, object]] = []
    while not reader.break_next() if count is None else len(pack) < count:
        check_count(len(pack) + 1, max_records)
        pack.append(reader.record(len(pack)))
    check_count(len(pack), max_records)
    if reader.at != len(data):
        _malformed("bytes follow the pack", reader.at)
    return pack
