"""Devices of a batch, and the manufacturer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from depin_id.did.key import did_key
from depin_id.factory import Batch, BatchOptions, BatchRefused, Defaults, make_batch
from depin_id.keys import Curve, PublicKey
from depin_id.owners import Party
from tests.owners.people import party, signer

NOW = 1_795_000_000_000
MAKER = party("manufacturer")
DEFAULTS = Defaults(model="N1", hardware_revision="B", key_protection="secure-element")


def key(number: int, curve: Curve = "ed25519") -> PublicKey:
    """The key of a device."""
    return signer(f"device {number}", curve).public_key


def lines(count: int) -> list[str]:
    """A CSV of so many devices; the header is line 1."""
    return ["serial,key"] + [f"SN{n:05d},{did_key(key(n))}" for n in range(count)]


def options(**change: Any) -> BatchOptions:
    """Options of a batch."""
    about: dict[str, Any] = {"batch": "2026-47", "issuer": MAKER, "now": NOW, "defaults": DEFAULTS}
    return BatchOptions(**{**about, **change})


def make(text: str | bytes | list[str], folder: Path, **change: Any) -> Batch:
    """A batch of a text."""
    text = "\n".join(text) if isinstance(text, list) else text
    data = text.encode() if isinstance(text, str) else text
    also, issuer = change.pop("also", None), change.pop("issuer", MAKER)
    assert isinstance(issuer, Party)
    return make_batch(io.BytesIO(data), folder, options(issuer=issuer, **change), also=also)


def faults(text: str | bytes | list[str], folder: Path, **change: Any) -> list[tuple[int, str]]:
    """Line and code of each fault; nothing may be left of the batch."""
    try:
        make(text, folder / "batch", **change)
    except BatchRefused as error:
        assert list(folder.iterdir()) == [], "nothing is left"
        assert error.code == "factory.refused"
        assert sum(error.faults.counts.values()) >= len(error.faults.listed)
        return sorted((fault.line, fault.code) for fault in error.faults.listed)
    raise AssertionError("the batch was issued")
