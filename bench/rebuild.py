"""What can be made again from the journal: log and segments, and the state."""

from __future__ import annotations

import time

from bench.settings import BUNDLE
from bench.table import Row, Target
from bench.world import Lab, count, feed, messages, messages_at_once
from verify.aggregator import Aggregator
from verify.fold import Fold
from verify.replay import replay


def _once(lab: Lab) -> tuple[float, float, float]:
    """Entries a second: ingest, rebuild of log and dataset, replay of the state."""
    signed = lab.singles()
    root = lab.site([one.device for one in signed])
    found = messages(signed, BUNDLE)
    with Aggregator(root) as aggregator:
        start = time.perf_counter()
        feed(aggregator, found, messages_at_once(BUNDLE))
        aggregator.publish()
        ingest = count(signed) / (time.perf_counter() - start)
        start = time.perf_counter()
        aggregator.publisher.rebuild()
        rebuild = aggregator.journal.size / (time.perf_counter() - start)
        start = time.perf_counter()
        replay(aggregator.journal, aggregator.keys, Fold())
        replayed = aggregator.journal.size / (time.perf_counter() - start)
    return ingest, rebuild, replayed


def measure(lab: Lab) -> list[Row]:
    """Rebuild and replay beside the ingest of the same envelopes."""
    runs = [_once(lab) for _ in range(lab.settings.runs)]
    return [
        Row(
            "rebuild",
            "rebuild of log and dataset from the journal",
            "entries/s",
            [rebuild for _, rebuild, _ in runs],
            [rebuild / ingest for ingest, rebuild, _ in runs],
            "ingest and publish",
            Target(2.0),
        ),
        Row(
            "rebuild",
            "replay of the state without a snapshot",
            "entries/s",
            [replayed for _, _, replayed in runs],
            [replayed / ingest for ingest, _, replayed in runs],
            "ingest and publish",
        ),
    ]
