"""The process of one target: ``python -m tests.fuzz.worker TARGET SECONDS`` (or ``merge``).

``ONE+OTHER`` and ``all`` are several targets in one process, chosen by an input's first byte.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.settings import BUILD, MAX_INPUT, RSS_MB, TIMEOUT_S, has_atheris


def main() -> None:
    """Fuzz until time is up."""
    name, how = sys.argv[1], sys.argv[2]
    if not has_atheris():
        _without(name, float(how))
        return
    import atheris

    with atheris.instrument_imports(include=["depin_id", "verify", "firmware_bridge"]):
        from tests.fuzz.targets import TARGETS
    names = list(TARGETS) if name == "all" else name.split("+")
    folder = BUILD / name
    seeds, grown = folder / "seeds", folder / "grown"
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir(parents=True)
    grown.mkdir(exist_ok=True)
    for index, each in enumerate(names):
        for data in TARGETS[each].corpus():
            _put(seeds, (bytes([index]) if len(names) > 1 else b"") + data)
    options = [f"-max_len={MAX_INPUT}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MB}"]
    options.append(f"-artifact_prefix={folder}/find-")
    if how == "merge":
        merged = folder / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        options += ["-merge=1", str(merged), str(seeds), str(grown)]
    else:
        for path in folder.glob("find-*"):
            path.unlink()
        options += [f"-max_total_time={max(1, round(float(how)))}", str(grown), str(seeds)]
    takes = [TARGETS[each].run for each in names]
    atheris.Setup([sys.argv[0], *options], _dispatch(takes) if len(takes) > 1 else takes[0])
    atheris.Fuzz()


def _dispatch(takes: Sequence[Callable[[bytes], None]]) -> Callable[[bytes], None]:
    def take(data: bytes) -> None:
        if data:
            takes[data[0] % len(takes)](data[1:])

    return take


def _put(folder: Path, data: bytes) -> None:
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _without(name: str, seconds: float) -> None:
    """As far as it goes without atheris."""
    from tests.fuzz.mutate import run
    from tests.fuzz.targets import TARGETS

    names = list(TARGETS) if name == "all" else name.split("+")
    count = sum(run(TARGETS[each], seconds / len(names)) for each in names)
    print(f"{count} inputs", file=sys.stderr)


if __name__ == "__main__":
    main()
