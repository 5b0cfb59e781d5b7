"""Sizes and places. Nothing of the project is imported here: it must be instrumented first."""

from __future__ import annotations

import importlib.util
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
BUILD = HERE.parents[1] / "build" / "fuzz"
MAX_INPUT = 4096
MAX_KEPT = 2048
"""Bytes of an input that is kept."""
MOST_KEPT = 150
TIMEOUT_S, RSS_MB = 10, 2048


def has_atheris() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None
