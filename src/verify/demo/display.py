"""What people see: a live table on a terminal, plain lines elsewhere, checks at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from verify.demo.ledger import Check

_LINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One actor, or a kind of actors: what was sent, what became of it, what must become of it."""

    name: str
    sent: int
    outcome: str
    expected: str
    cheat: bool


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows as a table."""
    made = Table(title=title, title_justify="left", expand=False)
    made.add_column("who")
    made.add_column("sent", justify="right")
    made.add_column("so far")
    made.add_column("what it must come to")
    for row in rows:
        style = "yellow" if row.cheat else "green"
        made.add_row(f"[{style}]{row.name}[/]", str(row.sent), row.outcome, row.expected)
    return made


class Board:
    """Shows rows while the demo runs.

    Args:
        console: where; a terminal gets a table that changes in place.
        rows: asked for again and again.
    """

    def __init__(self, console: Console, rows: Callable[[], list[Row]]) -> None:
        self._console, self._rows = console, rows
        self._title = ""
        self._last = 0.0
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, title: str) -> None:
        """Show the newest rows; elsewhere than on a terminal a line every few seconds."""
        if self._live is not None:
            self._live.update(table(self._rows(), title), refresh=True)
            return
        now = time.monotonic()
        if now - self._last < _LINE_S and title == self._title:
            return
        self._last, self._title = now, title
        rows = self._rows()
        honest = "; ".join(f"{row.name}: {row.outcome}" for row in rows if not row.cheat)
        busy = sum(1 for row in rows if row.cheat and row.sent)
        self._console.print(
            f"{title}: {honest}; cheats so far: {busy}", highlight=False, soft_wrap=True
        )


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """What held and what did not, a line each."""
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[bold red]FAIL[/]"
        text = escape(f"{check.name}: {check.found}")
        console.print(f"{mark} {text}", highlight=False, soft_wrap=True, emoji=False)
