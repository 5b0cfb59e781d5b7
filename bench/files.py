"""Bytes to durable commit, with log and segments, without a network between."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.raw import Beside, Spent
from bench.settings import BUNDLE, PACK, PACKS_A_BUNDLE
from bench.table import Row, Target
from bench.world import (
    Lab,
    Signed,
    check_all_accepted,
    count,
    feed,
    messages,
    messages_at_once,
)
from verify.aggregator import Aggregator


def ingest(lab: Lab, signed: Sequence[Signed], per_message: int) -> Spent:
    """Feed a fresh aggregator and publish everything."""
    root = lab.site([one.device for one in signed])
    found = messages(signed, per_message)
    with Aggregator(root) as aggregator:
        start, processor = time.perf_counter(), time.process_time()
        summary = feed(aggregator, found, messages_at_once(per_message))
        committed = time.perf_counter()
        aggregator.publish()
        published, used = time.perf_counter(), time.process_time()
    check_all_accepted(summary, count(signed))
    return Spent(count(signed), published - start, used - processor, published - committed)


def _beside(lab: Lab, signed: Sequence[Signed], per_message: int) -> Beside:
    beside = Beside()
    for _ in range(lab.settings.runs):
        beside.add(lambda: ingest(lab, signed, per_message), lab.settings.raw_seconds)
    return beside


def measure(lab: Lab) -> list[Row]:
    """One-reading envelopes in bundles, and 60-record packs."""
    singles = _beside(lab, lab.singles(), BUNDLE)
    packs = _beside(lab, lab.packs(), PACKS_A_BUNDLE)
    return [
        Row(
            "files",
            "one-reading envelopes, bytes to commit, log and segments",
            "/s",
            singles.rates,
            singles.ratios,
            "raw, all cores",
            Target(0.80),
        ),
        *_costs("one-reading envelope", singles),
        Row(
            "files",
            f"{PACK}-record packs, the same way",
            "readings/s",
            [PACK * rate for rate in packs.rates],
            packs.ratios,
            "raw, all cores (envelopes)",
            Target(1_000_000, "value", cores=2),
        ),
        *_costs(f"{PACK}-record pack", packs),
    ]


def _costs(what: str, beside: Beside) -> list[Row]:
    publishing = [spent.publishing / spent.wall for spent in beside.runs]
    return [
        Row(
            "files",
            f"processor time of a {what}",
            "us",
            beside.costs,
            beside.cost_ratios,
            "one raw verification",
            more_is_better=False,
        ),
        Row(
            "files",
            f"{what}: publishing after the last commit",
            "%",
            [100 * share for share in publishing],
            publishing,
            "the whole",
            more_is_better=False,
        ),
    ]
