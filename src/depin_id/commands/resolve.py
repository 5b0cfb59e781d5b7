"""``depin-id resolve``: a DID or DID URL to its document, from files or the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import read_input, show
from depin_id.did import Dereferenced, Resolution, Resolver, parse_did, parse_did_url
from depin_id.did.contents import RELATIONSHIPS, absolute, is_for, listed, method_key
from depin_id.did.fetch import Fetcher
from depin_id.did.source import DOCUMENT, LOG, MAX_BYTES, WITNESS
from depin_id.did.webvh import Pins
from depin_id.errors import ConfigError, DepinError, DIDError
from depin_id.printable import json_text


def _files(did: str, log: str | None, witness: str | None) -> dict[str, dict[str, bytes]] | None:
    if log is None:
        if witness is not None:
            raise ConfigError("usage", "--witness goes with --log")
        return None
    if log == witness:
        raise ConfigError("usage", "--log and --witness are one file")
    name = DOCUMENT if did.startswith("did:web:") else LOG
    found = {name: read_input(log, max_bytes=MAX_BYTES[name])}
    if witness is not None:
        found[WITNESS] = read_input(witness, max_bytes=MAX_BYTES[WITNESS])
    return {did: found}


def _keys(document: dict[str, Any]) -> list[str]:
    """Verification methods with what they are for, and why one is not used."""
    did = document["id"]
    lines = []
    for method in listed(document, "verificationMethod"):
        name = absolute(did, method.get("id") if isinstance(method, dict) else None)
        used = [
            relationship
            for relationship in RELATIONSHIPS
            if name is not None and is_for(document, name, relationship)
        ]
        try:
            kind: str = method_key(method).curve
        except DepinError as error:
            kind = error.code
        lines.append(f"{name} ({kind}): {', '.join(used) or 'nothing'}")
    return lines


def _services(document: dict[str, Any]) -> list[str]:
    lines = []
    for service in listed(document, "service"):
        if isinstance(service, dict):
            name = absolute(document["id"], service.get("id"))
            lines.append(f"{name}: {json_text(service.get('serviceEndpoint'))}")
    return lines


def describe(document: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """A document in words."""
    found: dict[str, Any] = {"did": document.get("id")}
    for name, value in metadata.items():
        if isinstance(value, str | bool | int) or (name == "equivalentId" and value):
            found[name] = value
    found["keys"] = _keys(document)
    found["services"] = _services(document)
    return found


def _fail(found: Resolution | Dereferenced) -> None:
    """What went wrong, as errors of commands are shown."""
    metadata = found.resolution_metadata if isinstance(found, Resolution) else found.metadata
    if "error" in metadata:
        raise DIDError(
            metadata.get("code", "did.internal"),
            f"{metadata['error']}: {metadata.get('message', '')}",
            hint=metadata.get("hint", ""),
        )


def resolve(
    did: Annotated[str, typer.Argument(metavar="DID", help="A DID, or a DID URL.")],
    log: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="did.jsonl (did.json of a did:web); - is stdin."),
    ] = None,
    witness: Annotated[
        str | None, typer.Option(metavar="FILE", help="did-witness.json beside --log.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="What held then: 2026-11-21T14:00:00Z.")
    ] = None,
    version_id: Annotated[
        str | None, typer.Option(metavar="ID", help="This version of the document.")
    ] = None,
    dids: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of folders with DID files.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Use the network for what is in no file.")
    ] = False,
    pins: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps the last heads seen of did:webvh."),
    ] = None,
    allow_published: Annotated[
        bool,
        typer.Option("--allow-published-keys", help="Test vectors: keys that everybody has."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Resolve a DID: its document now, or as it was. Nothing is fetched without --fetch.

    Example: depin-id resolve did:webvh:QmX...:example.com --log did.jsonl --at 2026-11-21T14:00:00Z
    """
    subject = str(parse_did_url(did).did)
    resolver = Resolver(
        dids=dids,
        files=_files(subject, log, witness),
        fetcher=Fetcher(allow_network=True) if fetch else None,
        pins=None if pins is None else Pins(pins),
        allow_published=allow_published,
    )
    options: dict[str, Any] = {"version_id": version_id, "version_time": at}
    found: Resolution | Dereferenced
    if did == subject:
        found = resolver.resolve(str(parse_did(did)), **options)
        document, metadata = found.document, found.document_metadata
    else:
        found = resolver.dereference(did, **options)
        document, metadata = found.content, found.content_metadata
    if as_json:
        print(json_text(found.to_json(), indent=2))
        if found.error is not None:
            raise typer.Exit(2)
        return
    _fail(found)
    if isinstance(document, dict) and document.get("id") == metadata.get("canonicalId", subject):
        show(describe(document, metadata), as_json=False)
    else:
        print(json_text(document, indent=2))
