"""An HTTP server in a thread of its own: uvicorn, with bounds on what one client may hold up.

uvicorn bounds headers in size and idle connections in time. Added here: connections in all and for
one address, also while TLS is being negotiated; the time that headers may take; the time that a
client may leave an answer unread; and certificates that are read again when they were renewed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from depin_id.errors import TransportError
from verify.listen import Certificate, bind, customer

OnEvent = Callable[[str, dict[str, object]], None]
# An ASGI application, as uvicorn takes it.
App = Any

_START_S = 30.0
_STOP_S = 15.0
_TICK_S = 1.0
_RELOAD_S = 30.0
_HANDSHAKE_S = 10.0
_FAREWELL_S = 5.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        connections: open at once, those that negotiate TLS included.
        per_address: of one address, of IPv6 of one network of 64 bits; a trusted proxy may have
            them all.
        header_bytes: request line and headers.
        header_s: from the first byte, or from connecting, to the end of the headers.
        idle_s: between two requests of a connection.
        unread_s: how long a client may leave about 64 KiB of an answer, or its end, unread.
        shutdown_s: for requests under way when the server stops.
    """

    connections: int = 512
    per_address: int = 64
    header_bytes: int = 16_384
    header_s: float = 10.0
    idle_s: float = 15.0
    unread_s: float = 15.0
    shutdown_s: int = 5


class _Gate:
    """Who is connected: counts by address, of IPv6 by network."""

    def __init__(self, limits: Limits, exempt: Collection[str]) -> None:
        self.limits = limits
        self._exempt = frozenset(exempt)
        self._of: Counter[str] = Counter()
        self._handshakes: dict[int, float] = {}
        self.open = 0

    def accepted(self, number: int) -> None:
        """A socket was accepted. Raises ConnectionAbortedError when there are far too many."""
        now = time.monotonic()
        while self._handshakes:
            first = next(iter(self._handshakes))
            if now - self._handshakes[first] <= 2 * _HANDSHAKE_S:
                break
            del self._handshakes[first]
        # A few more than the limit, so that there is room to say that there is none.
        if self.open + len(self._handshakes) >= self.limits.connections + 32:
            raise ConnectionAbortedError("too many connections")
        self._handshakes[number] = now

    def enter(self, number: int, address: str) -> bool:
        """A connection is ready; False when it is one too many. It is counted either way."""
        self._handshakes.pop(number, None)
        self.open += 1
        self._of[customer(address)] += 1
        if self.open > self.limits.connections:
            return False
        return address in self._exempt or self._of[customer(address)] <= self.limits.per_address

    def leave(self, address: str) -> None:
        """A connection has ended."""
        self.open -= 1
        whose = customer(address)
        self._of[whose] -= 1
        if self._of[whose] <= 0:
            del self._of[whose]


