"""The files of a mosquitto broker for one network: configuration, access list, certificates.

Everybody shows a certificate of the folder's own authority, and its name alone says what they may
do: the broker holds no password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depin_id.durable import make_directory, replace_file
from depin_id.errors import ConfigError
from firmware_bridge.authority import Authority, Issued
from firmware_bridge.mqtt import MAX_INCOMING

AGGREGATOR = "aggregator"
_KID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?", re.ASCII)
_MARK = "# Written by depin-bridge broker-config, which writes it again: changes are lost.\n"

CONFIG = """\
# One network, one door: TLS, and a certificate of the authority beside this file.
per_listener_settings false
listener {port}
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl

# Who is away finds its messages when it comes back.
persistence true
persistence_location {folder}/data/
autosave_interval 30
persistent_client_expiration 14d
# Nothing is retained: whoever kept an old message could give it out for ever.
retain_available false

# A bundle has at most 128 KiB; the rest is the packet around it.
max_packet_size {packet}
# What we may be sent without an answer (receive maximum), and send.
max_inflight_messages 100
max_queued_messages 10000
max_queued_bytes 67108864
max_keepalive 600
queue_qos0_messages false
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
"""


@dataclass(frozen=True)
class Wanted:
    """Whom the broker is for.

    Args:
        network: the network's name, as it is in topics.
        hosts: names and addresses of the broker. gateways: kids, 16 hexadecimal digits.
        sensors: names; each gets topics of its own below ``sensors/NAME/``.

    Raises:
        ConfigError: ``config.broker``.
    """

    network: str
    hosts: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    port: int = 8883

    def __post_init__(self) -> None:
        _all("host", self.hosts, _HOST)
        _all("gateway's kid", self.gateways, _KID, "16 hexadecimal digits: depin-bridge check")
        _all("sensor's name", self.sensors, _SENSOR, "use A-Z a-z 0-9 . _ -")
        taken = {AGGREGATOR, *self.gateways} & set(self.sensors)
        if not self.hosts or taken or any(_KID.fullmatch(name) for name in self.sensors):
            raise ConfigError(
                "config.broker",
                "there is no host" if not self.hosts else "a sensor has the name of somebody else",
                hint="give --hosts, and sensors names that are no kid and not 'aggregator'",
            )


def _all(what: str, names: Sequence[str], form: re.Pattern[str], hint: str = "") -> None:
    for name in names:
        if form.fullmatch(name) is None:
            raise ConfigError("config.broker", f"{name[:70]!r} is no {what}", hint=hint)


@dataclass(frozen=True)
class Written:
    """What was written: certificates by the name of their holder, and the folder's files."""

    config: Path
    server: Issued
    clients: dict[str, Issued]


def write(folder: Path, wanted: Wanted, *, days: int, renew: bool) -> Written:
    """Write everything that is missing, and the configuration anew; keys are never written over.

    Gateways and sensors of earlier runs stay: who shall go is removed from ``clients``.

    Raises:
        ConfigError: ``config.broker``, ``config.authority``. StateError: it cannot be written.
    """
    folder = folder.resolve()
    if not str(folder).isprintable():
        raise ConfigError("config.broker", f"mosquitto cannot read the path {str(folder)!r}")
    clients = folder / "clients"
    for path in (folder, folder / "data", clients):
        make_directory(path)
    gateways = sorted({*wanted.gateways, *_earlier(clients, "gateway-", _KID)})
    sensors = sorted({*wanted.sensors, *_earlier(clients, "sensor-", _SENSOR)})
    authority = Authority(folder, days=days, renew=renew)
    server = authority.server(wanted.hosts)
    issued = {AGGREGATOR: authority.client(clients / AGGREGATOR, AGGREGATOR)}
    for prefix, names in (("gateway-", gateways), ("sensor-", sensors)):
        for name in names:
            issued[name] = authority.client(clients / f"{prefix}{name}", name)
    _put(folder / "acl", access(wanted.network, gateways, sensors), 0o600)
    text = CONFIG.format(port=wanted.port, folder=folder, packet=MAX_INCOMING)
    _put(folder / "mosquitto.conf", text, 0o644)
    return Written(folder / "mosquitto.conf", server, issued)


def access(network: str, gateways: Iterable[str], sensors: Sequence[str]) -> str:
    """The access list: what is not in it is refused."""
    up, down = f"depin/v1/{network}/up", f"depin/v1/{network}/down"
    blocks = [[f"user {AGGREGATOR}", f"topic read {up}/#", f"topic write {down}/#"]]
    for kid in gateways:
        block = [f"user {kid}", f"topic write {up}/{kid}", f"topic read {down}/{kid}"]
        # Whoever signs for sensors has to hear them; it never speaks in their place.
        blocks.append([*block, "topic read sensors/#"] if sensors else block)
    blocks += [
        [f"user {name}", f"topic write sensors/{name}/#", f"topic read sensors/{name}/#"]
        for name in sensors
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _put(path: Path, text: str, mode: int) -> None:
    replace_file(path, (_MARK + text).encode(), mode=mode)


def _earlier(clients: Path, prefix: str, form: re.Pattern[str]) -> list[str]:
    names = [path.name[len(prefix) : -len(".pem")] for path in clients.glob(f"{prefix}*.pem")]
    return [name for name in names if form.fullmatch(name)]
