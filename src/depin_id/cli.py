"""The command line ``depin-id``.

A command is loaded when it is asked for: a device that signs in a loop is not to load what reads
certificates of chips.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import typer
from typer.main import get_command

from depin_id.commands.common import app, run

_GROUPS: Final = (
    *("network", "device", "did", "credential", "status", "delegate"),
    *("claim", "succession", "peaq", "attest"),
)
_COMMANDS: Final = ("sign", "inspect", "resolve", "factory", "payout")
_ABOUT: Final = (
    "Identity and signing for devices and gateways.\n\n"
    "Example: depin-id network new net --name demo && depin-id device new dev && "
    "depin-id sign dev --network net/card.cbor --in readings.csv --out envelopes.cbor"
)


def show_version() -> None:
    """Print the version.

    Example: depin-id version
    """
    try:
        print(f"depin-id {version('depin-id')}")
    except PackageNotFoundError:
        print("depin-id (not installed: run from the source tree)")


def assemble(only: Collection[str] = ()) -> typer.Typer:
    """The command line; with ``only``, of these commands alone."""
    found = app(_ABOUT)
    # With a single command a Typer application is that command, and takes no name.
    found.callback()(lambda: None)
    found.info.help = _ABOUT
    for name in _GROUPS:
        if not only or name in only:
            group = import_module(f"depin_id.commands.{name}").commands
            found.add_typer(group, name=name)
    for name in _COMMANDS:
        if not only or name in only:
            found.command()(getattr(import_module(f"depin_id.commands.{name}"), name))
    if not only or "version" in only:
        found.command("version")(show_version)
    return found


def __getattr__(name: str) -> Any:
    if name == "cli":
        return assemble()
    raise AttributeError(name)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 2 with ``error: code: message`` on errors."""
    arguments = sys.argv[1:] if argv is None else argv
    first = arguments[0] if arguments else ""
    known = {*_GROUPS, *_COMMANDS, "version"}
    run(get_command(assemble({first} & known)), argv, "depin-id")


if __name__ == "__main__":
    main()
