"""The newest entries of the log, as they come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depin_id.errors import LogError, StateError
from verify.entries import KIND_NAMES
from verify.leaf import AdminLeaf, parse_leaf
from verify.reading import Reader
from verify.store import Journal, StoredEntry
from verify.verdict import ACCEPTED
from verify.workspace import Workspace

NEWEST = 10
POLL_S = 0.25
"""How long a new entry may wait until it is seen, at least."""
_MAX_POLL_S = 5.0
REJECTED = "rejected"


@dataclass(frozen=True)
class Wanted:
    """Which entries are shown; nothing named is all of them.

    Attributes:
        verdicts: codes, beginnings of codes that end with a dot (``sequence.``), ``accepted``, or
            ``rejected`` for all that is not accepted.
        refs: references of devices, 16 bytes each.
    """

    verdicts: tuple[str, ...] = ()
    refs: frozenset[bytes] = frozenset()

    def takes(self, entry: dict[str, Any]) -> bool:
        """Whether an entry, as :func:`shown` gives it, is wanted."""
        if self.refs and bytes.fromhex(entry.get("reference", "")) not in self.refs:
            return False
        if not self.verdicts:
            return True
        code = entry.get("verdict")
        return code is not None and any(_matches(code, wanted) for wanted in self.verdicts)


def _matches(code: str, wanted: str) -> bool:
    if wanted == REJECTED:
        return code != ACCEPTED
    return code.startswith(wanted) if wanted.endswith(".") else code == wanted


def shown(stored: StoredEntry) -> dict[str, Any]:
    """What the public leaf of an entry says, JSON-ready. Raises LogError, EncodingError."""
    leaf = parse_leaf(stored.leaf)
    found: dict[str, Any] = {"index": stored.index, "received_at": leaf.received_at}
    if isinstance(leaf, AdminLeaf):
        return found | {"kind": KIND_NAMES.get(leaf.kind, str(leaf.kind))}
    return found | {
        "kind": "envelope",
        "reference": leaf.device.hex(),
        "position": [leaf.epoch, leaf.n],
        "verdict": leaf.code,
        "level": leaf.level,
        "flags": list(leaf.flags),
        "records": leaf.records is not None,
        "policy": leaf.policy.hex(),
        "rules": leaf.rules,
    }


def references(root: Path, dids: Sequence[str]) -> frozenset[bytes]:
    """References that leaves use for devices, their sensors included.

    Raises:
        LogError: ``explain.unknown`` for a DID that is not known here. StateError.
    """
    found: set[bytes] = set()
    with Reader(root) as reader:
        for did in dids:
            refs = [
                subject.ref
                for subject in reader.fold.state.subjects
                if subject.did == did or subject.did.startswith(f"{did}#")
            ]
            if not refs:
                raise LogError(
                    "explain.unknown",
                    f"{did[:120]} is not known here",
                    hint="name the DID of an enrolled device, or <gateway DID>#<sensor>",
                )
            found.update(refs)
    return frozenset(found)


def tail(
    root: Path,
    *,
    start: int | None = None,
    follow: bool = False,
    wanted: Wanted | None = None,
    wait: Callable[[float], bool],
) -> Iterator[dict[str, Any]]:
    """Entries from an index on; the aggregator may be running. Memory is that of one batch.

    Args:
        start: the first index; None begins with the newest ten.
        follow: go on with what comes in, over rotations of the journal's files.
        wanted: which entries.
        wait: waits so many seconds and gives whether to stop.

    Raises:
        StateError: ``state.rewound`` when the journal became shorter; others of the journal.
    """
    workspace, chosen = Workspace(root), wanted or Wanted()
    workspace.check()
    seen, pause = _look(workspace), POLL_S
    with Journal.open(workspace.journal, read_only=True) as journal:
        at = max(journal.size - NEWEST, 0) if start is None else start
        while True:
            if follow and at > journal.size and start != at:
                raise StateError(
                    "state.rewound",
                    f"the journal has {journal.size} entries, {at} were shown",
                    hint="it was restored from an older copy: begin again",
                )
            for stored in journal.entries(at):
                at = stored.index + 1
                entry = shown(stored)
                if chosen.takes(entry):
                    yield entry
            if not follow:
                return
            # Looking again opens every file of the journal: only when something was written.
            while (now := _look(workspace)) == seen:
                if wait(pause):
                    return
            seen, began = now, time.monotonic()
            journal.refresh()
            pause = min(max(POLL_S, 4 * (time.monotonic() - began)), _MAX_POLL_S)
            if wait(0):
                return


def _look(workspace: Workspace) -> tuple[tuple[str, int, int], ...]:
    """What changes with every commit: the names, sizes and times of the newest files."""
    found = []
    for path in sorted(workspace.journal.glob("journal-*"))[-4:]:
        try:
            about = path.stat()
        except OSError:
            continue
        found.append((path.name, about.st_size, about.st_mtime_ns))
    return tuple(found)
