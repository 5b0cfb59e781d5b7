"""Takes what sources hand over."""

from __future__ import annotations

from typing import Any

from firmware_bridge.items import SensorReadings


class Sink:
    """Takes what sources hand over, in place of a gateway."""

    def __init__(self) -> None:
        self.items: list[SensorReadings] = []
        self.refused: set[str] = set()

    def __call__(self, items: list[SensorReadings], done: Any = None, *, wait: bool = True) -> bool:
        self.items += items
        if done is not None:
            done()
        return True

    def refuse(self, code: str, detail: str = "") -> None:
        self.refused.add(code)

    def names(self) -> set[tuple[str, str, str]]:
        return {
            (item.sensor, one.name, f"{one.value!s} {one.unit}")
            for item in list(self.items)
            for one in item.readings
        }

    def values(self) -> list[str]:
        return [str(one.value) for item in list(self.items) for one in item.readings]
