"""The public side: bundles in, acknowledgements out; challenges, card, log, receipts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from depin_id.ack import Challenge, challenge_nonce, sign_challenge
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import DepinError
from depin_id.statements import MAX_STATEMENT, is_statement
from verify.http.limits import (
    Budget,
    Clients,
    Guard,
    OnAnswer,
    OnEvent,
    Rates,
    read_body,
    told_length,
)
from verify.http.log_files import LogFiles
from verify.http.problem import Problem, not_found
from verify.http.receipts import ReceiptDesk
from verify.identity.challenges import CHALLENGE_S, key_in
from verify.identity.desk import OVER
from verify.ingest.http import Answer, RequestSource
from verify.reading import Peek
from verify.watch import Watched

BUNDLE_TYPE = "application/cbor-seq"
SIGNED_TYPE = 'application/cose; cose-type="cose-sign1"'
OPAQUE_TYPE = "application/octet-stream"
_TAKEN = (BUNDLE_TYPE, "application/cose")
STATEMENT_TYPE = "application/cbor"
_STATED = (STATEMENT_TYPE,)
_ADDRESSES = "bundles go to /v1/bundles, statements to /v1/statements"
_PATIENCE_S = 30.0
_MOST_RETRY_S = 60
_FORGED_A_TOKEN = 16
"""Signatures that do not verify and together count as a request."""


@dataclass(frozen=True)
class ApiOptions:
    """What the public side is told.

    Attributes:
        per_minute, burst: requests of one address; 0 a minute is no limit.
        proxies: addresses of reverse proxies, whose ``X-Forwarded-For`` is believed.
        body_s: how long a body may take.
        commit_s: how long a request waits for its commit.
    """

    per_minute: int = 600
    burst: int = 120
    proxies: tuple[str, ...] = ()
    body_s: float = 20.0
    commit_s: float = _PATIENCE_S


class Api:
    """The application.

    Args:
        source: takes bundles. watched: the aggregator's standing.
        clock: receipt time, milliseconds since 1970.
        on_answer: called with the route and status of every answer.
        on_event: called with a kind and details, for logs.
    """

    def __init__(
        self,
        source: RequestSource,
        watched: Watched,
        *,
        options: ApiOptions,
        clock: Callable[[], int],
        on_answer: OnAnswer,
        on_event: OnEvent,
    ) -> None:
        self._source, self._watched = source, watched
        self._options, self._clock = options, clock
        self._clients = Clients(options.proxies)
        self._stopping = False
        budget = Budget()
        root = watched.root
        self._desk = ReceiptDesk(
            lambda: watched.standing, lambda: Peek(root, watched.standing.fold), budget
        )
        log = LogFiles(root / "public" / "log", budget)
        router = Router(
            [
                _route("/v1/bundles", self._bundles, "bundles", "POST"),
                _route("/v1/statements", self._statements, "statements", "POST"),
                _route("/v1/challenge", self._challenge, "challenge"),
                _route("/v1/card", self._card, "card"),
                _route("/v1/receipts/{index}", self._desk.receipt, "receipts"),
                _route("/log/checkpoint", log.checkpoint, "checkpoint"),
                _route("/log/checkpoint.witnessed", log.witnessed, "checkpoint"),
                _route("/log/tile/{path:path}", log.tile, "tiles"),
            ],
            redirect_slashes=False,
            default=_nowhere,
        )
        rates = Rates(options.per_minute, options.burst) if options.per_minute else None
        self._rates = rates
        self.app: ASGIApp = Guard(
            router, rates=rates, clients=self._clients, on_answer=on_answer, on_event=on_event
        )

    def stop(self) -> None:
        """Refuse bundles from now on, and answer those that wait."""
        self._stopping = True
        self._source.stop()

    def close(self) -> None:
        """Release the directory; after the server has ended."""
        self._desk.close()

    async def _bundles(self, request: Request) -> Response:
        """A bundle; answered once it is durable."""
        return self._answered(await self._take(request, "a bundle", _TAKEN, MAX_BUNDLE))

    async def _statements(self, request: Request) -> Response:
        """A statement; answered with the very bytes that a broker would bring down."""
        return _stated(await self._take(request, "a statement", _STATED, MAX_STATEMENT))

    async def _take(self, request: Request, what: str, kinds: tuple[str, ...], most: int) -> Answer:
        if self._stopping:
            raise _stopping()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in kinds:
            raise Problem(
                415,
                "http.media_type",
                f"the body is not said to be {what}",
                hint=f"send Content-Type: {kinds[0]}",
                headers={"accept": kinds[0]},
            )
        if not self._source.has_room(told_length(request, most)):
            raise self._busy()
        data = await read_body(request, most=most, seconds=self._options.body_s)
        if not data:
            raise Problem(400, "http.empty", "the body is empty", hint=f"send {what}")
        if is_statement(data) != (kinds is _STATED):
            raise Problem(422, "statement.address", f"the body is not {what}", hint=_ADDRESSES)
        future = self._source.submit(data, self._clients.principal(request.scope), self._clock())
        if future is None:
            raise self._busy()
        try:
            async with asyncio.timeout(self._options.commit_s):
                answer = await asyncio.wrap_future(future)
        except TimeoutError:
            raise Problem(
                503,
                "http.slow_commit",
                f"{what} is not durable yet; it may become so",
                hint="send the same bytes again: what was taken is acknowledged again",
                retry_s=self._retry_s(),
            ) from None
        if answer.forged and self._rates is not None:
            # Checking them costs as much as many requests; whoever signs pays nothing.
            cost = answer.forged // _FORGED_A_TOKEN
            self._rates.charge(self._clients.address(request.scope), cost)
        if not answer.committed:
            raise _stopping()
        return answer

    def _answered(self, answer: Answer) -> Response:
        if answer.code == "device.unknown":
            raise Problem(
                403,
                answer.code,
                "the key that signed is not enrolled here",
                hint="have the device enrolled and send again; a bounded part is kept until then",
            )
        if answer.code:
            raise Problem(
                422,
                answer.code,
                "nothing in the bundle could be authenticated",
                hint="docs/verdicts.md says what the code means",
            )
        headers = {"cache-control": "no-store"}
        return Response(b"".join(answer.acknowledgements), 200, headers, BUNDLE_TYPE)

    async def _challenge(self, request: Request) -> Response:
        """A signed challenge for the key of a DID, or for a thumbprint."""
        thumbprint = _thumbprint(request)
        standing = self._watched.standing
        if standing.beacon is None:
            raise Problem(
                503, "challenge.none", "there is no checkpoint to make one from yet", retry_s=2
            )
        size, root = standing.beacon
        nonce = challenge_nonce(size, root, thumbprint)
        # What was used once stays used: that may be looked up while the state goes on.
        if nonce in standing.fold.identity.nonces:
            raise Problem(
                503,
                "challenge.used",
                "this key answered the challenge of the newest checkpoint",
                hint="post the statement challenge to /v1/statements, which gives a fresh one",
                retry_s=10,
            )
        challenge = Challenge(thumbprint, nonce, self._clock() // 1000 + CHALLENGE_S)
        # The signer may be a call to a KMS.
        data = await asyncio.to_thread(
            sign_challenge, challenge, network=standing.card.network, signer=standing.signer
        )
        return Response(data, 200, {"cache-control": "no-store"}, SIGNED_TYPE)

    async def _card(self, request: Request) -> Response:
        """The network card in force."""
        standing = self._watched.standing
        headers = {"cache-control": "no-cache", "etag": f'"{standing.card.number}"'}
        return Response(standing.card_bytes, 200, headers, SIGNED_TYPE)

    def _busy(self) -> Problem:
        return Problem(
            429,
            "http.busy",
            "more comes in than can be verified now",
            hint="keep the envelopes and send them later",
            retry_s=self._retry_s(),
        )

    def _retry_s(self) -> int:
        """When there is room again: what waits, at the pace of the last commits."""
        return max(1, min(_MOST_RETRY_S, math.ceil(self._source.wait_s)))


def _stated(answer: Answer) -> Response:
    """A signed result, or why there is none: nobody is known whom it could be for."""
    if answer.code == OVER:
        raise Problem(
            429, OVER, "too many statements from this address", hint="ask later", retry_s=60
        )
    if answer.code:
        raise Problem(
            422,
            answer.code,
            "the statement was not taken, and does not say whom to answer",
            hint="docs/protocol.md says what a statement holds",
        )
    headers = {"cache-control": "no-store"}
    body = b"".join(answer.acknowledgements)
    # All that is signed begins with its tag; what a TPM is to open does not.
    kind = SIGNED_TYPE if body[:1] == b"\xd2" else OPAQUE_TYPE
    return Response(body, 200, headers, kind)


def _route(
    path: str, endpoint: Callable[[Request], Awaitable[Response]], name: str, method: str = "GET"
) -> Route:
    async def named(request: Request) -> Response:
        request.scope["route_name"] = name
        return await endpoint(request)

    return Route(path, named, methods=[method], name=name)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise not_found()


def _stopping() -> Problem:
    return Problem(
        503,
        "http.stopping",
        "the aggregator is stopping",
        hint="send the same bytes again later",
        retry_s=5,
    )


def _thumbprint(request: Request) -> bytes:
    did, thumbprint = (request.query_params.get(name, "") for name in ("did", "thumbprint"))
    if bool(did) == bool(thumbprint) or len(did) > 256:
        raise _query("a challenge is asked for with either ?did= or ?thumbprint=")
    if did:
        try:
            return key_in(did).thumbprint
        except DepinError as error:
            raise _query(f"the DID is refused: {error.code}") from error
    if len(thumbprint) != 64 or any(c not in "0123456789abcdef" for c in thumbprint):
        raise _query("a thumbprint is 64 hex digits")
    return bytes.fromhex(thumbprint)


def _query(what: str) -> Problem:
    return Problem(
        400, "http.query", what, hint="name the did:key or did:jwk of the key that signs"
    )
