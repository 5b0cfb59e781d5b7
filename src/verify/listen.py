"""Where a server listens, and its certificate."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from depin_id.errors import ConfigError, TransportError


@dataclass(frozen=True)
class Certificate:
    """Files of a server's TLS: PEM of its certificate (with the chain) and of its key."""

    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """A server's context, TLS 1.2 or later. Raises TransportError ``transport.tls``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Have new connections use what the files hold now. Raises as :meth:`context`."""
        try:
            # Without a password OpenSSL would ask on the terminal.
            context.load_cert_chain(str(self.cert), str(self.key), password=lambda: "")
        except (OSError, ValueError) as error:
            raise TransportError(
                "transport.tls",
                f"the certificate or key cannot be used: {self.cert}: {error}",
                hint="give PEM files; the key has to belong to the certificate, without password",
            ) from error

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever one of the files does."""
        with suppress(OSError):
            return tuple(path.stat().st_mtime_ns for path in (self.cert, self.key))
        return ()


def parse_address(text: str, *, default_port: int | None = None) -> tuple[str, int]:
    """``HOST:PORT`` or ``[v6]:PORT``, read. Raises ConfigError ``http.address``."""
    host, colon, port = text.rpartition(":")
    if not colon and default_port is not None:
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not port.isascii() or int(port) > 65_535:
        raise ConfigError(
            "http.address",
            f"{text[:80]!r} is not an address to listen on",
            hint="write 127.0.0.1:8080, or [::1]:8080",
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def customer(address: str) -> str:
    """Whose an address is, as far as it tells: of IPv6 the network of 64 bits.

    One customer has all addresses of such a network, so limits of one address would be none.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(found, ipaddress.IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def check_exposure(host: str, certificate: Certificate | None, *, insecure: bool) -> None:
    """Refuse to be reachable by others without TLS. Raises ConfigError ``http.insecure``."""
    if certificate is None and not insecure and not is_loopback(host):
        raise ConfigError(
            "http.insecure",
            f"{host} can be reached from other machines, and there is no TLS",
            hint="give a certificate and its key, listen on 127.0.0.1 behind a proxy that has "
            "them, or say --insecure",
        )


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises TransportError ``http.listen``."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]
        listener = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address[4])
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        _cannot_listen(host, port, error)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> NoReturn:
    raise TransportError(
        "http.listen",
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        hint="another process may use the port; name another",
    ) from error
