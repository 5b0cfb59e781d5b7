"""``depin-bridge``: run, check and set up a bridge."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from depin_id.commands.common import app as group
from depin_id.commands.common import network_and_card
from depin_id.commands.common import run as run_command
from depin_id.device import Device
from depin_id.device_file import read_enrolment
from depin_id.durable import create_file, make_directory
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, StateError
from depin_id.network import read_card, topics
from firmware_bridge.config import BridgeConfig, load_config
from firmware_bridge.discover import discover
from firmware_bridge.options import MqttOptions
from firmware_bridge.service import Bridge, run_until_signalled, set_up_logs

app = group(
    "Carries signed readings to a network, and signs for sensors that cannot.\n\n"
    "Example: depin-bridge init gw --network card.cbor && depin-bridge run gw/bridge.toml"
)

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml", help="As `depin-bridge init` makes it.")
]

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
# level = "G1"               # with devices: how this broker authenticates them
# devices = "mtls"

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
# name = "laeq"
# unit = "dB"
"""


@app.command()
def run(
    config: ConfigArgument,
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="One JSON object a line on standard error.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also say what is refused, each time.")
    ] = False,
) -> None:
    """Run the bridge until SIGTERM or SIGINT.

    Example: depin-bridge run gw/bridge.toml --json-logs
    """
    set_up_logs(json_logs=json_logs, verbose=verbose)
    run_until_signalled(Bridge(load_config(config)))


@app.command()
def check(config: ConfigArgument) -> None:
    """Say what the bridge would do, without connecting to anything.

    Example: depin-bridge check gw/bridge.toml
    """
    loaded = load_config(config)
    folder = loaded.resolve(loaded.bridge.device)
    try:
        Device.open(folder, passphrase=loaded.passphrase()).close()
    except StateError as error:
        # While the bridge runs the key is in use, and so it has been found right.
        if error.code != "state.locked":
            raise
    for line in describe(loaded, read_enrolment(folder)):
        typer.echo(line)


def describe(config: BridgeConfig, gateway: Enrolment) -> list[str]:
    """What a configuration does, a line each. Raises DepinError where it cannot work."""
    card, broker = config.card(), config.broker()
    up, down = topics(card.name, gateway.key.kid)
    bridge = config.bridge
    lines = [
        f"gateway: {gateway.did} (to be enrolled, role {gateway.role})",
        f"network: {card.name}, {card.network}, card {card.number}",
        f"uplink: {broker!r}, publishes {up}, listens to {down}",
        f"spool: {config.resolve(bridge.spool)}, at most {bridge.spool_max_envelopes} envelopes "
        f"and {bridge.spool_max_bytes} bytes, then {bridge.spool_policy}",
        f"packs: {bridge.batch_count} readings or {bridge.batch_age:g} s, "
        f"at most {bridge.max_sensors} sensors",
    ]
    if gateway.role != "gateway":
        lines.append("warning: this device is no gateway, so it cannot run a bridge")
    if broker.exposed:
        lines.append("warning: mqtt:// leaves this machine without TLS: anyone can drop messages")
    for part, source in config.make_sources(card, gateway.key.kid.hex()):
        first, *rest = source.describe()
        lines.append(f"source {part.name}: {first}")
        lines += [f"    {line}" for line in rest]
    return lines


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    network: Annotated[
        str, typer.Option("--network", metavar="CARD", help="The network's card (a file).")
    ],
    name: Annotated[str, typer.Option(help="What to call the gateway.")] = "",
    url: Annotated[
        str, typer.Option(help="The broker towards the aggregator.")
    ] = "mqtts://broker.example:8883",
) -> None:
    """Make a gateway: a key, and a configuration to fill in.

    Example: depin-bridge init gw --network card.cbor --name roof-west
    """
    _, data = network_and_card(network)
    if data is None:
        raise ConfigError("config.card", f"{network} is no file", hint="name the network's card")
    card = read_card(data)
    MqttOptions.from_url(url)
    file = directory / "bridge.toml"
    with Device.create(directory / "device", name=name, role="gateway") as device:
        create_file(directory / "card.cbor", data, mode=0o644)
        make_directory(directory / "drop")
        text = EXAMPLE.format(file=file, network=card.network, url=url)
        create_file(file, text.encode(errors="replace"), mode=0o644)
        typer.echo(f"gateway: {device.did}")
        typer.echo(f"enrol it with network {card.name}, edit {file}, then: depin-bridge run {file}")


app.command()(discover)


@app.command()
def version() -> None:
    """Print the version.

    Example: depin-bridge version
    """
    try:
        typer.echo(f"depin-bridge {installed_version('depin-id')}")
    except PackageNotFoundError:
        typer.echo("depin-bridge (not installed)")


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 2 with ``error: code: message`` on errors."""
    run_command(get_command(app), argv, "depin-bridge")


if __name__ == "__main__":
    main()
