"""Retroactive revocation: hardware that turns out to be bad takes back what stood on it.

Every accepted reading names the result that it stands on, and every result its certificates and
keys. So one revoked serial number finds all it has touched; new entries say that this counts no
more, and nothing is edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id.errors import ConfigError
from verify.entries import Judged, decode_delta
from verify.fold import Fold
from verify.identity.entries import Rescored
from verify.identity.rescoring import rescored
from verify.replay import leaf_time
from verify.results.entries import Disavowed, MaterialTaken
from verify.results.materials import materials_with
from verify.results.state import Held
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

CODE: Final = "attestation.revoked"
MAX_REASON: Final = 200
MAX_IDS: Final = 400
"""Results in one entry; a leaf has at most 8 KiB."""


def take(
    aggregator: Aggregator, entry: MaterialTaken, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Take a material, and carry out what is revoked by it for what was accepted.

    Args:
        request: ``since``: receipt time in ms from which readings count no more, by default from
            the beginning; ``dry_run``: only say what it would be.

    Returns:
        ``{"index", "changed", "revoked", "touched": [{"did", "results", "entries", "readings"}]}``.
        What is there already is no entry again, but what it has not taken back yet is taken back.

    Raises:
        ConfigError: ``admin.request``.
    """
    since = request.get("since") or 0
    if type(since) is not int or not 0 <= since <= aggregator.now():
        raise ConfigError("admin.request", "since is a receipt time that has been, in ms")
    fold = aggregator.fold
    revoked = revoked_by(fold, entry, aggregator.now())
    found = _by_device(fold, revoked, since)
    streams = _streams(fold, found)
    entries: list[MaterialTaken | Disavowed | Rescored] = []
    if fold.identity.results.material(entry.what, entry.name) != entry.data:
        entries.append(entry)
    touched: list[dict[str, Any]] = []
    for did, results in found.items():
        indices, readings = _standing(aggregator, results, streams, since)
        ref = _ref(fold, did)
        reason = _reason(results, revoked)
        ids = [held.id for held in results]
        for at in range(0, len(ids), MAX_IDS):
            entries.append(Disavowed(ref, tuple(ids[at : at + MAX_IDS]), since, reason))
        entries += rescored(ref, CODE, indices, readings)
        touched.append(
            {"did": did, "results": [item.hex() for item in ids], "reason": reason}
            | {"entries": len(indices), "readings": readings}
        )
    answer: dict[str, Any] = {"revoked": len(revoked), "touched": touched}
    if request.get("dry_run") or not entries:
        return answer | {"changed": False}
    return answer | {"changed": True, "index": aggregator.administer(entries)}


def revoked_by(fold: Fold, entry: MaterialTaken, at: int) -> dict[str, str]:
    """What an entry revokes, by identifier with the reason: its own lists, as far as an anchor
    vouches for them, and those of others that it brings into force.

    Args:
        fold: as of the entry before. at: receipt time of the entry, ms since 1970.
    """
    before = {
        identifier
        for snapshot in materials_with(fold, None, at).revocations.snapshots
        for identifier in snapshot.revoked
    }
    alone = materials_with(fold, entry, at, without="revocations").revocations.snapshots
    found: dict[str, str] = {}
    for snapshot in alone:
        found |= snapshot.revoked
    for snapshot in materials_with(fold, entry, at).revocations.snapshots:
        for identifier, reason in snapshot.revoked.items():
            if identifier not in before:
                found.setdefault(identifier, reason)
    return found


def untold(fold: Fold, entry: MaterialTaken, at: int) -> set[bytes]:
    """Results of which nothing was disavowed yet, and which an entry revokes: for the audit."""
    revoked = revoked_by(fold, entry, at)
    touched = fold.identity.results.touched(revoked)
    return {held.id for held in touched if held.disavowed is None}


def _by_device(fold: Fold, revoked: Mapping[str, str], since: int) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for held in fold.identity.results.touched(revoked):
        if held.disavowed is None or since < held.disavowed:
            found.setdefault(held.did, []).append(held)
    return found


def _streams(fold: Fold, found: Mapping[str, Sequence[Held]]) -> dict[bytes, list[int]]:
    """Streams of every key that is touched: one look at all of them, however many keys."""
    wanted: dict[bytes, list[int]] = {
        held.thumbprint: [] for results in found.values() for held in results
    }
    if wanted:
        for stream, (thumbprint, _) in enumerate(fold.state.streams.keys()):
            if thumbprint in wanted:
                wanted[thumbprint].append(stream)
    return wanted


def _reason(results: Sequence[Held], revoked: Mapping[str, str]) -> str:
    found = sorted(
        {revoked[item] for held in results for item in held.identifiers if item in revoked}
    )
    return ", ".join(found)[:MAX_REASON]


def _ref(fold: Fold, did: str) -> bytes:
    return fold.state.subjects.ref(fold.registry.known(did).subject)


def _standing(
    aggregator: Aggregator,
    results: Sequence[Held],
    streams: Mapping[bytes, Sequence[int]],
    since: int,
) -> tuple[list[int], int]:
    """Accepted entries that stand on results, rising, and how many readings they have."""
    journal, fold = aggregator.journal, aggregator.fold
    ids = {held.id for held in results}
    own = [stream for key in {held.thumbprint for held in results} for stream in streams[key]]
    indices, readings = [], 0
    for index in sorted(index for stream in own for index in journal.entries_of(stream)):
        stored = journal.entry(index)
        if fold.identity.is_rescored(index) or leaf_time(stored) < since:
            continue
        entry = decode_delta(stored.delta, None, fold.did_of)
        if isinstance(entry, Judged) and entry.code == ACCEPTED and entry.change.result in ids:
            indices.append(index)
            readings += entry.readings
    return indices, readings
