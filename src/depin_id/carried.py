"""A boot of the machine that goes on over several processes, so that commands share one epoch.

A process that stays has its epoch in memory. Commands come and go: what is attested for one has to
count for the next. So a clean end may leave, beside the heads, where each stream stands, and for
which boot of the machine that is. Whoever goes on from there removes it first, durably: after a
crash it is gone, and the next epoch begins. No position can be read from it twice.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depin_id import cbor
from depin_id.claims import is_uint
from depin_id.durable import failed, read_file, replace_file, sync_directory
from depin_id.envelope import MAX_POSITION, PREV_BYTES
from depin_id.errors import EncodingError, StateError

BOOT_FILE: Final = "boot.cbor"
BOOT_BYTES: Final = 16
"""What a boot of the machine is told by."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CHECK: Final = 16

Stream = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Carried:
    """Where a boot stood at the last clean end.

    Attributes:
        boot: of the machine, 16 bytes. epoch: the device's.
        started: when it began, ms of the machine's clock that goes on in sleep.
        streams: for each (network, subject) its next n and its head.
    """

    boot: bytes
    epoch: int
    started: int
    streams: Mapping[Stream, tuple[int, bytes]]


def machine_boot() -> bytes | None:
    """What tells this boot of the machine from every other, 16 bytes; None where nothing does."""
    with contextlib.suppress(StateError):
        text = read_file(_BOOT_ID, max_bytes=256)
        if text is not None and text.strip():
            return hashlib.sha256(text.strip()).digest()[:BOOT_BYTES]
    return None


def write_carried(directory: Path, device: bytes, carried: Carried) -> None:
    """Leave it for the next process. Raises StateError ``state.io``."""
    streams = [[*stream, n, head] for stream, (n, head) in sorted(carried.streams.items())]
    parts = [device, carried.boot, carried.epoch, carried.started, streams]
    replace_file(directory / BOOT_FILE, cbor.encode([*parts, _check(parts)]))


def read_carried(directory: Path, device: bytes) -> Carried | None:
    """What was left; None when nothing was, or it is damaged or another device's."""
    try:
        data = read_file(directory / BOOT_FILE) or b""
        value: Any = cbor.decode(data, max_bytes=len(data))
    except (StateError, EncodingError):
        return None
    if not isinstance(value, list) or len(value) != 6 or value[0] != device:
        return None
    *parts, check = value
    if check != _check(parts):
        return None
    # What the checksum holds for was written here, so its form is known.
    _, boot, epoch, started, streams = parts
    found = {(network, subject): (n, head) for network, subject, n, head in streams}
    good = all(is_uint(n, MAX_POSITION + 1) and len(h) == PREV_BYTES for n, h in found.values())
    return Carried(boot, epoch, started, found) if good else None


def remove_carried(directory: Path, *others: str) -> None:
    """Remove it durably, with other files that are no longer true. Raises StateError."""
    for name in (BOOT_FILE, *others):
        path = directory / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failed(path, error, hint="the device does not sign without a durable position")
    sync_directory(directory)


def _check(parts: list[Any]) -> bytes:
    return hashlib.sha256(cbor.encode(parts)).digest()[:_CHECK]
