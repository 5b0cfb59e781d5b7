"""The contract ABI (Solidity, "Contract ABI Specification"), as far as peaq's contracts need it.

Strict both ways: what is decoded encodes to the same bytes, so one value has one encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from depin_id.errors import EncodingError
from depin_id.evm import keccak256

MAX_BYTES: Final = 1 << 18
WORD: Final = 32
_UINTS: Final = frozenset(f"uint{bits}" for bits in range(8, 257, 8))
_TOKEN: Final = re.compile(r"\(|\)|,|\[\]|uint[0-9]+|address|bytes32|bytes|string")


def _refuse(what: str, hint: str = "") -> NoReturn:
    raise EncodingError("abi.malformed", what, hint=hint)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the ABI: uint (with its bits), address, bytes32, bytes, string, array or tuple."""

    name: str
    bits: int = 0
    items: tuple[Kind, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether it stands in the tail."""
        if self.name == "tuple":
            return any(item.dynamic for item in self.items)
        return self.name in ("bytes", "string", "array")

    @property
    def head(self) -> int:
        """Bytes that it takes in the head."""
        if self.name == "tuple" and not self.dynamic:
            return sum(item.head for item in self.items)
        return WORD


@lru_cache(maxsize=256)
def parse_type(text: str) -> Kind:
    """A type as signatures write it, such as ``(uint256,(string,address)[])``.

    Raises:
        EncodingError: ``abi.malformed``, a type that peaq's contracts do not use.
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text or len(tokens) > 256:
        _refuse(f"{text[:60]!r} is no type known here")
    try:
        kind, rest = _parse(tokens)
    except IndexError:
        _refuse(f"{text[:60]!r} ends in the middle")
    if rest:
        _refuse(f"{text[:60]!r} has something after the type")
    return kind


def _parse(tokens: list[str]) -> tuple[Kind, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        items = []
        while rest[0] != ")":
            item, rest = _parse(rest)
            items.append(item)
            if rest[0] == ",":
                rest = rest[1:]
        if not items:
            _refuse("an empty tuple takes no room: lists of it would have no bound")
        kind, rest = Kind("tuple", items=tuple(items)), rest[1:]
    elif first in _UINTS:
        kind = Kind("uint", int(first[4:]))
    elif first in ("address", "bytes32", "bytes", "string"):
        kind = Kind(first)
    else:
        _refuse(f"{first!r} is no type")
    while rest and rest[0] == "[]":
        kind, rest = Kind("array", items=(kind,)), rest[1:]
    return kind, rest


@lru_cache(maxsize=256)
def selector(signature: str) -> bytes:
    """The first four bytes of a function's call data."""
    return keccak256(signature.encode())[:4]


def call(signature: str, values: Sequence[Any]) -> bytes:
    """Call data of a function such as ``didDocument(uint256)``: selector and arguments.

    Raises:
        EncodingError: ``abi.malformed``, a value does not fit its type.
        ConfigError: ``config.extra``.
    """
    return selector(signature) + encode(signature[signature.index("(") :], values)


def encode(types: str, values: Sequence[Any]) -> bytes:
    """Encode values by a tuple of types: ``("(uint256,string)", [1, "a"])``.

    uint takes int; address 20 bytes; bytes32 32 bytes; bytes bytes; string text; arrays and tuples
    take sequences.

    Raises:
        EncodingError: ``abi.malformed``.
    """
    return _encode(parse_type(types), values)


def _encode(kind: Kind, value: Any) -> bytes:
    if kind.name == "uint":
        if type(value) is not int or not 0 <= value < 1 << kind.bits:
            _refuse(f"not an integer of 0 to 2^{kind.bits} - 1")
        return value.to_bytes(WORD, "big")
    if kind.name in ("address", "bytes32"):
        length = 20 if kind.name == "address" else WORD
        if type(value) is not bytes or len(value) != length:
            _refuse(f"not {length} bytes where {kind.name} stands")
        return value.rjust(WORD, b"\0")
    if kind.name == "string":
        if type(value) is not str:
            _refuse("no text where string stands")
        try:
            return _padded(value.encode())
        except UnicodeEncodeError:
            _refuse("a text holds half a character (a lone surrogate)")
    if kind.name == "bytes":
        if type(value) is not bytes:
            _refuse("no bytes where bytes stands")
        return _padded(value)
    if not isinstance(value, list | tuple):
        _refuse(f"no sequence where {kind.name} stands")
    if kind.name == "array":
        return len(value).to_bytes(WORD, "big") + _row(kind.items * len(value), value)
    return _row(kind.items, value)


def _padded(data: bytes) -> bytes:
    return len(data).to_bytes(WORD, "big") + data + bytes(-len(data) % WORD)


def _row(kinds: tuple[Kind, ...], values: Sequence[Any]) -> bytes:
    if len(kinds) != len(values):
        _refuse(f"{len(values)} values where {len(kinds)} stand")
    heads, tails = [], []
    offset = sum(kind.head for kind in kinds)
    for kind, value in zip(kinds, values, strict=True):
        encoded = _encode(kind, value)
        if kind.dynamic:
            heads.append(offset.to_bytes(WORD, "big"))
            tails.append(encoded)
            offset += len(encoded)
        else:
            heads.append(encoded)
    return b"".join(heads + tails)


def decode(types: str, data: bytes, *, max_bytes: int = MAX_BYTES) -> list[Any]:
    """The values of an encoding, the inverse of :func:`encode`; tuples and arrays become lists.

    Raises:
        EncodingError: ``abi.too_large``, or ``abi.malformed`` for anything that :func:`encode`
            would not have written.
    """
    if len(data) > max_bytes:
        raise EncodingError("abi.too_large", f"{len(data)} bytes, at most {max_bytes} are read")
    kind, data = parse_type(types), bytes(data)
    value: list[Any] = _Reader(data).read(kind, 0)[0]
    if _encode(kind, value) != data:
        _refuse(
            "the bytes are another encoding of what they say",
            hint="padding is zero, parts follow one another",
        )
    return value


class _Reader:
    """Reads with a budget of words: offsets may not say one part many times over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._budget = len(data) // WORD

    def word(self, at: int) -> bytes:
        """The word at a place."""
        self._budget -= 1
        if self._budget < 0 or not 0 <= at <= len(self._data) - WORD:
            _refuse("the data end before what they say")
        return self._data[at : at + WORD]

    def number(self, at: int) -> int:
        """The number at a place."""
        return int.from_bytes(self.word(at), "big")

    def read(self, kind: Kind, at: int) -> tuple[Any, int]:
        """The value that begins at a place, and how many bytes of the head it takes."""
        if kind.name == "uint":
            return self.number(at), WORD
        if kind.name in ("address", "bytes32"):
            return self.word(at)[12 if kind.name == "address" else 0 :], WORD
        if kind.name in ("bytes", "string"):
            return self._text(kind, at), WORD
        if kind.name == "array":
            count = self.number(at)
            if count > self._budget:
                _refuse("an array is longer than the data")
            return self._row(kind.items * count, at + WORD), WORD
        return self._row(kind.items, at), kind.head

    def _text(self, kind: Kind, at: int) -> bytes | str:
        length = self.number(at)
        words = -(-length // WORD)
        if words > self._budget or at + WORD + length > len(self._data):
            _refuse("a text is longer than the data")
        self._budget -= words
        found = self._data[at + WORD : at + WORD + length]
        if kind.name == "bytes":
            return found
        try:
            return found.decode()
        except UnicodeDecodeError:
            _refuse("a text is not UTF-8")

    def _row(self, kinds: tuple[Kind, ...], start: int) -> list[Any]:
        found, at = [], start
        for kind in kinds:
            if kind.dynamic:
                found.append(self.read(kind, start + self.number(at))[0])
                at += WORD
            else:
                value, length = self.read(kind, at)
                found.append(value)
                at += length
        return found
