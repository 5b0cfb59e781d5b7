"""What a running bridge says of itself over HTTP: metrics, health and status."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from depin_id.errors import ConfigError, TransportError
from firmware_bridge.sources.http_push import Bounded

_SECONDS = 5.0
_HEAD = 8192
_AT_ONCE = 8
JSON = "application/json"

Page = tuple[int, str, bytes]
"""Status, content type and body."""


def split_address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPV6]:PORT``; port 0 is any. Raises ConfigError ``config.metrics``."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(
            "config.metrics",
            f"metrics = {text[:60]!r} is no address",
            hint='write "127.0.0.1:9464", or "" for none',
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def split_host(text: str) -> str:
    """The host of ``HOST`` or ``HOST:PORT``."""
    host, colon, port = text.rpartition(":")
    return (host if colon and port.isdigit() else text).removeprefix("[").removesuffix("]")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def json_page(value: Any, status: int = 200) -> Page:
    """A page of JSON."""
    return status, JSON, json.dumps(value, ensure_ascii=False).encode() + b"\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    pages: dict[str, Callable[[], Page]]
    places: threading.BoundedSemaphore

    def __init__(self, host: str, port: int) -> None:
        self.local = _loopback(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def named(self, host: str | None) -> bool:
        """Whether a request that reached this machine's own address is for one.

        Under a name it comes from a browser whose page had its own name lead here.
        """
        return not self.local or host is None or _loopback(split_host(host))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Not more at once than there are places: everybody else is hung up on."""
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One request, in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up in the middle is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    server: _Server
    server_version, sys_version = "depin-bridge", ""

    def setup(self) -> None:
        """The whole request has a few seconds, however slowly it drips."""
        super().setup()
        self.rfile = io.BufferedReader(Bounded(self.request, _HEAD, time.monotonic() + _SECONDS))

    def do_GET(self) -> None:
        """One page."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if not self.server.named(self.headers.get("Host")):
            page = None
        status, kind, body = json_page({"error": "not found"}, 404) if page is None else page()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks every ten seconds would fill the log."""


class Web:
    """Serves pages until closed.

    Args:
        address: ``HOST:PORT``. pages: path to what makes the page.

    Raises:
        ConfigError: ``config.metrics``. TransportError ``metrics.address``: it cannot be used.
    """

    def __init__(self, address: str, pages: dict[str, Callable[[], Page]]) -> None:
        host, port = split_address(address)
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise TransportError(
                "metrics.address",
                f"{address}: {error.strerror or error}",
                hint="another bridge may use it: give each its own [bridge] metrics",
            ) from error
        self._server.pages = pages
        self._server.places = threading.BoundedSemaphore(_AT_ONCE)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serve nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
