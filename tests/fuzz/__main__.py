"""``python -m tests.fuzz [TARGET...] --seconds N``: fuzz decoders, guided by coverage (atheris).

Each target runs in a process of its own. What is found is written below ``build/fuzz``, and printed
in hexadecimal: put the line into ``tests/fuzz/corpus/TARGET.hex`` with the correction. ``--keep``
takes into the corpus what reaches code that nothing else there reaches. ``all`` is every target in
one process, for machines with little time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.fuzz.settings import BUILD, CORPUS, MAX_KEPT, MOST_KEPT, has_atheris


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: each of them")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--keep", action="store_true", help="grow the kept corpus")
    parser.add_argument("--list", action="store_true", help="name the targets")
    return parser.parse_args()


def main() -> int:
    """Fuzz; gives the exit status, 1 after a find."""
    options = _arguments()
    from tests.fuzz.targets import TARGETS

    if options.list:
        print("\n".join(TARGETS))
        return 0
    names = options.targets or list(TARGETS)
    unknown = {part for name in names for part in name.split("+")} - TARGETS.keys() - {"all"}
    if unknown:
        print(f"there is no target {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    if not has_atheris():
        print("atheris is not installed: mutation without coverage instead", file=sys.stderr)
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        results = list(pool.map(lambda name: _one(name, options.seconds), names))
    if options.keep and has_atheris():
        for name in names:
            _keep(name)
    return 1 if any(results) else 0


def _one(name: str, seconds: float) -> int:
    """One target in a process of its own; gives its exit status."""
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    said = next((line for line in reversed(lines) if "DONE" in line or "inputs" in line), "")
    print(f"{name}: {time.monotonic() - start:.0f} s  {' '.join(said.split()[:12])}", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
        for path in sorted((BUILD / name).glob("find-*")):
            print(f"find in {name}: {path.read_bytes().hex()}", file=sys.stderr)
    return done.returncode


def _keep(name: str) -> None:
    """The smallest inputs that reach all that was reached, as libFuzzer's merge chooses them."""
    command = [sys.executable, "-m", "tests.fuzz.worker", name, "merge"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        return
    from tests.fuzz.targets import TARGETS

    found = [path.read_bytes() for path in (BUILD / name / "merged").iterdir()]
    seeds = set(TARGETS[name].seeds)
    kept = sorted({data for data in found if 0 < len(data) <= MAX_KEPT} - seeds, key=len)
    text = "".join(f"{data.hex()}\n" for data in kept[:MOST_KEPT])
    (CORPUS / f"{name}.hex").write_text(text)
    print(f"{name}: {min(len(kept), MOST_KEPT)} of {len(found)} inputs kept")


if __name__ == "__main__":
    sys.exit(main())
