"""Recordings in place of simulated sound: files of levels, one a second, moved to now."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from depin_id.errors import DepinError, ReadingError
from depin_id.senml import Decimal64

MAX_LEVELS = 100_000
"""Levels read of one file."""
_MAX_TRACK = 64 << 20
_LEVEL_COLUMNS = ("leq", "laeq")
_SUFFIXES = (".csv", ".geojson")


def read_recordings(path: Path) -> dict[str, list[Decimal64]]:
    """Levels in dB by name of the recording, in order, exactly as recorded.

    Args:
        path: a CSV file with a column of levels (LEQ, LAeq) after one of times, a NoiseCapture
            track (GeoJSON with ``leq_mean``), or a folder with such files at any depth. Their
            times are not looked at: levels count as one a second.

    Raises:
        ReadingError: ``demo.data``: nothing to read there, or a file named itself is unusable.
    """
    if not path.is_dir():
        return {path.stem: _levels(path)}
    found: dict[str, list[Decimal64]] = {}
    for file in sorted(path.rglob("*")):
        if file.suffix in _SUFFIXES and file.is_file():
            try:
                levels = _levels(file)
            except DepinError:
                continue  # what is no recording of levels may lie in the folder too
            found[str(file.relative_to(path))] = levels
    if not found:
        raise _wrong(path, "there is no CSV file or track with levels")
    return found


def _wrong(path: Path, what: str) -> ReadingError:
    return ReadingError(
        "demo.data",
        f"{path}: {what}",
        hint="a CSV with the columns datetime, LEQ; or a NoiseCapture track.geojson",
    )


def _levels(path: Path) -> list[Decimal64]:
    try:
        if path.suffix == ".geojson":
            levels = list(itertools.islice(_from_track(path), MAX_LEVELS))
        else:
            levels = list(itertools.islice(_from_csv(path), MAX_LEVELS))
    except (OSError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise _wrong(path, f"it cannot be read: {error}") from error
    if not levels:
        raise _wrong(path, "there is no level in it")
    return levels


def _from_csv(path: Path) -> Iterator[Decimal64]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = [cell.strip().lower() for cell in next(rows, [])]
        column = next((i for i, name in enumerate(header) if name.startswith(_LEVEL_COLUMNS)), None)
        if column is None:
            raise _wrong(path, "no column is named LEQ or LAeq")
        for row in rows:
            if len(row) > column and row[column].strip():
                yield _level(path, row[column].strip())


def _from_track(path: Path) -> Iterator[Decimal64]:
    if path.stat().st_size > _MAX_TRACK:
        raise _wrong(path, "it is too large")
    try:
        # As text: a float in between would no longer be what was recorded.
        document: Any = json.loads(path.read_text("utf-8"), parse_float=str)
    except ValueError as error:
        raise _wrong(path, f"it is no JSON: {error}") from error
    features = document.get("features") if isinstance(document, dict) else None
    for feature in features if isinstance(features, list) else []:
        properties = feature.get("properties") if isinstance(feature, dict) else None
        level = properties.get("leq_mean") if isinstance(properties, dict) else None
        if isinstance(level, str | int) and not isinstance(level, bool):
            yield _level(path, str(level))


def _level(path: Path, text: str) -> Decimal64:
    try:
        return Decimal64.from_text(text)
    except DepinError as error:
        raise _wrong(path, f"{text[:20]!r} is no level: {error.message}") from error
