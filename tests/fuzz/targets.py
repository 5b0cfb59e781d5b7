"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import credentials, dids, logs, owning, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = [
    "TARGETS",
    "credentials",
    "dids",
    "logs",
    "owning",
    "stores",
    "texts",
    "wire",
    "witnesses",
]
