"""A server on this machine that answers with given bytes, and a fetcher that is led to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from depin_id.did.fetch import Fetcher

PUBLIC = "8.8.8.8"
"""What names resolve to in tests; nothing is sent there."""
Answer = bytes | Callable[[socket.socket], None]


def answer(
    body: bytes = b"{}",
    *,
    status: str = "200 OK",
    kind: str | None = "application/json",
    **more: str,
) -> bytes:
    """An HTTP answer; further headers by name, with _ for -."""
    headers = {"Content-Length": str(len(body))}
    if kind is not None:
        headers["Content-Type"] = kind
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str) -> bytes:
    """An answer that leads elsewhere."""
    return answer(b"", status="302 Found", kind=None, Location=location)


class Served:
    """What was asked, and where of this machine it is served."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.dialled: list[tuple[str, int, str]] = []
        self.looked_up: list[str] = []

    def dial(self, address: str, port: int, host: str, seconds: float) -> socket.socket:
        """Leads every connection to this machine, and keeps where it should have gone."""
        self.dialled.append((address, port, host))
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def fetcher(self, names: Mapping[str, list[str]] | None = None, **options: Any) -> Fetcher:
        """A fetcher led here; names that are not given have a public address."""

        def resolve(host: str, port: int) -> list[str]:
            self.looked_up.append(host)
            return (names or {}).get(host, [PUBLIC])

        chosen: dict[str, Any] = {"allow_network": True, "resolve": resolve, "dial": self.dial}
        return Fetcher(**(chosen | options))


@contextlib.contextmanager
def serve(pages: Mapping[str, Answer]) -> Iterator[Served]:
    """Answer with pages by request target, one connection at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener.getsockname()[1])
        stop = threading.Event()

        def run() -> None:
            while True:
                stream, _ = listener.accept()
                if stop.is_set():
                    stream.close()
                    return
                with stream, contextlib.suppress(OSError):
                    _one(stream, pages, served)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            stop.set()
            socket.create_connection(("127.0.0.1", served.port)).close()
            thread.join(30)


def _one(stream: socket.socket, pages: Mapping[str, Answer], served: Served) -> None:
    stream.settimeout(30)
    request = b""
    while b"\r\n\r\n" not in request:
        part = stream.recv(4096)
        if not part:
            return
        request += part
    served.requests.append(request)
    page = pages.get(request.split(b" ")[1].decode())
    if page is None:
        page = answer(b"", status="404 Not Found")
    if isinstance(page, bytes):
        stream.sendall(page)
    else:
        page(stream)
