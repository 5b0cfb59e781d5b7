"""``depin-verify run`` and ``ingest``."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import read_passphrase, show
from verify.aggregator import Aggregator, wall_clock
from verify.batch import Summary
from verify.commands.common import AsJson, Directory, flat, parse_moment, progress
from verify.ingest.files import FileSource
from verify.ingest.options import TlsOptions
from verify.service import run as serve

_LOCK = threading.Lock()


def run(
    directory: Directory,
    mqtt: Annotated[str, typer.Option(help="mqtt://host[:port], or mqtts:// for TLS.")],
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM) for mqtts.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Own certificate (PEM), for mTLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    username: Annotated[str | None, typer.Option(help="At the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Its first line, mode 0600.")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object a line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line a batch.")] = False,
) -> None:
    """Take envelopes from an MQTT broker until stopped (Ctrl-C, SIGTERM).

    Example: depin-verify run agg --mqtt mqtt://127.0.0.1:1883
    """

    def log(kind: str, detail: dict[str, object]) -> None:
        if quiet and kind == "committed":
            return
        line: dict[str, Any] = {"time": wall_clock(), "event": kind, **detail}
        with _LOCK:
            if json_logs:
                print(json.dumps(line), file=sys.stderr, flush=True)
            else:
                rest = " ".join(f"{name}={value}" for name, value in detail.items() if value)
                print(f"{kind} {rest}", file=sys.stderr, flush=True)

    tls = None
    if ca is not None or cert is not None:
        tls = TlsOptions(ca_file=ca, cert_file=cert, key_file=key)
    serve(
        directory,
        mqtt,
        tls=tls,
        username=username,
        password=read_passphrase(password_file),
        on_event=log,
    )


def ingest(
    directory: Directory,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Envelopes or bundles; - is stdin.")
    ],
    received_at: Annotated[
        str | None,
        typer.Option(help="Asserted receipt time, if the genesis entry allows it; flagged."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take envelopes from files.

    Example: depin-verify ingest agg envelopes.cbor --json
    """
    asserted = None if received_at is None else parse_moment(received_at)
    total = Summary()
    with Aggregator(directory) as aggregator, progress("bytes") as report:
        source = FileSource(
            files,
            received_at=aggregator.now if asserted is None else asserted,
            progress=report,
        )
        for messages in source.batches():
            summary, _ = aggregator.ingest(messages, asserted_ms=asserted)
            total.add(summary)
    _show(total, as_json)


def _show(total: Summary, as_json: bool) -> None:
    counts = total.to_json()
    if as_json:
        # Programs are promised these six; reports of gateways are in `status --json`.
        del counts["sightings"]
        print(json.dumps(counts))
        return
    show(flat(counts), as_json=False)
