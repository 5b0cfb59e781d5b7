"""``depin-id network``: make a network, print and write its card, sign the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import app, open_output, read_input, read_passphrase, show
from depin_id.commands.inspect import moment
from depin_id.network import MAX_CARD_BYTES, NetworkCard, load_card, read_card
from depin_id.networkdir import CARD_FILE, NetworkDir
from depin_id.reissue import MAX_REQUEST, CardRequest, reissue
from depin_id.witness import WitnessKey, WitnessPolicy

commands = app("Make a network and its card.")


def card_fields(card: NetworkCard) -> dict[str, Any]:
    """A card in words."""
    found: dict[str, Any] = {
        "network": card.network,
        "name": card.name,
        "number": card.number,
        "not_before": moment(card.not_before),
        "not_after": moment(card.not_after),
        "ack_kids": [key.kid.hex() for key in card.ack_keys],
        "log_origin": card.log_origin,
        "log_key": card.log_key.raw.hex(),
    }
    if card.witnesses is not None:
        found["witness_quorum"] = card.witnesses.quorum
        found["witnesses"] = [key.vkey for key in card.witnesses.keys]
    return found


Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", metavar="VKEY", help="A witness's key; repeat.")
]
Quorum = Annotated[
    int | None, typer.Option(help="How many witnesses have to have cosigned; all by default.")
]


def witness_policy(keys: list[str] | None, quorum: int | None) -> WitnessPolicy | None:
    """The policy that options name; None without any. Raises LogError, KeyRefused."""
    if not keys and quorum is None:
        return None
    named = tuple(WitnessKey.parse(key) for key in keys or ())
    return WitnessPolicy(named, len(named) if quorum is None else quorum)


@commands.command()
def new(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    name: Annotated[str, typer.Option(help="1 to 32 of a-z, 0-9 and -; stands in MQTT topics.")],
    origin: Annotated[str | None, typer.Option(help="Origin line of the log.")] = None,
    days: Annotated[int, typer.Option(help="How long the card is valid.")] = 3650,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line seals the key files.")
    ] = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a network: root, acknowledgement and log key (mode 0600), and the signed card.

    Example: depin-id network new net --name quiet-city
    """
    made = NetworkDir.create(
        directory,
        name,
        log_origin=origin,
        days=days,
        passphrase=read_passphrase(passphrase_file),
        witnesses=witness_policy(witness, quorum),
    )
    show(card_fields(made.card), as_json=as_json)


@commands.command()
def card(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The network's folder.")],
    output: Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="- is stdout.")] = "-",
) -> None:
    """Write the signed card, which devices and auditors get.

    Example: depin-id network card net -o card.cbor
    """
    _, data = load_card(directory / CARD_FILE)
    with open_output(output) as file:
        file.write(data)


@commands.command("reissue")
def next_card(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Holds root.key, card.cbor.")],
    request: Annotated[
        str, typer.Option(help="From `depin-verify keys new`: the public keys to name; - is stdin.")
    ],
    drop_old_ack: Annotated[
        bool, typer.Option("--drop-old-ack", help="Name no acknowledgement key of the card before.")
    ] = False,
    days: Annotated[int, typer.Option(help="How long the card is valid.")] = 3650,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the root key.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sign the next card with the root key, for operating keys that were made elsewhere.

    Example: depin-id network reissue net --request request.json
    """
    text = read_input(request, max_bytes=MAX_REQUEST)
    made = reissue(
        directory,
        CardRequest.from_json(text),
        drop_old_ack=drop_old_ack,
        days=days,
        passphrase=read_passphrase(passphrase_file),
    )
    show(card_fields(made), as_json=as_json)


@commands.command("show")
def show_card(
    file: Annotated[str, typer.Argument(metavar="CARD", help="The card's file; - is stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a card under its own root and print it.

    Example: depin-id network show card.cbor --json
    """
    show(card_fields(read_card(read_input(file, max_bytes=MAX_CARD_BYTES))), as_json=as_json)


@commands.command()
def witnesses(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The network's folder.")],
    witness: Witnesses = None,
    quorum: Quorum = None,
    days: Annotated[int, typer.Option(help="How long the new card is valid.")] = 3650,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the key files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sign the next card, which names the witnesses of the log; without --witness show them.

    Example: depin-id network witnesses net --witness witness.example/w1+... --quorum 1
    """
    opened = NetworkDir(directory, passphrase=read_passphrase(passphrase_file))
    policy = witness_policy(witness, quorum)
    if policy is not None:
        opened = opened.reissue(new_ack=False, days=days, witnesses=policy)
    show(card_fields(opened.card), as_json=as_json)
