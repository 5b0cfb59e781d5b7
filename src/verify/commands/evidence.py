"""``depin-verify challenge``, ``batch``, ``status-list``: what enrolment with proof stands on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from depin_id.commands.common import app, open_output, read_input, show
from depin_id.credentials.status.signed import MAX_SIGNED
from verify.commands.common import AsJson, Directory, read_text
from verify.control import perform_on

batch = app("Production batches that manufacturers signed.")
status_list = app("Status lists: what was revoked.")


def challenge(
    directory: Directory,
    out: Annotated[str, typer.Option("-o", "--out", help="Where to write the challenge; -.")],
    did: Annotated[
        str | None, typer.Option(help="did:key or did:jwk of the key that will answer.")
    ] = None,
    thumbprint: Annotated[
        str | None, typer.Option(help="Its thumbprint instead, 64 hex digits.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a challenge, good for ten minutes and once, for a key that has to prove itself.

    Example: depin-verify challenge agg --did did:key:z6Mk... -o challenge.cbor
    """
    request = {"op": "challenge", "did": did, "thumbprint": thumbprint}
    answer = perform_on(directory, request)
    with open_output(out) as file:
        file.write(bytes.fromhex(answer.pop("challenge")))
    if out != "-":
        show(answer | {"out": out}, as_json=as_json)


@batch.callback()
def _batch() -> None:
    """Production batches that manufacturers signed."""


@batch.command("add")
def add_batch(
    directory: Directory,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The batch credential, JSON; -.")],
    as_json: AsJson = False,
) -> None:
    """Take a production batch while its manufacturer's key counts; it becomes an entry.

    Example: depin-verify batch add agg batch.json
    """
    show(perform_on(directory, {"op": "batch", "data": read_text(file)}), as_json=as_json)


@status_list.callback()
def _status_list() -> None:
    """Status lists: what was revoked."""


@status_list.command("add")
def add_status_list(
    directory: Directory,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The signed list; -.")],
    url: Annotated[str | None, typer.Option(help="Where it was fetched from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a signed status list, of either standard; it becomes an entry.

    Example: depin-verify status-list add agg list.json --url https://example.org/status/1
    """
    data = read_input(file, max_bytes=MAX_SIGNED)
    request: dict[str, Any] = {"op": "status-list", "data": data.hex(), "url": url}
    show(perform_on(directory, request), as_json=as_json)
