"""What devices have attested, and which of them share one piece of hardware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from depin_id.attestation.result import CONTRAINDICATED
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
    roots = {held.root: held.unique for held in newest}
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


def _row(held: Held, now: int) -> dict[str, Any]:
    return {
        "did": held.did,
        "ear": held.id.hex(),
        "boot": held.boot,
        "level": held.level,
        "since": held.since,
        "not_after": held.not_after,
        "standing": _standing(held, now),
        "root": held.root.hex(),
    }


def _standing(held: Held, now: int) -> str:
    if held.disavowed is not None:
        return "revoked"
    if held.status >= CONTRAINDICATED:
        return "contraindicated"
    return "good" if held.counts(now) else "expired"
