"""Messages from requests: into the inbox that brokers use too, and back with the answer.

What a request brings is committed together with what brokers bring. The request waits until that
is durable. If its client has gone by then, nothing is lost: the client sends again and is told
what was said before, for the positions are used.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from verify.ingest import Downlink, Handler, Message
from verify.ingest.inbox import Inbox

SOURCE = "http"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request's message.

    Attributes:
        acknowledgements: signed, one for each signer (or for 1,024 envelopes of one).
        code: why there is none: nothing in the message could be authenticated.
        committed: False when the aggregator ended before it was durable.
        forged: signatures in it that did not verify.
    """

    acknowledgements: tuple[bytes, ...] = ()
    code: str = ""
    committed: bool = True
    forged: int = 0


class RequestSource:
    """Takes what requests bring, from any thread, and answers after the commit.

    It is a handler around the one that commits: what comes back for requests ends here.

    Args:
        handler: commits batches. inbox: shared with the other ways in.
    """

    def __init__(self, handler: Handler, inbox: Inbox) -> None:
        self._handler = handler
        self._inbox = inbox
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return len(self._waiting)

    @property
    def wait_s(self) -> float:
        """How long what waits will take."""
        return self._inbox.wait_s

    def has_room(self, size: int) -> bool:
        """Whether a message of so many bytes would be taken now."""
        return self._inbox.has_room(size)

    def submit(self, data: bytes, principal: str, received_at: int) -> Future[Answer] | None:
        """Have a message committed.

        Args:
            data: a bundle, at most 128 KiB. principal: who sent it, for quotas.
            received_at: milliseconds since 1970.

        Returns:
            The answer to come, or None when there is no room now.
        """
        number = next(self._numbers)
        future: Future[Answer] = Future()
        with self._lock:
            if self._stopped:
                future.set_result(Answer(committed=False))
                return future
            self._waiting[number] = future
        message = Message(data, principal, received_at, SOURCE, None, number)
        if not self._inbox.offer_request(message):
            with self._lock:
                self._waiting.pop(number, None)
            return None
        return future

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """Commit, then answer the requests; gives what is for others."""
        downlinks = self._handler.commit(messages)
        asked = {message.reply for message in messages if message.reply}
        if asked:
            found: dict[int, list[Downlink]] = {number: [] for number in asked}
            for downlink in downlinks:
                if downlink.reply in found:
                    found[downlink.reply].append(downlink)
            for number, answers in found.items():
                self._answer(number, _answer(answers))
        return [downlink for downlink in downlinks if not downlink.reply]

    def idle(self, now_ms: int) -> Sequence[Downlink]:
        """As the handler's."""
        return self._handler.idle(now_ms)

    def stop(self) -> None:
        """Answer all that wait, now and later, that nothing was committed."""
        with self._lock:
            self._stopped = True
            numbers = list(self._waiting)
        for number in numbers:
            self._answer(number, Answer(committed=False))

    def _answer(self, number: int, answer: Answer) -> None:
        with self._lock:
            future = self._waiting.pop(number, None)
        # A request that was given up has cancelled it.
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(answer)


def _answer(downlinks: Sequence[Downlink]) -> Answer:
    signed = tuple(downlink.data for downlink in downlinks if downlink.data)
    code = next((downlink.code for downlink in downlinks if downlink.code), "")
    forged = sum(downlink.forged for downlink in downlinks)
    return Answer(signed, "" if signed else code or "envelope.malformed", forged=forged)
