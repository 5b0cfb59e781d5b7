"""``depin-bridge``: run, check and set up a bridge."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from depin_id.device import Device
from depin_id.durable import create_file, make_directory
from depin_id.errors import DepinError
from depin_id.network import load_card, topics
from firmware_bridge.config import BridgeConfig, load_config
from firmware_bridge.service import Bridge, run_until_signalled, set_up_logs

app = typer.Typer(
    name="depin-bridge",
    help="Carries signed readings to a network, and signs for sensors that cannot.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Example: depin-bridge init gw --network card.cbor && depin-bridge run gw/bridge.toml",
)

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG.toml", show_default=False)]

EXAMPLE = """\
# depin-bridge run {file}
# Paths start at this file's folder.

[bridge]
device = "device"
card = "card.cbor"
network = "{network}"
spool = "bridge.spool"
spool_policy = "refuse"      # or "drop_oldest"
batch_count = 60             # readings a pack
batch_age = 10               # seconds until a pack is sealed at the latest

[uplink]
url = "{url}"
# ca = "ca.pem"              # mqtts://: who vouches for the broker
# cert = "gateway.pem"       # our certificate and its key (mTLS)
# key = "gateway.key"
# username = "..."
# password_file = "password"

# Devices that sign for themselves: their envelopes are carried unchanged.
[[source]]
kind = "native_files"
name = "drop"
path = "drop"

# [[source]]
# kind = "native_mqtt"
# name = "devices"
# url = "mqtt://127.0.0.1:1883"
# topic = "site/envelopes/+"
# level = "G1"               # only when this broker authenticates its devices

# Sensors that cannot sign: this gateway signs for them as <gateway DID>#name.
# [[source]]
# kind = "mqtt_json"
# name = "tasmota"
# url = "mqtt://127.0.0.1:1883"
# topic = "tele/{{sensor}}/SENSOR"
# [[source.reading]]
# path = "BME280.Temperature"
# name = "temperature"
# unit = "Cel"
# [[source.reading]]
# path = "BME280.Pressure"
# name = "pressure"
# unit = "Pa"
# scale = "100"              # it says hPa
# required = false

# [[source]]
# kind = "lines"
# name = "meter"
# input = "udp"
# port = 9750
# format = "plain"           # LAeq 52.1 dB
# sensor = "meter-1"
# [[source.reading]]
# path = "LAeq"
# name = "LAeq"
# unit = "dB"
"""


@app.command(epilog="Example: depin-bridge run bridge.toml --json-logs")
def run(
    config: ConfigArgument,
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="One JSON object a line on standard error.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also say what is refused, each time.")
    ] = False,
) -> None:
    """Run the bridge until SIGTERM or SIGINT."""
    set_up_logs(json_logs=json_logs, verbose=verbose)
    run_until_signalled(Bridge(load_config(config)))


@app.command(epilog="Example: depin-bridge check bridge.toml")
def check(config: ConfigArgument) -> None:
    """Say what the bridge would do, without connecting to anything."""
    loaded = load_config(config)
    with Device.open(
        loaded.resolve(loaded.bridge.device), passphrase=loaded.passphrase()
    ) as device:
        for line in describe(loaded, device):
            typer.echo(line)


def describe(config: BridgeConfig, device: Device) -> list[str]:
    """What a configuration does, a line each. Raises DepinError where it cannot work."""
    card, broker = config.card(), config.broker()
    up, down = topics(card.name, device.public_key.kid)
    bridge = config.bridge
    lines = [
        f"gateway: {device.did} (to be enrolled, role {device.enrolment.role})",
        f"network: {card.name}, {card.network}, card {card.number}",
        f"uplink: {broker!r}, publishes {up}, listens to {down}",
        f"spool: {config.resolve(bridge.spool)}, at most {bridge.spool_max_envelopes} envelopes "
        f"and {bridge.spool_max_bytes} bytes, then {bridge.spool_policy}",
        f"packs: {bridge.batch_count} readings or {bridge.batch_age:g} s, "
        f"at most {bridge.max_sensors} sensors",
    ]
    if device.enrolment.role != "gateway":
        lines.append("warning: this device is no gateway, so it cannot run a bridge")
    if broker.exposed:
        lines.append("warning: mqtt:// leaves this machine without TLS: anyone can drop messages")
    for part, source in config.make_sources(card, device.public_key.kid.hex()):
        first, *rest = source.describe()
        lines.append(f"source {part.name}: {first}")
        lines += [f"    {line}" for line in rest]
    return lines


@app.command(epilog="Example: depin-bridge init ./gateway --network card.cbor --name roof-west")
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    network: Annotated[
        Path, typer.Option("--network", metavar="CARD", help="The network's card (a file).")
    ],
    name: Annotated[str, typer.Option(help="What to call the gateway.")] = "",
    url: Annotated[
        str, typer.Option(help="The broker towards the aggregator.")
    ] = "mqtts://broker.example:8883",
) -> None:
    """Make a gateway: a key, and a configuration to fill in."""
    card, data = load_card(network)
    file = directory / "bridge.toml"
    with Device.create(directory / "device", name=name, role="gateway") as device:
        create_file(directory / "card.cbor", data, mode=0o644)
        make_directory(directory / "drop")
        text = EXAMPLE.format(file=file, network=card.network, url=url)
        create_file(file, text.encode(), mode=0o644)
        typer.echo(f"gateway: {device.did}")
        typer.echo(f"enrol it with network {card.name}, edit {file}, then: depin-bridge run {file}")


@app.command()
def version() -> None:
    """Print the version."""
    try:
        typer.echo(f"depin-bridge {installed_version('depin-id')}")
    except PackageNotFoundError:
        typer.echo("depin-bridge (not installed)")


def main() -> None:
    """The console script: an error is one line with its code and a hint, and exit status 2."""
    try:
        app(standalone_mode=True)
    except DepinError as error:
        print(f"error: {error.code}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
