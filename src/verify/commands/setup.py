"""``depin-verify init``, ``policy``, ``resume``, and who is in: ``enrol``, ``revoke``, ..."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import read_input, show
from depin_id.did.key import did_key
from depin_id.errors import ConfigError, DepinError
from depin_id.network import load_card
from depin_id.possession import MAX_PROOF
from depin_id.printable import json_text
from depin_id.statements import MAX_STATEMENT
from verify.commands.common import AsJson, Directory, flat, parse_moment, read_text
from verify.control import perform_on
from verify.reading import Reader
from verify.setup import init as make
from verify.workspace import Workspace

Did = Annotated[str, typer.Argument(metavar="DID", help="The device's DID.")]


def init(
    directory: Directory,
    network: Annotated[
        Path,
        typer.Option(help="The network's folder (`depin-id network new`), or the card in it."),
    ],
    policy: Annotated[Path | None, typer.Option(help="A policy.toml; default: defaults.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="A folder of own profiles.")] = None,
    allow_asserted_time: Annotated[
        bool,
        typer.Option(
            "--allow-asserted-time", help="Receipt times may be asserted (recordings), for ever."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an aggregator's directory.

    Example: depin-verify init agg --network net/card.cbor
    """
    workspace = make(
        directory,
        network,
        policy_text="" if policy is None else read_text(str(policy)),
        profiles_directory=profiles,
        allow_asserted_time=allow_asserted_time,
    )
    card, _ = load_card(workspace.card)
    show(
        {"directory": str(directory), "network": card.network, "name": card.name}
        | {"log": card.log_origin, "next": f"depin-verify enrol {directory} FILE"},
        as_json=as_json,
    )


def enrol(
    directory: Directory,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="Enrolment documents: JSON or JSONL; -."),
    ] = None,
    proof: Annotated[
        str | None, typer.Option(help="Proof of possession (`depin-id device prove`), no FILE.")
    ] = None,
    certificate: Annotated[
        str | None, typer.Option(help="The birth certificate that the proof was made with.")
    ] = None,
    effective_from: Annotated[
        str | None, typer.Option(help="Keys count for what arrived since; bounded by the policy.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take devices into the network: by their documents, or one by what it proves.

    Example: depin-id device show dev --json | depin-verify enrol agg -
    or: depin-verify enrol agg --proof proof.cbor --certificate birth.json
    """
    if proof is not None or certificate is not None:
        _enrol_proven(directory, files, proof, certificate, effective_from, as_json)
        return
    if not files:
        raise ConfigError("usage", "give enrolment documents, or --proof and --certificate")
    documents = "\n".join(read_text(name).strip("\n") for name in files)
    since = None if effective_from is None else parse_moment(effective_from)
    answer = perform_on(directory, {"op": "enrol", "documents": documents, "effective_from": since})
    if as_json:
        show(answer, as_json=True)
    else:
        _show_enrolled(answer)
    if answer["refused"]:
        sys.exit(1)


def _enrol_proven(
    directory: Path,
    files: list[str] | None,
    proof: str | None,
    certificate: str | None,
    effective_from: str | None,
    as_json: bool,
) -> None:
    if files or proof is None or certificate is None:
        raise ConfigError("usage", "--proof and --certificate go together, without documents")
    request = {
        "op": "enrol",
        "proof": read_input(proof, max_bytes=MAX_PROOF).hex(),
        "certificate": read_input(certificate, max_bytes=MAX_STATEMENT).hex(),
        "effective_from": None if effective_from is None else parse_moment(effective_from),
    }
    answer = perform_on(directory, request)
    show(answer if as_json else flat(answer), as_json=as_json)


def _show_enrolled(answer: dict[str, Any]) -> None:
    for did in answer["enrolled"]:
        print(f"enrolled  {did}")
    for did in answer["known"]:
        print(f"known     {did}")
    for item in answer["refused"]:
        print(f"refused   {item['did']}  {item['code']}: {item['message']}", file=sys.stderr)
    taken = answer["parked"]["accepted"] + answer["parked"]["sightings"]
    if taken:
        print(f"taken up from quarantine: {taken}")


def enrolments(directory: Directory, as_json: AsJson = False) -> None:
    """Print the enrolment documents of all devices, one a line: for another aggregator or network.

    Not those that were revoked or erased; a device that was given another key
    is printed with that one.

    Example: depin-verify enrolments agg > devices.jsonl
    """
    with Reader(directory) as reader:
        found = [
            replace(device.enrolment, did=did_key(key), key=key).to_json()
            for device in reader.fold.registry
            if device.revoked_at is None and not device.erased
            for key in (device.keys[-1].key,)
        ]
    if as_json:
        print(json_text(found, indent=2))
        return
    for document in found:
        print(json_text(document))


def rotate(
    directory: Directory,
    did: Did,
    new_key: Annotated[str, typer.Argument(metavar="NEW_DID", help="did:key of the new key.")],
    effective_from: Annotated[
        str | None, typer.Option(help="The new key counts for what arrived since; bounded.")
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The old key ends now, without the policy's grace.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give a device a new key; the old one still counts for what is under way.

    Example: depin-verify rotate agg did:key:z6Mk... did:key:z6Mk...
    """
    request = {"op": "rotate", "did": did, "new_key": new_key, "at_once": at_once}
    if effective_from is not None:
        request["effective_from"] = parse_moment(effective_from)
    show(perform_on(directory, request), as_json=as_json)


def revoke(
    directory: Directory,
    did: Did,
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Accept nothing more of a device.

    Example: depin-verify revoke agg did:key:z6Mk... --reason stolen
    """
    show(perform_on(directory, {"op": "revoke", "did": did, "reason": reason}), as_json=as_json)


def erase(
    directory: Directory,
    did: Did,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy the keys of everything a device ever sent. It cannot be undone.

    Example: depin-verify erase agg did:key:z6Mk... --yes
    """
    if not yes and not typer.confirm(f"Erase everything of {did}? It cannot be undone.", err=True):
        raise typer.Abort
    show(perform_on(directory, {"op": "erase", "did": did}), as_json=as_json)


def policy(
    directory: Directory,
    file: Annotated[
        str | None, typer.Argument(metavar="[POLICY.toml]", help="The new policy, or -.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy, or put a new one in force; the change is an entry of the log.

    Example: depin-verify policy agg policy.toml
    """
    if file is not None:
        show(perform_on(directory, {"op": "policy", "toml": read_text(file)}), as_json=as_json)
        return
    workspace = Workspace(directory)
    workspace.check()
    text = read_text(str(workspace.policy))
    if as_json:
        show({"toml": text}, as_json=True)
    else:
        print(text, end="")


def resume(
    directory: Directory,
    did: Did,
    nonce: Annotated[str, typer.Option(help="The device's nonce, hexadecimal.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the signed resume.")],
    as_json: AsJson = False,
) -> None:
    """Sign leave for a device with damaged position storage to sign again.

    Example: depin-verify resume agg did:key:z6Mk... --nonce 00ff... -o resume.cbor
    """
    answer = perform_on(directory, {"op": "resume", "did": did, "nonce": nonce})
    try:
        out.write_bytes(bytes.fromhex(answer.pop("resume")))
    except OSError as error:
        raise DepinError("file.write", f"{out}: {error.strerror}") from error
    show(answer | {"out": str(out)}, as_json=as_json)
