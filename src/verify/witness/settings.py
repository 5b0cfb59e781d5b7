"""Which witnesses an aggregator asks: ``witnesses.toml`` in its directory.

```toml
quorum = 1            # how many have to cosign before receipts are made under a checkpoint
every_seconds = 5     # how often at most
ca = "ca.pem"         # optional: authorities for witnesses with certificates of their own

[[witness]]
url = "https://example.net/witness"
key = "witness.example/w1+..."
```
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from depin_id.durable import read_file
from depin_id.errors import ConfigError, KeyRefused, LogError
from depin_id.witness import WitnessKey, WitnessPolicy

FILE: Final = "witnesses.toml"
MAX_BYTES: Final = 64 * 1024
_FIELDS = {"quorum", "every_seconds", "ca", "witness"}
_MAX_EVERY = 86_400


def _wrong(what: str, hint: str = "") -> NoReturn:
    raise ConfigError("config.witnesses", f"{FILE}: {what}", hint=hint)


@dataclass(frozen=True)
class Asked:
    """A witness that is asked: its submission prefix and its key."""

    url: str
    key: WitnessKey


@dataclass(frozen=True)
class WitnessSettings:
    """What ``witnesses.toml`` says.

    Attributes:
        witnesses: who is asked; none is a file without any.
        quorum: how many have to cosign.
        every_s: a round at most this often, seconds.
        ca: PEM of authorities, instead of those of the system.
    """

    witnesses: tuple[Asked, ...]
    quorum: int
    every_s: float = 5.0
    ca: Path | None = None

    @property
    def policy(self) -> WitnessPolicy:
        """The witnesses and their quorum as whoever checks a checkpoint wants them."""
        return WitnessPolicy(tuple(item.key for item in self.witnesses), self.quorum)

    def context(self) -> ssl.SSLContext:
        """How witnesses are reached by TLS. Raises ConfigError ``config.witnesses``."""
        try:
            return ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (OSError, ValueError) as error:
            _wrong(f"the authorities in {self.ca} cannot be used: {error}", "give a PEM file")


def parse_settings(text: str, *, folder: Path) -> WitnessSettings:
    """Read settings.

    Args:
        text: TOML.
        folder: what a relative ``ca`` is relative to.

    Raises:
        ConfigError: ``config.witnesses`` names what is wrong.
    """
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        _wrong(f"not TOML: {error}")
    unknown = set(value) - _FIELDS
    if unknown:
        _wrong(
            f"{sorted(unknown)[0]!r} is not a setting", f"known are {', '.join(sorted(_FIELDS))}"
        )
    every, ca = value.get("every_seconds", 5), value.get("ca")
    if type(every) not in (int, float) or not 0 < every <= _MAX_EVERY:
        _wrong("every_seconds is not a number of seconds of at most a day")
    if ca is not None and not isinstance(ca, str):
        _wrong("ca is not the name of a file")
    rows = value.get("witness", [])
    if not isinstance(rows, list):
        _wrong("witness is not a list", "write [[witness]] before each")
    found = WitnessSettings(
        tuple(_witness(row) for row in rows),
        value.get("quorum", 0),
        float(every),
        None if ca is None else folder / ca,
    )
    try:
        _ = found.policy
    except LogError as error:
        _wrong(error.message, error.hint)
    return found


def _witness(row: Any) -> Asked:
    if not isinstance(row, dict) or set(row) != {"url", "key"}:
        _wrong("a witness has exactly url and key")
    url, key = row["url"], row["key"]
    if not isinstance(url, str) or not isinstance(key, str):
        _wrong("url and key of a witness are texts")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        _wrong(f"{url[:80]!r} is not a URL")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        _wrong(f"{url[:80]!r} is not the URL of a witness", "write https://host/prefix")
    if parts.username is not None:
        _wrong("the URL of a witness holds a name or password", "the protocol needs none")
    try:
        return Asked(url.rstrip("/"), WitnessKey.parse(key))
    except (LogError, KeyRefused) as error:
        _wrong(error.message, error.hint)


def load_settings(root: Path) -> WitnessSettings | None:
    """The settings of an aggregator's directory; None without the file.

    Raises:
        ConfigError: ``config.witnesses``. StateError: the file cannot be read.
    """
    data = read_file(Path(root) / FILE, max_bytes=MAX_BYTES)
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        _wrong("not UTF-8 text")
    return parse_settings(text, folder=Path(root))
