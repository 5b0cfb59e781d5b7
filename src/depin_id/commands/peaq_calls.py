"""``depin-id peaq calldata``: address and call data for DIDs, storage and roles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from depin_id import base58
from depin_id.commands.common import app, read_input, show
from depin_id.commands.peaq_input import read_document
from depin_id.errors import DIDError
from depin_id.evm import parse_address
from depin_id.peaq import calls, machine
from depin_id.peaq.calls import MAINNET, Call
from depin_id.peaq.identifier import parse_peaq_did
from depin_id.peaq.solana import Instruction

commands = app(
    "What a wallet sends: to, data, value, chain id.\n\n"
    "Example: depin-id peaq calldata remove 0x9858EfFD232B4033E47d90003D41EC34EcaEda94 device-1"
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Chain = Annotated[int, typer.Option(help="EIP-155 number of the chain.")]
Account = Annotated[str, typer.Argument(metavar="ADDRESS", help="The DID's address.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The attribute's name, 64 bytes.")]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON, or a value from the chain; - is stdin.")
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Name of the item, 64 bytes.")]
Item = Annotated[str, typer.Argument(metavar="ITEM", help="Text, 256 bytes; - reads stdin.")]


class Kind(StrEnum):
    """What is made and assigned."""

    role = "role"
    permission = "permission"
    group = "group"
    user = "user"


def show_call(call: Call, *, as_json: bool) -> None:
    """Print a call as a wallet takes it."""
    show(call.to_json(), as_json=as_json)


def show_instruction(instruction: Instruction, *, as_json: bool) -> None:
    """Print an instruction as a wallet takes it."""
    if as_json:
        show(instruction.to_json(), as_json=True)
        return
    accounts = [
        f"{base58.encode(a.address)}  {a.role}{', signs' * a.signs}{', written' * a.written}"
        for a in instruction.accounts
    ]
    shown = {"programId": base58.encode(instruction.program), "keys": accounts}
    show(shown | {"data": instruction.data.hex()}, as_json=False)


def _document_call(source: str, name: str, chain_id: int, *, update: bool) -> Call:
    found = read_document(source, chain_id)
    subject = parse_peaq_did(found.id)
    if subject.form != "evm":
        raise DIDError("did.malformed", f"{found.id} is not a DID of an EVM address")
    make = calls.update_attribute if update else calls.add_attribute
    return make(subject.raw, name, found, chain_id=chain_id)


@commands.command()
def add(name: Name, source: File, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Write a document under a name.

    Example: depin-id peaq calldata add device-1 document.json --json
    """
    show_call(_document_call(source, name, chain_id, update=False), as_json=as_json)


@commands.command()
def update(name: Name, source: File, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Replace the document under a name.

    Example: depin-id peaq calldata update device-1 document.json
    """
    show_call(_document_call(source, name, chain_id, update=True), as_json=as_json)


@commands.command()
def remove(account: Account, name: Name, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Remove the document under a name.

    Example: depin-id peaq calldata remove 0x9858EfFD232B4033E47d90003D41EC34EcaEda94 device-1
    """
    made = calls.remove_attribute(parse_address(account), name, chain_id=chain_id)
    show_call(made, as_json=as_json)


@commands.command()
def read(account: Account, name: Name, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Read the document under a name: for eth_call, changes nothing.

    Example: depin-id peaq calldata read 0x9858EfFD232B4033E47d90003D41EC34EcaEda94 device-1
    """
    made = calls.read_attribute(parse_address(account), name, chain_id=chain_id)
    show_call(made, as_json=as_json)


def _item(text: str) -> str | bytes:
    return read_input("-", max_bytes=calls.MAX_ITEM) if text == "-" else text


@commands.command("item-add")
def item_add(key: Key, item: Item, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Store an item.

    Example: depin-id peaq calldata item-add device-1/log bafkreigh2akiscaildc
    """
    show_call(calls.add_item(key, _item(item), chain_id=chain_id), as_json=as_json)


@commands.command("item-update")
def item_update(key: Key, item: Item, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Replace an item.

    Example: depin-id peaq calldata item-update device-1/log bafkreigh2akiscaildc
    """
    show_call(calls.update_item(key, _item(item), chain_id=chain_id), as_json=as_json)


@commands.command("item-remove")
def item_remove(key: Key, chain_id: Chain = MAINNET, as_json: Json = False) -> None:
    """Remove an item.

    Example: depin-id peaq calldata item-remove device-1/log
    """
    show_call(calls.remove_item(key, chain_id=chain_id), as_json=as_json)


Identifier = Annotated[str, typer.Argument(metavar="ID", help="32 characters.")]


@commands.command()
def create(
    kind: Annotated[Kind, typer.Argument(help="role, permission or group.")],
    identifier: Identifier,
    name: Annotated[str, typer.Argument(metavar="NAME", help="For people.")],
    chain_id: Chain = MAINNET,
    as_json: Json = False,
) -> None:
    """Make a role, permission or group.

    Example: depin-id peaq calldata create role aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa verifier
    """
    show_call(calls.create_entity(kind, identifier, name, chain_id=chain_id), as_json=as_json)


@commands.command()
def assign(
    kind: Annotated[Kind, typer.Argument(help="What is assigned.")],
    identifier: Identifier,
    to: Annotated[Kind, typer.Argument(help="To what.")],
    target: Annotated[str, typer.Argument(metavar="ID", help="32 characters.")],
    chain_id: Chain = MAINNET,
    as_json: Json = False,
) -> None:
    """Assign a permission to a role, a role to a user or group, or a user to a group.

    Example: depin-id peaq calldata assign role aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    user uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu
    """
    made = calls.assign(kind, identifier, to, target, chain_id=chain_id)
    show_call(made, as_json=as_json)


@commands.command("machine-document")
def machine_document(
    did: Annotated[str, typer.Argument(metavar="DID", help="did:peaq: and a number.")],
    chain_id: Chain = MAINNET,
    as_json: Json = False,
) -> None:
    """Ask the registry for a machine's document: for eth_call, changes nothing.

    Example: depin-id peaq calldata machine-document did:peaq:42
    """
    subject = parse_peaq_did(did)
    if subject.form != "machine":
        raise DIDError("did.malformed", f"{did} is not a DID of a machine's number")
    show_call(machine.did_document(subject.machine_id, chain_id=chain_id), as_json=as_json)
