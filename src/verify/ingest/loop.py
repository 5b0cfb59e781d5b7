"""From the inbox to the journal: gather a batch, commit it, tell those whose messages it had."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from depin_id.errors import StateError, TransportError
from verify.ingest import Downlink, Handler, Message
from verify.ingest.inbox import Arrival, Inbox

TRANSIENT = (StateError, TransportError)
"""Errors of a commit after which the same batch is tried again: storage and network recover."""

HEALS = frozenset({"state.full", "state.io", "state.locked"})
"""Codes of errors that pass when somebody frees space or mends a disk: tried again for ever."""
RETRY_MOST_S = 10.0

BATCH_MESSAGES = 1000
BATCH_BYTES = 16 << 20
BATCH_MS = 50
COMMIT_S = 0.5
"""How long a commit should take at most: who waits for an answer waits for all of it."""
_LEAST = 128 << 10
_IDLE_S = 1.0

Done = Callable[[Sequence[Arrival], Sequence[Downlink]], None]
OnEvent = Callable[[str, dict[str, object]], None]


class CommitLoop:
    """One commit after the other, in the thread that calls :meth:`run`.

    Args:
        handler: commits batches.
        inbox: where the arrivals wait, from one way in or from several.
        batch_messages, batch_bytes, batch_ms: bounds of a batch; it is also closed when the
            arrivals pause, and holds no more than is committed in half a second.
        clock: milliseconds since 1970, for what is due while nothing arrives.
        on_event: called with a kind and details, for logs.
        commit_tries, retry_s: tries of one batch when the commit fails with a StateError or a
            TransportError, and the first pause between them, which doubles up to ten seconds. A
            full or failing disk has no end of tries: it heals, and to start again heals nothing.
    """

    def __init__(
        self,
        handler: Handler,
        inbox: Inbox,
        *,
        clock: Callable[[], int],
        on_event: OnEvent,
        batch_messages: int = BATCH_MESSAGES,
        batch_bytes: int = BATCH_BYTES,
        batch_ms: int = BATCH_MS,
        commit_tries: int = 5,
        retry_s: float = 0.5,
    ) -> None:
        self._handler = handler
        self._inbox = inbox
        self._clock = clock
        self._on_event = on_event
        self._batch = (batch_messages, batch_bytes, batch_ms / 1000)
        self._tries, self._retry_s = commit_tries, retry_s

    def run(self, stop: threading.Event, *, alive: Callable[[], bool], done: Done) -> None:
        """Commit until ``stop`` is set or ``alive`` gives False; a running batch is finished.

        Args:
            done: called after each commit with what was in it and what it was answered with, and
                with no arrivals when something is to be said meanwhile.

        Raises:
            DepinError: what the handler raised, when it was not transient or did not pass.
        """
        ended = threading.Event()
        watcher = threading.Thread(target=self._interrupt, args=(stop, ended), daemon=True)
        watcher.start()
        try:
            self._run(stop, alive, done)
        finally:
            ended.set()

    def _run(self, stop: threading.Event, alive: Callable[[], bool], done: Done) -> None:
        messages, size, linger_s = self._batch
        quiet_since = time.monotonic()
        while not stop.is_set() and alive():
            batch = self._inbox.take(
                messages=messages,
                size=self._size(size),
                wait_s=_IDLE_S,
                linger_s=linger_s,
                gap_s=max(0.002, linger_s / 10),
            )
            if batch:
                if not self._commit(batch, stop, done):
                    return
                quiet_since = time.monotonic()
            elif not stop.is_set() and time.monotonic() - quiet_since >= _IDLE_S * 0.9:
                self._idle(done)
                quiet_since = time.monotonic()

    def _idle(self, done: Done) -> None:
        try:
            downlinks = self._handler.idle(self._clock())
        except StateError as error:
            if error.code not in HEALS:
                raise
            self._on_event("idle.failed", {"code": error.code, "message": str(error)})
        else:
            done((), downlinks)

    def _size(self, bound: int) -> int:
        pace = self._inbox.pace
        return bound if not pace else min(bound, max(_LEAST, int(pace * COMMIT_S)))

    def _commit(self, batch: list[Arrival], stop: threading.Event, done: Done) -> bool:
        """Commit, then tell; False when stopped before it was committed."""
        messages = [item.message for item in batch if item.message is not None]
        downlinks: Sequence[Downlink] = ()
        if messages:
            began = time.monotonic()
            answer = self._try(messages, stop)
            if answer is None:
                return False
            downlinks = answer
            self._inbox.committed(sum(item.size for item in batch), time.monotonic() - began)
        done(batch, downlinks)
        return True

    def _try(self, messages: list[Message], stop: threading.Event) -> Sequence[Downlink] | None:
        attempt, pause_s = 0, self._retry_s
        while True:
            attempt += 1
            try:
                return self._handler.commit(messages)
            except TRANSIENT as error:
                self._on_event(
                    "commit.failed",
                    {"code": error.code, "message": str(error), "try": attempt},
                )
                if attempt >= self._tries and error.code not in HEALS:
                    raise
            if stop.wait(pause_s):
                return None
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    def _interrupt(self, stop: threading.Event, ended: threading.Event) -> None:
        """Ends the waiting for messages when ``stop`` is set, without polling in the loop."""
        while not ended.is_set():
            if stop.wait(_IDLE_S):
                self._inbox.interrupt()
                return
