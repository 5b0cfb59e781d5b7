"""What can be made again from the journal: log and segments, and the state."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

from bench.settings import BUNDLE
from bench.table import Row, Target
from bench.world import BenchError, Lab, count, feed, messages, messages_at_once
from verify.aggregator import Aggregator
from verify.fold import Fold
from verify.replay import replay
from verify.workspace import Workspace


@dataclass(frozen=True)
class _Rates:
    """Envelopes a second."""

    committed: float
    published: float
    rebuilt: float
    replayed: float


def _lose(workspace: Workspace) -> None:
    """Remove tiles and segments: over intact files a rebuild would compare instead of write."""
    for folder in (workspace.log, workspace.segments):
        shutil.rmtree(folder)
        folder.mkdir()


def _once(lab: Lab) -> _Rates:
    signed = lab.singles()
    found = messages(signed, BUNDLE)
    marks = []
    with Aggregator(lab.site([one.device for one in signed])) as aggregator:
        start = time.perf_counter()
        feed(aggregator, found, messages_at_once(BUNDLE))
        marks.append(time.perf_counter() - start)
        aggregator.publish()
        marks.append(time.perf_counter() - start)
        root = aggregator.publisher.publish_log().root
        _lose(aggregator.workspace)
        start = time.perf_counter()
        rebuilt = aggregator.publisher.rebuild()
        marks.append(time.perf_counter() - start)
        if rebuilt.root != root:
            raise BenchError("the rebuilt log has another root")
        start = time.perf_counter()
        replay(aggregator.journal, aggregator.keys, Fold())
        marks.append(time.perf_counter() - start)
    return _Rates(*(count(signed) / seconds for seconds in marks))


def measure(lab: Lab) -> list[Row]:
    """Rebuild and replay beside the ingest of the same envelopes."""
    runs = [_once(lab) for _ in range(lab.settings.runs)]
    name = "rebuild of lost log and dataset from the journal"
    rebuilt = [run.rebuilt for run in runs]
    return [
        Row(
            "rebuild",
            name,
            "/s",
            rebuilt,
            [run.rebuilt / run.published for run in runs],
            "ingest with log and segments",
            Target(2.0),
        ),
        Row(
            "rebuild",
            f"{name}, the stricter reading",
            "/s",
            rebuilt,
            [run.rebuilt / run.committed for run in runs],
            "ingest to commit",
            Target(2.0),
        ),
        Row(
            "rebuild",
            "replay of the state without a snapshot",
            "/s",
            [run.replayed for run in runs],
            [run.replayed / run.committed for run in runs],
            "ingest to commit",
        ),
    ]