class _Protocol(H11Protocol):
    """uvicorn's protocol, with the patience of :class:`Limits`."""

    def __init__(self, gate: _Gate, **about: Any) -> None:
        gate.accepted(id(self))
        super().__init__(**about)
        self._gate = gate
        self._address = ""
        self._entered = self._refused = False
        self._waiting_since: float | None = None
        self._unread_since: float | None = None
        self._paused_since: float | None = None
        self._unread = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        super().connection_made(transport)
        self._entered = True
        self._waiting_since = time.monotonic()
        self._watch = self.loop.call_later(_TICK_S, self._look)
        if not self._gate.enter(id(self), self._address):
            self._refused = True
            transport.write(_BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._entered:
            self._entered = False
            self._gate.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._waiting_since is None and not self._busy():
            self._waiting_since = time.monotonic()
        super().data_received(data)
        if self._busy():
            self._waiting_since = None

    def pause_writing(self) -> None:
        """The client has 64 KiB unread: what is being written waits until it took most of that."""
        self._paused_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._paused_since = None
        super().resume_writing()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        """Once a second: end what takes too long."""
        limits, now = self._gate.limits, time.monotonic()
        size = self.transport.get_write_buffer_size()
        closing = self.transport.is_closing()
        if not size or (self._busy() and not closing):
            self._unread_since = self._paused_since
        elif self._unread_since is None or size < self._unread - 4096 * _TICK_S:
            self._unread_since = now
        self._unread = size
        late = self._waiting_since is not None and now - self._waiting_since > limits.header_s
        unread = self._unread_since is not None and now - self._unread_since > limits.unread_s
        if unread or (late and not self._busy() and not closing):
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(_TICK_S, self._look)


class _Server(uvicorn.Server):
    """uvicorn's server on a socket that is bound already, with our protocol."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        gate: _Gate,
        tls: Certificate | None,
        ready: threading.Event,
    ) -> None:
        super().__init__(config)
        self._listener, self._gate, self._ready = listener, gate, ready
        self.context = None if tls is None else tls.context()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._protocol,
            sock=self._listener,
            ssl=self.context,
            backlog=256,
            ssl_handshake_timeout=None if self.context is None else _HANDSHAKE_S,
            ssl_shutdown_timeout=None if self.context is None else _FAREWELL_S,
        )
        self.servers.append(server)
        self._ready.set()

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(
            self._gate,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


class HttpServer:
    """A server on one address, bound when it is made.

    Args:
        app: an ASGI application.
        host, port: where to listen; port 0 takes a free one.
        name: for logs.
        certificate: for TLS; the files are looked at every half minute and read again when they
            have changed.
        limits: bounds. exempt: addresses of proxies, which may have all connections.
        on_event: called with a kind and details, for logs, from any thread.

    Raises:
        TransportError: ``http.listen`` when the address cannot be used, ``transport.tls``.
    """

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        name: str,
        on_event: OnEvent,
        certificate: Certificate | None = None,
        limits: Limits | None = None,
        exempt: Collection[str] = (),
    ) -> None:
        limits = limits if limits is not None else Limits()
        self.name = name
        self._on_event = on_event
        self._certificate = certificate
        self._gate = _Gate(limits, exempt)
        config = uvicorn.Config(
            app,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_s),
            timeout_graceful_shutdown=limits.shutdown_s,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        # What uvicorn says of hostile requests is nobody's news; what matters is an event of ours.
        logger = logging.getLogger("uvicorn")
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        self._begun = threading.Event()
        self._listener = bind(host, port)
        try:
            self._server = _Server(config, self._listener, self._gate, certificate, self._begun)
        except BaseException:
            self._listener.close()
            raise
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name=f"http-{name}", daemon=True)
        self.error: BaseException | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._gate.open

    @property
    def alive(self) -> bool:
        """Whether the server is at work."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Serve from now on. Raises TransportError ``http.listen``."""
        self._thread.start()
        if not self._begun.wait(_START_S) or self.error is not None:
            raise TransportError("http.listen", f"the server {self.name} did not start")
        scheme = "http" if self._certificate is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self._on_event(
            "http.listening", {"name": self.name, "url": f"{scheme}://{host}:{self.port}"}
        )

    def stop(self) -> None:
        """Take no more, finish what is under way, end the thread. Safe to call twice."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self._listener.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except BaseException as error:
            self.error = error
            self._on_event("http.failed", {"name": self.name, "error": repr(error)})
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        reloading = asyncio.create_task(self._reload())
        try:
            await self._server.serve()
        finally:
            reloading.cancel()
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

    async def _reload(self) -> None:
        certificate, context = self._certificate, self._server.context
        if certificate is None or context is None:
            return
        known = certificate.stamp()
        while True:
            await asyncio.sleep(_RELOAD_S)
            stamp = certificate.stamp()
            if stamp == known:
                continue
            try:
                # First into one that nobody uses: half a renewal must not spoil the one in use.
                certificate.context()
                certificate.load(context)
            except TransportError as error:
                self._on_event("http.tls_failed", {"code": error.code, "message": error.message})
                continue
            known = stamp
            self._on_event("http.tls_reloaded", {"name": self.name})
