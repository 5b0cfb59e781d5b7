"""What commands share: arguments, progress, printing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from depin_id.commands.common import read_input
from depin_id.errors import ConfigError

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The aggregator's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

Report = Callable[[int, int | None], None]


@contextlib.contextmanager
def progress(what: str) -> Iterator[Report]:
    """A progress bar on a terminal's standard error; nothing in a pipe.

    Gives a function that takes (done, total or None).
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def flat(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report for people: what is nested as one line of names and values."""
    return {
        name: ", ".join(f"{key} {'-' if item is None else item}" for key, item in value.items())
        or "none"
        if isinstance(value, dict)
        else value
        for name, value in report.items()
    }


def parse_moment(text: str) -> int:
    """ISO 8601 with a zone, or seconds since 1970, as milliseconds. Raises ConfigError."""
    try:
        if text.replace(".", "", 1).isdecimal():
            whole, _, part = text.partition(".")
            return int(whole) * 1000 + int((part + "000")[:3])
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return int(when.timestamp()) * 1000 + when.microsecond // 1000
    except (ValueError, OverflowError):
        pass
    raise ConfigError(
        "usage",
        f"{text[:60]!r} is not a time",
        hint="write 2025-03-22T00:00:00Z, or seconds since 1970",
    )


def parse_position(text: str | None) -> tuple[int, int] | None:
    """``E/N`` as (epoch, n). Raises ConfigError."""
    if text is None:
        return None
    epoch, slash, n = text.partition("/")
    if not slash or not epoch.isdecimal() or not n.isdecimal() or len(text) > 24:
        raise ConfigError("usage", f"{text[:40]!r} is not a position", hint="write EPOCH/N: 3/17")
    return int(epoch), int(n)


def read_text(name: str) -> str:
    """A file of UTF-8 text, or standard input for ``-``, at most 16 MiB. Raises ConfigError."""
    try:
        return read_input(name, max_bytes=1 << 24).decode()
    except UnicodeDecodeError as error:
        raise ConfigError("usage", f"{name} is not UTF-8 text") from error
