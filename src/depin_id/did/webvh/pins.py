"""The last seen head of each DID: a log that does not go on from it is refused.

Trap: whoever serves a log can serve an older one, or a second one signed by the same keys; only
what was seen before tells.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depin_id.did.webvh.entry import split_version_id
from depin_id.did.webvh.history import History
from depin_id.did.webvh.location import SCID
from depin_id.did.webvh.verify import check_extends
from depin_id.durable import read_file, replace_file
from depin_id.errors import DIDError, EncodingError, StateError
from depin_id.strict_json import parse

MAX_PINS: Final = 200_000
MAX_FILE: Final = 1 << 25


@dataclass(frozen=True, slots=True)
class Pin:
    """The last version seen of a DID."""

    number: int
    version_id: str


class Pins:
    """Heads by SCID, in memory or also in a file. Several threads may use it.

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
        data = read_file(path, max_bytes=MAX_FILE) if path is not None else None
        if data is not None:
            self._pins = _read(path, data)

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
            DIDError: as :meth:`check`. StateError: ``state.full``: too many pins; ``state.io``.
        """
        with self._lock:
            self.check(history)
            pin = Pin(len(history), history.last.version_id)
            if self._pins.get(history.scid) == pin:
                return
            if history.scid not in self._pins and len(self._pins) >= MAX_PINS:
                raise StateError("state.full", f"there are {MAX_PINS} pins already")
            pins = self._pins | {history.scid: pin}
            if self._path is not None:
                heads = {scid: one.version_id for scid, one in sorted(pins.items())}
                replace_file(self._path, json.dumps(heads, indent=0).encode() + b"\n")
            self._pins = pins


def _read(path: Path | None, data: bytes) -> dict[str, Pin]:
    try:
        value: Any = parse(data, max_bytes=MAX_FILE)
        if not isinstance(value, dict) or not all(SCID.fullmatch(scid) for scid in value):
            raise EncodingError("json.malformed", "it is not an object of SCIDs")
        return {scid: Pin(split_version_id(v)[0], v) for scid, v in value.items()}
    except (EncodingError, DIDError) as error:
        raise StateError(
            "state.damaged",
            f"{path} does not hold pins: {error.message}",
            hint="restore it from a backup: without it older histories would be taken again",
        ) from error
