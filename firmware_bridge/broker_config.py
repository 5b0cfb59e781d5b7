"""The files of a mosquitto broker for one network: configuration, access list, certificates.

Everybody shows a certificate of the folder's own authority, and its name alone says what they may
do: the broker holds no password.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from depin_id.durable import make_directory, read_file, replace_file
from depin_id.errors import ConfigError
from firmware_bridge.authority import Authority, Issued, valid_until
from firmware_bridge.mqtt import MAX_INCOMING

AGGREGATOR = "aggregator"
_KID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?", re.ASCII)
_END = re.compile(r"[0-9]{1,12}", re.ASCII)
_MAX_ISSUED = 1 << 24
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
    holders = {AGGREGATOR: clients / AGGREGATOR}
    holders |= {name: clients / f"gateway-{name}" for name in gateways}
    holders |= {name: clients / f"sensor-{name}" for name in sensors}
    ends = _issued(folder / "issued")
    _check_free(holders, ends, folder / "issued")
    authority = Authority(folder, days=days, renew=renew)
    server = authority.server(wanted.hosts)
    issued = {name: authority.client(base, name) for name, base in holders.items()}
    for name, pair in issued.items():
        ends[name] = max(valid_until(pair.certificate), ends.get(name, 0))
    _put(folder / "issued", "".join(f"{name} {end}\n" for name, end in sorted(ends.items())), 0o600)
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


def _issued(path: Path) -> dict[str, int]:
    """Until when the names that were ever given are in somebody's certificate."""
    text = (read_file(path, max_bytes=_MAX_ISSUED) or b"").decode(errors="replace")
    parts = [line.split() for line in text.splitlines() if not line.startswith("#")]
    if any(len(part) != 2 or _END.fullmatch(part[1]) is None for part in parts):
        raise ConfigError("config.broker", f"{path}: a line is no name and time")
    return {name: int(end) for name, end in parts}


def _check_free(holders: Mapping[str, Path], ends: Mapping[str, int], path: Path) -> None:
    """Nobody gets a name that somebody who went may still show a certificate of."""
    for name, base in holders.items():
        if ends.get(name, 0) > time.time() and not base.with_name(base.name + ".key").exists():
            raise ConfigError(
                "config.broker",
                f"{name!r} was somebody else's, whose certificate is still good",
                hint=f"give another name; if nobody has that key, remove the line from {path}",
            )


def _put(path: Path, text: str, mode: int) -> None:
    replace_file(path, (_MARK + text).encode(), mode=mode)


def _earlier(clients: Path, prefix: str, form: re.Pattern[str]) -> list[str]:
    names = [path.name[len(prefix) : -len(".pem")] for path in clients.glob(f"{prefix}*.pem")]
    return [name for name in names if form.fullmatch(name)]
