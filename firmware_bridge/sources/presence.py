"""What devices' last wills say: who is there and who is gone, for the log."""

from __future__ import annotations

import logging

log = logging.getLogger("depin_bridge.sources")

_MAX_DEVICES = 1024
_STATES = {"online": "online", "offline": "offline"}


class Presence:
    """Remembers, within bounds, what each device said last, and logs what changes.

    It says nothing of readings: a will is the broker's word, and retained.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: dict[str, str] = {}

    def say(self, device: str, payload: bytes) -> str | None:
        """Take a will or birth message; gives ``online``, ``offline`` or None for anything else."""
        state = _STATES.get(payload[:16].decode("ascii", "replace").lower())
        if state is None or (device not in self._known and len(self._known) >= _MAX_DEVICES):
            return None
        if self._known.get(device) != state:
            level = logging.WARNING if state == "offline" else logging.INFO
            log.log(level, "%s: %s is %s", self._source, repr(device)[:80], state)
        self._known[device] = state
        return state
