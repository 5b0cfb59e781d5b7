"""Receipts: making one, checking one offline, how large it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import islice

from bench.raw import raw_rate
from bench.settings import PACK
from bench.table import Row, Target
from bench.world import Lab, Signed, feed, messages
from verify.aggregator import Aggregator
from verify.entries import Judged
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt


def _milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def _receipts(lab: Lab, signed: list[Signed]) -> tuple[list[bytes], list[float]]:
    """Receipts of the last envelopes of a site, and how many milliseconds each took to make."""
    root = lab.site([one.device for one in signed])
    with Aggregator(root) as aggregator:
        feed(aggregator, messages(signed, 5), 100)
    made: list[bytes] = []
    with Reader(root) as reader:

        def make(index: int) -> None:
            made.append(make_receipt(reader, index))

        # Entries of administration, such as ticks, stand between the envelopes: their receipts
        # are smaller and are checked sooner.
        newest = range(reader.size - 1, -1, -1)
        envelopes = (index for index in newest if isinstance(reader.opened(index).entry, Judged))
        asked = list(islice(envelopes, lab.settings.receipts))
        return made, [_milliseconds(partial(make, index)) for index in asked]


def measure(lab: Lab) -> list[Row]:
    """Receipts of one reading and of 60."""
    rows = []
    for records, signed in ((1, lab.singles()), (PACK, lab.packs())):
        made, took = _receipts(lab, signed)
        one_verification = 1000 / raw_rate(lab.settings.raw_seconds, 1)
        checks = [_milliseconds(partial(check_receipt, r, network=lab.did)) for r in made]
        what = f"{records} reading{'s' if records > 1 else ''}"
        rows += [
            Row(
                "receipts",
                f"receipt check offline, {what}",
                "ms",
                checks,
                [check / one_verification for check in checks],
                "one raw verification",
                Target(1.0, "value", at_least=False),
                more_is_better=False,
            ),
            Row(
                "receipts",
                f"receipt made, {what}",
                "ms",
                took,
                [t / one_verification for t in took],
                "one raw verification",
                more_is_better=False,
            ),
            Row(
                "receipts",
                f"receipt size, {what}",
                "bytes",
                [float(len(data)) for data in made],
                [len(data) / (len(signed[0].envelopes[0])) for data in made],
                "its envelope",
                more_is_better=False,
            ),
        ]
    return rows
