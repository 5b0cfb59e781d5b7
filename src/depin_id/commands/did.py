"""``depin-id did``: make a DID in a folder, replace its keys, end it, list what was when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import app, read_input, read_passphrase, show
from depin_id.commands.resolve import resolve
from depin_id.did.approving import APPROVED_FILE, approve
from depin_id.did.folder import WITNESS_FILE, DidFolder, wall_ms
from depin_id.did.key import parse_did_key
from depin_id.did.making import LOG_FILE
from depin_id.did.multikey import encode_multikey
from depin_id.did.source import MAX_BYTES
from depin_id.did.webvh import History, Pins, WitnessRule, log_url, verify_log, witness_rule
from depin_id.durable import DirectoryLock, read_file, replace_file
from depin_id.errors import ConfigError, DIDError
from depin_id.printable import json_text, printable

commands = app("Make a DID, replace its keys, end it, and see its history.")
commands.command("resolve")(resolve)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The DID's folder.")]
Passphrase = Annotated[
    Path | None, typer.Option(help="Its first line opens and seals the key files.")
]
Signing = Annotated[
    str | None,
    typer.Option(metavar="DID:KEY", help="The signing key is this one, kept in a device."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def fields(folder: DidFolder) -> dict[str, Any]:
    """A folder in words; no private key."""
    found: dict[str, Any] = {"did": folder.did}
    history = folder.history
    if history is None or not history.deactivated:
        found["verification_method"] = folder.verification_method
        found["key"] = encode_multikey(folder.public_key)
        found["curve"] = folder.public_key.curve
    if history is not None:
        found["version_id"] = history.last.version_id
        found["version_time"] = history.last.version_time
        found["deactivated"] = history.deactivated
        found["log"] = str(folder.path / LOG_FILE)
    if folder.method == "webvh":
        found["publish_at"] = log_url(folder.did)
    if folder.pending is not None:
        found["waits_for"] = folder.pending.message
    return found


def _rule(witnesses: list[str] | None, threshold: int | None) -> WitnessRule | None:
    if not witnesses:
        if threshold is not None:
            raise ConfigError("usage", "--threshold goes with --witness")
        return None
    keys = [parse_did_key(did) for did in witnesses]
    return witness_rule(len(keys) if threshold is None else threshold, keys)


def _curve(text: str | None) -> Any:
    if text not in (None, "ed25519", "p256"):
        raise ConfigError("usage", f"there is no curve {text[:40]!r}", hint="ed25519 or p256")
    return text


def _service(text: str) -> dict[str, str]:
    name, kind, endpoint = (*text.split("=", 2), "", "")[:3]
    if not name or not kind or not endpoint:
        raise ConfigError("usage", f"{text[:60]!r} is not NAME=TYPE=ADDRESS")
    return {"id": f"#{name}", "type": kind, "serviceEndpoint": endpoint}


@commands.command()
def create(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    place: Annotated[
        str | None,
        typer.Option(help="Where the log will be published: example.com:devices:acme."),
    ] = None,
    method: Annotated[str, typer.Option(help="webvh, key or jwk.")] = "webvh",
    curve: Annotated[str, typer.Option(help="Of the signing key: ed25519 or p256.")] = "ed25519",
    portable: Annotated[
        bool, typer.Option("--portable", help="It may move to another place later.")
    ] = False,
    watcher: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Who keeps copies; repeat.")
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="DID:KEY", help="Who has to approve each version; repeat."),
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="How many witnesses have to; all by default.")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TYPE=ADDRESS", help="A service; repeat.")
    ] = None,
    signing: Signing = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Make a DID with fresh keys (mode 0600). Publish did.jsonl where it says.

    Keep a copy of next.key elsewhere: it takes over when update.key is stolen or lost.

    Example: depin-id did create my-did --place example.com:acme
    """
    if method not in ("webvh", "key", "jwk"):
        raise ConfigError("usage", f"there is no did:{method[:40]} to make", hint="webvh, key, jwk")
    made = DidFolder.create(
        directory,
        method="webvh" if method == "webvh" else "key" if method == "key" else "jwk",
        place=place,
        curve=_curve(curve),
        passphrase=read_passphrase(passphrase_file),
        portable=portable,
        watchers=watcher or (),
        witness=_rule(witness, threshold),
        services=[_service(text) for text in service or ()],
        held=None if signing is None else parse_did_key(signing),
    )
    show(fields(made), as_json=as_json)


