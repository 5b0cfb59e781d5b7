"""``depin-verify simulate``."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import read_passphrase, show
from depin_id.errors import ConfigError
from verify.commands.common import AsJson, flat, parse_moment, progress
from verify.ingest.options import TlsOptions


class Kind(StrEnum):
    """What the sensors are."""

    noise = "noise"
    weather = "weather"
    tracks = "tracks"
    mixed = "mixed"


def simulate(
    devices: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    minutes: Annotated[int, typer.Option(min=0, help="0: only enrolments.")] = 10,
    cheats: Annotated[
        str,
        typer.Option(metavar="NAME=SHARE,...", help="Who cheats; --cheats help lists the ways."),
    ] = "",
    kind: Annotated[Kind, typer.Option(help="What they measure.")] = Kind.mixed,
    pack: Annotated[int, typer.Option(min=1, help="Measurements in an envelope.")] = 60,
    bundle: Annotated[int, typer.Option(min=1, help="Envelopes that a device sends at once.")] = 1,
    seed: Annotated[str, typer.Option(help="Decides everything, keys too.")] = "1",
    start: Annotated[
        str | None, typer.Option(help="When it begins; live: so that it ends in the present.")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Write files there.")] = None,
    mqtt: Annotated[str | None, typer.Option(metavar="URL", help="Send to a broker.")] = None,
    http: Annotated[str | None, typer.Option(metavar="URL", help="POST bundles there.")] = None,
    speed: Annotated[
        float, typer.Option(min=0, max=1e6, help="Live: simulated seconds in one; 0: no waiting.")
    ] = 1.0,
    network: Annotated[
        Path | None, typer.Option(help="Your network's card; default with --to: one of its own.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Live: where the truth is written.")] = None,
    aggregator: Annotated[
        bool, typer.Option(help="Also make an aggregator with the devices enrolled.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that write files.")] = 1,
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM) for TLS.")] = None,
    username: Annotated[str | None, typer.Option(help="At the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Its first line, mode 0600.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the traffic of a fleet of any size, honest and not, from a seed.

    The keys follow from the seed, so anyone can make them: enrol them in test networks only.

    Example: depin-verify simulate --devices 1000 --minutes 60 --cheats copied=0.01 --to run

    Example: depin-verify simulate --devices 50 --network net --mqtt mqtt://127.0.0.1 --speed 10
    """
    if cheats == "help":
        _list_cheats(as_json)
        return
    from verify.simulate import Plan, read_shares

    if sum(item is not None for item in (to, mqtt, http)) != 1:
        raise ConfigError("usage", "give one of --to, --mqtt and --http")
    begins = None if start is None else parse_moment(start) // 1000
    plan = Plan(devices, minutes, seed, kind.value, read_shares(cheats), pack, bundle)
    if to is not None:
        plan = plan if begins is None else replace(plan, start=begins)
        _write(plan, to, network, aggregator, jobs, as_json)
        return
    if network is None:
        raise ConfigError("usage", "live traffic is for a network", hint="add --network CARD")
    ahead = plan.run_s / speed if speed else 0
    plan = replace(
        plan, start=begins if begins is not None else int(time.time() + ahead) - plan.run_s
    )
    password = read_passphrase(password_file)
    tls = TlsOptions(ca_file=ca)
    _play(plan, network, (mqtt, http), tls, (username, password), speed, truth, as_json)


def _list_cheats(as_json: bool) -> None:
    from verify.simulate import CHEATS

    found = {
        cheat.name: {
            "does": cheat.does,
            "code": cheat.code,
            "of": cheat.of or None,
            "caught": cheat.caught,
            "kinds": list(cheat.kinds),
        }
        for cheat in CHEATS.values()
    }
    if as_json:
        show(found, as_json=True)
        return
    lines = {
        cheat.name: f"{cheat.does}: {cheat.code if cheat.caught else 'not caught'}"
        for cheat in CHEATS.values()
    }
    show(lines | {"all": "SHARE for each of them"}, as_json=False)


def _write(
    plan: Any, to: Path, network: Path | None, aggregator: bool, jobs: int, as_json: bool
) -> None:
    from verify.simulate.writer import fitting_burst, write

    if network is None:
        plan = replace(plan, burst=fitting_burst(plan))
    with progress("devices") as report:
        summary = write(
            plan, to, network=network, aggregator=aggregator, jobs=jobs, progress=report
        )
    _show(summary, as_json)


def _play(
    plan: Any,
    network: Path,
    urls: tuple[str | None, str | None],
    tls: TlsOptions,
    login: tuple[str | None, str | None],
    speed: float,
    about: Path | None,
    as_json: bool,
) -> None:
    from verify.simulate.live import HttpSink, MqttSink, Sink, play
    from verify.simulate.writer import find_card

    card, (mqtt, http) = find_card(network), urls
    sink: Sink
    if mqtt is not None:
        sink = MqttSink(mqtt, card.name, tls=tls, username=login[0], password=login[1])
    else:
        sink = HttpSink(http or "", tls=tls)
    try:
        with progress("seconds") as report:
            counts = play(plan, card.network, sink, speed=speed, about=about, progress=report)
    finally:
        sink.close()
    _show({"network": card.network, **counts.to_json(plan)}, as_json)


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if not as_json:
        cheats = summary["cheats"]
        summary = flat(summary | {"cheats": {name: c["envelopes"] for name, c in cheats.items()}})
    show(summary, as_json=as_json)
