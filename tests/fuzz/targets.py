"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import histories, logs, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "histories", "logs", "stores", "texts", "wire", "witnesses"]
from tests.fuzz import dids, logs, peaq, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "dids", "logs", "peaq", "stores", "texts", "wire", "witnesses"]
from tests.fuzz import credentials, logs, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "credentials", "logs", "stores", "texts", "wire", "witnesses"]
from tests.fuzz import delegation, logs, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "delegation", "logs", "stores", "texts", "wire", "witnesses"]
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
from tests.fuzz import dids, logs, peaq, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "dids", "logs", "peaq", "stores", "texts", "wire", "witnesses"]