@commands.command()
def rotate(
    directory: Folder,
    keep_signing_key: Annotated[
        bool, typer.Option("--keep-signing-key", help="Replace only the keys of the log.")
    ] = False,
    curve: Annotated[
        str | None, typer.Option(help="Of the new signing key; that of the old one by default.")
    ] = None,
    signing: Signing = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Replace the keys: the announced one takes over, a new one is announced.

    What the old key signed before stays valid. Publish the new did.jsonl.

    Example: depin-id did rotate my-did
    """
    opened = DidFolder.open(directory, read_passphrase(passphrase_file))
    turned = opened.rotate(
        signing=not keep_signing_key,
        curve=_curve(curve),
        held=None if signing is None else parse_did_key(signing),
    )
    show(fields(turned), as_json=as_json)


@commands.command()
def move(
    directory: Folder,
    place: Annotated[str, typer.Option(help="The new place, such as example.org:acme.")],
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Take a portable DID to another place. Publish the log there, and at the old place too.

    Example: depin-id did move my-did --place example.org:acme
    """
    opened = DidFolder.open(directory, read_passphrase(passphrase_file))
    show(fields(opened.move(place)), as_json=as_json)


@commands.command()
def deactivate(
    directory: Folder,
    yes: Annotated[
        bool, typer.Option("--yes", help="It cannot be taken back, and you mean it.")
    ] = False,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """End a DID for ever: none of its keys signs any more. Publish the new did.jsonl.

    Example: depin-id did deactivate my-did --yes
    """
    if not yes:
        raise ConfigError("usage", "a DID that is ended cannot be used again", hint="add --yes")
    opened = DidFolder.open(directory, read_passphrase(passphrase_file))
    show(fields(opened.deactivate()), as_json=as_json)


@commands.command("witness")
def approve_next(
    source: Annotated[
        Path, typer.Argument(metavar="DIR-OR-LOG", help="The DID's folder, or its new did.jsonl.")
    ],
    witness: Annotated[
        Path, typer.Option("--as", metavar="DIR", help="The witness's own folder (did:key).")
    ],
    proofs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="did-witness.json; by default beside the log."),
    ] = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Approve the next version of somebody's log, as one of its witnesses.

    Verifies the log, and adds the proof to did-witness.json, to be published before the log. What
    was approved stands in the witness's folder: it never approves another version of that number.

    Example: depin-id did witness my-did --as witness-did
    """
    log = source / LOG_FILE if source.is_dir() else source
    path = proofs or log.parent / WITNESS_FILE
    signer = DidFolder.open(witness, read_passphrase(passphrase_file)).signer
    with DirectoryLock(witness):
        version_id, made = approve(
            read_input(str(log), max_bytes=MAX_BYTES[LOG_FILE]),
            read_file(path, max_bytes=MAX_BYTES[WITNESS_FILE]),
            signer,
            now_ms=wall_ms(),
            pins=Pins(witness / APPROVED_FILE),
        )
    replace_file(path, made, mode=0o644)
    show({"approved": version_id, "proofs": str(path)}, as_json=as_json)


@commands.command("show")
def show_folder(directory: Folder, as_json: Json = False) -> None:
    """Show a folder's DID, its present key, and where its log is to be published.

    Example: depin-id did show my-did
    """
    show(fields(DidFolder.open(directory)), as_json=as_json)


def _history(source: str, witness: str | None) -> History:
    path = Path(source)
    if source != "-" and path.is_dir():
        opened = DidFolder.open(path)
        found = opened.history
        if opened.pending is not None and found is None:
            raise opened.pending
        if found is None:
            raise DIDError(
                "did.folder",
                f"{opened.did} is its key: it has no history",
                hint=f"`depin-id did show {source}` shows it",
            )
        return found
    proofs = read_input(witness, max_bytes=MAX_BYTES[WITNESS_FILE]) if witness else None
    log = read_input(source, max_bytes=MAX_BYTES[LOG_FILE])
    return verify_log(log, witness=proofs, now_ms=wall_ms())


def versions(history: History) -> list[dict[str, Any]]:
    """Every version: from when until when, and which keys signed for the DID."""
    listed = []
    ends = [version.version_time for version in history.versions[1:]]
    for version, end in zip(history.versions, [*ends, None], strict=True):
        keys = [
            {"id": key.id, "key": encode_multikey(key.key)}
            for key in version.keys["assertionMethod"]
        ]
        listed.append(
            {
                "number": version.number,
                "version_id": version.version_id,
                "since": version.version_time,
                "until": end,
                "did": version.did,
                "deactivated": version.parameters.deactivated,
                "keys": keys,
            }
        )
    return listed


@commands.command()
def history(
    source: Annotated[
        str,
        typer.Argument(metavar="DIR-OR-LOG", help="A DID's folder, or a did.jsonl; - is stdin."),
    ],
    witness: Annotated[
        str | None, typer.Option(metavar="FILE", help="did-witness.json beside a log.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a log and list its versions: which key signed from when until when.

    Example: depin-id did history my-did
    """
    found = _history(source, witness)
    listed = versions(found)
    if as_json:
        print(json_text({"did": found.did, "scid": found.scid, "versions": listed}, indent=2))
        return
    print(printable(found.did))
    for version in listed:
        until = version["until"] or ("ended" if version["deactivated"] else "now")
        print(f"{version['number']:>4}  {version['since']} .. {until}  {version['version_id']}")
        for key in version["keys"]:
            print(f"      {printable(key['id'])}  {key['key']}")
