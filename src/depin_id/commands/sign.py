"""``depin-id sign``: readings in, envelopes out."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

import typer

from depin_id.carried import machine_boot
from depin_id.commands.common import network_and_card, open_output, read_input, read_passphrase
from depin_id.device import Device
from depin_id.errors import ConfigError, TransportError
from depin_id.readings import Reading, read_stream
from depin_id.senml import MAX_RECORDS


def _open_text(name: str, stack: ExitStack) -> TextIO:
    if name == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="")
    try:
        return stack.enter_context(open(name, encoding="utf-8", newline=""))
    except OSError as error:
        raise TransportError("file.missing", f"{name}: {error.strerror or error}") from error


def _batches(readings: Iterator[Reading], size: int) -> Iterator[list[Reading]]:
    while batch := list(islice(readings, size)):
        yield batch


def sign(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The device's folder.")],
    network: Annotated[str, typer.Option(metavar="CARD-OR-DID", help="Whom it is for.")],
    source: Annotated[
        str, typer.Option("--in", metavar="FILE", help="CSV or SenML JSON; - is stdin.")
    ] = "-",
    output: Annotated[
        str, typer.Option("-o", "--out", metavar="FILE", help="Envelopes; - is stdout.")
    ] = "-",
    batch: Annotated[int, typer.Option(help="Readings in one envelope.")] = 60,
    subject: Annotated[
        str | None,
        typer.Option(help="#name of a sensor this gateway signs for; with --capability DID#name."),
    ] = None,
    capability: Annotated[
        str | None, typer.Option(metavar="FILE", help="What lets it sign for an owner's sensor.")
    ] = None,
    clock_error: Annotated[
        int, typer.Option(help="Error bound of this machine's clock in seconds.")
    ] = 1,
    no_clock: Annotated[
        bool, typer.Option("--no-clock", help="This machine's clock is not right.")
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the key file.")
    ] = None,
) -> None:
    """Sign readings. One envelope or more, as a CBOR Sequence.

    CSV has the header time,name,value,unit (time may be empty: now).

    Example: printf 'name,value,unit\\nlaeq,54.2,dB\\n' | depin-id sign dev --network card.cbor -o a
    """
    if not 1 <= batch <= MAX_RECORDS:
        raise ConfigError("usage", f"--batch is 1 to {MAX_RECORDS}")
    if clock_error < 0:
        raise ConfigError("usage", "--clock-error is not negative")
    did, card = network_and_card(network)
    shown = None if capability is None else _identity(capability)
    with ExitStack() as stack:
        device = stack.enter_context(
            Device.open(directory, passphrase=read_passphrase(passphrase_file), boot=machine_boot())
        )
        if card is not None:
            device.take_card(card)
        readings = read_stream(_open_text(source, stack))
        # Read before the output is opened: a wrong first line leaves an older file as it is.
        first = next(_batches(readings, batch), None)
        if first is None:
            raise ConfigError("usage", "the input holds no readings")
        clock = None if no_clock else clock_error
        with open_output(output) as file:
            for found in _with_first(first, _batches(readings, batch)):
                signed = device.sign(
                    found, network=did, subject=subject, capability=shown, clock=clock
                )
                file.write(signed)
                file.flush()


def _identity(name: str) -> bytes:
    """Identity of the capability in a file, 16 bytes."""
    # Most devices sign for nobody else, and load nothing of this.
    from depin_id.capability import MAX_BYTES, read_chain

    return read_chain(read_input(name, max_bytes=MAX_BYTES))[-1].id


def _with_first(first: list[Reading], others: Iterator[list[Reading]]) -> Iterator[list[Reading]]:
    yield first
    yield from others
