"""``depin-id peaq``: what a wallet sends to peaq, and what comes from there, checked.

Nothing here holds a chain key: calls are printed for a wallet.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from depin_id import strict_json
from depin_id.commands import peaq_calls, peaq_verify
from depin_id.commands.common import app, read_input, show
from depin_id.commands.peaq_input import MAX_INPUT, from_hex, read_document, wrong
from depin_id.errors import EncodingError
from depin_id.peaq import events, solana
from depin_id.peaq.calls import MAINNET
from depin_id.peaq.identifier import machine_did, machine_id
from depin_id.peaq.resolved import did_document
from depin_id.peaq.trust import issuer_message

commands = app(
    "Interoperate with peaq: documents, call data, events, machine numbers, signed packages.\n\n"
    "Calls are printed for a wallet to send: nothing here holds a chain key.\n\n"
    "Example: depin-id peaq machine-id Sensor 0xdead"
)
commands.add_typer(peaq_calls.commands, name="calldata")
commands.add_typer(peaq_verify.commands, name="verify")

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@commands.command()
def document(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON, or a value from the chain; - is stdin.")
    ],
    chain_id: Annotated[int, typer.Option(help="Of keys that are not named.")] = MAINNET,
    as_json: Json = False,
) -> None:
    """Write or read a document of generation A (peaq-sdk).

    JSON has controller, did_address, verification_methods (type, id, controller,
    public_key_multibase), services (id, type, service_endpoint, data), signature.

    Example: echo '{"controller": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"}' |
    depin-id peaq document - --json
    """
    found = read_document(source, chain_id)
    encoded = found.encode()
    shown: dict[str, Any] = {
        "did": found.id,
        "value": encoded.hex(),
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "trust": "attribute-only",
    }
    message = issuer_message(found).decode()
    if as_json:
        shown |= {"issuerMessage": message, "document": did_document(found)}
    else:
        shown["an issuer signs"] = message.split("\n")
    show(shown, as_json=as_json)


@commands.command("machine-id")
def machine(
    machine_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as Sensor.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Credential subject, hex.")],
    as_json: Json = False,
) -> None:
    """The number and DID of a machine of generation B (peaqOS), without asking the chain.

    Example: depin-id peaq machine-id Sensor 0xdead
    """
    number = machine_id(machine_type, from_hex(subject, "SUBJECT"))
    show({"machineId": str(number), "did": machine_did(number)}, as_json=as_json)


_FIELDS: Final = {
    *("machine_id", "event_type", "value", "timestamp", "currency", "raw_data", "trust_level"),
    *("source_chain_id", "source_tx_hash", "metadata"),
}


def _event(value: Any) -> events.Event:
    """An event of JSON: numbers may be texts, bytes are hexadecimal."""
    if not isinstance(value, dict) or not set(value) <= _FIELDS:
        wrong(f"an event has other members than {', '.join(sorted(_FIELDS))}")
    numbers = {}
    for name in ("machine_id", "event_type", "value", "timestamp", "trust_level"):
        numbers[name] = _integer(value.get(name, 0 if name in ("value", "trust_level") else None))
    texts = {}
    for name in ("raw_data", "source_tx_hash", "metadata"):
        given = value.get(name)
        if given is not None and type(given) is not str:
            wrong(f"{name} is not hexadecimal text")
        texts[name] = None if given is None else from_hex(given, name)
    default = "USD" if numbers["event_type"] == events.REVENUE else ""
    return events.Event(
        **numbers,
        currency=value.get("currency", default),
        data_hash=events.data_hash(texts["raw_data"]),
        source_chain_id=_integer(value.get("source_chain_id", 0)),
        source_tx_hash=texts["source_tx_hash"] or events.ZERO,
        metadata=texts["metadata"] or b"",
    )


def _integer(value: Any) -> int:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 78:
        return int(value)
    if type(value) is not int:
        raise EncodingError("peaq.event", "a number is missing, or not an integer")
    return value


@commands.command()
def event(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON event, or a list; - is stdin.")
    ],
    solana_submitter: Annotated[
        str | None, typer.Option("--solana", metavar="KEY", help="Who submits it on Solana.")
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="File whose hash goes into the event.")] = None,
    chain_id: Annotated[int, typer.Option(help="EIP-155 number of the chain.")] = MAINNET,
    as_json: Json = False,
) -> None:
    """What a wallet sends to submit an event; a list becomes one batch.

    Members: machine_id, event_type (0 revenue, 1 activity), value, timestamp, currency, raw_data,
    trust_level, source_chain_id, source_tx_hash, metadata. Bytes are hexadecimal.

    Example: echo '{"machine_id": "42", "event_type": 1, "timestamp": 1735000000}' |
    depin-id peaq event - --json
    """
    value = strict_json.parse(read_input(source, max_bytes=MAX_INPUT))
    if raw is not None:
        if not isinstance(value, dict) or "raw_data" in value:
            wrong("--raw is for one event without raw_data")
        value["raw_data"] = read_input(str(raw)).hex()
    found = [_event(item) for item in (value if isinstance(value, list) else [value])]
    if solana_submitter is not None:
        if isinstance(value, list):
            wrong("on Solana each event is an instruction of its own")
        made = solana.submit_event(found[0], solana.parse_key(solana_submitter))
        peaq_calls.show_instruction(made, as_json=as_json)
    elif isinstance(value, list):
        peaq_calls.show_call(events.submit_batch(found, chain_id=chain_id), as_json=as_json)
    else:
        peaq_calls.show_call(events.submit_event(found[0], chain_id=chain_id), as_json=as_json)
