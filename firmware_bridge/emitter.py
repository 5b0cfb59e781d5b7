"""How one source hands over what it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from firmware_bridge.carrying import Carried, Carrier
from firmware_bridge.items import Behalf, Item
from firmware_bridge.signing import Level


class Taker(Protocol):
    """What takes it: the gateway."""

    carrier: Carrier

    def take(
        self,
        emitter: Emitter,
        items: tuple[Item, ...],
        done: Callable[[], None] | None,
        *,
        wait: bool,
    ) -> bool:
        """See :class:`Emitter`."""

    def refuse(self, source: str, code: str, detail: str = "") -> None:
        """Count what was dropped, with the reason."""


@dataclass(frozen=True, eq=False)
class Emitter:
    """How one source hands over what it has; use from any thread."""

    source: str
    level: Level
    _gateway: Taker
    behalf: Behalf | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    """Set once its source has ended: nothing is taken from it any longer."""

    def __call__(
        self, items: Sequence[Item], done: Callable[[], None] | None = None, *, wait: bool = True
    ) -> bool:
        """Hand items over.

        Args:
            done: called (in another thread) once all are durable or refused for good.
            wait: hold the caller while the queue is full; else drop and count ``queue.full``.

        Returns:
            False when they were not taken: dropped, or the bridge is stopping.
        """
        return self._gateway.take(self, tuple(items), done, wait=wait)

    @property
    def carrier(self) -> Carried:
        """Takes statements up unchanged, and brings down what answers them."""
        return Carried(self._gateway.carrier, self.source)

    def refuse(self, code: str, detail: str = "") -> None:
        """Count input that is no item, with the reason."""
        self._gateway.refuse(self.source, code, detail)
