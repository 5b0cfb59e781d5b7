"""Reads the part of CBOR diagnostic notation (RFC 8949 section 8) that vectors of others use."""

from __future__ import annotations

import re
from typing import Any

from depin_id import cbor

_TOKEN = re.compile(
    r"\s+|/[^/]*/|\\\n"  # space, comments
    r"|(?P<hex>h'[0-9A-Fa-f\s]*')|(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<number>-?[0-9]+)"
    r"|(?P<word>true|false|null)|(?P<mark><<|>>|[\[\]{}(),:])"
)


def read(text: str) -> Any:
    """The value of a text; embedded CBOR (``<< >>``) becomes a byte string."""
    tokens = _Tokens(text)
    value = tokens.value()
    assert not tokens.found, tokens.found[:3]
    return value


class _Tokens:
    def __init__(self, text: str) -> None:
        self.found: list[str] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            assert match, text[at : at + 40]
            at = match.end()
            if match.lastgroup:
                self.found.append(match.group())

    def take(self, wanted: str = "") -> str:
        token = self.found.pop(0)
        assert not wanted or token == wanted, (token, wanted)
        return token

    def value(self) -> Any:
        token = self.take()
        if token[0] == "h":
            return bytes.fromhex("".join(token[2:-1].split()))
        if token[0] == '"':
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if token in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[token]
        if token == "[":
            return self.items("]")
        if token == "<<":
            return b"".join(cbor.encode(item) for item in self.items(">>"))
        if token == "{":
            return self.pairs()
        if self.found[:1] == ["("]:
            self.take("(")
            value = cbor.Tag(int(token), self.value())
            self.take(")")
            return value
        return int(token)

    def items(self, end: str) -> list[Any]:
        found = []
        while self.found[0] != end:
            found.append(self.value())
            if self.found[0] != end:
                self.take(",")
        self.take(end)
        return found

    def pairs(self) -> dict[Any, Any]:
        found = {}
        while self.found[0] != "}":
            key = self.value()
            self.take(":")
            found[key] = self.value()
            if self.found[0] != "}":
                self.take(",")
        self.take("}")
        return found
