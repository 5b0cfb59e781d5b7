"""The two records on the disk that hold a device's boot epoch; see :mod:`depin_id.position`."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"DEPINPS1"
_BODY: Final = struct.Struct(">8sQI16s")
_CHECK: Final = 16
SLOT_BYTES: Final = _BODY.size + _CHECK
SLOT_STEP: Final = 4096
"""Slots lie in different blocks: one torn or worn block damages one slot."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One record: the newer of the two has the higher sequence."""

    sequence: int
    epoch: int

    def to_bytes(self, device: bytes) -> bytes:
        """The record with its checksum, for the device with this id of 16 bytes."""
        body = _BODY.pack(_MAGIC, self.sequence, self.epoch, device)
        return body + hashlib.sha256(body).digest()[:_CHECK]


def read_slot(data: bytes, device: bytes) -> Slot | None:
    """A slot whose checksum holds and that is this device's; a copied file is no position."""
    body, check = data[: _BODY.size], data[_BODY.size :]
    if len(data) != SLOT_BYTES or hashlib.sha256(body).digest()[:_CHECK] != check:
        return None
    magic, sequence, epoch, owner = _BODY.unpack(body)
    return Slot(sequence, epoch) if magic == _MAGIC and owner == device else None
