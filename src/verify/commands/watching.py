"""``depin-verify whatif``, ``tail`` and ``doctor``."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import read_input, read_passphrase, silence
from depin_id.errors import ConfigError
from depin_id.printable import json_text, printable
from verify.commands.common import AsJson, Directory, parse_moment, progress
from verify.doctor import Setup
from verify.doctor import doctor as look
from verify.doctor.diagnosis import Broker
from verify.doctor.machine import clock_is_synchronised
from verify.ingest.options import TlsOptions
from verify.tail import Wanted, references
from verify.tail import tail as follow_log
from verify.whatif import whatif as judge_again
from verify.workspace import Workspace

MAX_POLICY = 1 << 20


def whatif(
    directory: Directory,
    policy: Annotated[str, typer.Option(help="The policy to try: a TOML file, or -.")],
    start: Annotated[int, typer.Option("--from", min=0, help="The first entry.")] = 0,
    since: Annotated[
        str | None, typer.Option(help="Instead: what was received since (ISO 8601 or seconds).")
    ] = None,
    stop: Annotated[
        int | None, typer.Option("--to", min=0, help="The entry to end before.")
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="A folder of profiles; default: the aggregator's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what another policy would have said of what is in the journal. Nothing is changed.

    Example: depin-verify whatif agg --policy new.toml --since 2026-03-01T00:00:00Z
    """
    if since is not None and start:
        raise ConfigError("usage", "--from and --since both say where to begin")
    try:
        text = read_input(policy, max_bytes=MAX_POLICY).decode()
    except UnicodeDecodeError as error:
        raise ConfigError("usage", f"{policy} is not UTF-8 text") from error
    with progress("entries") as report:
        found = judge_again(
            directory,
            text,
            source=policy,
            profiles=profiles,
            start=start,
            since_ms=None if since is None else parse_moment(since),
            stop=stop,
            progress=report,
        ).to_json()
    if as_json:
        print(json_text(found, indent=2))
    else:
        _show_difference(found)


def _show_difference(found: dict[str, Any]) -> None:
    print(f"entries    {found['from']} to {found['to']}")
    print(f"envelopes  {found['envelopes']}, {found['changed']} with another verdict")
    if found["erased"]:
        print(f"erased     {found['erased']} taken as they were")
    readings = found["readings"]
    print(f"readings   {readings['was']} -> {readings['new']} ({readings['difference']:+d})")
    for change in found["changes"]:
        examples = " ".join(map(str, change["examples"]))
        counts = f"readings {change['readings']['was']} -> {change['readings']['new']}"
        print(
            f"{change['count']:>9}  {change['was']} -> {change['new']}, {counts}, e.g. {examples}"
        )
    for device in found["devices"]:
        counts = f"readings {device['readings']['was']} -> {device['readings']['new']}"
        print(f"{device['count']:>9}  {printable(device['did'])}, {counts}")
    if found["devices_changed"] > len(found["devices"]):
        print(f"           and {found['devices_changed'] - len(found['devices'])} more devices")


def tail(
    directory: Directory,
    start: Annotated[
        int | None, typer.Option("--from", min=0, help="The first index; default: the newest ten.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes in.")
    ] = False,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="A code, a beginning with its dot (sequence.), accepted, rejected."),
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="A device's DID, sensors too.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for machines.")
    ] = False,
) -> None:
    """Print entries of the log: what the public leaf says.

    Example: depin-verify tail agg --from 0 --follow --verdict rejected --json
    """
    stop = threading.Event()
    if follow:
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread of its own: the signal may come while this one holds the event's lock.
            signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
    wanted = Wanted(tuple(verdict or ()), references(directory, device) if device else frozenset())
    try:
        for entry in follow_log(
            directory, start=start, follow=follow, wanted=wanted, wait=stop.wait
        ):
            line = json_text(entry) if as_json else _line(entry)
            print(line, flush=follow)
            if stop.is_set():
                return
    except BrokenPipeError:
        silence()  # whoever read has seen enough


def _line(entry: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(entry["received_at"] / 1000, UTC)
    head = f"{entry['index']:>8}  {when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"
    if entry["kind"] != "envelope":
        return f"{head}  {entry['kind']}"
    epoch, n = entry["position"]
    words = [entry["reference"], f"{epoch}/{n}", entry["verdict"], entry["level"], *entry["flags"]]
    return f"{head}  " + " ".join(printable(word) for word in words if word)


def doctor(
    directory: Directory,
    mqtt: Annotated[str | None, typer.Option(help="Try this broker: mqtts://host[:port].")] = None,
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM) for mqtts.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Own certificate (PEM), for mTLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    username: Annotated[str | None, typer.Option(help="At the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Its first line, mode 0600.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every page of the journal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a set-up and what to do about it; exit 1 if something is.

    Example: depin-verify doctor agg --mqtt mqtts://broker.example:8883 --ca ca.pem
    """
    tls = None
    if ca is not None or cert is not None or key is not None:
        tls = TlsOptions(ca_file=ca, cert_file=cert, key_file=key)
    broker = None
    if mqtt is not None:
        broker = Broker(mqtt, tls, username, read_passphrase(password_file))
    found = look(Setup(Workspace(directory), broker, deep=deep, synchronised=clock_is_synchronised))
    wrong = any(item.severity == "error" for item in found)
    if as_json:
        items = [item.to_json() for item in found]
        print(json_text({"ok": not wrong, "findings": items}, indent=2))
    else:
        for item in found:
            print(printable(f"{item.severity}: {item.code}: {item.what} ({item.where})"))
            if item.hint:
                print(printable(f"  {item.hint}"))
        if not wrong:
            print("ok")
    if wrong:
        sys.exit(1)
