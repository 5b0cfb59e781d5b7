"""A small reader and matcher of CDDL (RFC 8610), for just what docs/protocol.md uses of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from depin_id import cbor
from depin_id.errors import EncodingError

_TOKEN: Final = re.compile(
    r"\s*(?:;[^\n]*\s*)*("
    r'"(?:[^"\\]|\\.)*"|#6\.\d+|=>|//|\.\.|\.[a-z]+|-?\d+\*-?\d+|-?\d+\*|\*|\?|-?\d+'
    r"|[A-Za-z][A-Za-z0-9-]*|[=/(),:{}\[\]])"
)
_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    "int": lambda v: type(v) is int,
    "uint": lambda v: type(v) is int and v >= 0,
    "bstr": lambda v: type(v) is bytes,
    "bytes": lambda v: type(v) is bytes,
    "tstr": lambda v: type(v) is str,
    "bool": lambda v: type(v) is bool,
    "null": lambda v: v is None,
    "any": lambda _: True,
}


class Entry(NamedTuple):
    """One entry of a group: how often, under which key (None in arrays), and what."""

    least: int
    most: int
    key: Any
    content: Any


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                if not re.sub(r";[^\n]*", "", text[at:]).strip():
                    break
                raise AssertionError(f"not CDDL: {text[at : at + 40]!r}")
            self.tokens.append(match[1])
            at = match.end()
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        assert token and expected in ("", token), f"{expected} expected, not {token}"
        self.at += 1
        return token

    def rules(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.peek():
            name = self.take()
            self.take("=")
            assert name not in found, f"{name} is defined twice"
            found[name] = self.group_in_parentheses() if self.peek() == "(" else self.type()
        return found

    def group_in_parentheses(self) -> Any:
        self.take("(")
        group = self.group(")")
        self.take(")")
        return group

    def type(self) -> Any:
        choices = [self.controlled()]
        while self.peek() == "/":
            self.take()
            choices.append(self.controlled())
        return choices[0] if len(choices) == 1 else ("choice", choices)

    def controlled(self) -> Any:
        left = self.simple()
        operator = self.peek()
        if operator in ("..", ".size", ".cbor", ".regexp"):
            self.take()
            return (operator, left, self.simple())
        return left

    def simple(self) -> Any:
        token = self.take()
        if token in ("{", "["):
            closing = {"{": "}", "[": "]"}[token]
            group = self.group(closing)
            self.take(closing)
            return ("map" if token == "{" else "array", group)
        if token == "(":
            inner = self.type()
            self.take(")")
            return inner
        if token.startswith("#6."):
            self.take("(")
            inner = self.type()
            self.take(")")
            return ("tag", int(token[3:]), inner)
        if token.startswith('"'):
            return ("value", token[1:-1])
        if re.fullmatch(r"-?\d+", token):
            return ("value", int(token))
        assert re.fullmatch(r"[A-Za-z][\w-]*", token), f"unexpected {token}"
        return ("name", token)

    def group(self, closing: str) -> Any:
        choices: list[list[Entry]] = [[]]
        while self.peek() != closing:
            if self.peek() == "//":
                self.take()
                choices.append([])
            else:
                choices[-1].append(self.entry())
                if self.peek() == ",":
                    self.take()
        return ("group", choices)

    def entry(self) -> Entry:
        least, most = 1, 1
        token = self.peek()
        if token == "?":
            least = 0
            self.take()
        elif "*" in token:
            low, _, high = self.take().partition("*")
            least, most = int(low or 0), int(high or 1 << 30)
        if self.peek() == "(":
            mark = self.at
            group = self.group_in_parentheses()
            if self.peek() != "=>":
                return Entry(least, most, None, group)
            self.at = mark
        if self.peek(1) == ":":
            self.take()
            self.take(":")
            return Entry(least, most, None, self.type())
        what = self.type()
        if self.peek() == "=>":
            self.take()
            return Entry(least, most, what, self.type())
        return Entry(least, most, None, what)


class Cddl:
    """The rules of a text; every name they use is defined."""

    def __init__(self, text: str) -> None:
        self.rules = _Parser(text).rules()

    def matches(self, rule: str, data: bytes) -> bool:
        """Whether bytes (one deterministic item) are what a rule says."""
        try:
            return self._is(("name", rule), cbor.decode(data))
        except EncodingError:
            return False

    def _is(self, what: Any, value: Any) -> bool:
        match what:
            case ("name", name):
                if name in self.rules:
                    return self._is(self.rules[name], value)
                return bool(_KINDS[name](value))
            case ("value", expected):
                return type(value) is type(expected) and value == expected
            case ("choice", choices):
                return any(self._is(choice, value) for choice in choices)
            case ("..", ("value", low), ("value", high)):
                return type(value) is int and low <= value <= high
            case (".size", kind, bound):
                size = len(value.encode() if isinstance(value, str) else value or b"")
                return self._is(kind, value) and self._is(bound, size)
            case (".regexp", kind, ("value", pattern)):
                return self._is(kind, value) and re.fullmatch(pattern, value) is not None
            case (".cbor", kind, inner):
                return self._is(kind, value) and self._is(inner, cbor.decode(value))
            case ("tag", number, inner):
                return (
                    isinstance(value, cbor.Tag)
                    and value.tag == number
                    and self._is(inner, value.value)
                )
            case ("array", group):
                return isinstance(value, list) and len(value) in self._items(group, value, 0)
            case ("map", group):
                keys = frozenset(value) if isinstance(value, dict) else None
                return keys is not None and frozenset() in self._members(group, value, keys)
        raise AssertionError(f"cannot match {what}")

    def _group(self, what: Any) -> Any:
        """The group that an entry without a key names, or None when it is a type."""
        while what[0] == "name" and what[1] in self.rules:
            what = self.rules[what[1]]
        return what if what[0] == "group" else None

    def _items(self, group: Any, items: list[Any], start: int) -> Iterator[int]:
        for choice in group[1]:
            ends = {start}
            for entry in choice:
                ends = {end for at in ends for end in self._repeat(entry, items, at)}
            yield from ends

    def _repeat(self, entry: Entry, items: list[Any], start: int) -> set[int]:
        reached, ends, count = {start}, {start} if entry.least == 0 else set(), 0
        inner = self._group(entry.content)
        while reached and count < entry.most:
            count += 1
            if inner is None:
                reached = {
                    at + 1 for at in reached if at < len(items)
                    and self._is(entry.content, items[at])
                }  # fmt: skip
            else:
                reached = {end for at in reached for end in self._items(inner, items, at)}
            if count >= entry.least:
                ends |= reached
        return ends

    def _members(
        self, group: Any, value: dict[Any, Any], left: frozenset[Any]
    ) -> set[frozenset[Any]]:
        found: set[frozenset[Any]] = set()
        for choice in group[1]:
            rests = {left}
            for entry in choice:
                rests = {rest for keys in rests for rest in self._member(entry, value, keys)}
            found |= rests
        return found

    def _member(
        self, entry: Entry, value: dict[Any, Any], left: frozenset[Any]
    ) -> set[frozenset[Any]]:
        found = {left} if entry.least == 0 else set()
        if entry.key is None:
            inner = self._group(entry.content)
            assert inner is not None, "a member of a map without a key"
            return found | self._members(inner, value, left)
        fitting = [
            key for key in left
            if self._is(entry.key, key) and self._is(entry.content, value[key])
        ]  # fmt: skip
        if entry.most > 1:
            return found | {left - set(fitting)}
        return found | {left - {key} for key in fitting}
