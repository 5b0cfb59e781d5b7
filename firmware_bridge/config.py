"""The bridge's configuration file: TOML, every key known, every mistake with its place."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from depin_id.capability import MAX_BYTES, read_chain
from depin_id.did.syntax import parse_did
from depin_id.durable import read_file
from depin_id.errors import ConfigError, DepinError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard, load_card
from firmware_bridge.items import Behalf, GatewayLimits
from firmware_bridge.options import MqttOptions
from firmware_bridge.signing import Level
from firmware_bridge.sources.base import (
    Context,
    FilePath,
    Kind,
    Source,
    SourceOptions,
    Strict,
    broker,
    kinds,
    read_text,
)
from firmware_bridge.spool import DEFAULT_MAX_BYTES, DEFAULT_MAX_ENVELOPES
from firmware_bridge.uplink import ACK_TIMEOUT, WINDOW
from firmware_bridge.web import split_address

MAX_CONFIG = 1 << 20
Model = TypeVar("Model", bound=BaseModel)


class BridgeOptions(Strict):
    """``[bridge]``: who signs, for which network, and the bounds. Paths start at the file."""

    device: FilePath
    card: FilePath
    spool: FilePath
    network: str | None = None
    passphrase_file: FilePath | None = None
    spool_max_bytes: int = Field(default=DEFAULT_MAX_BYTES, ge=1 << 20)
    spool_max_envelopes: int = Field(default=DEFAULT_MAX_ENVELOPES, ge=1)
    spool_policy: Literal["refuse", "drop_oldest"] = "refuse"
    batch_count: int = Field(default=60, ge=1, le=1000)
    batch_age: float = Field(default=10.0, ge=0, le=3600)
    max_sensors: int = Field(default=256, ge=1, le=100_000)
    max_unanswered: int = Field(default=16, ge=1, le=10_000)
    queue: int = Field(default=1000, ge=1, le=100_000)
    status_every: float = Field(default=60.0, ge=0, le=86_400)
    clock: Literal["auto", "none"] | Annotated[int, Field(ge=0, le=86_400)] = "auto"
    """``none``, or a bound on the wall clock's error in seconds; ``auto`` is 1."""
    metrics: str = ""
    """Where metrics, health and status are served, ``127.0.0.1:9464``; empty: nowhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class UplinkOptions(Strict):
    """``[uplink]``: the broker towards the aggregator."""

    url: str
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    username: str | None = None
    password_file: FilePath | None = None
    window: int = Field(default=WINDOW, ge=1, le=1000)
    ack_timeout: float = Field(default=ACK_TIMEOUT, gt=0, le=3600)
    retry_most: float = Field(default=60.0, gt=0, le=3600)


class _File(Strict):
    bridge: BridgeOptions
    uplink: UplinkOptions
    source: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class ConfiguredSource:
    """One ``[[source]]``: its name, the level its input gets, and what it says of itself."""

    name: str
    kind: str
    level: Level
    options: SourceOptions
    make: Kind


@dataclass(frozen=True)
class BridgeConfig:
    """A configuration whose every part was checked; files it names are read when used."""

    path: Path
    bridge: BridgeOptions
    uplink: UplinkOptions
    sources: tuple[ConfiguredSource, ...]

    def resolve(self, path: Path) -> Path:
        """A path of the file, relative to it."""
        return self.path.parent / path.expanduser()

    @property
    def limits(self) -> GatewayLimits:
        """The gateway's bounds."""
        bridge = self.bridge
        return GatewayLimits(
            batch_count=bridge.batch_count,
            batch_age=bridge.batch_age,
            max_sensors=bridge.max_sensors,
            queue=bridge.queue,
            max_unanswered=bridge.max_unanswered,
        )

    @property
    def clock_bound(self) -> int | None:
        """Bound on the wall clock's error in seconds; None: there is none."""
        clock = self.bridge.clock
        return clock if isinstance(clock, int) else None if clock == "none" else 1

    def card(self) -> NetworkCard:
        """The network's card. Raises NetworkError, as :func:`load_card`."""
        return load_card(self.resolve(self.bridge.card), network=self.bridge.network)[0]

    def card_bytes(self) -> bytes:
        """The network's card as signed. Raises as :meth:`card`."""
        return load_card(self.resolve(self.bridge.card), network=self.bridge.network)[1]

    def broker(self) -> MqttOptions:
        """The uplink's broker. Raises ConfigError."""
        return broker(self.uplink, self.resolve)

    def passphrase(self) -> str | None:
        """The passphrase of the device's key, from its file. Raises ConfigError."""
        file = self.bridge.passphrase_file
        return None if file is None else read_text(self.resolve(file), limit=4096).rstrip("\r\n")

    def behalf(self, part: ConfiguredSource, device: PublicKey) -> Behalf | None:
        """On whose behalf a source's sensors are signed for.

        Args:
            device: the gateway's key, which the capability has to name.

        Raises:
            ConfigError: ``config.capability``, ``config.file``.
        """
        options = part.options
        if options.subject is None or options.capability is None:
            return None
        path = self.resolve(options.capability)
        try:
            data = read_file(path, max_bytes=MAX_BYTES)
            last = read_chain(data or b"")[-1]
            parse_did(options.subject)
        except DepinError as error:
            raise ConfigError(
                "config.capability",
                f"{part.name}: {path}: {error.message}",
                hint="name the owner's DID, and the file of the capability he gave",
            ) from error
        if last.grant.audience != device:
            raise ConfigError(
                "config.capability",
                f"{part.name}: {path} is for another key than this gateway's",
                hint="let the owner give one for the gateway's DID",
            )
        return Behalf(options.subject, last.id)

    def make_sources(
        self, card: NetworkCard, kid: str, wall: Callable[[], float] = time.time
    ) -> list[tuple[ConfiguredSource, Source]]:
        """The sources, each with its part of the configuration. Raises ConfigError."""
        made = []
        for item in self.sources:
            context = Context(item.name, self.path.parent, kid, card, wall)
            made.append((item, item.make.make(item.options, context)))
        return made


