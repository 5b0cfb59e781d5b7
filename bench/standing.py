"""What it costs to check the link of a reading to the attestation result that it stands on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench.files import ingest
from bench.settings import BUNDLE
from bench.table import Row, Target
from bench.world import BenchError, Lab, Signed
from verify.aggregator import Aggregator
from verify.authenticate import authenticate
from verify.checks.attestation import Ground, ground_of
from verify.results.state import Held
from verify.world import Authenticated, Receipt, World

_DAY_MS = 86_400_000
_SAMPLE = 4_000
_TURNS = 5


def _held(one: Signed, now: int) -> Held:
    key = one.device.key.thumbprint
    return Held(
        id=key[:16],
        did=one.device.did,
        thumbprint=key,
        boot=1,
        level="D3",
        status=2,
        since=now - 1,
        not_after=now + _DAY_MS,
        ended=None,
        disavowed=None,
        root=key,
        unique=True,
        shared=False,
        identifiers=("key:" + one.kid.hex(),),
        counters=(("resets", 1),),
    )


def _grounds(found: Sequence[Authenticated], receipt: Receipt, world: World) -> float:
    """Seconds of one processor for one envelope."""
    start = time.process_time()
    for auth in found:
        ground_of(auth, receipt, world)
    return (time.process_time() - start) / len(found)


def measure(lab: Lab) -> list[Row]:
    """The difference that results make for a reading, as a share of all that is done for it."""
    signed = lab.singles()
    root = lab.site([one.device for one in signed])
    envelopes = [data for one in signed for data in one.envelopes][:_SAMPLE]
    now = time.time_ns() // 1_000_000
    receipt = Receipt(now)
    with Aggregator(root) as aggregator:
        world = aggregator.fold.world(lambda *_: None)
        judged = [authenticate(data, world) for data in envelopes]
        found = [auth for auth in judged if isinstance(auth, Authenticated)]
        results = world.identity.results
        plain, linked, core = [], [], []
        for _ in range(lab.settings.runs):
            spent = ingest(lab, signed, BUNDLE)
            core.append(spent.processor / spent.envelopes)
            results.by_key = {}
            plain.append(min(_grounds(found, receipt, world) for _ in range(_TURNS)))
            results.by_key = {one.device.key.thumbprint: (_held(one, now),) for one in signed}
            linked.append(min(_grounds(found, receipt, world) for _ in range(_TURNS)))
        ground = ground_of(found[0], receipt, world)
        if not isinstance(ground, Ground) or ground.level != "D3":
            raise BenchError(f"the readings do not stand on their results: {ground}")
        results.by_key = {}
    more = [after - before for after, before in zip(linked, plain, strict=True)]
    shares = [extra / each for extra, each in zip(more, core, strict=True)]
    micro = [extra * 1e6 for extra in more]
    return [
        Row(
            "standing",
            "link of a reading to its attestation result",
            "us",
            micro,
            shares,
            "all that is done for a one-reading envelope",
            Target(0.03, at_least=False),
            more_is_better=False,
            note=f"the core: {statistics.median(core) * 1e6:.1f} us of a processor",
        )
    ]
