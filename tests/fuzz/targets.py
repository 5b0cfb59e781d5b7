"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import (
    attestation_a,
    attestation_b,
    attestation_c,
    attestation_d,
    attestation_e,
    attestation_f,
    credentials,
    delegation,
    dids,
    histories,
    logs,
    owning,
    peaq,
    statements,
    stores,
    tenure,
    texts,
    wire,
    witnesses,
)
from tests.fuzz.target import TARGETS

__all__ = [
    "TARGETS",
    "attestation_a",
    "attestation_b",
    "attestation_d",
    "attestation_e",
    "attestation_f",
    "attestation_c",
    "credentials",
    "delegation",
    "dids",
    "histories",
    "logs",
    "owning",
    "peaq",
    "statements",
    "stores",
    "tenure",
    "texts",
    "wire",
    "witnesses",
]
