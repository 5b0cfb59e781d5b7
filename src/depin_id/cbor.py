"""Strict deterministic CBOR (RFC 8949, section 4.2.1) on every byte that is signed or hashed.

The value space is small on purpose: integers of 64 bits, byte and text strings, arrays, maps keyed
by integers or strings, ``True``/``False``/``None``, floats, and tags, which stay :class:`Tag` and
are never converted to something else. Whatever is not in deterministic form is refused: there is
exactly one byte string for a value.

cbor2's ``canonical=True`` sorts map keys length-first (RFC 7049) and its decoder takes non-minimal
integers and duplicate keys, so it is used here only as a fast reader whose result has to encode to
the very bytes that came in; whenever that is in doubt the strict reader of this module decides.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import cbor2
from cbor2 import CBORTag as Tag

from depin_id.errors import EncodingError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Tag",
    "decode",
    "decode_prefix",
    "encode",
    "encode_plain",
    "item_end",
]

MAX_BYTES = 131_072
"""Default bound on the size of one item, in bytes: a message is never larger (128 KiB)."""

MAX_DEPTH = 16
"""Default bound on nesting; every format of the wire stays below ten."""

_UINT64 = (1 << 64) - 1


# --- writing ------------------------------------------------------------------------------------


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 0x100:
        return bytes((major << 5 | 24, argument))
    if argument < 0x10000:
        return struct.pack(">BH", major << 5 | 25, argument)
    if argument < 0x100000000:
        return struct.pack(">BI", major << 5 | 26, argument)
    return struct.pack(">BQ", major << 5 | 27, argument)


_BYTES_HEADS = tuple(_head(2, size) for size in range(1024))


def bytes_head(size: int) -> bytes:
    """The head of a byte string of ``size`` bytes."""
    return _BYTES_HEADS[size] if size < 1024 else _head(2, size)


def _float(value: float) -> bytes:
    """The shortest of the three widths that keeps the value (RFC 8949, 4.2.1)."""
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    for code, width in ((0xF9, ">e"), (0xFA, ">f")):
        try:
            packed = struct.pack(width, value)
        except OverflowError:
            continue
        if struct.unpack(width, packed)[0] == value:
            return bytes((code,)) + packed
    return struct.pack(">Bd", 0xFB, value)


def _map(value: dict[Any, Any], depth: int) -> bytes:
    pairs = []
    for key, item in value.items():
        if isinstance(key, bool) or not isinstance(key, int | str | bytes):
            raise EncodingError(
                "encoding.unsupported", f"a map key of type {type(key).__name__} has no wire form"
            )
        pairs.append((_item(key, depth), _item(item, depth)))
    pairs.sort()
    return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def _item(value: Any, depth: int) -> bytes:
    if depth < 0:
        raise EncodingError("encoding.too_deep", "the value is nested too deeply")
    kind = type(value)  # most are one of these two, and headers are written for every envelope
    if kind is int and 0 <= value < 1024:
        return uint(value)
    if kind is bytes:
        return bytes_head(len(value)) + bytes(value)
    if value is None:
        return b"\xf6"
    if value is True:
        return b"\xf5"
    if value is False:
        return b"\xf4"
    if isinstance(value, int):
        argument = value if value >= 0 else -1 - value
        if argument > _UINT64:
            raise EncodingError("encoding.unsupported", "an integer does not fit 64 bits")
        return _head(0 if value >= 0 else 1, argument)
    if isinstance(value, bytes | bytearray | memoryview):
        return _head(2, len(value)) + bytes(value)
    if isinstance(value, str):
        try:
            text = value.encode()
        except UnicodeEncodeError as error:
            raise EncodingError("encoding.unsupported", "a text has no UTF-8 form") from error
        return _head(3, len(text)) + text
    if isinstance(value, list | tuple):
        return _head(4, len(value)) + b"".join([_item(item, depth - 1) for item in value])
    if isinstance(value, dict):
        return _map(value, depth - 1)
    if isinstance(value, Tag):
        return _head(6, value.tag) + _item(value.value, depth - 1)
    if isinstance(value, float):
        return _float(value)
    raise EncodingError(
        "encoding.unsupported", f"a value of type {type(value).__name__} has no wire form"
    )


def encode(value: Any, *, max_depth: int = MAX_DEPTH) -> bytes:
    """The one deterministic encoding of a value (RFC 8949, section 4.2.1).

    Raises:
        EncodingError: ``encoding.unsupported`` for a value outside the value space,
            ``encoding.too_deep`` for one nested deeper than ``max_depth``.
    """
    return _item(value, max_depth)


_SMALL = tuple(_head(0, number) for number in range(1024))


def uint(number: int) -> bytes:
    """An unsigned integer of at most 64 bits."""
    return _SMALL[number] if 0 <= number < 1024 else _head(0, number)


@lru_cache(maxsize=1024)
def short_text(text: str) -> bytes:
    """A text of those that come again and again: codes, flags, levels."""
    return _item(text, 0)


def head(major: int, argument: int) -> bytes:
    """The head of an item: major type 0 to 7, argument of at most 64 bits."""
    return _head(major, argument)


def array_head(count: int) -> bytes:
    """The head of an array of ``count`` items."""
    return bytes((0x80 | count,)) if count < 24 else _head(4, count)


def encode_plain(value: Any) -> bytes:
    """What :func:`encode` gives, several times faster, for values that are known to be plain.

    Plain is: lists and tuples, integers of 64 bits, texts, bytes, truth values, None and
    :class:`Tag`. cbor2 writes these deterministically; maps and floats it does not, so the caller
    vouches that there are none. Never for values that came from outside.
    """
    return bytes(cbor2.dumps(value))


# --- reading ------------------------------------------------------------------------------------


def _malformed(what: str, at: int) -> NoReturn:
    raise EncodingError("encoding.malformed", f"{what} at byte {at}")


def _not_deterministic(what: str, at: int) -> NoReturn:
    raise EncodingError(
        "encoding.not_deterministic",
        f"{what} at byte {at}",
        hint="encode as RFC 8949 section 4.2.1 says: shortest heads, sorted keys",
    )


class _Strict:
    """A reader that takes deterministic CBOR only, and says where anything else begins."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def take(self, count: int) -> bytes:
        start = self.at
        if count > self.end - start:
            _malformed("the data ends inside an item", self.end)
        self.at = start + count
        return self.data[start : self.at]

    def head(self) -> tuple[int, int, int]:
        """Major type, additional information and argument of the next item."""
        start = self.at
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info, info
        if info > 27:
            if info == 31:
                _not_deterministic("an indefinite length", start)
            _malformed("a reserved head", start)
        width = 1 << (info - 24)
        argument = int.from_bytes(self.take(width), "big")
        if major != 7 and argument < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
            _not_deterministic("a head longer than needed", start)
        return major, info, argument

    def item(self, depth: int) -> Any:
        start = self.at
        if depth < 0:
            raise EncodingError("encoding.too_deep", f"nesting is too deep at byte {start}")
        major, info, argument = self.head()
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            try:
                return self.take(argument).decode()
            except UnicodeDecodeError:
                _malformed("a text that is not UTF-8", start)
        if major == 4:
            self.room_for(argument, start)
            return [self.item(depth - 1) for _ in range(argument)]
        if major == 5:
            self.room_for(2 * argument, start)
            return self.map(argument, depth - 1)
        if major == 6:
            return Tag(argument, self.item(depth - 1))
        return self.simple(info, start)

    def room_for(self, count: int, start: int) -> None:
        if count > self.end - self.at:
            _malformed("a container that claims more items than there are bytes", start)

    def map(self, count: int, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        previous = b""
        for _ in range(count):
            start = self.at
            key = self.item(depth)
            encoded = self.data[start : self.at]
            if isinstance(key, bool) or not isinstance(key, int | str | bytes):
                _malformed("a map key that is neither an integer nor a string", start)
            if encoded <= previous:
                if encoded == previous:
                    _not_deterministic("a map key that occurs twice", start)
                _not_deterministic("a map key out of order", start)
            previous = encoded
            result[key] = self.item(depth)
        return result

    def simple(self, info: int, start: int) -> Any:
        if info == 20:
            return False
        if info == 21:
            return True
        if info == 22:
            return None
        if info not in (25, 26, 27):
            _malformed("a simple value that has no meaning here", start)
        width = {25: ">e", 26: ">f", 27: ">d"}[info]
        value = float(struct.unpack(width, self.data[start + 1 : self.at])[0])
        if _float(value) != self.data[start : self.at]:
            _not_deterministic("a float longer than needed", start)
        return value


class _Slow(Exception):
    """The fast reader cannot vouch for these bytes; the strict one decides."""


def _refuse(*_: Any) -> NoReturn:
    raise _Slow


def _sorted_map(value: Mapping[Any, Any], _immutable: bool) -> Mapping[Any, Any]:
    """Refuses maps that are not plainly sorted: ascending non-negative, then descending integers.

    Encoded keys sort bytewise: unsigned integers ascending come before negative integers, of which
    -1 comes first. Other key types are left to the strict reader.
    """
    previous = -1
    for key in value:
        if type(key) is not int:
            raise _Slow
        rank = key if key >= 0 else _UINT64 - key
        if rank <= previous:
            raise _Slow
        previous = rank
    return value


def _keep_decimal(value: Any, _immutable: bool) -> Tag:
    if not isinstance(value, list | tuple) or [type(part) for part in value] != [int, int]:
        raise _Slow
    return Tag(4, list(value))


class _Decoders(dict[int, Any]):
    """cbor2 turns dozens of tags into objects, more with each release: none but those here."""

    def __missing__(self, _: int) -> Any:
        return _refuse


# Only two tags are left to cbor2: 4 (decimal fraction) and 18 (COSE_Sign1).
_SEMANTIC = _Decoders({4: _keep_decimal, 18: lambda value, _immutable: Tag(18, value)})
_SIGN1_HEAD = 0xD2
# Heads of floats, of `undefined` and of the unassigned simple values.
_UNUSUAL_HEADS = re.compile(rb"[\xe0-\xf3\xf7-\xfb]")
_ENCODERS: Any = {
    float: _refuse,
    cbor2.CBORSimpleValue: _refuse,
    type(cbor2.undefined): _refuse,
}


def _fast(data: bytes, max_depth: int) -> Any:
    if data and data[0] == _SIGN1_HEAD:
        return Tag(18, _fast_content(bytes(data[1:]), max_depth - 1))
    return _fast_content(data, max_depth)


def _fast_content(data: bytes, max_depth: int) -> Any:
    try:
        value = cbor2.loads(
            data,
            object_hook=_sorted_map,
            semantic_decoders=_SEMANTIC,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
        encoders = _ENCODERS if _UNUSUAL_HEADS.search(data) else None
        if cbor2.dumps(value, encoders=encoders) == data:
            return value
    except (_Slow, cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError):
        raise _Slow from None
    raise _Slow


def _check_size(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise EncodingError(
            "encoding.too_large", f"{len(data)} bytes where at most {max_bytes} are taken"
        )


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Read exactly one item that must be in deterministic form.

    Args:
        data: the received bytes, all of them the item.
        max_bytes: bound on ``len(data)``.
        max_depth: bound on nesting.

    Returns:
        int, bytes, str, bool, None, float, list, dict or :class:`Tag` (never converted).

    Raises:
        EncodingError: ``encoding.malformed``, ``encoding.not_deterministic``,
            ``encoding.too_large`` or ``encoding.too_deep``.
    """
    _check_size(data, max_bytes)
    try:
        return _fast(data, max_depth)
    except _Slow:
        return decode_strict(data, max_bytes=max_bytes, max_depth=max_depth)


def decode_strict(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """What :func:`decode` does, by this module's own reader alone (the arbiter of the fast one)."""
    value, end = decode_prefix(data, max_bytes=max_bytes, max_depth=max_depth)
    if end != len(data):
        _malformed("bytes follow the item", end)
    return value


def decode_prefix(
    data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> tuple[Any, int]:
    """Read one deterministic item from the head of ``data``; gives the value and where it ends."""
    _check_size(data, max_bytes)
    reader = _Strict(bytes(data))
    value = reader.item(max_depth)
    return value, reader.at


def item_end(data: bytes, start: int, *, max_depth: int = MAX_DEPTH) -> int:
    """Where the item that begins at ``start`` ends, without building it (CBOR Sequences, RFC 8742).

    Form is checked only as far as finding the end needs. Raises EncodingError
    ``encoding.malformed`` when the data ends inside the item or its length is indefinite.
    """
    at, size = start, len(data)
    pending = 1
    while pending:
        if at >= size:
            _malformed("the data ends inside an item", size)
        first = data[at]
        major, info = first >> 5, first & 31
        at += 1
        argument = info
        if info > 23:
            if info > 27:
                _malformed("a head of indefinite or reserved length", at - 1)
            width = 1 << (info - 24)
            argument = int.from_bytes(data[at : at + width], "big")
            at += width
        pending -= 1
        if major in (2, 3):
            at += argument
        elif major == 4:
            pending += argument
        elif major == 5:
            pending += 2 * argument
        elif major == 6:
            pending += 1
        if at > size or pending > size - at + 1:
            _malformed("the data ends inside an item", size)
    return at
