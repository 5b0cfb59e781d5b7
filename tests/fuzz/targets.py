"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import delegation, logs, stores, tenure, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "delegation", "logs", "stores", "tenure", "texts", "wire", "witnesses"]
