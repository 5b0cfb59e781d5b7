"""Commands for those who run a bridge: how it is, and the files of its broker."""

from __future__ import annotations

import http.client
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from depin_id.commands.common import network_and_card
from depin_id.errors import ConfigError, TransportError
from depin_id.network import read_card
from firmware_bridge.broker_config import Wanted, Written, write
from firmware_bridge.config import BridgeConfig, load_config
from firmware_bridge.logs import printable
from firmware_bridge.web import split_address

_SECONDS = 5.0
_MAX_ANSWER = 1 << 20


def status(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="As `depin-bridge init` makes it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how a bridge is. Exit status 1: it does not run, or its spool takes nothing.

    Example: depin-bridge status gw/bridge.toml
    """
    loaded = load_config(config)
    found = ask(loaded.bridge.metrics) if loaded.bridge.metrics else None
    if found is None:
        found = {"ok": False, "running": False, "spool": at_rest(loaded)}
    else:
        found["running"] = True
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for line in for_people(found, loaded):
            typer.echo(printable(line))
    if not found["ok"]:
        raise typer.Exit(1)


def ask(address: str) -> dict[str, Any] | None:
    """What a running bridge says of itself; None when nobody answers. Raises TransportError."""
    host, port = split_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/status")
        found = json.loads(connection.getresponse().read(_MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    if not isinstance(found, dict) or not isinstance(found.get("spool"), dict):
        raise TransportError("metrics.answer", f"what answers at {address} is no bridge")
    return found


def at_rest(config: BridgeConfig) -> dict[str, Any]:
    """What is in the spool of a bridge that does not run, as far as it can be read."""
    path = config.resolve(config.bridge.spool)
    try:
        uri = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_SECONDS)) as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(length(data)), 0) FROM envelopes"
            ).fetchone()
    except sqlite3.Error:
        return {"envelopes": None, "bytes": None}
    return {"envelopes": int(row[0]), "bytes": int(row[1])}


def for_people(found: dict[str, Any], config: BridgeConfig) -> list[str]:
    """Lines that say what is, and what to do."""
    spool = found["spool"]
    waiting = "there is none that can be read"
    if spool.get("envelopes") is not None:
        waiting = f"{spool['envelopes']} envelopes ({spool.get('bytes')} B) wait"
    if not found["running"]:
        where = config.bridge.metrics
        why = f"nothing answers at {where}" if where else "[bridge] metrics is not set"
        return [f"bridge: not running, as far as can be seen ({why})", f"spool: {waiting}"]
    uplink, clock, counts = found["uplink"], found["clock"], found["counts"]
    since = "" if uplink["since_s"] is None else f" for {uplink['since_s']:.0f} s"
    up = "connected" if uplink["connected"] else f"offline ({uplink['problem'] or 'starting'})"
    oldest = "" if spool["oldest_s"] is None else f", the oldest for {spool['oldest_s']} s"
    lines = [
        f"uplink: {up}{since}",
        f"spool: {waiting}{oldest}; {'takes more' if spool['writable'] else spool['problem']}",
        f"acknowledged: {counts['uplink']['released']}, dropped: {counts['spool']['dropped']}, "
        f"of these not reported yet: {counts['spool']['unreported']} ranges",
        f"clock: {'believed' if clock['believed'] else 'not believed: times are relative'}",
    ]
    for name, alive in found["sources"].items():
        taken = counts["taken"].get(name, 0)
        lines.append(f"source {name}: {'at work' if alive else 'ended'}, taken {taken}")
    lines += [f"refused, {name}: {number}" for name, number in list(counts["refused"].items())[:20]]
    if found["reload"]["failed"]:
        lines.append(f"last reload refused: {found['reload']['problem']}")
    return lines


def broker_config(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    network: Annotated[
        str, typer.Option("--network", metavar="CARD", help="The network's card (a file).")
    ],
    hosts: Annotated[
        list[str], typer.Option("--hosts", metavar="NAME", help="Of the broker; repeat for more.")
    ],
    gateway: Annotated[
        list[str] | None, typer.Option(metavar="KID", help="Of a gateway; repeat for more.")
    ] = None,
    sensor: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of a sensor; repeat for more.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Certificates are valid.")] = 397,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the broker.")] = 8883,
    renew: Annotated[
        bool, typer.Option("--renew", help="Issue all certificates again, for the same keys.")
    ] = False,
) -> None:
    """Write mosquitto.conf, acl, an authority and certificates for the broker of a network.

    Example: depin-bridge broker-config broker --network card.cbor --hosts broker.example.org
    """
    _, data = network_and_card(network)
    if data is None:
        raise ConfigError("config.card", f"{network} is no file", hint="name the network's card")
    names = [name for given in hosts for name in given.split(",") if name]
    wanted = Wanted(
        read_card(data).name, tuple(names), tuple(gateway or ()), tuple(sensor or ()), port
    )
    for line in explain(write(directory, wanted, days=days, renew=renew)):
        typer.echo(line)


def explain(written: Written) -> list[str]:
    """What goes where."""
    folder = written.config.parent
    lines = [
        f"broker: mosquitto -c {written.config} (it must own {folder / 'data'} and read the rest)",
        f"stays here, and off the broker if you can: {folder / 'ca.key'}",
        f"everybody: {folder / 'ca.pem'} (ca)",
    ]
    for name, issued in written.clients.items():
        new = "new" if issued.fresh else "as before"
        lines.append(f"{name}: {issued.certificate} (cert), {issued.key} (key), {new}")
    return [*lines, "a key goes to its holder alone; the aggregator's goes to the aggregator"]
