"""A running aggregator: an MQTT source, the loop, requests, clean shutdown."""

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
from verify.aggregator import Aggregator
from verify.ingest import Downlink, Message
from verify.ingest.mqtt import MqttSource
from verify.ingest.options import TlsOptions
from verify.witness.asking import AskingThread

_CONTROL_S = 0.5
MAX_POLICY = 1 << 20
_AGAIN_S = 1.0
"""How long publishing waits after it failed; twice as long each time, up to the longest."""
_AGAIN_AT_MOST_S = 300.0

OnEvent = Callable[[str, dict[str, object]], None]


class LiveHandler:
    """Feeds an aggregator from a live source, and carries out requests between batches.

    After a commit that failed the aggregator is opened again from the journal, so the source's
    next try meets the state as it is on disk.
    """

    def __init__(self, root: Path, on_event: OnEvent) -> None:
        self._root = root
        self._on_event = on_event
        self._served_at = 0.0
        self._publish_at = 0.0
        self._again_s = 0.0
        self._reload = threading.Event()
        self.aggregator = Aggregator(root)

    def reload_policy(self) -> None:
        """Take up ``policy.toml`` of the directory between two batches; from any thread."""
        self._reload.set()

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """Commit a batch; see :meth:`verify.aggregator.Aggregator.commit`."""
        self._serve()
        try:
            summary, downlinks = self.aggregator.ingest(messages)
        except DepinError:
            self._reopen()
            raise
        self._on_event("committed", summary.to_json())
        return [*downlinks, *self._keep_up(self.aggregator.now())]

    def idle(self, now_ms: int) -> Sequence[Downlink]:
        """Requests, checkpoints, heartbeat. Raises DepinError as :meth:`_keep_up`."""
        self._serve()
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
            self._failed("publish.failed", error)
            if self.aggregator.broken:
                self._reopen()
            return ()
        self._again_s = 0.0
        return downlinks

    def close(self) -> None:
        """Publish and release the directory."""
        self.aggregator.close()

    def _reopen(self) -> None:
        """Go on with the state as it is on disk. Raises DepinError when it cannot be opened."""
        try:
            self.aggregator.close()
        except DepinError as error:
            # Closing publishes; the files are released whatever becomes of that.
            self._failed("publish.failed", error)
        self.aggregator = Aggregator(self._root)

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
    url: str,
    *,
    tls: TlsOptions | None = None,
    username: str | None = None,
    password: str | None = None,
    on_event: OnEvent,
    stop: threading.Event | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, or until ``stop`` is set; SIGHUP takes up ``policy.toml``.

    Raises:
        StateError, TransportError: the directory or the broker cannot be used.
    """
    ended = stop if stop is not None else threading.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread of its own: the signal may come while this one holds the event's lock.
            signal.signal(number, lambda *_: threading.Thread(target=ended.set).start())
    handler = LiveHandler(root, on_event)
    asking = AskingThread(root, on_event=on_event)
    if stop is None:
        signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=handler.reload_policy).start()
        )
    try:
        card = handler.aggregator.fold.card
        source = MqttSource(
            url,
            card.name,
            handler,
            client_id=f"depin-verify-{card.root.kid.hex()}",
            tls=tls,
            username=username,
            password=password,
            on_event=on_event,
        )
        source.run(ended)
    finally:
        asking.close()
        handler.close()
