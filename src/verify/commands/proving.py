"""``depin-verify audit``, ``verify-dataset``, ``rebuild`` and ``export``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import show
from depin_id.commands.network import Quorum, Witnesses, witness_policy
from depin_id.errors import DepinError
from depin_id.network import load_card
from depin_id.witness import WitnessPolicy
from verify.audit import audit as run_audit
from verify.commands.common import AsJson, Directory, flat, progress
from verify.dataset import export as export_table
from verify.dataset import verify_dataset as check_dataset
from verify.dataset.check import CARD, LOG_FOLDER
from verify.log import NoteKey
from verify.log.cosigned import verify_witnessed
from verify.rebuild import rebuild as make_again
from verify.workspace import Workspace


def _show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        show(flat(report), as_json=False)


def audit(
    directory: Directory,
    dids: Annotated[
        Path | None,
        typer.Option(help="A folder of DIDs' files: histories are held against their logs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the whole journal again and compare everything; exit 1 names the first difference.

    Example: depin-verify audit agg --dids published
    """
    with progress("entries") as report:
        result = run_audit(
            directory, dids=dids, progress=lambda _, done, total: report(done, total)
        )
    _show(result.to_json(), as_json)
    if not result.ok:
        sys.exit(1)


def _witnessed(folder: Path, network: str | None, policy: WitnessPolicy | None) -> int | None:
    """How many entries a quorum of witnesses has seen; None when nobody asks for one."""
    card, _ = load_card(folder / CARD, network=network)
    policy = policy or card.witnesses
    if policy is None:
        return None
    key = NoteKey(card.log_origin, card.log_key.raw)
    return verify_witnessed(folder / LOG_FOLDER, key, policy)[0].size


def verify_dataset(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A published folder: log/, segments/, card.cbor.")
    ],
    network: Annotated[str | None, typer.Option(help="The network's DID to pin.")] = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    as_json: AsJson = False,
) -> None:
    """Check a published dataset against its log, from public files alone; exit 1 if it differs.

    Without --witness those have to have cosigned the log that the card names, if it names any.

    Example: depin-verify verify-dataset agg/public
    """
    folder = path / "public" if (path / "public").is_dir() else path
    try:
        with progress("entries") as report:
            result = check_dataset(folder, keys=None, network=network, progress=report)
        witnessed = _witnessed(folder, network, witness_policy(witness, quorum))
    except DepinError as error:
        # Without a key nothing was looked at, so nothing was found to differ.
        if error.code != "dataset.key" and error.code.startswith(("dataset.", "log.")):
            _show({"ok": False, **error.to_json()}, as_json)
            sys.exit(1)
        raise
    _show(
        {
            "ok": True,
            "network": result.network,
            "pinned": network is not None,
            "checkpoint": result.checkpoint.size,
            "covered": result.covered,
            "complete": result.complete,
            "witnessed": witnessed,
            "segments": result.segments,
            "opened": result.opened,
            "closed": result.closed,
            "withheld": result.withheld,
            "unproven": result.unproven,
            "accepted": result.accepted,
            "readings": result.readings,
        },
        as_json,
    )


def rebuild(directory: Directory, as_json: AsJson = False) -> None:
    """Make log tiles and segments again from the journal.

    Damaged tiles are set aside when the journal leads to the published checkpoint.

    Example: depin-verify rebuild agg
    """
    with progress("entries") as report:
        made = make_again(directory, progress=report)
    shown: dict[str, Any] = {"size": made.checkpoint.size, "root": made.checkpoint.root.hex()}
    if made.set_aside is not None:
        shown["set_aside"] = str(made.set_aside)
    show(shown, as_json=as_json)


def export(
    directory: Directory,
    out: Annotated[str, typer.Option("-o", "--out", help="A file, or - for csv and jsonl.")],
    format_: Annotated[str, typer.Option("--format", help="parquet, csv or jsonl.")] = "csv",
    rescored: Annotated[
        bool, typer.Option("--rescored", help="Also what later entries say counts no more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the readings that count into one file.

    Example: depin-verify export agg --format csv -o readings.csv
    """
    workspace = Workspace(directory)
    folder = workspace.public if workspace.public.is_dir() else directory
    with progress("readings") as report:
        target = out if out == "-" else Path(out)
        count = export_table(folder, format_, target, rescored=rescored, progress=report)
    if out != "-":
        show({"readings": count, "out": out}, as_json=as_json)
