"""What devices have attested, and which of them share one piece of hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from depin_id.attestation.result import CONTRAINDICATED
from verify.fold import Fold
from verify.requests import text
from verify.results.state import Held

if TYPE_CHECKING:
    from verify.aggregator import Aggregator


def attestations(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``attestations``: newest result of each key, or of one ``did``.

    With ``shared`` only those of hardware that more than one device has shown.

    Returns:
        ``{"results": [...], "shared": [{"root", "unique", "dids"}]}``.
    """
    state, now = aggregator.fold.identity.results, aggregator.now()
    wanted = None if request.get("did") is None else text(request, "did")
    newest = [held[-1] for held in state.by_key.values() if held]
    every = (held for results in state.by_key.values() for held in results)
    roots = {held.root: held.unique for held in every}
    shared: list[dict[str, Any]] = [
        {"root": root.hex(), "unique": roots.get(root, False), "dids": sorted(dids)}
        for root, dids in sorted(state.roots().items())
        if len(dids) > 1
    ]
    among = {did for row in shared for did in row["dids"]}
    found = [held for held in newest if wanted in (None, held.did)]
    if request.get("shared"):
        found = [held for held in found if held.did in among]
    return {"results": [_row(held, now) for held in found], "shared": shared}


def standings(fold: Fold) -> dict[str, Any]:
    """How many parts of materials there are, and how the keys that attested stand by now."""
    state, found = fold.identity.results, Counter[str]()
    for held in state.by_key.values():
        newest = held[-1]
        standing = standing_of(newest, fold.last_received_at)
        found[newest.level if standing == "good" else standing] += 1
    parts = Counter(key.what for key in state.materials)
    return {"materials": dict(sorted(parts.items())), "keys": dict(sorted(found.items()))}


def about_ground(fold: Fold, identity: bytes, at: int) -> dict[str, Any]:
    """What an entry of a receipt time (ms) stands on, by the id of the result; of one that was
    erased only the id is left."""
    held = fold.identity.results.result(identity)
    if held is None:
        return {"ear": identity.hex()}
    return {
        "ear": identity.hex(),
        "level": held.level,
        "boot": held.boot,
        "attested_at": held.since,
        "not_after": held.not_after,
        "standing": standing_of(held, at),
    }


def _row(held: Held, now: int) -> dict[str, Any]:
    return {
        "did": held.did,
        "ear": held.id.hex(),
        "boot": held.boot,
        "level": held.level,
        "since": held.since,
        "not_after": held.not_after,
        "standing": standing_of(held, now),
        "root": held.root.hex(),
    }


def standing_of(held: Held, now: int) -> str:
    """``good``, ``expired``, ``ended`` (by a newer one), ``contraindicated`` or ``revoked``."""
    if held.disavowed is not None:
        return "revoked"
    if held.status >= CONTRAINDICATED:
        return "contraindicated"
    if held.ended is not None and now >= held.ended:
        return "ended"
    return "good" if held.counts(now) else "expired"
