"""What a new configuration changes in a running bridge: found out whole before anything is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depin_id.errors import ConfigError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard
from firmware_bridge.config import BridgeConfig, ConfiguredSource, UplinkOptions
from firmware_bridge.items import Behalf
from firmware_bridge.options import MqttOptions
from firmware_bridge.sources import Source
from firmware_bridge.sources.base import SourceOptions, Strict

RESTART = ("device", "card", "spool", "network", "passphrase_file", "metrics")
"""Keys of ``[bridge]`` that a running bridge does not change."""
_FILES = ("ca", "client_ca", "cert", "key", "password_file", "capability")
_MAX_FILE = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """A source that can be started.

    Attributes:
        seen: of the files it was made with; other content is a change.
    """

    part: ConfiguredSource
    source: Source
    behalf: Behalf | None
    seen: bytes


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        ended: names of the sources to end, changed ones included.
        begun: sources to start, changed ones included.
        broker: another broker, or other credentials, for the uplink; None: it stays.
    """

    config: BridgeConfig
    ended: tuple[str, ...]
    begun: tuple[Prepared, ...]
    broker: MqttOptions | None
    uplink_seen: bytes


def prepare(
    config: BridgeConfig, card: NetworkCard, key: PublicKey, wall: Callable[[], float]
) -> list[Prepared]:
    """All sources of a configuration, made but not started. Raises ConfigError."""
    return [
        Prepared(part, source, config.behalf(part, key), seen(config, part.options))
        for part, source in config.make_sources(card, key.kid.hex(), wall)
    ]


def plan(
    old: BridgeConfig,
    new: BridgeConfig,
    running: dict[str, Prepared],
    uplink_seen: bytes,
    card: NetworkCard,
    key: PublicKey,
    wall: Callable[[], float],
) -> Plan:
    """Compare.

    Args:
        running: the sources at work, by name. uplink_seen: of the uplink's files.

    Raises:
        ConfigError: ``config.restart``, and whatever is wrong with the new configuration.
    """
    changed = [name for name in RESTART if getattr(old.bridge, name) != getattr(new.bridge, name)]
    if changed:
        raise ConfigError(
            "config.restart",
            f"{new.path}: bridge.{changed[0]} cannot change while the bridge runs",
            hint="restart the bridge to use it",
        )
    wanted = {item.part.name: item for item in prepare(new, card, key, wall)}
    fresh = tuple(item for name, item in wanted.items() if not _same(running.get(name), item))
    again = {item.part.name for item in fresh}
    ended = tuple(name for name in running if name not in wanted or name in again)
    looked = seen(new, new.uplink)
    broker = new.broker()  # wrong files are found here, whether they are new or not
    stays = old.uplink == new.uplink and looked == uplink_seen
    return Plan(new, ended, fresh, None if stays else broker, looked)


def _same(one: Prepared | None, other: Prepared) -> bool:
    return one is not None and (one.part.kind, one.part.options, one.behalf, one.seen) == (
        other.part.kind,
        other.part.options,
        other.behalf,
        other.seen,
    )


def seen(config: BridgeConfig, options: SourceOptions | UplinkOptions | Strict) -> bytes:
    """A digest of the certificates, keys and passwords that a part names."""
    digest = hashlib.sha256()
    for name in _FILES:
        path = getattr(options, name, None)
        if isinstance(path, Path):
            digest.update(f"{name}\0".encode() + _digest(config.resolve(path)))
    return digest.digest()


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(_MAX_FILE)).digest()
    except OSError:
        return bytes(32)  # said, and better, where the file is used
