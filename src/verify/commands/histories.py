"""``depin-verify history`` and ``compromised``: what is known of keys, and what follows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from depin_id.commands.common import show
from verify.commands.common import AsJson, Directory, flat, parse_moment, read_text
from verify.control import perform_on
from verify.reading import Reader

Did = Annotated[str, typer.Argument(metavar="DID", help="The device's DID.")]


def history(
    directory: Directory,
    log: Annotated[
        str | None, typer.Argument(metavar="[did.jsonl]", help="A did:webvh log to take, or -.")
    ] = None,
    witness: Annotated[str | None, typer.Option(help="Its did-witness.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take the history of a DID, or list those that are known.

    The log is verified whole, and has to go on from the one that was taken before. If the DID is
    a device's, its keys follow; if it is a manufacturer's or owner's, so does whom to believe.

    Example: depin-verify history agg maker/did.jsonl
    """
    if log is not None:
        proofs = None if witness is None else read_text(witness)
        request = {"op": "history", "log": read_text(log), "witness": proofs}
        answer = perform_on(directory, request)
        show(answer if as_json else flat(answer), as_json=as_json)
        return
    with Reader(directory) as reader:
        known = reader.fold.identity.histories
        found: dict[str, Any] = {name: item.version_id for name, item in known.items()}
    show(found, as_json=as_json)


def compromised(
    directory: Directory,
    did: Did,
    since: Annotated[
        str | None, typer.Option(help="Receipt time since when it was somebody else's.")
    ] = None,
    since_index: Annotated[int | None, typer.Option(help="The same, as index of an entry.")] = None,
    key: Annotated[str | None, typer.Option(help="did:key of the key; default: all of them.")] = (
        None
    ),
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say that a key was stolen: what it signed since then counts no more, by new entries.

    Example: depin-verify compromised agg did:key:z6Mk... --since 2026-05-01T00:00:00Z
    """
    request: dict[str, Any] = {"op": "compromised", "did": did, "key": key, "reason": reason}
    if since is not None:
        request["since"] = parse_moment(since)
    if since_index is not None:
        request["since_index"] = since_index
    show(perform_on(directory, request), as_json=as_json)
