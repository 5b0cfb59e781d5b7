"""What anyone can check afterwards: a receipt, the audit, the dataset."""

from __future__ import annotations

from pathlib import Path

from depin_id.durable import replace_file
from depin_id.errors import DepinError
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.demo.ledger import Check
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt
from verify.workspace import Workspace


def prove(workspace: Workspace, index: int | None, network: str, receipt: Path) -> list[Check]:
    """Make and check a receipt of an entry, audit the directory, verify the public dataset.

    Args:
        index: of the entry; None when there is none, which fails.
        network: the network's DID, pinned.
        receipt: where the receipt goes.
    """
    return [
        _receipt(workspace, index, network, receipt),
        _audit(workspace),
        _dataset(workspace, network),
    ]


def _receipt(workspace: Workspace, index: int | None, network: str, file: Path) -> Check:
    name = "a receipt, checked offline"
    if index is None:
        return Check(name, False, "no accepted envelope to make it of")
    try:
        with Reader(workspace.root) as reader:
            data = make_receipt(reader, index)
        replace_file(file, data, mode=0o644)
        checked = check_receipt(data, network=network)
    except DepinError as error:
        return Check(name, False, str(error))
    verdict = checked.to_json().get("verdict")
    found = f"entry {checked.index} of {checked.checkpoint.size}: {verdict}, {len(data)} bytes"
    return Check(name, verdict == "accepted", found)


def _audit(workspace: Workspace) -> Check:
    name = "audit: the journal appraised again"
    try:
        report = audit(workspace.root)
    except DepinError as error:
        return Check(name, False, str(error))
    return Check(name, report.ok, "every verdict the same" if report.ok else str(report))


def _dataset(workspace: Workspace, network: str) -> Check:
    name = "dataset: compared with the log, from public files alone"
    try:
        report = verify_dataset(workspace.public, keys=None, network=network)
    except DepinError as error:
        return Check(name, False, str(error))
    found = f"{report.covered} of {report.checkpoint.size} entries, {report.readings} readings"
    return Check(name, report.complete, found)
