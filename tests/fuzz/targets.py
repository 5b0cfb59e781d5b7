"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import delegation, logs, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "delegation", "logs", "stores", "texts", "wire", "witnesses"]
