"""``depin-verify keys``: operating keys and the network card that names them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from depin_id.commands.common import app, open_output, read_input, show
from depin_id.errors import ConfigError
from depin_id.network import MAX_CARD_BYTES
from verify.cardchange import activate as put_in_force
from verify.commands.common import AsJson, Directory
from verify.control import perform_on
from verify.operating import describe, new_keys
from verify.workspace import Workspace

commands = app(
    "Operating keys: what acknowledges, what signs the log, and the card that names them.\n\n"
    "Example: depin-verify keys list agg"
)


@commands.command("list")
def list_keys(directory: Directory, as_json: AsJson = False) -> None:
    """Show the card in force and every key at hand.

    Example: depin-verify keys list agg
    """
    found = describe(Workspace(directory))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    show({name: found[name] for name in ("network", "card")}, as_json=False)
    for item in found["keys"]:
        print(f"{item['role']}  {item['kid']}  {item['status']:<8}  {item['file']}")
    for item in found["elsewhere"]:
        print(f"{item['role']}  {item['kid']}  named by the card, not at hand")
    for message in found["unreadable"]:
        print(f"unreadable  {message}")


@commands.command()
def new(
    directory: Directory,
    ack: Annotated[bool, typer.Option("--ack", help="A new acknowledgement key.")] = False,
    log: Annotated[bool, typer.Option("--log", help="A new log key.")] = False,
    out: Annotated[str, typer.Option("-o", "--out", help="The request; - is stdout.")] = "-",
) -> None:
    """Make new keys, and the request that the root's holder signs a card for.

    The private keys stay here. Compare the kids with the root's holder over another way.

    Example: depin-verify keys new agg --ack -o request.json
    """
    roles = tuple(role for role, wanted in (("ack", ack), ("log", log)) if wanted)
    if not roles:
        raise ConfigError("usage", "name the key to make", hint="--ack, --log, or both")
    request = new_keys(Workspace(directory), roles)
    with open_output(out) as file:
        file.write((json.dumps(request, indent=2) + "\n").encode())
    if out != "-":
        found = describe(Workspace(directory))["keys"]
        pending = {item["role"]: item["kid"] for item in found if item["status"] == "pending"}
        show({f"{role} kid": pending[role] for role in roles} | {"out": out}, as_json=False)


@commands.command()
def activate(
    directory: Directory,
    card: Annotated[str, typer.Argument(metavar="CARD", help="The signed card, or -.")],
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove the earlier keys at once (see retire).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a newer card and its keys in force; the change is an entry of the log, without restart.

    The former log key signs checkpoints beside the new one until it is retired.

    Example: depin-verify keys activate agg card.cbor
    """
    answer = put_in_force(directory, read_input(card, max_bytes=MAX_CARD_BYTES))
    if drop_old:
        answer |= perform_on(directory, {"op": "retire"})
    show(answer, as_json=as_json)


@commands.command()
def retire(directory: Directory, as_json: AsJson = False) -> None:
    """Remove the private keys of earlier cards.

    Example: depin-verify keys retire agg
    """
    show(perform_on(directory, {"op": "retire"}), as_json=as_json)
