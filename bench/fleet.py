"""Many enrolled devices: memory, start, and what they cost the rate."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.raw import raw_rate
from bench.settings import POLICY, Settings
from bench.table import Row, Target
from bench.world import Lab, Signed, check_all_accepted, count, enrol, feed, messages, sign
from depin_id.testing import TestDevice
from verify.aggregator import Aggregator
from verify.setup import init
from verify.workspace import Workspace

_STEP = 2_000
_SENDERS = 1_000
_EACH = 9
_MILLION = 1_000_000


def resident() -> int:
    """Bytes of memory this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def open_site(root: str) -> tuple[float, int]:
    """Open an aggregator in this process: seconds, and bytes of memory it took."""
    gc.collect()
    before = resident()
    start = time.perf_counter()
    with Aggregator(Path(root)):
        took = time.perf_counter() - start
        gc.collect()
        return took, resident() - before


def in_new_process(root: Path) -> tuple[float, int]:
    """The same in a process of its own, whose memory nothing else has used."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(open_site, str(root)).result()


def _site(lab: Lab, name: str, size: int) -> tuple[Path, list[Signed], float]:
    """A fleet's directory, envelopes of devices spread over it, and enrolments a second."""
    root = lab.folder / name
    init(root, lab.folder / "network", policy_text=POLICY)
    senders = min(_SENDERS, size)
    stride, signed, took = size // senders, [], 0.0
    with Aggregator(root) as aggregator:
        for start in range(0, size, _STEP):
            devices: list[TestDevice] = [lab.device() for _ in range(min(_STEP, size - start))]
            began = time.perf_counter()
            enrol(aggregator, devices)
            took += time.perf_counter() - began
            spread = [d for at, d in enumerate(devices, start) if at % stride == 0]
            signed += [sign(device, 1 + _EACH, 1) for device in spread]
    return root, signed[:senders], size / took


def _rates(settings: Settings, sites: list[tuple[Path, list[Signed]]]) -> list[list[float]]:
    """Envelopes a second at each site, the sites in turn, every stream known before."""
    opened = [Aggregator(root) for root, _ in sites]
    try:
        for aggregator, (_, signed) in zip(opened, sites, strict=True):
            feed(aggregator, messages([Signed(s.device, s.envelopes[:1]) for s in signed]), 500)
        rates: list[list[float]] = [[] for _ in sites]
        for step in range(1, 1 + _EACH):
            for number, (aggregator, (_, signed)) in enumerate(zip(opened, sites, strict=True)):
                part = [Signed(s.device, s.envelopes[step : step + 1]) for s in signed]
                found = messages(part)
                start = time.perf_counter()
                summary = feed(aggregator, found, 500)
                rates[number].append(count(part) / (time.perf_counter() - start))
                check_all_accepted(summary, count(part))
        return rates
    finally:
        for aggregator in opened:
            aggregator.close()


def _memory(few: int, many: int, settings: Settings) -> Row:
    each = (many - few) / (settings.devices - settings.few_devices)
    return Row(
        "fleet",
        f"memory a device (between {settings.few_devices:,} and {settings.devices:,})",
        "bytes",
        [each],
        [each * _MILLION / 600e6],
        "600 MB for a million devices",
        Target(1.0, at_least=False),
        more_is_better=False,
        note="resident after a start from a snapshot: what reading it left behind counts too",
    )


def _start(settings: Settings, how: str, few: float, many: float) -> Row:
    """What a million would take, if each further device takes what it took up to here."""
    each = (many - few) / (settings.devices - settings.few_devices)
    million = few + each * (_MILLION - settings.few_devices)
    return Row(
        "fleet",
        f"start with {settings.devices:,} devices, {how}",
        "s",
        [many],
        [million / 10],
        "10 s, scaled to a million devices",
        Target(1.0, at_least=False),
        more_is_better=False,
        note=f"{million:.0f} s for a million devices, at {1e6 * each:.0f} us a device",
    )


def measure(lab: Lab) -> list[Row]:
    """A large fleet beside a small one; memory and starts in processes of their own."""
    settings = lab.settings
    few_root, few_signed, _ = _site(lab, "few", settings.few_devices)
    many_root, many_signed, enrolments = _site(lab, "many", settings.devices)
    few_warm, few_bytes = in_new_process(few_root)
    many_warm, many_bytes = in_new_process(many_root)
    few, many = _rates(settings, [(few_root, few_signed), (many_root, many_signed)])
    for root in (few_root, many_root):
        shutil.rmtree(Workspace(root).snapshots)
    (few_cold, _), (many_cold, _) = in_new_process(few_root), in_new_process(many_root)
    return [
        _memory(few_bytes, many_bytes, settings),
        _start(settings, "from a snapshot", few_warm, many_warm),
        _start(settings, "from the journal", few_cold, many_cold),
        Row(
            "fleet",
            f"one-reading envelopes with {settings.devices:,} devices",
            "/s",
            many,
            [m / f for m, f in zip(many, few, strict=True)],
            f"with {settings.few_devices:,} devices",
            Target(0.9),
            note="one envelope a device in a commit: one acknowledgement is signed for each",
        ),
        Row(
            "fleet",
            "enrolments",
            "/s",
            [enrolments],
            [enrolments / raw_rate(settings.raw_seconds)],
            "raw, all cores",
        ),
    ]
