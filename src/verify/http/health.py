"""Metrics and health, on a listener of their own that only this machine reaches."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from verify.http.limits import Clients, Guard, OnEvent
from verify.http.problem import not_found
from verify.metrics import CONTENT_TYPE, Metrics, disk_free
from verify.watch import Watched

STUCK_S = 120.0
"""A commit that takes longer, or no sign of life for so long: the process should be restarted."""
BACKLOG = 1_000_000
"""Entries that may be unpublished before others should be asked."""
DISK_FREE = 256 << 20
"""Bytes that have to be free: room for what is under way and for shutting down in order."""


class Health:
    """The application.

    Args:
        watched: the aggregator's standing.
        metrics: what is counted.
        stopping: whether the process is about to end. listening: whether all listeners work.
        informed: facts that say nothing of readiness, such as the broker's connection.
        disk_free_bytes, backlog: bounds of being ready.
    """

    def __init__(
        self,
        watched: Watched,
        metrics: Metrics,
        *,
        stopping: Callable[[], bool],
        listening: Callable[[], bool],
        informed: Callable[[], dict[str, object]],
        on_event: OnEvent,
        disk_free_bytes: int = DISK_FREE,
        backlog: int = BACKLOG,
    ) -> None:
        self._watched, self._metrics = watched, metrics
        self._stopping, self._listening, self._informed = stopping, listening, informed
        self._disk_free, self._backlog = disk_free_bytes, backlog
        router = Router(
            [
                Route("/livez", self._live),
                Route("/readyz", self._ready),
                Route("/metrics", self._numbers),
            ],
            redirect_slashes=False,
            default=_nowhere,
        )
        self.app: ASGIApp = Guard(
            router, rates=None, clients=Clients(), on_answer=lambda *_: None, on_event=on_event
        )

    def live(self) -> dict[str, bool]:
        """Checks that a restart may put right, and whether each holds."""
        now = time.monotonic()
        busy = self._watched.busy_since
        since = self._watched.standing.at if busy is None else busy
        return {"loop": now - since < STUCK_S, "listeners": self._listening()}

    def ready(self) -> dict[str, bool]:
        """Checks of whether more should be sent here, and whether each holds."""
        standing = self._watched.standing
        return {
            **self.live(),
            "journal": not self._watched.failing,
            "publishing": standing.unpublished <= self._backlog,
            "disk": disk_free(self._watched.root) >= self._disk_free,
            "running": not self._stopping(),
        }

    async def _live(self, request: Request) -> Response:
        return _report(self.live(), {})

    async def _ready(self, request: Request) -> Response:
        checks = await asyncio.to_thread(self.ready)
        failure = self._watched.standing.failure
        about = self._informed() | ({"publish_failure": failure} if failure else {})
        return _report(checks, about)

    async def _numbers(self, request: Request) -> Response:
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, headers={"content-type": CONTENT_TYPE})


def _report(checks: dict[str, bool], about: dict[str, object]) -> Response:
    good = all(checks.values())
    body = json.dumps({"ok": good, "checks": checks, **about}) + "\n"
    headers = {"cache-control": "no-store"}
    return Response(body, 200 if good else 503, headers, "application/json")


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise not_found()
