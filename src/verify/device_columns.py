"""What the registry knows of devices and their keys, column by column."""

from __future__ import annotations

from array import array
from typing import Final, Literal

from depin_id.keys import PublicKey
from verify.dense import Column, Texts

THUMBPRINT: Final = 32
"""Bytes of a thumbprint."""
POINT: Final = 33
"""Bytes of a key: before an Ed25519 key stands a zero."""


class DeviceColumns:
    """The columns of devices; ``named`` are those whose DID is not that of their first key."""

    def __init__(self) -> None:
        self.subject, self.first, self.last = array("i"), array("i"), array("i")
        self.revoked = array("q")
        self.lat, self.lon = array("i"), array("i")
        self.flags = bytearray()
        self.about = Texts()
        self.named: dict[int, str] = {}

    def columns(self) -> dict[str, Column]:
        """Everything but the texts."""
        return {
            "subject": self.subject,
            "first": self.first,
            "last": self.last,
            "revoked": self.revoked,
            "lat": self.lat,
            "lon": self.lon,
            "flags": self.flags,
        }


class KeyColumns:
    """The columns of keys. A point has 33 bytes, before an Ed25519 key stands a zero."""

    def __init__(self) -> None:
        self.device, self.before = array("i"), array("i")
        self.since, self.until = array("q"), array("q")
        self.suspended, self.compromised = array("q"), array("q")
        self.points, self.thumbprints = bytearray(), bytearray()

    def columns(self) -> dict[str, Column]:
        """Everything."""
        return {
            "device": self.device,
            "before": self.before,
            "since": self.since,
            "until": self.until,
            "suspended": self.suspended,
            "compromised": self.compromised,
            "points": self.points,
            "thumbprints": self.thumbprints,
        }

    def thumbprint(self, row: int) -> bytes:
        """The thumbprint in a row."""
        return bytes(self.thumbprints[row * THUMBPRINT : (row + 1) * THUMBPRINT])

    def key(self, row: int) -> PublicKey:
        """The key in a row."""
        point = bytes(self.points[row * POINT : (row + 1) * POINT])
        curve: Literal["ed25519", "p256"] = "p256" if point[0] else "ed25519"
        return PublicKey(curve, point if point[0] else point[1:])