def load_config(path: str | Path) -> BridgeConfig:
    """Read and check a configuration file.

    Raises:
        ConfigError: ``config.file``, ``config.toml``, ``config.invalid``, ``config.kind``,
            ``config.level``, ``config.plugin``.
    """
    path = Path(path)
    text = read_text(path, limit=MAX_CONFIG)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError("config.toml", f"{path}: {error}") from error
    file = _checked(_File, document, path, "")
    if file.bridge.metrics:
        split_address(file.bridge.metrics)
    return BridgeConfig(path, file.bridge, file.uplink, _sources(file.source, path))


def _sources(parts: list[dict[str, Any]], path: Path) -> tuple[ConfiguredSource, ...]:
    known = kinds()
    found: list[ConfiguredSource] = []
    for index, part in enumerate(parts):
        kind = part.get("kind")
        if not isinstance(kind, str) or kind not in known:
            raise ConfigError(
                "config.kind",
                f"{path}: source[{index}].kind: there is no kind {str(kind)[:40]!r}",
                hint=f"use one of {', '.join(sorted(known))}",
            )
        options = _checked(known[kind].options, part, path, f"source[{index}].")
        name = options.name or f"{kind}-{index}"
        why_not = options.unauthenticated() if options.level == "G1" else None
        if why_not is not None:
            raise ConfigError(
                "config.level",
                f"{path}: source[{index}].level: G1 says that the source was authenticated, and "
                f"{why_not}",
                hint='leave it at "G0", or say how the source is authenticated',
            )
        if any(name == other.name for other in found):
            raise ConfigError("config.invalid", f"{path}: source[{index}].name: {name!r} is taken")
        found.append(ConfiguredSource(name, kind, options.level, options, known[kind]))
    return tuple(found)


def _checked(model: type[Model], document: dict[str, Any], path: Path, where: str) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        lines = [f"{where}{_place(problem['loc'])}: {problem['msg']}" for problem in problems[:5]]
        unknown = any(problem["type"] == "extra_forbidden" for problem in problems)
        raise ConfigError(
            "config.invalid",
            f"{path}: " + "; ".join(lines),
            hint="a key is misspelt or in the wrong part" if unknown else "see depin-bridge init",
        ) from None


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
