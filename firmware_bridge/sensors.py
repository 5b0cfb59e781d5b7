"""Which source a sensor's name belongs to: the first that uses it, while it is at work."""

from __future__ import annotations

from depin_id.errors import EncodingError
from firmware_bridge.emitter import Emitter
from firmware_bridge.signing import Level


class Sensors:
    """Names and their sources, bounded.

    What an authenticated source (``G1``) says comes before what anybody may say: it takes its name
    from a ``G0`` source that used it before, and room for it when there is none.
    """

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, Level]] = {}

    def claim(self, sensor: str, emitter: Emitter, most: int) -> None:
        """A source uses a name.

        Raises:
            EncodingError: ``sensor.taken``: two inputs under one name would be one stream of two
                sensors. ``sensor.too_many``: it is one more than ``most``.
        """
        owner = self._owners.get(sensor)
        if owner is not None:
            if owner[0] == emitter.source:
                return
            if (owner[1], emitter.level) != ("G0", "G1"):
                raise EncodingError("sensor.taken", f"{sensor!r} belongs to the source {owner[0]}")
        elif len(self._owners) >= most:
            weak = (name for name, (_, level) in self._owners.items() if level == "G0")
            out = next(weak, None) if emitter.level == "G1" else None
            if out is None:
                raise EncodingError("sensor.too_many", f"{sensor!r} is one more than max_sensors")
            del self._owners[out]
        self._owners[sensor] = emitter.source, emitter.level

    def free(self, source: str) -> None:
        """A source has ended."""
        self._owners = {name: of for name, of in self._owners.items() if of[0] != source}
