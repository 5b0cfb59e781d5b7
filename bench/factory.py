"""A production batch: devices a second on one core, and how long 100,000 take."""

from __future__ import annotations

import hashlib
import io
import shutil
import time

from bench.raw import raw_rate
from bench.table import Row, Target
from bench.world import BenchError, Lab
from depin_id.did.key import did_key
from depin_id.factory import BatchOptions, Defaults, make_batch
from depin_id.keys import SoftwareSigner
from depin_id.owners import Party

BATCH = 100_000
_DEFAULTS = Defaults("N1", "B", "secure-element", "noise@1")


def _lines(count: int) -> bytes:
    """Serials and did:keys, as a factory's own database gives them."""
    rows = ["serial,key,mac"]
    for number in range(count):
        seed = hashlib.sha256(b"bench factory %d" % number).digest()
        key = SoftwareSigner("ed25519", seed).public_key
        rows.append(f"SN{number:06d},{did_key(key)},{number:012x}")
    return "\n".join(rows).encode()


def measure(lab: Lab) -> list[Row]:
    """Everything from the file's bytes to the folder that appears: keys admitted, codes made."""
    count = min(BATCH, lab.settings.factory_devices)
    lines = _lines(count)
    maker = Party.of_key(SoftwareSigner.generate())
    rates: list[float] = []
    ratios: list[float] = []
    for run in range(lab.settings.runs):
        folder = lab.folder / f"batch-{run}"
        options = BatchOptions(f"bench-{run}", maker, 1_795_000_000_000, _DEFAULTS)
        raw = raw_rate(lab.settings.raw_seconds, 1)
        start = time.perf_counter()
        made = make_batch(io.BytesIO(lines), folder, options)
        rates.append(count / (time.perf_counter() - start))
        ratios.append(2 * rates[-1] / (raw + raw_rate(lab.settings.raw_seconds, 1)))
        if made.size != count:
            raise BenchError(f"{made.size} devices of {count}")
        shutil.rmtree(folder)
    return [
        Row("factory", "devices of a batch, one core", "/s", rates, ratios, "raw verification"),
        Row(
            "factory",
            f"a batch of {BATCH:,} devices",
            "s",
            [BATCH / rate for rate in rates],
            [BATCH / rate / 60 for rate in rates],
            "one minute",
            Target(60.0, "value", at_least=False),
            more_is_better=False,
            note=f"measured over {count:,}: certificates with proofs, enrolments, claim codes",
        ),
    ]
