"""Where a broker is and how it is reached: addresses and TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from depin_id.errors import TransportError

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_HOST = 253


@dataclass(frozen=True)
class TlsOptions:
    """Files of a TLS connection; the broker's certificate and host name are always checked.

    Attributes:
        ca_file: PEM of the authorities that may have signed the broker's certificate; without it
            those of the system.
        cert_file, key_file: PEM of the client's certificate and key (mutual TLS): both or neither.
        key_password: of the key file, when it is encrypted.

    Raises TransportError ``transport.tls`` when only one of the two client files is given.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise TransportError(
                "transport.tls",
                "only one of the client's certificate and key is given",
                hint="give both cert_file and key_file, or neither",
            )

    def context(self) -> ssl.SSLContext:
        """A client context: TLS 1.2 or later, certificate and host name checked.

        Raises TransportError ``transport.tls`` when a file cannot be read or used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(cafile=str(self.ca_file))
            except (OSError, ValueError) as error:
                _unusable("the authorities' file", self.ca_file, error)
        if self.cert_file is not None and self.key_file is not None:
            # Without a password OpenSSL would ask on the terminal.
            password = self.key_password or ""
            try:
                context.load_cert_chain(
                    str(self.cert_file), str(self.key_file), password=lambda: password
                )
            except (OSError, ValueError) as error:
                _unusable("the client's certificate or key", self.cert_file, error)
        return context


def _unusable(what: str, path: Path, error: Exception) -> NoReturn:
    raise TransportError(
        "transport.tls",
        f"{what} cannot be used: {path}: {error}",
        hint="give PEM files; the key has to belong to the certificate",
    ) from error


@dataclass(frozen=True)
class BrokerAddress:
    """A broker's address, from ``mqtt://[user[:password]@]host[:port]`` or ``mqtts://``."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The address without name and password, fit for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker_url(url: str) -> BrokerAddress:
    """Read a broker's URL. Raises TransportError ``transport.url``; never repeats a password."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except (ValueError, AttributeError, TypeError):
        _bad_url("it does not have the form of a URL")
    if parts.scheme not in DEFAULT_PORTS:
        _bad_url("it begins neither with mqtt:// nor with mqtts://")
    if not host or len(host) > _MAX_HOST or any(c.isspace() or ord(c) < 32 for c in host):
        _bad_url("it names no host")
    if port == 0:
        _bad_url("the port is 0")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        _bad_url("something follows the port")
    username, password = _credentials(parts)
    return BrokerAddress(
        host, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts", username, password
    )


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    if parts.username is None:
        return None, None
    username = unquote(parts.username)
    if not username:
        _bad_url("a password without a name")
    return username, None if parts.password is None else unquote(parts.password)


def _bad_url(what: str) -> NoReturn:
    raise TransportError(
        "transport.url",
        f"not a broker's URL: {what}",
        hint="write mqtt://user:password@host:port, or mqtts:// for TLS",
    )
