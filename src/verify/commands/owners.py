"""``depin-verify capability``, ``owner`` and ``succeed``: who speaks for a device, and has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from depin_id.capability import MAX_BYTES
from depin_id.commands.common import app, read_input, show
from depin_id.owners.twofold import MAX_TWOFOLD
from depin_id.printable import json_text, printable
from verify.commands.common import AsJson, Directory, read_text
from verify.control import perform_on

capability = app("Capabilities: on whose behalf gateways sign, within which bounds.")
owner = app("Owners: whose devices are, and which wallets they are paid to.")

Statement = Annotated[str, typer.Argument(metavar="FILE", help="The statement; - is stdin.")]
Did = Annotated[str, typer.Argument(metavar="DID", help="A device's DID.")]


def _hex(name: str, limit: int = MAX_TWOFOLD) -> str:
    return read_input(name, max_bytes=limit).hex()


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat()


# --- capabilities ---------------------------------------------------------------------------------


@capability.command()
def add(
    directory: Directory,
    file: Annotated[str, typer.Argument(metavar="CHAIN", help="The capability; - is stdin.")],
    proof: Annotated[
        str, typer.Option(metavar="FILE", help='Proof of possession, for "capability"; -.')
    ],
    as_json: AsJson = False,
) -> None:
    """Take a capability that a gateway showed, with its proof over a challenge of this network.

    Example: depin-verify capability add agg chain.cbor --proof proof.cbor
    """
    request = {"op": "capability", "chain": _hex(file, MAX_BYTES), "proof": _hex(proof)}
    show(perform_on(directory, request), as_json=as_json)


@capability.command("list")
def list_capabilities(directory: Directory, as_json: AsJson = False) -> None:
    """List the capabilities that were shown, and what is used of each.

    Example: depin-verify capability list agg
    """
    answer = perform_on(directory, {"op": "capabilities"})
    if as_json:
        print(json_text(answer, indent=2))
        return
    for item in answer["capabilities"]:
        used = f"{item['used']}/{'any' if item['max_count'] is None else item['max_count']}"
        until = _moment(item["expires_ms"])
        print(printable(f"{item['id']}  {item['standing']:<22}  {used:<12}  until {until}"))
        print(printable(f"    {item['issuer']} -> {item['holder']}"))
        print(printable(f"    {', '.join(item['operations'])}: {' '.join(item['selector'])}"))


@capability.command()
def withdraw(
    directory: Directory,
    identity: Annotated[str, typer.Argument(metavar="ID", help="32 hexadecimal digits.")],
    reason: Annotated[str, typer.Option(help="For the journal; nothing personal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Withdraw a capability from now on, with all that were derived from it.

    Example: depin-verify capability withdraw agg 00112233445566778899aabbccddeeff
    """
    request = {"op": "capability-withdraw", "id": identity, "reason": reason}
    show(perform_on(directory, request), as_json=as_json)


# --- owners ---------------------------------------------------------------------------------------


@owner.command("show")
def show_owner(
    directory: Directory,
    did: Annotated[str, typer.Argument(metavar="DID", help="Of a device, or of an owner.")],
    as_json: AsJson = False,
) -> None:
    """Show whose a device is and was, or what an owner has.

    Example: depin-verify owner show agg did:key:z6Mk...
    """
    answer = perform_on(directory, {"op": "owners", "did": did})
    if not as_json and "history" in answer:
        answer["history"] = [
            f"{_moment(item['since'])}  {item['how']:<8}  {item['owner']}"
            for item in answer["history"]
        ]
    show(answer, as_json=as_json)


@owner.command("set")
def set_owner(
    directory: Directory,
    did: Did,
    to: Annotated[str, typer.Option(metavar="DID", help="The owner's DID.")],
    as_json: AsJson = False,
) -> None:
    """Say whose a device is, on the operator's word alone.

    Example: depin-verify owner set agg did:key:z6MkDevice... --to did:key:z6MkOwner...
    """
    show(perform_on(directory, {"op": "owner", "did": did, "owner": to}), as_json=as_json)


@owner.command()
def claim(directory: Directory, file: Statement, as_json: AsJson = False) -> None:
    """Take a claim that was made with the claim code of a device; the first good one wins.

    Example: depin-verify owner claim agg claim.cbor
    """
    show(perform_on(directory, {"op": "claim", "statement": _hex(file)}), as_json=as_json)


@owner.command()
def transfer(
    directory: Directory,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The ownership credential, JSON; - is stdin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Take an ownership credential that the present owner of a device signed.

    Example: depin-verify owner transfer agg ownership.json
    """
    show(perform_on(directory, {"op": "transfer", "credential": read_text(file)}), as_json=as_json)


@owner.command()
def wallet(directory: Directory, file: Statement, as_json: AsJson = False) -> None:
    """Bind the payout wallet that an owner names (`depin-id payout`); the newest counts.

    Example: depin-verify owner wallet agg payout.cbor
    """
    show(perform_on(directory, {"op": "wallet", "statement": _hex(file)}), as_json=as_json)


# --- succession -----------------------------------------------------------------------------------


def succeed(
    directory: Directory,
    file: Statement,
    by: Annotated[
        str | None,
        typer.Option("--capability", metavar="FILE", help="Of an owner's delegate who vouches."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a device's next key on the word of whom the policy lets vouch for it.

    Example: depin-verify succeed agg succession.cbor
    """
    request: dict[str, Any] = {"op": "succeed", "statement": _hex(file)}
    if by is not None:
        request["capability"] = _hex(by, MAX_BYTES)
    show(perform_on(directory, request), as_json=as_json)
