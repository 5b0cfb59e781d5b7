"""The garbage collector in a process that is an aggregator's own."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 100_000
"""Containers made before the youngest are looked at; an envelope makes a hundred, and keeps few."""


def relax() -> None:
    """Look for cycles rarely, and never among what is there by now: the state lives as long as we.

    What an envelope makes is freed by reference counting. Looking through it again and again took a
    tenth to a quarter of the time. For commands, after opening an aggregator; a library leaves the
    process's settings to whoever owns it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 100)
