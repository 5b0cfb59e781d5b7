"""What one client may ask for: requests a minute, sizes, and time; and the last line of errors."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from depin_id.errors import DepinError
from verify.http.problem import Problem
from verify.listen import customer
from verify.store.quarantine import STRANGER

OnEvent = Callable[[str, dict[str, object]], None]
OnAnswer = Callable[[str, int], None]

MAX_CLIENTS = 65_536
"""Addresses whose rate is remembered; the one that was quiet longest is forgotten first."""
CHUNK = 1 << 16
_WORST = 64 << 20


class Rates:
    """A token bucket for each client.

    Args:
        per_minute: requests that come back each minute; 0 is no limit.
        burst: how many may come at once.
        clock: seconds, monotonic.
    """

    def __init__(
        self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_minute / 60
        self._burst = float(max(burst, 1))
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, client: str) -> int:
        """Take one token: 0 when there was one, else in how many whole seconds there will be."""
        if not self._per_s:
            return 0
        now = self._clock()
        held, at = self._held.pop(client, (self._burst, now))
        held = min(self._burst, held + (now - at) * self._per_s)
        granted = held >= 1
        self._held[client] = (held - 1 if granted else held, now)
        if len(self._held) > MAX_CLIENTS:
            self._held.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1 - held) / self._per_s))

    def charge(self, client: str, tokens: int) -> None:
        """Take tokens for what was done already, down to as many below zero as can be kept."""
        if self._per_s and client in self._held:
            held, at = self._held[client]
            self._held[client] = (max(held - tokens, -self._burst), at)


class Budget:
    """Bytes of answers that are in memory at once."""

    def __init__(self, most: int = _WORST) -> None:
        self.left = most

    def take(self, size: int) -> None:
        """Have so many bytes. Raises Problem ``http.busy`` when there are not as many left."""
        if size > self.left:
            raise Problem(
                503, "http.busy", "too many large answers are being sent at once", retry_s=5
            )
        self.left -= size

    def give_back(self, size: int) -> None:
        """They are free again."""
        self.left += size


class Large(Response):
    """An answer in parts, each written when the client took the one before.

    Args:
        data: the whole. budget, held: where bytes were taken for it, and how many; they are given
            back once it was sent.
    """

    media_type = "application/octet-stream"

    def __init__(
        self, data: bytes, budget: Budget, held: int, *, headers: Mapping[str, str], **about: Any
    ) -> None:
        super().__init__(data, headers=headers, **about)
        self._budget, self._held = budget, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            for at in range(0, len(self.body), CHUNK):
                part = bytes(self.body[at : at + CHUNK])
                more = at + CHUNK < len(self.body)
                await send({"type": "http.response.body", "body": part, "more_body": more})
        finally:
            self._budget.give_back(self._held)


class Clients:
    """Who a request comes from: an address, or, behind trusted proxies, whom they name.

    Args:
        proxies: addresses whose ``X-Forwarded-For`` is believed.
    """

    def __init__(self, proxies: Collection[str] = ()) -> None:
        self._proxies = frozenset(proxies)
        self._secret = os.urandom(32)

    def address(self, scope: Scope) -> str:
        """The address; of IPv6 the network of 64 bits, which is one customer's."""
        client = scope.get("client")
        found = str(client[0]) if client else ""
        if found in self._proxies:
            named = [
                part.strip()
                for name, value in scope["headers"]
                if name == b"x-forwarded-for"
                for part in value.decode("latin-1").split(",")
            ]
            # The nearest proxy writes last: whoever comes before the trusted ones is the client.
            found = next((part for part in reversed(named) if part not in self._proxies), found)
        return customer(found)

    def principal(self, scope: Scope) -> str:
        """The client as the journal may name it: addresses are people's, so never in clear."""
        digest = hmac.new(self._secret, self.address(scope).encode(), hashlib.sha256).hexdigest()
        return f"{STRANGER}{digest[:16]}"


class Guard:
    """Around an application: rates, errors as problems, and what is counted.

    Args:
        app: routes. rates, clients: None is no limit.
        on_answer: called with the route and the status of every answer.
        on_event: called with a kind and details, for logs.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates | None,
        clients: Clients,
        on_answer: OnAnswer,
        on_event: OnEvent,
    ) -> None:
        self._app = app
        self._rates, self._clients = rates, clients
        self._on_answer, self._on_event = on_answer, on_event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        scope["app"] = self  # with it, a wrong method is an exception and not an answer
        try:
            await self._ask(scope, receive, answer)
        except ClientDisconnect:
            answer.status = answer.status or 499
        except (DepinError, HTTPException) as error:
            await _refuse(_problem(error), scope, receive, answer)
        except Exception as error:
            # No details: neither the client nor the log gets to see what was being worked on.
            self._on_event("http.error", {"error": type(error).__name__, "path": route_of(scope)})
            problem = Problem(500, "http.internal", "the request could not be carried out")
            await _refuse(problem, scope, receive, answer)
        finally:
            self._on_answer(route_of(scope), answer.status)

    async def _ask(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if self._rates is not None:
            wait_s = self._rates.take(self._clients.address(scope))
            if wait_s:
                raise Problem(
                    429,
                    "http.rate",
                    "too many requests from this address",
                    hint="send several envelopes in one bundle",
                    retry_s=wait_s,
                )
        await self._app(scope, receive, answer)


class _Answer:
    """Sends, and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, answer: _Answer) -> None:
    if not answer.status:
        await problem.response()(scope, receive, answer)


def _problem(error: DepinError | HTTPException) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            return Problem(
                405, "http.method", "this address is not asked like that", headers=error.headers
            )
        return Problem(error.status_code, "http.refused", str(error.detail))
    return Problem(500, error.code, "the aggregator could not do this")


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The route for counting: from a fixed set, whatever path was asked for."""
    route = scope.get("route_name")
    return str(route) if route else "other"


def told_length(request: Request, most: int) -> int:
    """The length that a request says its body has, 0 without. Raises Problem."""
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or len(told) > 9 or int(told) > most:
        raise _too_large(most)
    return int(told)


async def read_body(request: Request, *, most: int, seconds: float) -> bytes:
    """The body of a request.

    Raises:
        Problem: ``http.too_large``, ``http.slow``. ClientDisconnect: it did not come to its end.
    """
    told_length(request, most)
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Problem(
            408, "http.slow", f"the body did not come in {seconds:g} seconds", close=True
        ) from None
    return bytes(data)


def _too_large(most: int) -> Problem:
    return Problem(
        413,
        "http.too_large",
        f"a body has at most {most} bytes",
        hint="send smaller bundles",
    )
