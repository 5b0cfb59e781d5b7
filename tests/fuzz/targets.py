"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import logs, statements, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "logs", "statements", "stores", "texts", "wire", "witnesses"]
