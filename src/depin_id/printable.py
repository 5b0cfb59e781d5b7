"""Texts of others on a terminal: what steers it, or begins a line of its own, is not shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line of the text: every character that is not printable becomes U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
