"""What tests of sources share: a context, an emitter that remembers, and messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import Context, kinds
from tests.bridge.world import Net

WALL = 1_700_000_000.25
CARD = Net().card()


def context(folder: Path | str = ".", name: str = "in") -> Context:
    return Context(name, Path(folder), "00" * 8, CARD, lambda: WALL)


def make(kind: str, folder: Path | str = ".", **options: Any) -> Any:
    """A source of a kind from its options, as a configuration would make it."""
    found = kinds()[kind]
    checked = found.options.model_validate({"kind": kind, **options})
    return found.make(checked, context(folder))


@dataclass
class Heard:
    """Stands in for an emitter; with ``hold`` what it takes is durable only later."""

    hold: bool = False
    full: bool = False
    items: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, items: list[Any], done: Any = None, *, wait: bool = True) -> bool:
        if self.full:
            return False
        with self.lock:
            self.items += items
        if done is not None and not self.hold:
            done()
        elif done is not None:
            self.waiting.append(done)
        return True

    def refuse(self, code: str, detail: str = "") -> None:
        with self.lock:
            self.refused.append(code)


def message(topic: str, payload: bytes, done: Callable[[], None] = lambda: None) -> Message:
    return Message(topic, payload, 1, False, done)


def values(item: Any) -> dict[str, str]:
    """Names and values with units, as text."""
    return {
        reading.name: f"{reading.value} {reading.unit}" if reading.unit else f"{reading.value}"
        for reading in item.readings
    }
