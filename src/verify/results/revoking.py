"""Retroactive revocation: hardware that turns out to be bad takes back what stood on it.

Every accepted reading names the result that it stands on, and every result its certificates and
keys. So one revoked serial number finds all it has touched; new entries say that this counts no
more, and nothing is edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id.errors import ConfigError
from verify.attestation.bundles import materials_from
from verify.entries import Judged, decode_delta
from verify.fold import Fold
from verify.identity.entries import Rescored
from verify.identity.rescoring import rescored
from verify.replay import leaf_time
from verify.results.entries import Disavowed, MaterialTaken
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
    """Take revocations, and carry out what they mean for what was accepted.

    Args:
        request: ``since``: receipt time in ms from which readings count no more, by default from
            the beginning; ``dry_run``: only say what it would be.

    Returns:
        ``{"index", "touched": [{"did", "results", "entries", "readings"}]}``.

    Raises:
        ConfigError: ``admin.request``.
    """
    since = request.get("since") or 0
    if type(since) is not int or not 0 <= since <= aggregator.now():
        raise ConfigError("admin.request", "since is a receipt time that has been, in ms")
    revoked = _revoked_by(aggregator.fold, entry)
    found = _by_device(aggregator.fold, revoked)
    entries: list[Disavowed | Rescored] = []
    touched: list[dict[str, Any]] = []
    for did, results in found.items():
        indices, readings = _standing(aggregator, results, since)
        ref = _ref(aggregator.fold, did)
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
    if request.get("dry_run"):
        return answer | {"changed": False}
    return answer | {"index": aggregator.administer([entry, *entries])}


def _revoked_by(fold: Fold, entry: MaterialTaken) -> dict[str, str]:
    # A CRL says something only under the anchors that its issuer's chain ends at.
    held = [part for part in fold.identity.results.bundles() if part[0] == "anchors"]
    bundles = (*held, (entry.what, entry.name, entry.data))
    materials = materials_from(bundles, max_age_ms=0)
    return {
        identifier: reason
        for snapshot in materials.revocations.snapshots
        for identifier, reason in snapshot.revoked.items()
    }


def _by_device(fold: Fold, revoked: Mapping[str, str]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for held in fold.identity.results.touched(revoked):
        if held.disavowed is None:
            found.setdefault(held.did, []).append(held)
    return found


def _reason(results: Sequence[Held], revoked: Mapping[str, str]) -> str:
    found = sorted(
        {revoked[item] for held in results for item in held.identifiers if item in revoked}
    )
    return ", ".join(found)[:MAX_REASON]


def _ref(fold: Fold, did: str) -> bytes:
    return fold.state.subjects.ref(fold.registry.known(did).subject)


def _standing(aggregator: Aggregator, results: Sequence[Held], since: int) -> tuple[list[int], int]:
    """Accepted entries that stand on results, rising, and how many readings they have."""
    journal, fold = aggregator.journal, aggregator.fold
    ids = {held.id for held in results}
    streams = {stream for held in results for stream in fold.state.streams.under(held.thumbprint)}
    indices, readings = [], 0
    for index in sorted(index for stream in streams for index in journal.entries_of(stream)):
        stored = journal.entry(index)
        if fold.identity.is_rescored(index) or leaf_time(stored) < since:
            continue
        entry = decode_delta(stored.delta, None, fold.did_of)
        if isinstance(entry, Judged) and entry.code == ACCEPTED and entry.change.result in ids:
            indices.append(index)
            readings += entry.readings
    return indices, readings
