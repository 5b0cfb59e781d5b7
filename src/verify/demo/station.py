"""The demo's aggregator on its source, in a thread, with a count of what each sender came to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from depin_id.envelope import KIND_GATEWAY, parse_envelope, split_bundle
from depin_id.errors import DepinError
from depin_id.senml import Decimal64, decode_pack
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.demo.ledger import DUPLICATE
from verify.ingest import Downlink, Message
from verify.ingest.mqtt import MqttSource


class Watch:
    """What arrived under one topic, and what it came to."""

    def __init__(self) -> None:
        self.arrived = 0
        self.summary = Summary()

    @property
    def outcomes(self) -> Counter[str]:
        """Envelopes by outcome."""
        counts = Counter(self.summary.rejected) + Counter(self.summary.indeterminate)
        counts["accepted"] += self.summary.accepted
        counts[DUPLICATE] += self.summary.duplicates
        return +counts


class Bookkeeper:
    """A handler that asks the aggregator for each watched sender apart.

    Args:
        aggregator: judges and commits.
        gateway: principal whose envelopes are opened, to know what the bridge has delivered.

    Attributes:
        rest: everybody who is not watched.
        carried: envelopes that the bridge delivered.
        spoken: times of the readings it delivered of each sensor that it signs for.
    """

    def __init__(self, aggregator: Aggregator, gateway: str) -> None:
        self._aggregator, self._gateway = aggregator, gateway
        self.watched: dict[str, Watch] = {}
        self.rest = Watch()
        self.carried: set[bytes] = set()
        self.spoken: dict[str, set[Decimal64]] = {}

    def watch(self, principal: str) -> Watch:
        """Count a sender apart from the others from now on."""
        return self.watched.setdefault(principal, Watch())

    def commit(self, messages: Sequence[Message]) -> list[Downlink]:
        """See :class:`verify.ingest.Handler`."""
        groups: dict[str, list[Message]] = {}
        for message in messages:
            known = message.principal if message.principal in self.watched else ""
            groups.setdefault(known, []).append(message)
        downlinks: list[Downlink] = []
        for principal, group in groups.items():
            summary, answers = self._aggregator.ingest(group)
            downlinks += answers
            watch = self.watched.get(principal, self.rest)
            watch.summary.add(summary)
            watch.arrived += len(group)
        for message in messages:
            if message.principal == self._gateway:
                self._open(message.data)
        return downlinks

    def idle(self, now_ms: int) -> list[Downlink]:
        """See :class:`verify.ingest.Handler`."""
        return self._aggregator.idle(now_ms)

    def _open(self, data: bytes) -> None:
        try:
            for part in split_bundle(data):
                envelope = parse_envelope(part)
                if envelope.kind == KIND_GATEWAY:
                    self.carried.add(envelope.payload)
                elif envelope.claims.sub is not None:
                    # By time: a broker may hand the same message to the bridge twice.
                    times = {record.time for record in decode_pack(envelope.payload)}
                    self.spoken.setdefault(envelope.claims.sub, set()).update(times)
        except DepinError:
            return  # whatever it is, it has a verdict; here it only is not counted as delivered


class Station:
    """An aggregator that reads from a broker until it is closed.

    Attributes:
        failure: what ended it early, or None.
    """

    def __init__(self, root: Path, url: str, network_name: str, gateway: str) -> None:
        self.aggregator = Aggregator(root)
        self.books = Bookkeeper(self.aggregator, gateway)
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._source = MqttSource(
            url,
            network_name,
            self.books,
            client_id="depin-demo-aggregator",
            protocol="3.1.1",
            session_expiry_s=600,
            on_event=self._event,
        )
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aggregator")

    def start(self) -> None:
        """Connect and read."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the broker has taken its subscription: from then on nothing is missed."""
        return self._subscribed.is_set()

    def close(self) -> None:
        """Finish the running batch, publish, release the directory. Safe to call twice."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.aggregator.close()

    @property
    def counts(self) -> dict[str, int]:
        """What the source counted."""
        return self._source.counts

    def _event(self, kind: str, _detail: dict[str, object]) -> None:
        if kind == "mqtt.subscribed":
            self._subscribed.set()

    def _run(self) -> None:
        try:
            self._source.run(self._stop)
        except Exception as error:  # shown and reported by the thread that waits for us
            self.failure = error
