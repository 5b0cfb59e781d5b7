"""A small HTTP server for sensors that push: one path, POST only, everything bounded.

The standard library reads the request. Bounded here, which it leaves open: connections at once,
bytes of a request with its head, and the seconds that a request may take from its first byte to its
last, however slowly it comes. One request a connection, answered when it is dealt with.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast

from depin_id.errors import ConfigError, TransportError

_POLL = 0.2
_MAX_LENGTH_DIGITS = 9
_FAREWELL = 1.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@dataclass(frozen=True)
class PushLimits:
    """Bounds of the server.

    Attributes:
        connections: open at once, those that negotiate TLS included.
        head: bytes of the request line and the headers.
        body: bytes of the body.
        request_s: from connecting to the last byte of the request.
        answer_s: that what takes a request may take.
    """

    connections: int = 64
    head: int = 8192
    body: int = 16_384
    request_s: float = 10.0
    answer_s: float = 30.0


@dataclass(frozen=True)
class Push:
    """A request: its headers in lower case, its body, and the names in the client's certificate."""

    headers: Mapping[str, str]
    body: bytes
    names: frozenset[str]


Handle = Callable[[Push], tuple[int, str]]
"""Gives the status and a line of text for a request; called in the request's own thread."""


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS for the server; with ``client_ca`` only for clients with a certificate of that authority.

    Raises:
        ConfigError: ``config.tls``.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # An empty password: never ask on the terminal of a service.
        context.load_cert_chain(str(cert), str(key), password="")
        if client_ca is not None:
            context.load_verify_locations(cafile=str(client_ca))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(
            "config.tls",
            f"the TLS files cannot be used: {error}",
            hint="cert, key and client_ca are PEM files; the key has no passphrase",
        ) from error
    return context


def certificate_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """The common names and URIs of a verified client certificate."""
    if not certificate:
        return frozenset()
    names = {
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    }
    names |= {value for key, value in certificate.get("subjectAltName", ()) if key == "URI"}
    return frozenset(names)


class Bounded(io.RawIOBase):
    """Reads from a socket no more than so many bytes, and no later than a moment."""

    def __init__(self, sock: socket.socket, most: int, deadline: float) -> None:
        self._sock, self._left, self._deadline = sock, most, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError("the request is too slow or too long")
        self._sock.settimeout(seconds)
        count = self._sock.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "depin-bridge", ""
    server: PushServer

    def setup(self) -> None:
        limits = self.server.limits
        deadline = time.monotonic() + limits.request_s
        sock: socket.socket = self.request
        sock.settimeout(limits.request_s)
        self.names: frozenset[str] = frozenset()
        if self.server.context is not None:
            # Here and not where connections are accepted: a slow handshake holds up only itself.
            sock = self.server.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
            self.request = sock
            try:
                sock.do_handshake()
            except BaseException:
                sock.close()
                raise
            self.names = certificate_names(sock.getpeercert())
        self.connection = sock
        self.rfile = io.BufferedReader(Bounded(sock, limits.head + limits.body, deadline))
        self.wfile = cast(io.BufferedIOBase, _Writer(sock))

    def handle(self) -> None:
        """One request, never a second."""
        self.close_connection = True
        self.handle_one_request()

    def handle_one_request(self) -> None:
        """As the standard library's, with our bounds on the head."""
        limits = self.server.limits
        try:
            self.raw_requestline = self.rfile.readline(limits.head + 1)
            if len(self.raw_requestline) > limits.head:
                self.requestline = self.request_version = self.command = ""
                self._say(431, "the request line is too long")
                return
            if not self.raw_requestline or not self.parse_request():
                return
            self.close_connection = True
            if (
                sum(len(name) + len(value) + 4 for name, value in self.headers.items())
                > limits.head
            ):
                self._say(431, "the headers are too long")
                return
            self._say(*self._answer())
        except TimeoutError:
            with contextlib.suppress(OSError):
                self._say(408, "too slow, or too long")

    def _answer(self) -> tuple[int, str]:
        limits = self.server.limits
        if self.path.split("?", 1)[0] != self.server.path:
            return 404, "not here"
        if self.command != "POST":
            return 405, "POST only"
        if not self.server.admits(self.headers.get("Authorization")):
            return 401, "name and password"
        if "Origin" in self.headers:
            # A page in somebody's browser, which reaches what listens on loopback or at home.
            return 403, "not from web pages"
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            return 411, "one Content-Length, and no Transfer-Encoding"
        text = lengths[0].strip()
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_LENGTH_DIGITS):
            return 400, "the Content-Length is no number"
        if int(text) > limits.body:
            return 413, f"at most {limits.body} bytes"
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(int(text))
        if len(body) != int(text):
            return 400, "the body is shorter than its length"
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.server.take(Push(headers, body, self.names))

    def handle_expect_100(self) -> bool:
        """Answered once the length is known to be in bounds."""
        return True

    _early = False

    def _say(self, status: int, text: str) -> None:
        self._early = status != 200
        body = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="depin-bridge"')
        if status == 503:
            self.send_header("Retry-After", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The standard library's refusals, in our form."""
        self._say(int(code), (message or "refused")[:100])

    def finish(self) -> None:
        """Let a client that was refused early finish, or it would lose our answer; then close."""
        with contextlib.suppress(OSError, ValueError):
            self.connection.settimeout(_FAREWELL)
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.unwrap()
            elif self._early:
                self.connection.shutdown(socket.SHUT_WR)
                deadline = time.monotonic() + _FAREWELL
                while time.monotonic() < deadline and self.connection.recv(8192):
                    pass
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """What hostile requests say is nobody's news; refusals are counted."""


class _Writer(io.RawIOBase):
    """Writes all of it, or gives up when the client does not read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._sock.settimeout(5)
        self._sock.sendall(data)
        return len(data)


class PushServer(ThreadingMixIn, TCPServer):
    """Listens when it is made; serves in :meth:`serve`.

    Args:
        take: deals with a request. path: the only one there is. context: TLS.
        password: name and password of HTTP Basic that every request needs.
        refuse: called with a code and details for connections that come to nothing.

    Raises:
        TransportError: ``http.listen``.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        take: Handle,
        *,
        path: str,
        refuse: Callable[[str, str], None],
        context: ssl.SSLContext | None = None,
        password: tuple[str, str] | None = None,
        limits: PushLimits | None = None,
    ) -> None:
        self.take, self.path, self.context = take, path, context
        self.limits = limits or PushLimits()
        self._refuse = refuse
        self._room = threading.BoundedSemaphore(self.limits.connections)
        self._wanted = (
            None if password is None else b"Basic " + b64encode(":".join(password).encode())
        )
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise TransportError(
                "http.listen", f"{host}:{port}: {error.strerror or error}"
            ) from error
        self.port = int(self.socket.getsockname()[1])

    def admits(self, authorization: str | None) -> bool:
        """Whether a request names the right password, if there is one."""
        if self._wanted is None:
            return True
        given = (authorization or "").encode("utf-8", "replace")
        return hmac.compare_digest(given, self._wanted)

    def serve(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set, then close."""
        self.timeout = _POLL
        with self:
            while not stop.is_set():
                self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, as long as there is room."""
        if not self._room.acquire(blocking=False):
            self._refuse("http.busy", "too many connections")
            with contextlib.suppress(OSError):
                request.setblocking(False)
                if self.context is None:
                    request.send(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, and its room given back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that failed (TLS, a reset) is counted, not printed."""
        error = sys.exc_info()[1]
        tls = isinstance(error, ssl.SSLError)
        self._refuse("http.tls" if tls else "http.connection", str(error)[:100])
