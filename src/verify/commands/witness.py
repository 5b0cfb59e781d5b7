"""``depin-verify witness``: be a witness of other people's logs."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import app, read_passphrase, show
from depin_id.errors import ConfigError
from depin_id.network import load_card
from verify.commands.common import AsJson
from verify.log import NoteKey
from verify.witness import Witness, WitnessDir, WitnessServer

commands = app("Be a witness: cosign the heads of logs that only ever grow.")

Place = Annotated[Path, typer.Argument(metavar="DIR", help="The witness's directory.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Its first line seals the key file.")
]
_LOCK = threading.Lock()


@commands.command()
def init(
    directory: Place,
    name: Annotated[str, typer.Option(help="The witness's name, best a URL without its scheme.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make a witness with a fresh key.

    Example: depin-verify witness init wit --name witness.example/w1
    """
    made = WitnessDir.create(directory, name, passphrase=read_passphrase(passphrase_file))
    show(
        {"directory": str(directory), "name": name, "key": made.key.vkey}
        | {"next": f"depin-verify witness add-log {directory} --card card.cbor"},
        as_json=as_json,
    )


@commands.command("add-log")
def add_log(
    directory: Place,
    card: Annotated[Path | None, typer.Option(help="The card of a network: its log.")] = None,
    key: Annotated[str | None, typer.Option(help="Or the log's key, as name+id+base64.")] = None,
    origin: Annotated[
        str | None, typer.Option(help="The log's origin; by default the name of its key.")
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Trust no other key of this log from now on.")
    ] = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Watch a log, or take a new key of one that is watched; a running witness knows at once.

    Example: depin-verify witness add-log wit --card card.cbor
    """
    if (card is None) == (key is None) or (card is not None and origin is not None):
        raise ConfigError("usage", "name either --card CARD or --key VKEY [--origin ORIGIN]")
    if card is not None:
        read, _ = load_card(card)
        trusted = NoteKey(read.log_origin, read.log_key.raw)
    else:
        trusted = NoteKey.parse(key or "")
    opened = WitnessDir(directory, passphrase=read_passphrase(passphrase_file))
    log = opened.watch(origin or trusted.name, trusted, only=only)
    show({"origin": log.origin, "keys": [item.vkey for item in log.keys]}, as_json=as_json)


@commands.command("show")
def show_witness(
    directory: Place, passphrase_file: Passphrase = None, as_json: AsJson = False
) -> None:
    """Print the witness's key, the logs it watches, and proofs of logs with two histories.

    Example: depin-verify witness show wit --json
    """
    opened = WitnessDir(directory, passphrase=read_passphrase(passphrase_file))
    logs: list[dict[str, Any]] = []
    for log in opened.logs():
        head = opened.head(log.origin)
        known: dict[str, Any] = {"size": 0, "root": None}
        if head is not None:
            known = {"size": head[0].size, "root": head[0].root.hex()}
        logs.append({"origin": log.origin, **known, "keys": [item.vkey for item in log.keys]})
    about: dict[str, Any] = {"name": opened.key.name, "key": opened.key.vkey}
    evidence = [str(path) for path in opened.evidence()]
    if as_json:
        show(about | {"logs": logs, "evidence": evidence}, as_json=True)
        return
    lines = [f"{log['origin']} at {log['size']}" for log in logs]
    show(about | {"logs": lines, "evidence": evidence}, as_json=False)


@commands.command()
def run(
    directory: Place,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8404,
    cert: Annotated[Path | None, typer.Option(help="Certificate (PEM), for TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    passphrase_file: Passphrase = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object a line.")] = False,
) -> None:
    """Answer POST /add-checkpoint (c2sp.org/tlog-witness) until stopped (Ctrl-C, SIGTERM).

    Example: depin-verify witness run wit --port 8404
    """

    def log(kind: str, about: dict[str, object]) -> None:
        line = {"time": time.time_ns() // 1_000_000, "event": kind, **about}
        with _LOCK:
            if json_logs:
                print(json.dumps(line), file=sys.stderr, flush=True)
            else:
                rest = " ".join(f"{name}={value}" for name, value in about.items())
                print(f"{kind} {rest}", file=sys.stderr, flush=True)

    opened = WitnessDir(directory, passphrase=read_passphrase(passphrase_file))
    with opened.lock():
        server = WitnessServer(
            Witness(opened, on_event=log),
            host=host,
            port=port,
            certificate=cert,
            private_key=key,
            on_event=log,
        )
        log("listening", {"url": server.url, "key": opened.key.vkey})
        server.run()
