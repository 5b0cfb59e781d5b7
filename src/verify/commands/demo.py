"""``depin-verify demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to keep it; default: a temporary folder.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=5, max=600, help="How long sensors measure.")] = 20,
    sensors: Annotated[int, typer.Option(min=4, max=200, help="Honest sensors.")] = 40,
    data: Annotated[
        Path | None, typer.Option(help="Replay recordings (a CSV or a folder of them).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> None:
    """A network in half a minute: broker, aggregator, bridge, sensors, cheats, reconciliation.

    Example: depin-verify demo --sensors 40
    """
    from verify.demo import run_demo

    code = run_demo(directory, seconds=seconds, sensors=sensors, data=data, json_output=as_json)
    if code:
        sys.exit(code)
