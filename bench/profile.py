"""Where the time goes on the way from bytes to commit, by stage.

A profiler slows small Python functions more than cryptography, so shares are of the profiled time:
they rank, they do not measure.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Sequence

from bench.settings import BUNDLE, PACK, PACKS_A_BUNDLE
from bench.world import Lab, Signed, count, feed, messages, messages_at_once
from verify.aggregator import Aggregator

# (stage, depth, end of the file's path, function): cumulative time, so a deeper one is part of the
# one above it.
STAGES = (
    ("split the bundle", 0, "depin_id/envelope.py", "split_bundle"),
    ("authenticate", 0, "verify/appraise.py", "authenticate"),
    ("parse the envelope", 1, "depin_id/envelope.py", "parse_envelope"),
    ("verify the signature", 1, "depin_id/envelope.py", "verify"),
    ("Ed25519 alone", 2, "nacl/bindings/crypto_sign.py", "crypto_sign_open"),
    ("judge", 0, "verify/appraise.py", "judge"),
    ("place in the stream", 1, "verify/appraise.py", "_place"),
    ("content", 1, "verify/checks/payload.py", "judge_payload"),
    ("decode the pack", 2, "depin_id/senml/cbor.py", "decode_columns"),
    ("judge the records", 2, "verify/checks/pack.py", "judge_pack"),
    ("draft the entry", 0, "verify/batch.py", "_draft"),
    ("encode the records", 1, "verify/leaf.py", "encode"),
    ("encode the private part", 1, "verify/entries.py", "encode_private"),
    ("encode the state change", 1, "verify/entries.py", "encode_judged"),
    ("apply to the state", 1, "verify/fold.py", "apply_judged"),
    ("seal and make leaves", 0, "verify/sealing.py", "seal_all"),
    ("durable commit", 0, "verify/store/journal.py", "append"),
    ("acknowledge", 0, "verify/acknowledge.py", "answer"),
    ("publish the log", 0, "verify/publisher.py", "publish_log"),
    ("publish the segments", 0, "verify/publisher.py", "publish_dataset"),
)


def _profiled(lab: Lab, signed: Sequence[Signed], per_message: int) -> pstats.Stats:
    found = messages(signed, per_message)
    with Aggregator(lab.site([one.device for one in signed])) as aggregator:
        profiler = cProfile.Profile()
        profiler.enable()
        feed(aggregator, found, messages_at_once(per_message))
        aggregator.publish()
        profiler.disable()
    return pstats.Stats(profiler)


def stages(stats: pstats.Stats) -> list[tuple[str, int, float]]:
    """(stage, depth, seconds) of the stages that were met."""
    # Types for pstats leave out the table that all its own reports read.
    raw = vars(stats)["stats"]
    found = []
    for stage, depth, file, function in STAGES:
        seconds = sum(
            values[3]
            for (path, _, name), values in raw.items()
            if name == function and path.endswith(file)
        )
        if seconds:
            found.append((stage, depth, seconds))
    return found


def report(lab: Lab) -> str:
    """Two tables in Markdown, of the one-reading and the 60-record path."""
    parts = []
    for what, signed, per_message in (
        ("one reading", lab.singles(), BUNDLE),
        (f"{PACK} records", lab.packs(), PACKS_A_BUNDLE),
    ):
        stats = _profiled(lab, signed, per_message)
        total = float(vars(stats)["total_tt"])
        lines = [f"| {what}: stage | share | us an envelope |", "| --- | --- | --- |"]
        for stage, depth, seconds in stages(stats):
            each = 1e6 * seconds / count(signed)
            name = "… " * depth + stage
            lines.append(f"| {name} | {100 * seconds / total:.0f} % | {each:.0f} |")
        lines.append(f"| all, profiled | 100 % | {1e6 * total / count(signed):.0f} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
