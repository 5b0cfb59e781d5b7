"""The command line ``depin-id``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from typer.main import get_command

from depin_id.commands import (
    claim,
    credential,
    delegate,
    device,
    did,
    network,
    peaq,
    status,
    succession,
)
from depin_id.commands.common import app, run
from depin_id.commands.factory import factory
from depin_id.commands.inspect import inspect
from depin_id.commands.payout import payout
from depin_id.commands.resolve import resolve
from depin_id.commands.sign import sign

cli = app(
    "Identity and signing for devices and gateways.\n\n"
    "Example: depin-id network new net --name demo && depin-id device new dev && "
    "depin-id sign dev --network net/card.cbor --in readings.csv --out envelopes.cbor"
)
cli.add_typer(network.commands, name="network")
cli.add_typer(device.commands, name="device")
cli.add_typer(did.commands, name="did")
cli.add_typer(peaq.commands, name="peaq")
cli.add_typer(credential.commands, name="credential")
cli.add_typer(status.commands, name="status")
cli.add_typer(delegate.commands, name="delegate")
cli.add_typer(claim.commands, name="claim")
cli.add_typer(succession.commands, name="succession")
cli.command()(sign)
cli.command()(inspect)
cli.command()(resolve)
cli.command()(factory)
cli.command()(payout)


@cli.command("version")
def show_version() -> None:
    """Print the version.

    Example: depin-id version
    """
    try:
        print(f"depin-id {version('depin-id')}")
    except PackageNotFoundError:
        print("depin-id (not installed: run from the source tree)")


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 2 with ``error: code: message`` on errors."""
    run(get_command(cli), argv, "depin-id")


if __name__ == "__main__":
    main()
