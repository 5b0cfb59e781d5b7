"""``depin-verify status``, ``explain``, ``gaps``, ``receipt`` and ``check-receipt``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from depin_id.commands.common import read_input, show
from depin_id.commands.network import Quorum, Witnesses, witness_policy
from depin_id.durable import replace_file
from depin_id.errors import ConfigError, EncodingError, StateError
from depin_id.network import load_card
from depin_id.networkdir import NetworkDir
from depin_id.printable import json_text, printable
from verify.commands.common import AsJson, Directory, flat, parse_position
from verify.explain import explain as make_explanation
from verify.gaps import find_gaps
from verify.reading import Reader
from verify.receipt import MAX_RECEIPT, make_receipt
from verify.receipt import check_receipt as check

Device = Annotated[str | None, typer.Option("--device", help="The device's DID (or DID#sensor).")]
At = Annotated[str | None, typer.Option("--position", help="EPOCH/N in the device's stream.")]
Index = Annotated[int | None, typer.Option("--index", help="Index of the entry in the log.")]


def status(directory: Directory, as_json: AsJson = False) -> None:
    """Show what an aggregator holds.

    Example: depin-verify status agg
    """
    with Reader(directory) as reader:
        found = reader.status()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    show(flat(found), as_json=False)


def _indexes(
    reader: Reader, device: str | None, position: str | None, index: int | None
) -> list[int]:
    if (device is None) == (index is None):
        raise ConfigError("usage", "name either --device DID [--position E/N] or --index I")
    return list(reader.find(did=device, position=parse_position(position), index=index))


def explain(
    directory: Directory,
    device: Device = None,
    position: At = None,
    index: Index = None,
    as_json: AsJson = False,
) -> None:
    """Say in words what happened to an envelope, and why.

    Example: depin-verify explain agg --device did:key:z6Mk... --position 1/0
    """
    with Reader(directory) as reader:
        found = [
            make_explanation(reader, item) for item in _indexes(reader, device, position, index)
        ]
    if not found:
        raise _nothing()
    if as_json:
        print(json_text([item.to_json() for item in found], indent=2))
    else:
        print("\n\n".join(item.text for item in found))


def gaps(
    directory: Directory,
    device: Annotated[
        str | None, typer.Option("--device", help="A DID, DID#sensor or kid; else every stream.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List which positions are missing, and which of them their gateway reported as given up.

    With --json one line a stream. A report explains; what is missing is not paid either way.

    Example: depin-verify gaps agg --device did:key:z6Mk...
    """
    told = False
    with Reader(directory) as reader:
        for found in find_gaps(reader, device):
            told = True
            if as_json:
                print(json_text(found.to_json()))
            else:
                print("\n".join(map(printable, found.text.split("\n"))))
    if not told and not as_json:
        print("nothing is missing")


def _nothing() -> StateError:
    return StateError(
        "state.no_entry",
        "there is no such entry",
        hint="what is not authenticated, over quota or waits for its device to attest is only "
        "counted: see `depin-verify status` and `depin-verify attestations`",
    )


def receipt(
    directory: Directory,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write it.")],
    device: Device = None,
    position: At = None,
    index: Index = None,
    format_: Annotated[
        str, typer.Option("--format", help="The proof in it: tlog-proof or cose (RFC 9942).")
    ] = "tlog-proof",
    as_json: AsJson = False,
) -> None:
    """Write a receipt that anyone can check offline, without the operator.

    Example: depin-verify receipt agg --device did:key:z6Mk... --position 1/0 -o r.receipt
    """
    if format_ not in ("tlog-proof", "cose"):
        raise ConfigError("usage", f"{format_[:40]!r} is no form of a proof: tlog-proof or cose")
    with Reader(directory) as reader:
        found = _indexes(reader, device, position, index)
        if not found:
            raise _nothing()
        # At a forked position the first entry stands; of a whole device the newest is meant.
        chosen = found[-1] if index is None and position is None else found[0]
        signer = None
        if format_ == "cose":
            signer = NetworkDir(reader.workspace.operating).log_signer
        data = make_receipt(reader, chosen, cose_signer=signer)
    replace_file(out, data, mode=0o644)
    show({"index": chosen, "bytes": len(data), "out": str(out)}, as_json=as_json)


def check_receipt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A receipt, or -.")],
    network: Annotated[
        str | None, typer.Option(help="The network's DID to pin; else the card vouches for itself.")
    ] = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    card: Annotated[
        Path | None,
        typer.Option(help="The newest card you know: a receipt under an older one is refused."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a receipt offline; exit 2 with the reason when it does not hold.

    Without --witness those have to have cosigned that the network's card names, if it names any.

    Example: depin-verify check-receipt r.receipt --network did:key:z6Mk...
    """
    data = read_input(file, max_bytes=MAX_RECEIPT)
    least = 0 if card is None else load_card(card, network=network)[0].number
    try:
        policy = witness_policy(witness, quorum)
        checked = check(data, network=network, least_card=least, witnesses=policy)
    except EncodingError as error:
        raise EncodingError(
            error.code,
            f"{file} is no receipt: {error.message}",
            hint="name a file that `depin-verify receipt` wrote, whole",
        ) from error
    found = checked.to_json()
    if as_json:
        print(json_text(found, indent=2))
    else:
        seen = [f"{item['name']} at {item['time']}" for item in found.pop("witnesses")]
        show(
            {
                name: ", ".join(map(str, value)) if isinstance(value, list) else value
                for name, value in (found | {"witnesses": seen}).items()
                if name != "readings"
            },
            as_json=False,
        )
        for row in found.get("readings") or []:
            counts = "counts" if row["counts"] else row.get("code") or "context"
            print(printable(f"{row['name']} = {row['value']} {row['unit']}: {counts}"))
    if network is None and not as_json:
        print("note: no --network was pinned, so the card vouches for itself", file=sys.stderr)
