"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import (
    appraising,
    attesters,
    chains,
    credentials,
    delegation,
    dids,
    histories,
    logs,
    owning,
    peaq,
    phones,
    sources,
    statements,
    stores,
    tenure,
    texts,
    tokens,
    tpms,
    wire,
    witnesses,
)
from tests.fuzz.target import TARGETS

__all__ = [
    "TARGETS",
    "tpms",
    "phones",
    "chains",
    "appraising",
    "attesters",
    "tokens",
    "credentials",
    "delegation",
    "dids",
    "histories",
    "logs",
    "owning",
    "peaq",
    "sources",
    "statements",
    "stores",
    "tenure",
    "texts",
    "wire",
    "witnesses",
]
