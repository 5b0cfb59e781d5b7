"""``depin-id device``: make a device, print its enrolment document."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.ack import MAX_ACK_BYTES
from depin_id.claims import Place
from depin_id.commands.common import app, open_output, read_input, read_passphrase, show
from depin_id.commands.provision import provision
from depin_id.device import Device
from depin_id.device_file import DEVICE_FILE
from depin_id.device_file import read_enrolment as read_device
from depin_id.enrolment import Enrolment, parse_degrees
from depin_id.errors import ConfigError, StateError
from depin_id.keys import Signer
from depin_id.network import load_card
from depin_id.possession import enrol_statement
from depin_id.printable import json_text
from depin_id.statements import MAX_STATEMENT

commands = app("Make a device and show what a network needs to know of it.")

_PROFILE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}(@[0-9]{1,9})?")


def _print(enrolment: Enrolment, as_json: bool) -> None:
    document: dict[str, Any] = enrolment.to_json()
    if as_json:
        # One line: documents of many devices can be put into one file (JSON Lines).
        print(json_text(document))
        return
    document["kid"] = enrolment.key.kid.hex()
    show(document, as_json=False)


def _place(lat: str | None, lon: str | None) -> Place | None:
    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        raise ConfigError("usage", "a place needs both --lat and --lon")
    return Place(parse_degrees(lat), parse_degrees(lon))


@commands.command()
def new(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    curve: Annotated[str, typer.Option(help="ed25519 or p256.")] = "ed25519",
    name: Annotated[str, typer.Option(help="For people.")] = "",
    profile: Annotated[str, typer.Option(help="Sensor profile, such as noise@1.")] = "",
    owner: Annotated[str, typer.Option(help="DID or account of the owner.")] = "",
    gateway: Annotated[bool, typer.Option("--gateway", help="It carries for others.")] = False,
    lat: Annotated[str | None, typer.Option(help="Latitude in degrees, where it stands.")] = None,
    lon: Annotated[str | None, typer.Option(help="Longitude in degrees.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line seals the key file.")
    ] = None,
    tpm: Annotated[
        bool, typer.Option("--tpm", help="Make the key (P-256) in the machine's TPM.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a device: a fresh key (mode 0600) and its position store.

    With --tpm the key never leaves the TPM: the folder holds what this TPM alone can use. The TPM
    is found as tpm2-tools find it, by TPM2TOOLS_TCTI.

    Example: depin-id device new dev --name "roof, north" --profile noise@1
    """
    if tpm and passphrase_file is not None:
        raise ConfigError("usage", "a key in a TPM has no passphrase")
    if curve not in ("ed25519", "p256"):
        raise ConfigError("usage", f"there is no curve {curve[:40]!r}", hint="ed25519 or p256")
    if profile and _PROFILE.fullmatch(profile) is None:
        raise ConfigError(
            "usage",
            f"{profile[:40]!r} is not the name of a profile",
            hint="1 to 32 of a-z, 0-9 and -, with its version: noise@1",
        )
    with Device.create(
        directory,
        curve="p256" if curve == "p256" else "ed25519",
        name=name,
        profile=profile,
        owner=owner,
        role="gateway" if gateway else "device",
        place=_place(lat, lon),
        passphrase=read_passphrase(passphrase_file),
        signer=_tpm_key(directory) if tpm else None,
    ) as device:
        _print(device.enrolment, as_json)


def _tpm_key(directory: Path) -> Signer:
    # Most devices have no TPM, and load nothing of it.
    from depin_id.attestation.tpm_keys import TpmSigner

    if (directory / DEVICE_FILE).exists():
        raise StateError("state.exists", f"{directory} holds a device already")
    return TpmSigner.new()


@commands.command("show")
def show_device(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help=f"Holds {DEVICE_FILE}.")],
    did: Annotated[
        str | None, typer.Option(help="Under this DID, whose history or certificate names its key.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The enrolment document.")] = False,
) -> None:
    """Print who the device is; with --json the enrolment document for the network.

    Example: depin-id device show dev --json > enrolment.json
    """
    enrolment = read_device(directory)
    _print(enrolment if did is None else replace(enrolment, did=did), as_json)


@commands.command()
def prove(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help=f"Holds {DEVICE_FILE}.")],
    challenge: Annotated[str, typer.Option(help="The network's signed challenge; -.")],
    network: Annotated[Path, typer.Option(help="The network's card, or the folder that has it.")],
    out: Annotated[str, typer.Option("-o", "--out", help="Where to write the proof; -.")],
    certificate: Annotated[
        str | None, typer.Option(help="Its birth certificate; it is shown with the proof.")
    ] = None,
    statement: Annotated[
        bool, typer.Option("--statement", help="Write the message that asks to be enrolled.")
    ] = False,
    not_earlier: Annotated[
        bool, typer.Option("--not-earlier", help="What was sent before does not count.")
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens a sealed key file.")
    ] = None,
) -> None:
    """Answer a challenge: prove that this device holds its key.

    With --statement the result is what the device itself sends on its uplink topic, or posts to
    /v1/statements, where the policy lets devices enrol by themselves.

    Example: depin-id device prove dev --challenge challenge.cbor --network net/card.cbor
    --certificate birth.json -o proof.cbor
    """
    card, _ = load_card(network / "card.cbor" if network.is_dir() else network)
    shown = None if certificate is None else read_input(certificate, max_bytes=MAX_STATEMENT)
    if statement and shown is None:
        raise ConfigError("usage", "--statement needs the --certificate that is shown")
    asked = read_input(challenge, max_bytes=MAX_ACK_BYTES)
    with Device.open(directory, passphrase=read_passphrase(passphrase_file)) as device:
        made = device.prove(asked, card=card, certificate=shown, earlier=not not_earlier)
    if statement and shown is not None:
        made = enrol_statement(made, shown)
    with open_output(out) as file:
        file.write(made)


commands.command("provision")(provision)
