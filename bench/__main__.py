"""``python -m bench``: measure, print the table, write the figures as JSON."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import (
    attest_chains,
    attest_phones,
    attest_tokens,
    attest_tpm,
    bridge_speed,
    capability,
    credentials,
    device_c,
    factory,
    files,
    fleet,
    history,
    peaq,
    peers,
    profile,
    raw,
    rebuild,
    receipts,
    standing,
    status,
    wire,
)
from bench.settings import QUICK, Settings
from bench.table import Row, markdown, show, write_json
from bench.world import Lab
from verify.collector import relax

RESULTS = Path(__file__).parent / "results.json"


def _broker(lab: Lab) -> list[Row]:
    from bench import broker

    return broker.measure(lab)


def _latency(lab: Lab) -> list[Row]:
    from bench import latency

    return latency.measure(lab)


def _overload(lab: Lab) -> list[Row]:
    from bench import overload

    return overload.measure(lab)


MEASUREMENTS: dict[str, Callable[[Lab], list[Row]]] = {
    "raw": raw.measure,
    "files": files.measure,
    "broker": _broker,
    "latency": _latency,
    "receipts": receipts.measure,
    "credentials": credentials.measure,
    "rebuild": rebuild.measure,
    "fleet": fleet.measure,
    "history": history.measure,
    "wire": wire.measure,
    "peers": peers.measure,
    "peaq": peaq.measure,
    "factory": factory.measure,
    "overload": _overload,
    "status": status.measure,
    "standing": standing.measure,
    "capability": capability.measure,
    "attest_tpm": attest_tpm.measure,
    "attest_phones": attest_phones.measure,
    "attest_tokens": attest_tokens.measure,
    "attest_chains": attest_chains.measure,
    "bridge_speed": bridge_speed.measure,
    "device_c": device_c.measure,
}
NEEDS_BROKER = {"broker", "latency", "overload"}


def has_broker() -> bool:
    """Whether mosquitto is installed."""
    places = (None, "/usr/sbin:/usr/local/sbin")
    return any(shutil.which("mosquitto", path=place) for place in places)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works")
    parser.add_argument(
        "--only", action="append", choices=[*MEASUREMENTS], help="one measurement; may be repeated"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument(
        "--markdown", type=Path, help="where the table goes as Markdown; default: beside the JSON"
    )
    parser.add_argument("--devices", type=int, help="size of the large fleet")
    parser.add_argument("--seconds", type=float, help="how long the overload lasts")
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead")
    return parser.parse_args(given)


def run(lab: Lab, names: Sequence[str], say: Callable[[str], None]) -> list[Row]:
    """Carry out measurements, one after the other."""
    rows: list[Row] = []
    for name in names:
        if name in NEEDS_BROKER and not has_broker():
            say(f"{name}: left out, mosquitto is not installed")
            continue
        start = time.perf_counter()
        rows += MEASUREMENTS[name](lab)
        say(f"{name}: {time.perf_counter() - start:.1f} s")
    return rows


def main(given: Sequence[str] | None = None) -> int:
    """Measure; gives the exit status."""
    options = arguments(given)
    settings = QUICK if options.quick else Settings()
    if options.devices is not None:
        settings = replace(settings, devices=max(options.devices, 2 * settings.few_devices))
    if options.seconds is not None:
        settings = replace(settings, overload_s=max(options.seconds, 4.0))
    # Beside the results: a temporary folder may lie in memory, where a commit costs nothing.
    with tempfile.TemporaryDirectory(prefix="depin-bench-", dir=_disk(options.json)) as folder:
        lab = Lab(Path(folder), settings)
        relax()  # as the commands do
        if options.profile:
            sys.stdout.write(profile.report(lab))
            return 0
        rows = run(lab, options.only or list(MEASUREMENTS), lambda s: print(s, file=sys.stderr))
    if options.quick:
        rows = [replace(row, judged=False) for row in rows]
    show(rows, Console(width=None if sys.stdout.isatty() else 170))
    write_json(rows, settings, options.json)
    (options.markdown or options.json.with_suffix(".md")).write_text(markdown(rows))
    return 0


def _disk(results: Path) -> Path:
    folder = results.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
