"""The one HTTP client: DID documents and logs, over https, from public hosts, off unless asked for.

Addresses come from other people's DIDs, and so do the servers: see :mod:`depin_id.did.weburl` for
where it goes at all. The name is looked up once, every address is checked, and the connection is
made to the very address that was checked: a name that changes its mind in between (DNS rebinding)
changes nothing. Everything that is read is bounded in length and by one deadline.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from depin_id.did.weburl import WebUrl, check_address, parse_web_url
from depin_id.errors import FetchError

MAX_BODY: Final = 1 << 22
MAX_HEAD: Final = 1 << 16
"""Status line and headers together, in bytes."""
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_TRIED: Final = 4
"""So many addresses of a host are tried; one may be of a network that this machine has not."""
_LOOKUPS: Final = threading.BoundedSemaphore(8)
"""Look-ups cannot be broken off: so many may hang at once, no more."""

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses; raises OSError."""


class Dial(Protocol):
    """Connects to an address that was checked, and speaks TLS for the host's name."""

    def __call__(self, address: str, port: int, host: str, seconds: float) -> socket.socket:
        """A connected stream. Raises OSError (``ssl.SSLError`` is one)."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may take.

    Attributes:
        body: bytes of the answer.
        seconds: for everything together, redirects included.
        redirects: how many are followed.
    """

    body: int = MAX_BODY
    seconds: float = 15.0
    redirects: int = 3


