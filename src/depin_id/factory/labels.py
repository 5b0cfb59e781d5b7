"""Labels of a whole batch: a folder of QR pictures, or of sheets to print."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from depin_id.factory.batch import CLAIMS_FILE, Report
from depin_id.owners.labels import ON_A_SHEET, picture, sheet

LABELS: Final = "labels"
Labels = Literal["svg", "png", "sheet"]


def _claims(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Serial, code and QR text of each device."""
    with open(folder / CLAIMS_FILE, encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            yield row["serial"], row["claim_code"], row["qr_text"]


def labels(kind: Labels, report: Report) -> Callable[[Path], None]:
    """What writes the labels into a batch's folder, for ``make_batch(also=...)``.

    Args:
        kind: ``svg`` or ``png``: ``labels/<serial>.<kind>``; ``sheet``: ``labels/sheet-00001.svg``
            with 24 labels each. All of mode 0600.
        report: progress.
    """

    def write(folder: Path) -> None:
        target = folder / LABELS
        target.mkdir(mode=0o700)
        claims = _claims(folder)
        if kind == "sheet":
            count = 0
            while page := list(islice(claims, ON_A_SHEET)):
                count += 1
                _write(target / f"sheet-{count:05d}.svg", sheet(page))
                report("labels", count * ON_A_SHEET, None)
            return
        for count, (serial, _, text) in enumerate(claims, 1):
            _write(target / f"{serial.replace(':', '=')}.{kind}", picture(text, kind))
            if count % 100 == 0:
                report("labels", count, None)

    return write


def _write(path: Path, data: bytes) -> None:
    # Made durable with the whole folder.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
