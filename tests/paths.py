"""Where the corpora that are not part of the project are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _corpus(variable: str, default: str, name: str) -> Path:
    base = Path(os.environ.get(variable) or ROOT.parent / "shared" / default)
    path = base / name
    if not path.exists():
        pytest.skip(f"{variable} has no {name} (looked in {base})")
    return path


def vectors(name: str) -> Path:
    """A file or folder of other people's test vectors, or a skip that says what is missing."""
    return _corpus("DEPIN_VECTORS", "vectors", name)


def data(name: str) -> Path:
    """A recording of real sensors, or a skip that says what is missing."""
    return _corpus("DEPIN_DATA", "data", name)
