"""Deterministic CBOR as hex with a comment a line, for the worked examples of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Names = Mapping[str, str]
"""Path to what stands there: ``2/0/n`` is the third item's first item's value of key n."""

_CHUNK: Final = 24
_COLUMN: Final = 64


class _Dump:
    """One walk over the bytes. Byte strings at a path that ends in ``~`` in names hold CBOR."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.lines: list[str] = []

    def line(self, depth: int, data: bytes, comment: str) -> None:
        text = "  " * depth + data.hex()
        self.lines.append(f"{text:<{_COLUMN}}# {comment}" if comment else text)

    def chunks(self, depth: int, data: bytes, comment: str) -> None:
        for at in range(0, len(data), _CHUNK):
            self.line(depth, data[at : at + _CHUNK], comment if at == 0 else "")

    def named(self, path: str, what: str) -> str:
        name = self.names.get(path, "")
        return f"{name}: {what}" if name else what

    def item(self, data: bytes, at: int, depth: int, path: str) -> int:
        major, info = data[at] >> 5, data[at] & 31
        width = 0 if info < 24 else 1 << (info - 24)
        argument = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else info
        end = at + 1 + width
        head = data[at:end]
        if major in (0, 1):
            self.line(depth, head, self.named(path, str(argument if major == 0 else -1 - argument)))
        elif major in (2, 3):
            end = self.string(data, end, argument, depth, path, head)
        elif major == 4:
            self.line(depth, head, self.named(path, f"array of {argument}"))
            for index in range(argument):
                end = self.item(data, end, depth + 1, f"{path}/{index}")
        elif major == 5:
            self.line(depth, head, self.named(path, f"map of {argument}"))
            for _ in range(argument):
                end = self.pair(data, end, depth + 1, path)
        elif major == 6:
            self.line(depth, head, self.named(path, f"tag {argument}"))
            end = self.item(data, end, depth + 1, path)
        else:
            words = {20: "false", 21: "true", 22: "null"}
            self.line(depth, head, self.named(path, words[info]))
        return end

    def string(self, data: bytes, start: int, size: int, depth: int, path: str, head: bytes) -> int:
        end = start + size
        body = data[start:end]
        if f"{path}~" in self.names:
            self.line(depth, head, self.names[f"{path}~"] + f", {size} bytes that hold CBOR")
            self.item(body, 0, depth + 1, path)
        elif head[0] >> 5 == 3:
            self.chunks(depth, head + body, self.named(path, f'"{body.decode()}"'))
        else:
            self.chunks(depth, head + body, self.named(path, f"{size} bytes"))
        return end

    def pair(self, data: bytes, at: int, depth: int, path: str) -> int:
        first = data[at]
        key = first if first < 24 else data[at + 1] if first == 0x18 else -1 - (first & 31)
        if first == 0x3A:
            key = -1 - int.from_bytes(data[at + 1 : at + 5], "big")
        elif first >> 5 == 1 and first & 31 == 24:
            key = -1 - data[at + 1]
        where = f"{path}/{key}"
        width = {0x18: 2, 0x38: 2, 0x3A: 5}.get(first, 1)
        self.line(depth, data[at : at + width], f"label {key}")
        return self.item(data, at + width, depth, where)


def annotate(data: bytes, names: Names) -> str:
    """The bytes as lines of hex and comments; joined without comments they are ``data``."""
    dump = _Dump(names)
    end = dump.item(data, 0, 0, "")
    assert end == len(data)
    return "\n".join(line.rstrip() for line in dump.lines)


def hex_of(text: str) -> bytes:
    """The bytes of annotated lines."""
    return bytes.fromhex("".join(line.split("#")[0].strip() for line in text.splitlines()))
