"""A key that was somebody else's: what it signed since then counts no more, and nothing is edited.

The entries stay as they are, with their proofs; new entries name them. Who reads the log forward
knows from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id.did.key import parse_did_key
from depin_id.errors import ConfigError
from verify.entries import Judged, decode_delta
from verify.identity.entries import MAX_RUNS, Compromised, Rescored
from verify.registry import Device
from verify.replay import leaf_time
from verify.requests import text
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

CODE: Final = "key.compromised"
MAX_REASON: Final = 200


def touched(
    aggregator: Aggregator, thumbprint: bytes, since: int, first: int = 0
) -> tuple[list[int], int]:
    """Accepted entries under a key from a receipt time on, rising, and how many readings they had.

    What was re-scored before is left out.

    Args:
        since: receipt time, ms since 1970. first: the least index.
    """
    journal, fold = aggregator.journal, aggregator.fold
    indices = sorted(
        index
        for stream in fold.state.streams.under(thumbprint)
        for index in journal.entries_of(stream)
        if index >= first and not fold.identity.is_rescored(index)
    )
    found, readings = [], 0
    for index in indices:
        stored = journal.entry(index)
        if leaf_time(stored) < since:
            continue
        entry = decode_delta(stored.delta, None, fold.did_of)
        if isinstance(entry, Judged) and entry.code == ACCEPTED:
            found.append(index)
            readings += entry.readings
    return found, readings


def runs_of(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Rising indices as (first, how many)."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and sum(runs[-1]) == index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


def rescored(ref: bytes, code: str, indices: Sequence[int], readings: int) -> Iterator[Rescored]:
    """Entries that say: these accepted entries of a device (rising indices) count no more."""
    runs = runs_of(indices)
    for at in range(0, len(runs), MAX_RUNS):
        # The sum is what matters; it stands with the first of them.
        yield Rescored(ref, code, tuple(runs[at : at + MAX_RUNS]), readings if not at else 0)


def compromised(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out ``{"did", "key": did:key of it or None for all, "since" or "since_index"}``.

    Returns:
        Thumbprints, the first entry's index, how many entries and readings count no more.

    Raises:
        ConfigError: ``admin.request``, ``registry.unknown_device``, ``registry.unknown_key``.
    """
    device = aggregator.fold.registry.known(text(request, "did"))
    since, first = _since(aggregator, request)
    reason = str(request.get("reason") or "")[:MAX_REASON]
    ref = aggregator.fold.state.subjects.ref(device.subject)
    thumbprints = _thumbprints(device, request.get("key"))
    indices: list[int] = []
    readings = 0
    for thumbprint in thumbprints:
        found, count = touched(aggregator, thumbprint, since, first)
        indices += found
        readings += count
    marks = [Compromised(ref, thumbprint, since, reason) for thumbprint in thumbprints]
    index = aggregator.administer([*marks, *rescored(ref, CODE, sorted(indices), readings)])
    return {
        "did": device.did,
        "thumbprints": [thumbprint.hex() for thumbprint in thumbprints],
        "since": since,
        "index": index,
        "rescored": len(indices),
        "readings": readings,
    }


def _since(aggregator: Aggregator, request: Mapping[str, Any]) -> tuple[int, int]:
    """Receipt time and index from which it counts as somebody else's."""
    since, index = request.get("since"), request.get("since_index")
    if type(index) is int and since is None and 0 <= index < aggregator.journal.size:
        return leaf_time(aggregator.journal.entry(index)), index
    if type(since) is int and index is None and 0 <= since <= aggregator.now():
        return since, 0
    raise ConfigError(
        "admin.request",
        "say from when on: either a receipt time that has been, or the index of an entry",
        hint="`depin-verify explain` shows both",
    )


def _thumbprints(device: Device, key: Any) -> list[bytes]:
    held = [period.key.thumbprint for period in device.keys]
    if key is None:
        return held
    wanted = parse_did_key(str(key)).thumbprint
    if wanted not in held:
        raise ConfigError("registry.unknown_key", f"{str(key)[:100]} is no key of {device.did}")
    return [wanted]
