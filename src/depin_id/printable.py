"""Texts of others on a terminal: what steers it, or begins a line of its own, is not shown."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """One line of the text: every character that is not printable becomes U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON as people read it: what is not printable is escaped, so it means the same.

    The library itself escapes some of it only: U+009B begins a command of a terminal too.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(
        # Outside of texts there is nothing to escape but the line ends of an indent.
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1]
        for char in text
    )
