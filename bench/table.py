"""Rows of results, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.settings import Settings, cores


@dataclass(frozen=True)
class Target:
    """A bound on the ratio or on the value of a row, met by the median or not.

    Attributes:
        of: which figure is bounded.
        at_least: whether the bound is a lower one.
        cores: what the bound was set for; on another number of cores nothing is said.
    """

    limit: float
    of: Literal["ratio", "value"] = "ratio"
    at_least: bool = True
    cores: int | None = None

    def __str__(self) -> str:
        text = f"{'>=' if self.at_least else '<='} {figure(self.limit)}"
        return text if self.of == "ratio" else f"{text} (value)"


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        values: one for each run, in ``unit``.
        ratios: of each run, to what ``of`` names in the same run; empty when the row is the
            yardstick itself.
        more_is_better: which of the values is the best.
        note: what a reader has to know beside the numbers.
        judged: whether the figures are good enough to say that a target is met.
    """

    group: str
    name: str
    unit: str
    values: Sequence[float]
    ratios: Sequence[float] = ()
    of: str = ""
    target: Target | None = None
    more_is_better: bool = True
    note: str = ""
    judged: bool = True

    @property
    def best(self) -> float:
        """The best value."""
        return max(self.values) if self.more_is_better else min(self.values)

    @property
    def median(self) -> float:
        """The median value."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one, or where nothing can be said."""
        target = self.target
        if target is None or not self.judged:
            return None
        if target.cores is not None and target.cores != cores():
            return None
        found = self.ratio if target.of == "ratio" else self.median
        if found is None:
            return None
        return found >= target.limit if target.at_least else found <= target.limit

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "best": self.best,
            "median": self.median,
            "runs": len(self.values),
            "ratio": self.ratio,
            "ratio_of": self.of or None,
            "target": None if self.target is None else str(self.target),
            "met": self.met,
            "note": self.note or None,
        }


def figure(value: float) -> str:
    """A number with three significant digits, thousands separated."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": cores(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


HEAD = ("measured", "best", "median", "unit", "measured ratio", "of", "target", "met?")


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts under :data:`HEAD`."""
    met = {True: "yes", False: "no", None: ""}[row.met]
    return (
        row.name,
        figure(row.best),
        figure(row.median),
        row.unit,
        "" if row.ratio is None else f"{row.ratio:.3g}",
        row.of,
        "" if row.target is None else str(row.target),
        met,
    )


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, and below it what has to be known."""
    about = machine()
    table = Table(title=f"{about['cores']} cores, {about['machine']}, Python {about['python']}")
    for name in HEAD:
        right = name in ("best", "median", "measured ratio")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    group = None
    for row in rows:
        if group is not None and row.group != group:
            table.add_section()
        group = row.group
        table.add_row(*cells(row))
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", highlight=False)


def markdown(rows: Sequence[Row]) -> str:
    """The table for a document."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_json(rows: Sequence[Row], settings: Settings, path: Path) -> None:
    """Everything of a run, for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = {
        "machine": machine(),
        "settings": dict(vars(settings)),
        "rows": [row.to_json() for row in rows],
    }
    path.write_text(json.dumps(value, indent=2) + "\n")
