"""CBOR of others (RFC 8949): well-formed, not necessarily deterministic, always bounded.

Tokens of others are verified over the bytes that arrived, so nothing here is written again. What no
token needs is refused: indefinite lengths, ``undefined`` and simple values, map keys that are
neither integers nor strings. Tags stay :class:`Tag`, whatever they mean. Keys that occur twice are
refused, however they are written.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NoReturn

import cbor2

from depin_id.cbor import Tag
from depin_id.errors import EncodingError

__all__ = ["MAX_ITEMS", "Tag", "decode"]

MAX_ITEMS: Final = 4096
"""Default bound on how many items there are, keys and tags counted."""
_SCALARS: Final = frozenset((int, bytes, str, bool, type(None), float))
_KEYS: Final = frozenset((int, bytes, str))
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}


class _KeepTags(dict[int, Any]):
    """cbor2 turns dozens of tags into objects; here all of them stay tags."""

    def __missing__(self, number: int) -> Any:
        return lambda value, _immutable: Tag(number, value)


_SEMANTIC: Final = _KeepTags()


def decode(data: bytes, *, max_bytes: int, max_depth: int = 16, max_items: int = MAX_ITEMS) -> Any:
    """Read exactly one item.

    Args:
        data: all of it is the item. max_bytes: bound on its size.
        max_depth: bound on nesting. max_items: bound on the number of items.

    Returns:
        int, bytes, str, bool, None, float, list, dict or :class:`Tag` (never converted).

    Raises:
        EncodingError: ``encoding.malformed``, ``encoding.too_large`` or ``encoding.too_deep``.
    """
    if len(data) > max_bytes:
        raise EncodingError(
            "encoding.too_large", f"{len(data)} bytes where at most {max_bytes} are taken"
        )
    found = _fast(data, max_depth, max_items)
    return _Reader(bytes(data), max_items).whole(max_depth) if found is None else found[0]


def _fast(data: bytes, max_depth: int, max_items: int) -> tuple[Any] | None:
    """What cbor2 reads, if it writes just that again: then no byte is left over."""
    try:
        value = cbor2.loads(
            data,
            semantic_decoders=_SEMANTIC,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
        if cbor2.dumps(value) == data and _is_plain(value, max_items):
            return (value,)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError):
        pass
    return None


def _is_plain(value: Any, most: int) -> bool:
    """Whether there are only values of this module's space, and not too many of them."""
    pending = [value]
    for count, item in enumerate(pending):
        if count >= most:
            return False
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is list:
            if _SCALARS.issuperset(map(type, item)):
                most -= len(item)
            else:
                pending += item
        elif kind is dict:
            if not _KEYS.issuperset(map(type, item)):
                return False
            most -= len(item)
            if _SCALARS.issuperset(map(type, item.values())):
                most -= len(item)
            else:
                pending += item.values()
        elif kind is Tag:
            pending.append(item.value)
        else:
            return False
    return len(pending) <= most


def _malformed(what: str, at: int) -> NoReturn:
    raise EncodingError("encoding.malformed", f"{what} at byte {at}")


class _Reader:
    """Decides where cbor2 is not enough, and says where the fault is."""

    __slots__ = ("at", "data", "left")

    def __init__(self, data: bytes, max_items: int) -> None:
        self.data = data
        self.at = 0
        self.left = max_items

    def whole(self, depth: int) -> Any:
        value = self.item(depth)
        if self.at != len(self.data):
            _malformed("bytes follow the item", self.at)
        return value

    def take(self, count: int) -> bytes:
        start = self.at
        if count > len(self.data) - start:
            _malformed("the data ends inside an item", len(self.data))
        self.at = start + count
        return self.data[start : self.at]

    def item(self, depth: int) -> Any:
        start = self.at
        if depth < 0:
            raise EncodingError("encoding.too_deep", f"nesting is too deep at byte {start}")
        self.left -= 1
        if self.left < 0:
            raise EncodingError("encoding.too_large", f"too many items at byte {start}")
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info > 27:
            _malformed("an indefinite length" if info == 31 else "a reserved head", start)
        argument = info if info < 24 else int.from_bytes(self.take(1 << (info - 24)), "big")
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
            return [self.item(depth - 1) for _ in range(self.room_for(argument, start))]
        if major == 5:
            return self.map(self.room_for(argument, start), depth - 1)
        if major == 6:
            return Tag(argument, self.item(depth - 1))
        return self.simple(info, start)

    def room_for(self, count: int, start: int) -> int:
        if count > len(self.data) - self.at:
            _malformed("a container that claims more items than there are bytes", start)
        return count

    def map(self, count: int, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in range(count):
            start = self.at
            key = self.item(depth)
            if type(key) not in _KEYS:
                _malformed("a map key that is neither an integer nor a string", start)
            if key in result:
                _malformed("a map key that occurs twice", start)
            result[key] = self.item(depth)
        return result

    def simple(self, info: int, start: int) -> Any:
        if 20 <= info <= 22:
            return (False, True, None)[info - 20]
        if info not in _FLOATS:
            _malformed("a simple value that has no meaning here", start)
        return float(struct.unpack(_FLOATS[info], self.data[start + 1 : self.at])[0])
