"""The witness over HTTP: one call, ``POST /add-checkpoint``, bounded in size and in time."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from depin_id.errors import DepinError, TransportError
from verify.listen import customer
from verify.witness.core import OnEvent, Reply, Witness
from verify.witness.request import MAX_BODY

BODY_S: Final = 10.0
"""How long a request's body may take."""
IDLE_S: Final = 15.0
"""How long a connection may be without a request under way, twice over."""
MAX_CONNECTIONS: Final = 256
PER_ADDRESS: Final = 64
"""Connections of one address, of IPv6 of one network: nobody has them all."""


class ImpatientProtocol(H11Protocol):
    """Closes a connection on which no whole request arrives: uvicorn itself waits for ever.

    One address has a share of the connections, too.
    """

    whose = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.whose = customer(str(peer[0])) if isinstance(peer, tuple) else ""
        others = (getattr(other, "whose", None) for other in self.connections)
        if sum(other == self.whose for other in others) > PER_ADDRESS:
            transport.abort()
        self._seen: Any = None
        self._strikes = 0
        self._look_again()

    def _look_again(self) -> None:
        self._looking = self.loop.call_later(IDLE_S, self._look)

    def _look(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        self._strikes = self._strikes + 1 if idle and self.cycle is self._seen else 0
        self._seen = self.cycle
        if self._strikes >= 2:
            self.transport.abort()
        else:
            self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)


def application(witness: Witness, *, on_event: OnEvent = lambda kind, about: None) -> Starlette:
    """The witness as an ASGI application."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_S):
                data = await _body(request)
        except TimeoutError:
            return _response(Reply(408, "the body took too long\n"))
        except ClientDisconnect:
            return _response(Reply(400, "the body was cut off\n"))
        if data is None:
            return _response(Reply(413, f"a request has at most {MAX_BODY} bytes\n"))
        try:
            return _response(await run_in_threadpool(witness.add_checkpoint, data))
        except DepinError as error:
            # Nothing was promised; what is wrong with the disk is the operator's to know.
            on_event("failed", {"code": error.code, "message": str(error)})
            return _response(Reply(503, "the witness cannot answer now\n"))

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


async def _body(request: Request) -> bytes | None:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _response(reply: Reply) -> Response:
    headers = {"content-type": reply.content_type, "cache-control": "no-store"}
    if reply.status in (408, 413):
        headers["connection"] = "close"
    return Response(reply.body, status_code=reply.status, headers=headers)


class WitnessServer:
    """A witness that listens.

    Args:
        witness: what decides.
        host, port: where to listen; port 0 takes a free one.
        certificate, private_key: PEM files for TLS; both or neither.
        on_event: told of failures.

    Attributes:
        url: the submission prefix.

    Raises:
        TransportError: ``transport.listen``, ``transport.tls``.
    """

    def __init__(
        self,
        witness: Witness,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Path | None = None,
        private_key: Path | None = None,
        on_event: OnEvent = lambda kind, about: None,
    ) -> None:
        if (certificate is None) != (private_key is None):
            raise TransportError(
                "transport.tls",
                "only one of the certificate and its key is given",
                hint="give both, or neither",
            )
        config = uvicorn.Config(
            application(witness, on_event=on_event),
            http=ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=int(IDLE_S),
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=16 * 1024,
            ssl_certfile=None if certificate is None else str(certificate),
            ssl_keyfile=None if private_key is None else str(private_key),
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise TransportError(
                "transport.tls",
                f"certificate or key cannot be used: {error}",
                hint="give PEM files; the key has to belong to the certificate",
            ) from error
        self._server = uvicorn.Server(config)
        self._socket = _listen(host, port)
        name, bound = self._socket.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        self.url = f"{'http' if certificate is None else 'https'}://{shown}:{bound}"

    def run(self) -> None:
        """Serve until :meth:`stop`, SIGTERM or SIGINT."""
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises a signal again when it has ended in good order: then it is nothing.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End :meth:`run` from another thread."""
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, number)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
        except BaseException:
            found.close()
            raise
        return found
    except (OSError, OverflowError) as error:
        raise TransportError(
            "transport.listen",
            f"cannot listen on {host} port {port}: {error}",
            hint="choose another --port, or an address of this machine",
        ) from error
