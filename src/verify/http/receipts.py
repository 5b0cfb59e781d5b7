"""Receipts over HTTP, for whoever was told of the entry: with its index and the envelope's id.

A receipt opens what the log keeps closed: the envelope, its readings, the salt. Indexes can be
counted up by anyone; an id is known to those who hold the envelope or its acknowledgement.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from depin_id.errors import DepinError, LogError, StateError
from verify.entries import Judged
from verify.http.limits import Budget, Large
from verify.http.problem import Problem
from verify.reading import Peek
from verify.receipt import MAX_RECEIPT, make_receipt
from verify.watch import Standing

MEDIA_TYPE = "application/cbor"
_AT_ONCE = 16


def _none() -> Problem:
    return Problem(
        404,
        "receipt.none",
        "there is no such entry, or the id is not that of its envelope",
        hint="index and id are those of the acknowledgement",
    )


class ReceiptDesk:
    """Makes receipts, one at a time, beside the running aggregator.

    Args:
        standing: gives the aggregator's newest standing.
        open_peek: opens the directory for reading beside the live state.
        budget: for what is in memory while slow clients read it.
    """

    def __init__(
        self, standing: Callable[[], Standing], open_peek: Callable[[], Peek], budget: Budget
    ) -> None:
        self._standing = standing
        self._open = open_peek
        self._budget = budget
        # The stores belong to the thread that opened them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="receipts")
        self._peek: Peek | None = None
        self._asked = 0

    async def receipt(self, request: Request) -> Response:
        """The receipt of one envelope's entry."""
        index, identity = _read(request)
        if index >= self._standing().entries:
            raise _none()
        if self._asked >= _AT_ONCE:
            raise Problem(429, "http.busy", "too many receipts are asked for at once", retry_s=1)
        self._budget.take(MAX_RECEIPT)
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._thread, self._make, index, identity)
        except BaseException:
            self._budget.give_back(MAX_RECEIPT)
            raise
        finally:
            self._asked -= 1
        return Large(
            data,
            self._budget,
            MAX_RECEIPT,
            headers={"cache-control": "no-store"},
            media_type=MEDIA_TYPE,
        )

    def close(self) -> None:
        """Release the directory. Safe to call twice."""
        with suppress(RuntimeError):
            self._thread.submit(self._drop)
        self._thread.shutdown(wait=True)

    def _make(self, index: int, identity: bytes) -> bytes:
        try:
            if self._peek is None:
                self._peek = self._open()
            peek = self._peek
            peek.renew(self._standing().fold, index)
            entry = peek.opened(index).entry
            if not isinstance(entry, Judged):
                raise _none()
            if not hmac.compare_digest(entry.change.id, identity):
                raise _none()
            return make_receipt(peek, index)
        except Problem:
            raise
        except LogError as error:
            if error.code == "receipt.unpublished":
                raise Problem(404, error.code, error.message, retry_s=2) from error
            raise
        except DepinError as error:
            self._drop()
            if isinstance(error, StateError) and error.code == "state.no_entry":
                raise _none() from error
            raise

    def _drop(self) -> None:
        peek, self._peek = self._peek, None
        if peek is not None:
            peek.close()


def _read(request: Request) -> tuple[int, bytes]:
    index = request.path_params["index"]
    identity = request.query_params.get("id", "")
    if not (index.isascii() and index.isdecimal() and len(index) <= 15):
        raise _none()
    if len(identity) != 64 or any(c not in "0123456789abcdef" for c in identity):
        raise Problem(
            400,
            "http.query",
            "a receipt is asked for with ?id= and the envelope's id, 64 hex digits",
            hint="the acknowledgement names index and id of each envelope",
        )
    return int(index), bytes.fromhex(identity)
