"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import dids, histories, logs, peaq, stores, texts, wire, witnesses
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS", "dids", "histories", "logs", "peaq", "stores", "texts", "wire", "witnesses"]