def system_resolve(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def tls_dial(context: ssl.SSLContext | None = None) -> Dial:
    """The usual way: TCP, then TLS with the certificate checked against the host's name."""
    trusted = context or ssl.create_default_context()

    def dial(address: str, port: int, host: str, seconds: float) -> socket.socket:
        stream = socket.create_connection((address, port), timeout=seconds)
        try:
            # An answer whose end is just the end of the connection may not be cut off by others.
            return trusted.wrap_socket(stream, server_hostname=host, suppress_ragged_eofs=False)
        except BaseException:
            stream.close()
            raise

    return dial


class _Stream(io.RawIOBase):
    """A socket's bytes with one deadline for all of them, and a bound on how many."""

    def __init__(self, stream: socket.socket, left: Callable[[], float], most: int) -> None:
        self._stream = stream
        self._left = left
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._stream.settimeout(self._left())
        count = self._stream.recv_into(buffer)
        self._most -= count
        if self._most < 0:
            raise FetchError("fetch.too_large", "the answer is longer than is read")
        return count


class _File:
    """What ``http.client`` takes for a socket: something that can be read."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def makefile(self, mode: str) -> io.BufferedIOBase:
        return self._file


def read_answer(
    file: io.BufferedIOBase, *, types: Collection[str], max_bytes: int
) -> tuple[bytes | None, str | None]:
    """One HTTP answer to a GET: its body, or where it redirects to.

    Args:
        file: the bytes that come, bounded and with a deadline.
        types: media types that are taken; none named by the server is taken too.
        max_bytes: bound on the body.

    Raises:
        FetchError: ``fetch.not_found`` (404, 410), ``fetch.status``, ``fetch.redirect``,
            ``fetch.content``, ``fetch.encoded``, ``fetch.too_large``, ``fetch.malformed``.
    """
    try:
        answer = http.client.HTTPResponse(cast(socket.socket, _File(file)), method="GET")
        answer.begin()
        if answer.status in _REDIRECTS:
            return None, _one(answer, "Location", "fetch.redirect") or ""
        _check_head(answer, types, max_bytes)
        body = answer.read(max_bytes + 1)
        if len(body) > max_bytes:
            raise FetchError("fetch.too_large", f"the answer is over {max_bytes} bytes")
        if answer.length:
            raise FetchError("fetch.malformed", f"the answer ends {answer.length} bytes early")
    except (http.client.HTTPException, ValueError, AttributeError, IndexError) as error:
        raise FetchError(
            "fetch.malformed", f"the answer is not HTTP: {type(error).__name__}"
        ) from error
    return body, None


def _one(answer: http.client.HTTPResponse, name: str, code: str) -> str | None:
    """A header that may stand there once."""
    found = answer.headers.get_all(name, [])
    if len(found) > 1:
        raise FetchError(code, f"the answer has {len(found)} headers {name}")
    return str(found[0]).strip() if found else None


def _check_head(answer: http.client.HTTPResponse, types: Collection[str], most: int) -> None:
    if answer.status in (404, 410):
        raise FetchError("fetch.not_found", f"the server has none (status {answer.status})")
    if answer.status != 200:
        raise FetchError("fetch.status", f"the server answers with status {answer.status}")
    coding = (_one(answer, "Content-Encoding", "fetch.encoded") or "identity").lower()
    transfer = (_one(answer, "Transfer-Encoding", "fetch.encoded") or "").lower()
    if coding != "identity" or transfer not in ("", "chunked"):
        raise FetchError(
            "fetch.encoded", "the answer is compressed", hint="serve it as it is (identity)"
        )
    length = _one(answer, "Content-Length", "fetch.malformed")
    if transfer and not answer.chunked:
        raise FetchError("fetch.malformed", "the answer's transfer coding is not plain")
    if length is not None and (transfer or not (length.isascii() and length.isdigit())):
        raise FetchError("fetch.malformed", "the answer's length is not plain")
    if length is not None and (len(length) > 12 or int(length) > most):
        raise FetchError("fetch.too_large", f"the answer is over {most} bytes")
    kind = _one(answer, "Content-Type", "fetch.content")
    if kind is not None and kind.partition(";")[0].strip().lower() not in types:
        raise FetchError(
            "fetch.content",
            f"the answer is of type {kind[:60]!r}",
            hint=f"serve it as {min(types, default='what it is')}",
        )


class Fetcher:
    """Fetches what DIDs name. Off unless asked for.

    Args:
        allow_network: has to be True, or every fetch is refused.
        limits: what one fetch may take.
        resolve: names to addresses. dial: how to connect to a checked address. Both are for
            tests, which serve from this machine, and for those who have a proxy.
        clock: steady seconds.
    """

    def __init__(
        self,
        *,
        allow_network: bool = False,
        limits: Limits | None = None,
        resolve: Resolve = system_resolve,
        dial: Dial | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allow_network = allow_network
        self.limits = limits or Limits()
        self._resolve = resolve
        self._dial = dial
        self._clock = clock

    def fetch(self, url: str, *, types: Collection[str], max_bytes: int | None = None) -> bytes:
        """The bytes at an address.

        Args:
            url: https, see :func:`~depin_id.did.weburl.parse_web_url`.
            types: media types that are taken, in lower case.
            max_bytes: bound on the body; that of the limits by default.

        Raises:
            FetchError: ``fetch.off``, what is wrong with the address, ``fetch.lookup``,
                ``fetch.connect``, ``fetch.slow``, ``fetch.redirects``, and as
                :func:`read_answer`.
        """
        if self.allow_network is not True:
            raise FetchError(
                "fetch.off",
                "nothing is fetched from the network",
                hint="allow it (--fetch), or give the files (--dids, --log)",
            )
        most = self.limits.body if max_bytes is None else max_bytes
        end = self._clock() + self.limits.seconds

        def left() -> float:
            seconds = end - self._clock()
            if seconds <= 0:
                raise FetchError("fetch.slow", f"not done after {self.limits.seconds:g} seconds")
            return seconds

        target = parse_web_url(url)
        for _ in range(self.limits.redirects + 1):
            body, location = self._get(target, types, most, left)
            if body is not None:
                return body
            target = _redirected(target, location or "")
        raise FetchError("fetch.redirects", f"more than {self.limits.redirects} redirects")

    def _get(
        self, url: WebUrl, types: Collection[str], most: int, left: Callable[[], float]
    ) -> tuple[bytes | None, str | None]:
        with self._connect(url, left) as stream:
            try:
                stream.settimeout(left())
                stream.sendall(_request(url, types))
                # Chunks and headers come on top of the body.
                raw = _Stream(stream, left, 2 * most + MAX_HEAD)
                return read_answer(io.BufferedReader(raw), types=types, max_bytes=most)
            except TimeoutError:
                raise FetchError("fetch.slow", f"{url.host} takes too long") from None
            except OSError as error:
                raise FetchError("fetch.connect", f"{url.host}: {error}") from error

    def _connect(self, url: WebUrl, left: Callable[[], float]) -> socket.socket:
        """A stream to the first address that answers; one that is refused refuses the host."""
        found = [check_address(address) for address in self._look_up(url, left())][:_TRIED]
        if self._dial is None:
            self._dial = tls_dial()
        failure = FetchError("fetch.lookup", f"{url.host} has no address")
        for index, address in enumerate(found):
            try:
                return self._dial(address, url.port, url.host, left() / (len(found) - index))
            except TimeoutError:
                failure = FetchError("fetch.slow", f"{url.host} does not answer")
            except OSError as error:
                failure = FetchError("fetch.connect", f"{url.host}: {error.strerror or error}")
        raise failure

    def _look_up(self, url: WebUrl, seconds: float) -> Sequence[str]:
        if not _LOOKUPS.acquire(timeout=seconds):
            raise FetchError("fetch.slow", "too many names are being looked up")
        answers: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(self._resolve(url.host, url.port))
            except (OSError, UnicodeError) as error:
                answers.put(OSError(str(error)))
            finally:
                _LOOKUPS.release()

        try:
            threading.Thread(target=look_up, name="did-look-up", daemon=True).start()
        except RuntimeError:  # the machine has no room for one more
            _LOOKUPS.release()
            raise FetchError("fetch.slow", "no name can be looked up now") from None
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            raise FetchError("fetch.slow", f"{url.host} is not looked up in time") from None
        if isinstance(answer, OSError):
            raise FetchError("fetch.lookup", f"{url.host} is not found: {answer}") from answer
        return answer


def _request(url: WebUrl, types: Collection[str]) -> bytes:
    """The only request there is; nothing in it but what was checked."""
    lines = (
        f"GET {url.target} HTTP/1.1",
        f"Host: {url.authority}",
        f"Accept: {', '.join(sorted(types))}",
        "Accept-Encoding: identity",
        "User-Agent: depin-id",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _redirected(url: WebUrl, location: str) -> WebUrl:
    """Where a redirect leads: checked like the first address."""
    if location.startswith("/") and not location.startswith("//"):
        return parse_web_url(f"https://{url.authority}{location}")
    return parse_web_url(location)
