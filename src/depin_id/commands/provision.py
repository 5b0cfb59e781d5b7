"""``depin-id device provision``: a device at a serial port, from new to tested and locked."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import network_and_card, show
from depin_id.device_lines import BAUD, open_port
from depin_id.device_station import TIMEOUT, Station
from depin_id.durable import read_file, replace_file
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, StateError, TransportError
from depin_id.factory.lines import FactoryFile, FactoryLine
from depin_id.keys import PublicKey
from depin_id.printable import json_text, printable
from depin_id.provisioning import Provisioned, Provisioner

_SEED = re.compile(rb"[0-9a-fA-F]{64}\s*")


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _seed(path: Path | None) -> bytes | None:
    if path is None:
        return None
    data = read_file(path, max_bytes=256, private=True)
    if data is None:
        raise StateError("state.missing", f"there is no key file {path}")
    if len(data) == 32:
        return data
    if _SEED.fullmatch(data) is None:
        raise ConfigError("provision.seed", f"{path} is neither 32 bytes nor 64 hexadecimal digits")
    return bytes.fromhex(data.decode().strip())


def _enrolment(own: Enrolment, line: FactoryLine) -> Enrolment:
    """What the network is told: what the station says, and where it says nothing, the device."""
    said = line.check(own.key)
    if said.profile and own.profile and said.profile != own.profile:
        raise ConfigError(
            "provision.profile",
            f"the firmware has the profile {own.profile!r}, --profile says {said.profile!r}",
            hint="is it the firmware for this device?",
        )
    return replace(
        own,
        name=said.name or own.name,
        profile=said.profile or own.profile,
        owner=said.owner or own.owner,
        role=said.role,
    )


def _run(provisioner: Provisioner) -> Provisioned:
    try:
        return provisioner.run()
    except TransportError as error:
        if error.code not in ("device.silent", "port.lost"):
            raise
        hint = f"{error.hint}; the same command goes on where this one ended"
        raise TransportError(error.code, error.message, hint=hint) from error


def provision(
    port: Annotated[str, typer.Option(help="Path of the port; socket://HOST:PORT; unix:PATH.")],
    network: Annotated[str, typer.Option(help="The network's card, or its DID.")],
    serial_no: Annotated[str, typer.Option("--serial", help="The serial on its label.")],
    write_key: Annotated[
        Path | None,
        typer.Option(help="A key to write (mode 0600: 32 bytes, or hex). Default: it makes one."),
    ] = None,
    baud: Annotated[int, typer.Option(min=50, max=4_000_000)] = BAUD,
    timeout: Annotated[
        float, typer.Option(min=0.05, max=600, help="Seconds an answer may take.")
    ] = TIMEOUT,
    profile: Annotated[str, typer.Option(help="Sensor profile, such as noise@1.")] = "",
    name: Annotated[str, typer.Option(help="For people.")] = "",
    owner: Annotated[str, typer.Option(help="DID or account of the owner.")] = "",
    gateway: Annotated[bool, typer.Option("--gateway", help="It carries for others.")] = False,
    model: Annotated[str, typer.Option(help="For the birth certificate.")] = "",
    hardware_revision: Annotated[str, typer.Option(help="Likewise.")] = "",
    key_protection: Annotated[
        str, typer.Option(help="Likewise: software, tee, tpm or secure-element.")
    ] = "",
    mac: Annotated[str, typer.Option(help="Hardware address.")] = "",
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Leave it open: for trying out.")
    ] = False,
    factory_line: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append its line to this CSV file.")
    ] = None,
    enrolment_file: Annotated[
        Path | None,
        typer.Option("--enrolment", metavar="FILE", help="Write its enrolment document there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Provision a device over its serial line: key, network, self-test, lock, read back.

    A device that is locked is verified and never written. What was cut off goes on with the same
    command. It prints the line for `depin-id factory` and the enrolment document.

    Example: depin-id device provision --port /dev/ttyUSB0 --network net/card.cbor --serial N1-0007
    --model N1 --hardware-revision B --factory-line devices.csv --enrolment device.json
    """
    line = FactoryLine(
        serial_no,
        profile=profile,
        name=name,
        owner=owner,
        role="gateway" if gateway else "",
        model=model,
        hardware_revision=hardware_revision,
        key_protection=key_protection,
        mac=mac,
    )
    seed = _seed(write_key)
    did, _ = network_and_card(network)
    book = None if factory_line is None else FactoryFile(factory_line)

    def expect(key: PublicKey | None) -> None:
        if book is not None:
            book.look(line, key)

    def accept(own: Enrolment) -> None:
        _enrolment(own, line)

    opened = open_port(port, baud=baud)
    try:
        made = _run(
            Provisioner(
                Station(opened, timeout=timeout, log=lambda text: _say(f"  device: {text}")),
                did,
                seed=seed,
                lock=not no_lock,
                expect=expect,
                accept=accept,
                say=_say,
            )
        )
    finally:
        opened.close()
    enrolment = _enrolment(made.enrolment, line)
    if book is not None:
        new = book.append(line, enrolment.key)
        _say(f"{factory_line}: {'appended' if new else 'has its line already'}")
    if enrolment_file is not None:
        replace_file(enrolment_file, f"{json_text(enrolment.to_json())}\n".encode(), mode=0o644)
    if not made.locked:
        _say("NOT LOCKED: whoever has the port can give it another key")
    _show(made, enrolment, line, as_json)


def _show(made: Provisioned, enrolment: Enrolment, line: FactoryLine, as_json: bool) -> None:
    document: dict[str, Any] = enrolment.to_json()
    if as_json:
        print(
            json_text(
                {
                    "serial": line.serial,
                    "version": made.version,
                    "network": made.network,
                    "locked": made.locked,
                    "changed": made.changed,
                    "factory_line": line.text(enrolment.key),
                    "enrolment": document,
                }
            )
        )
        return
    show(
        {"serial": line.serial, "locked": made.locked, "kid": enrolment.key.kid.hex()},
        as_json=False,
    )
    print(f"\n{line.text(enrolment.key)}\n{json_text(document)}")
