"""Where a broker is, and how we show it who we are."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from depin_id.errors import ConfigError


@dataclass(frozen=True)
class MqttOptions:
    """Where a broker is and how we show who we are. Make one with :meth:`from_url`."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    keepalive: int = 30
    connect_timeout: float = 10.0

    def __repr__(self) -> str:
        scheme = "mqtt" if self.context is None else "mqtts"
        return f"{scheme}://{self.host}:{self.port}"

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        ca: Path | str | None = None,
        cert: Path | str | None = None,
        key: Path | str | None = None,
        username: str | None = None,
        password: str | None = None,
        keepalive: int = 30,
        connect_timeout: float = 10.0,
    ) -> MqttOptions:
        """Read ``mqtt://host[:1883]`` or ``mqtts://host[:8883]`` and the TLS files.

        Args:
            ca: PEM of the authorities that may vouch for the broker; None: the system's.
            cert, key: PEM of our client certificate and its private key.

        Raises:
            ConfigError: ``config.url`` or ``config.tls``.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _bad_url(f"{error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not host:
            raise _bad_url("it is neither mqtt://HOST nor mqtts://HOST")
        if parts.username or parts.password:
            raise _bad_url("it carries a name or password, and addresses end up in logs")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise _bad_url("there is something behind the port")
        secure = parts.scheme == "mqtts"
        if not secure and (ca or cert or key):
            raise _bad_url("there are TLS files, but mqtt:// does not use TLS")
        return cls(
            host,
            port or (8883 if secure else 1883),
            _tls(ca, cert, key) if secure else None,
            username,
            password,
            keepalive,
            connect_timeout,
        )

    @property
    def exposed(self) -> bool:
        """Whether bytes and passwords travel a network without TLS."""
        if self.context is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def _bad_url(what: str) -> ConfigError:
    return ConfigError(
        "config.url", f"the broker's address is wrong: {what}", hint="write mqtts://HOST:8883"
    )


def _tls(ca: Path | str | None, cert: Path | str | None, key: Path | str | None) -> ssl.SSLContext:
    if (cert is None) != (key is None):
        raise ConfigError("config.tls", "cert and key go together", hint="give both or neither")
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None and key is not None:
            # An empty password: never ask on the terminal of a service.
            context.load_cert_chain(str(cert), str(key), password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "config.tls",
            f"the TLS files cannot be used: {error}",
            hint="ca, cert and key are PEM files this user may read; the key has no passphrase",
        ) from error
    return context
