"""``depin-verify attest``, ``activate``, ``attestations``: what devices prove about themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from depin_id.attestation.message import MAX_MESSAGE
from depin_id.commands.common import open_output, read_input, show
from depin_id.printable import json_text, printable
from verify.commands.common import AsJson, Directory
from verify.control import perform_on
from verify.results.activation import MAX_REQUEST


def attest(
    directory: Directory,
    file: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Of one of `depin-id attest`; - is stdin.")
    ],
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="Where to write the signed result; -.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Appraise what a device shows; the result becomes an entry, and goes back to the device.

    Exit 0 when all that the evidence says is affirmed, 1 when it is authentic and is not.

    Example: depin-verify attest agg evidence.cbor -o result.cbor
    """
    message = read_input(file, max_bytes=MAX_MESSAGE)
    answer = perform_on(directory, {"op": "attest", "message": message.hex()})
    token = bytes.fromhex(answer.pop("result"))
    if out is not None:
        with open_output(out) as stream:
            stream.write(token)
    if out != "-":
        _show_result(answer | ({"out": out} if out else {}), as_json=as_json)
    if not answer["affirmed"]:
        raise typer.Exit(1)


def _show_result(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json_text(answer, indent=2))
        return
    for name, passed, detail in answer.pop("steps"):
        print(f"  {'ok ' if passed else 'NOT'} {name}{': ' if detail else ''}{printable(detail)}")
    answer["not_after"] = _moment(answer["not_after"])
    parked = answer.pop("parked")
    answer["taken_up"] = parked["accepted"]
    show(answer, as_json=False)


def activate(
    directory: Directory,
    file: Annotated[
        str, typer.Argument(metavar="REQUEST", help="Of `depin-id attest tpm-request`; - is stdin.")
    ],
    out: Annotated[str, typer.Option("-o", "--out", help="Where to write the credential; -.")],
    as_json: AsJson = False,
) -> None:
    """Make a credential that only the TPM of a trusted certificate can open, for one of its keys.

    Example: depin-verify activate agg request.cbor -o credential.bin
    """
    request = read_input(file, max_bytes=MAX_REQUEST)
    answer = perform_on(directory, {"op": "activate", "request": request.hex()})
    with open_output(out) as stream:
        stream.write(bytes.fromhex(answer.pop("credential")))
    if out != "-":
        show(answer | {"out": out}, as_json=as_json)


def attestations(
    directory: Directory,
    did: Annotated[str | None, typer.Option(help="Of this device alone.")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Only hardware that more than one device has shown.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="With --did: write its newest result, signed; -."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what devices have attested, and which of them share one piece of hardware.

    Examples: depin-verify attestations agg --shared

    depin-verify attestations agg --did did:key:z... -o result.cbor
    """
    if out is not None:
        answer = perform_on(directory, {"op": "attestation-export", "did": did})
        with open_output(out) as stream:
            stream.write(bytes.fromhex(answer.pop("result")))
        if out != "-":
            show(answer | {"out": out}, as_json=as_json)
        return
    request = {"op": "attestations", "did": did, "shared": shared}
    answer = perform_on(directory, request)
    if as_json:
        print(json_text(answer, indent=2))
        return
    for row in answer["results"]:
        print(
            f"{printable(row['did'])}  {row['level']}  {row['standing']}  boot {row['boot']}  "
            f"until {_moment(row['not_after'])}  result {row['ear']}  hardware {row['root']}"
        )
    for row in answer["shared"]:
        kind = "one device's alone" if row["unique"] else "of a batch"
        print(f"hardware {row['root'][:16]}... ({kind}): {', '.join(map(printable, row['dids']))}")
    if not answer["results"]:
        print("no device has attested")


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat()
