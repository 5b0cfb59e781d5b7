"""The last seen head of each DID: a log that does not go on from it is refused.

Trap: whoever serves a log can serve an older one, or a second one signed by the same keys; only
what was seen before tells.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from depin_id.did.webvh.entry import split_version_id
from depin_id.did.webvh.history import History
from depin_id.did.webvh.location import SCID
from depin_id.did.webvh.verify import check_extends
from depin_id.durable import failed, read_file, replace_file, write_all
from depin_id.errors import DIDError, StateError

MAX_PINS: Final = 200_000
MAX_FILE: Final = 1 << 26
SPARE: Final = 1_000
"""Lines beyond twice the pins at which the file is written anew."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The last version seen of a DID."""

    number: int
    version_id: str


class Pins:
    """Heads by SCID, in memory or also in a file. Several threads may use it.

    The file has a line for each head that was seen; of those of a DID the last number counts.

    Args:
        path: of the file; None keeps them in memory only. One process at a time writes it.

    Raises:
        StateError: ``state.damaged`` when the file is not one of pins, and as
            :func:`~depin_id.durable.read_file`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._pins: dict[str, Pin] = {}
        self._lines = 0
        data = read_file(path, max_bytes=MAX_FILE) if path is not None else None
        # A line that a crash cut off was never acted upon.
        self._whole = data is not None and data.endswith(b"\n")
        for line in (data or b"").split(b"\n")[:-1]:
            self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            scid, version_id = line.decode("ascii").split(" ")
            number, _ = split_version_id(version_id)
            if not SCID.fullmatch(scid):
                raise ValueError
        except (ValueError, DIDError):
            raise StateError(
                "state.damaged",
                f"line {self._lines + 1} of {self._path} is not a pin",
                hint="restore it from a backup: without it older histories would be taken again",
            ) from None
        self._lines += 1
        before = self._pins.get(scid)
        if before is None or before.number < number:
            self._pins[scid] = Pin(number, version_id)

    def __len__(self) -> int:
        return len(self._pins)

    def get(self, scid: str) -> Pin | None:
        """What was seen last of a DID."""
        return self._pins.get(scid)

    def check(self, history: History) -> None:
        """Refuse a history that does not go on from what was seen; nothing is pinned.

        Raises:
            DIDError: ``did.log_rolled_back``, ``did.log_forked``.
        """
        pin = self._pins.get(history.scid)
        if pin is not None:
            check_extends(history, history.scid, pin.number, pin.version_id)

    def accept(self, history: History) -> None:
        """Check a history and pin its head, durably where there is a file.

        Raises:
            DIDError: as :meth:`check`. StateError: ``state.full``: too many pins, or no space;
                ``state.io``.
        """
        with self._lock:
            self.check(history)
            self._put(history.scid, Pin(len(history), history.last.version_id))

    def promise(self, history: History | None, scid: str, version_id: str) -> None:
        """Pin a version before it is approved: no other of its number is approved afterwards.

        Args:
            history: what it goes on from, None for a first version.

        Raises:
            DIDError: ``did.log_forked``, ``did.log_rolled_back``. StateError: as :meth:`accept`.
        """
        pin = Pin(split_version_id(version_id)[0], version_id)
        with self._lock:
            before = self._pins.get(scid)
            if before is not None and before != pin:
                if before.number == pin.number:
                    raise DIDError(
                        "did.log_forked",
                        f"another version {pin.number} was approved before",
                        hint="a witness approves one: keep both as evidence",
                    )
                if history is None:
                    raise DIDError(
                        "did.log_rolled_back", f"version {before.number} was approved before"
                    )
                check_extends(history, scid, before.number, before.version_id)
            self._put(scid, pin)

    def _put(self, scid: str, pin: Pin) -> None:
        if self._pins.get(scid) == pin:
            return
        if scid not in self._pins and len(self._pins) >= MAX_PINS:
            raise StateError("state.full", f"there are {MAX_PINS} pins already")
        if self._path is not None:
            self._write(self._path, scid, pin)
        self._pins[scid] = pin

    def _write(self, path: Path, scid: str, pin: Pin) -> None:
        if self._whole and self._lines < 2 * len(self._pins) + SPARE:
            self._whole = False  # until the line is there, whole
            _append(path, _line(scid, pin))
            self._whole, self._lines = True, self._lines + 1
            return
        pins = self._pins | {scid: pin}
        replace_file(path, b"".join(_line(*item) for item in sorted(pins.items(), key=str)))
        self._whole, self._lines = True, len(pins)


def _line(scid: str, pin: Pin) -> bytes:
    return f"{scid} {pin.version_id}\n".encode()


def _append(path: Path, line: bytes) -> None:
    """Add a line durably. Raises StateError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            write_all(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        failed(path, error)
