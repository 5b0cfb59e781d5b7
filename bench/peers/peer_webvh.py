"""``did-webvh``: verify logs, and resolve one at a time in its middle.

``start.py peer_webvh.py measure FOLDER TIME SECONDS`` or ``... check FOLDER...``: of each folder
with ``did.jsonl`` None when its log is good, else what is wrong with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from did_webvh.core.resolver import DidResolver
from did_webvh.history import did_history_resolver
from did_webvh.verify import WebvhVerifier
from task import measure


async def _state(folder: Path, **more: Any) -> Any:
    source = did_history_resolver(local_history=folder)
    verifier = WebvhVerifier(enforce_future_skew=True)
    return await DidResolver(verifier).resolve_state(None, source, **more)


def _check(folder: Path) -> str | None:
    try:
        asyncio.run(_state(folder))
    except Exception as error:  # whatever it raises on hostile input
        return f"{type(error).__name__}: {error}"[:200]
    return None


def main() -> None:
    """Measure, or check."""
    job, *words = sys.argv[1:]
    if job == "check":
        print(json.dumps([_check(Path(word)) for word in words]))
        return
    folder, time, seconds = Path(words[0]), words[1], float(words[2])

    def take(_message: Any) -> object:
        return asyncio.run(_state(folder, version_time=time))

    measure([folder], take, seconds)


if __name__ == "__main__":
    main()
