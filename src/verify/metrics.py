"""Prometheus metrics of an aggregator, in a registry of their own.

Counters change once a commit, from the commit's own sums, never once a record; what is a state and
not a count is looked up when somebody asks.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from verify.ingest import Message
from verify.ingest.inbox import Inbox
from verify.verdict import is_verdict_code
from verify.watch import Standing
from verify.workspace import Workspace

CONTENT_TYPE = CONTENT_TYPE_LATEST
_COMMIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted; every method may be called from any thread."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self._envelopes = Counter(
            "depin_envelopes",
            "Envelopes by what became of them.",
            ["outcome", "code"],
            registry=own,
        )
        self._readings = Counter("depin_readings", "Readings that count.", registry=own)
        self._messages = Counter(
            "depin_messages",
            "Committed messages by the way they came.",
            ["transport"],
            registry=own,
        )
        self._bytes = Counter(
            "depin_message_bytes", "Bytes of committed messages.", ["transport"], registry=own
        )
        self._commits = Histogram(
            "depin_commit_seconds",
            "Appraisal and durable commit of a batch.",
            buckets=_COMMIT_S,
            registry=own,
        )
        self._waits = Histogram(
            "depin_acknowledgement_seconds",
            "Receipt to acknowledgement of the oldest message of each batch.",
            buckets=_WAIT_S,
            registry=own,
        )
        self._failures = Counter(
            "depin_failures",
            "Commits and publications that failed.",
            ["event", "code"],
            registry=own,
        )
        self._answers = Counter(
            "depin_http_requests", "Answered HTTP requests.", ["route", "status"], registry=own
        )

    def on_event(self, kind: str, detail: dict[str, object]) -> None:
        """Count an event of the aggregator."""
        if kind == "committed":
            self._committed(detail)
        elif kind in ("commit.failed", "publish.failed", "idle.failed"):
            self._failures.labels(kind, str(detail.get("code", ""))).inc()

    def on_commit(self, messages: Sequence[Message], took_s: float, waited_s: float) -> None:
        """Count a commit: its messages, how long it took, how long its oldest message waited."""
        asked = [len(message.data) for message in messages if message.reply]
        size = sum(len(message.data) for message in messages)
        for transport, count, total in (
            ("http", len(asked), sum(asked)),
            ("mqtt", len(messages) - len(asked), size - sum(asked)),
        ):
            if count:
                self._messages.labels(transport).inc(count)
                self._bytes.labels(transport).inc(total)
        self._commits.observe(took_s)
        self._waits.observe(waited_s)

    def on_answer(self, route: str, status: int) -> None:
        """Count an answered request."""
        self._answers.labels(route, str(status)).inc()

    def watch(self, collect: Callable[[], Iterator[Metric]]) -> None:
        """Have ``collect`` asked for the states whenever somebody asks for the metrics."""
        self.registry.register(_States(collect))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _committed(self, detail: dict[str, object]) -> None:
        for outcome in ("accepted", "duplicates", "sightings", "quarantined"):
            self._count(outcome.removesuffix("s"), "", detail.get(outcome))
        for outcome in ("rejected", "indeterminate"):
            codes = detail.get(outcome)
            if isinstance(codes, dict):
                for code, count in codes.items():
                    self._count(outcome, str(code), count)
        readings = detail.get("readings")
        if isinstance(readings, int) and readings:
            self._readings.inc(readings)

    def _count(self, outcome: str, code: str, count: object) -> None:
        if isinstance(count, int) and count:
            # Codes come from a fixed table, so nobody can make series without end.
            known = code if not code or is_verdict_code(code) else "other"
            self._envelopes.labels(outcome, known).inc(count)


class _States(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        """Nothing is asked for before somebody asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The states now."""
        return self._collect()


def disk_free(root: Path) -> int:
    """Bytes that may still be written below a folder; 0 when that cannot be said."""
    with suppress(OSError):
        return shutil.disk_usage(root).free
    return 0


def journal_bytes(workspace: Workspace) -> int:
    """Bytes of the journal's files."""
    total = 0
    with suppress(OSError), os.scandir(workspace.journal) as entries:
        for entry in entries:
            with suppress(OSError):
                total += entry.stat().st_size
    return total


def states(
    root: Path, standing: Callable[[], Standing], inbox: Inbox, connections: Callable[[], int]
) -> Callable[[], Iterator[Metric]]:
    """The states of a running aggregator, for :meth:`Metrics.watch`."""
    workspace = Workspace(root)

    def collect() -> Iterator[Metric]:
        now = standing()
        age = time.monotonic() - now.at
        asked, asked_bytes = inbox.requests
        all_messages, all_bytes = len(inbox), inbox.bytes
        held = GaugeMetricFamily(
            "depin_inbox_messages", "Messages received and not yet taken up.", labels=["transport"]
        )
        size = GaugeMetricFamily("depin_inbox_bytes", "Their bytes.", labels=["transport"])
        for transport, count, total in (
            ("http", asked, asked_bytes),
            ("mqtt", max(0, all_messages - asked), max(0, all_bytes - asked_bytes)),
        ):
            held.add_metric([transport], count)
            size.add_metric([transport], total)
        yield held
        yield size
        for name, text, value in (
            ("depin_log_entries", "Entries of the journal.", now.entries),
            ("depin_log_published_entries", "Entries under the newest checkpoint.", now.published),
            ("depin_log_unpublished_entries", "Entries not yet under one.", now.unpublished),
            (
                "depin_standing_age_seconds",
                "Since the last sign of life.",
                age,
            ),
            ("depin_waiting_envelopes", "Envelopes whose device has to attest.", now.waiting),
            ("depin_quarantine_bytes", "Bytes of all that waits.", now.quarantined),
            ("depin_journal_bytes", "Bytes of the journal's files.", journal_bytes(workspace)),
            ("depin_disk_free_bytes", "Free bytes on its disk.", disk_free(root)),
            ("depin_http_connections", "Open connections.", connections()),
        ):
            yield GaugeMetricFamily(name, text, value=value)

    return collect
