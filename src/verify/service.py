"""A running aggregator: its ways in, the loop, requests, listeners, clean shutdown."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from depin_id.durable import read_file
from depin_id.errors import ConfigError, DepinError
from verify import control
from verify.admin import perform
from verify.aggregator import Aggregator, wall_clock
from verify.collector import relax
from verify.http.front import Front, HttpOptions
from verify.ingest import Downlink, Message
from verify.ingest.http import RequestSource
from verify.ingest.inbox import Inbox
from verify.ingest.loop import BATCH_BYTES, BATCH_MESSAGES, CommitLoop
from verify.ingest.mqtt import MqttSource
from verify.ingest.options import TlsOptions
from verify.metrics import Metrics
from verify.watch import Watched
from verify.witness.asking import AskingThread

_CONTROL_S = 0.5
MAX_POLICY = 1 << 20
_AGAIN_S = 1.0
"""How long publishing waits after it failed; twice as long each time, up to the longest."""
_AGAIN_AT_MOST_S = 300.0

CLOCK_BEHIND_MS = 5_000
"""A wall clock that is further behind the receipt times was set back, or had been ahead."""

_WAYS = "give --mqtt URL, --http HOST:PORT, or both"

OnEvent = Callable[[str, dict[str, object]], None]


class LiveHandler:
    """Feeds an aggregator from live sources, and carries out requests between batches.

    After a commit that failed the aggregator is opened again from the journal, so the source's
    next try meets the state as it is on disk.

    Attributes:
        aggregator: opened. failure: code of why publishing fails; empty when it does not.
    """

    def __init__(self, root: Path, on_event: OnEvent) -> None:
        self._root = root
        self._on_event = on_event
        self._served_at = 0.0
        self._publish_at = 0.0
        self._again_s = 0.0
        self._reload = threading.Event()
        self.failure = ""
        self._lost = self._clock_behind = False
        self.aggregator = Aggregator(root)

    def reload_policy(self) -> None:
        """Take up ``policy.toml`` of the directory between two batches; from any thread."""
        self._reload.set()

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """Commit a batch; see :meth:`verify.aggregator.Aggregator.commit`."""
        if self._lost:
            self._reopen()
        self._serve()
        self._look_at_clock()
        try:
            summary, downlinks = self.aggregator.ingest(messages)
        except DepinError:
            self._reopen()
            raise
        self._on_event("committed", summary.to_json())
        return [*downlinks, *self._keep_up(self.aggregator.now())]

    def idle(self, now_ms: int) -> Sequence[Downlink]:
        """Requests, checkpoints, heartbeat. Raises DepinError as :meth:`_keep_up`."""
        if self._lost:
            self._reopen()
        self._serve()
        self._look_at_clock()
        return self._keep_up(now_ms)

    def _keep_up(self, now_ms: int) -> Sequence[Downlink]:
        """Publish what is due.

        What cannot be published is an event, and is tried again later: it is durable, and intake
        goes on. Only a directory that cannot be opened again ends it (DepinError).
        """
        if time.monotonic() < self._publish_at:
            return ()
        try:
            failed, self.aggregator.unpublished = self.aggregator.unpublished, None
            if failed is not None:
                raise failed
            downlinks = self.aggregator.idle(now_ms)
        except DepinError as error:
            self._again_s = min(2 * self._again_s, _AGAIN_AT_MOST_S) or _AGAIN_S
            self._publish_at = time.monotonic() + self._again_s
            self.failure = error.code
            self._failed("publish.failed", error)
            if self.aggregator.broken:
                self._reopen()
            return ()
        if not self.aggregator.publisher.busy:
            self._again_s, self.failure = 0.0, ""
        return downlinks

    def _look_at_clock(self) -> None:
        """Say when the wall clock is behind what was received, and when it no longer is."""
        behind_ms = self.aggregator.clock_behind_ms
        if (behind_ms >= CLOCK_BEHIND_MS) is not self._clock_behind:
            self._clock_behind = not self._clock_behind
            self._on_event(
                "clock.behind" if self._clock_behind else "clock.met",
                {"behind_s": behind_ms // 1000},
            )

    def close(self) -> None:
        """Publish and release the directory."""
        self.aggregator.close()

    def _reopen(self) -> None:
        """Go on with the state as it is on disk.

        Raises DepinError when it cannot be opened; the next batch tries that again.
        """
        self._lost = True
        try:
            self.aggregator.close()
        except DepinError as error:
            # Closing publishes; the files are released whatever becomes of that.
            self._failed("publish.failed", error)
        self.aggregator = Aggregator(self._root)
        self._lost = False

    def _failed(self, kind: str, error: DepinError) -> None:
        self._on_event(kind, {"code": error.code, "message": str(error)})

    def _serve(self) -> None:
        now = time.monotonic()
        if now - self._served_at >= _CONTROL_S:
            self._served_at = now
            done = control.serve(self.aggregator)
            if done:
                self._on_event("requests", {"done": done})
            if self._reload.is_set():
                self._reload.clear()
                self._take_policy()

    def _take_policy(self) -> None:
        """The policy of the file; what is wrong with it leaves the one in force as it is."""
        file = self.aggregator.workspace.policy
        try:
            data = read_file(file, max_bytes=MAX_POLICY)
            if data is None:
                raise ConfigError("policy.invalid", f"there is no file {file}")
            request = {"op": "policy", "toml": data.decode("utf-8", "replace")}
            self._on_event("policy", perform(self.aggregator, request))
        except DepinError as error:
            self._failed("policy.refused", error)
            if self.aggregator.broken:
                self._reopen()


def run(
    root: Path,
    url: str | None,
    *,
    tls: TlsOptions | None = None,
    username: str | None = None,
    password: str | None = None,
    http: HttpOptions | None = None,
    metrics: HttpOptions | None = None,
    on_event: OnEvent,
    stop: threading.Event | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, or until ``stop`` is set; SIGHUP takes up ``policy.toml``.

    Args:
        url: of the broker. http: for requests. One of them has to be given.
        metrics: for metrics and health.

    Raises:
        StateError, TransportError: the directory, the broker or an address cannot be used.
        ConfigError: ``usage``, when there is neither a broker nor an address.
    """
    if url is None and http is None:
        raise ConfigError("usage", "there is nothing to take envelopes from", hint=_WAYS)
    ended = stop if stop is not None else threading.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread of its own: the signal may come while this one holds the event's lock.
            signal.signal(number, lambda *_: threading.Thread(target=ended.set).start())
    counted = Metrics()

    def heard(kind: str, detail: dict[str, object]) -> None:
        counted.on_event(kind, detail)
        on_event(kind, detail)

    handler = LiveHandler(root, heard)
    if stop is None:
        relax()
    asking = AskingThread(root, on_event=heard)
    if stop is None:
        signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=handler.reload_policy).start()
        )
    try:
        watched = Watched(handler, root=root, clock=wall_clock, on_commit=counted.on_commit)
        inbox = Inbox(2 * BATCH_MESSAGES, 2 * BATCH_BYTES)
        source = RequestSource(watched, inbox)
        broker = None
        if url is not None:
            card = handler.aggregator.fold.card
            broker = MqttSource(
                url,
                card.name,
                source,
                client_id=f"depin-verify-{card.root.kid.hex()}",
                tls=tls,
                username=username,
                password=password,
                on_event=heard,
                inbox=inbox,
            )
        with Front(watched, source, inbox, counted, heard) as front:
            if http is not None:
                front.listen(http)
            if metrics is not None:
                front.measure(metrics, broker)
            if broker is not None:
                broker.run(ended)
            else:
                loop = CommitLoop(source, inbox, clock=wall_clock, on_event=heard)
                loop.run(ended, alive=lambda: True, done=lambda *_: None)
    finally:
        asking.close()
        handler.close()
