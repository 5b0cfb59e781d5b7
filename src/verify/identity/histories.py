"""Taking a DID's verified history: which of its keys count, from which receipt time to which.

The controller of a DID says when a version began; the aggregator says from when on it believes it.
A key counts from its version's time, but no further back than parked bytes may be; it ends at the
time of the version that dropped it. Devices have a grace on both sides (:mod:`verify.registry`):
one may turn before its version is published, and have things under way. What owners and
manufacturers sign has none, or a thief could use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from depin_id.did.webvh import History, verify_log
from depin_id.errors import ConfigError, DIDError
from depin_id.keys import PublicKey
from verify.batch import Summary
from verify.identity.entries import HistoryTaken, KeySpan
from verify.identity.state import IdentityState, KnownHistory
from verify.policy import Policy

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

MAX_SPANS: Final = 4096
"""Keys in all versions of one DID that are kept in an entry."""


def known_of(identity: IdentityState, scid: str) -> KnownHistory | None:
    """The history that was taken last of an SCID, under whatever name it has."""
    return next((item for item in identity.histories.values() if item.scid == scid), None)


def check_extends(history: History, known: KnownHistory) -> None:
    """Refuse a log that does not go on from what was taken before.

    Raises:
        DIDError: ``did.log_rolled_back`` (it is older), ``did.log_forked`` (it is another).
    """
    if history.last.number < known.number:
        raise DIDError(
            "did.log_rolled_back",
            f"the log ends with version {history.last.number}, version {known.number} was seen",
            hint="somebody serves an old log: get the newest",
        )
    if history.number(known.number).version_id != known.version_id:
        raise DIDError(
            "did.log_forked",
            f"version {known.number} of the log is another than the one that was seen",
            hint="its controller signed two histories: ask them, and keep both logs as evidence",
        )


def spans_of(
    history: History, known: KnownHistory | None, *, now: int, back: int
) -> tuple[KeySpan, ...]:
    """When each key of a history counts, by receipt time; what was taken before stays as it was.

    Args:
        now: receipt time, ms since 1970.
        back: how far back (ms) new keys count at most.
    """
    first = 0 if known is None else known.number
    spans: dict[tuple[bytes, str], KeySpan] = {}
    for span in () if known is None else known.spans:
        spans[span.key, span.method] = span
    for version in history.versions[first:]:
        at = version.version_time_ms
        active = {(item.key.cose_key, item.id) for item in version.keys.get("assertionMethod", ())}
        for pair, span in spans.items():
            if span.until is None and pair not in active:
                spans[pair] = span._replace(until=max(span.since, at))
        for key, method in sorted(active - spans.keys()):
            # The first history that is taken is believed for all of its time.
            since = at if known is None else max(at, now - back)
            spans[key, method] = KeySpan(key, since, None, version.version_id, method)
    if len(spans) > MAX_SPANS:
        raise ConfigError("did.too_many_keys", f"over {MAX_SPANS} keys in one history")
    return tuple(sorted(spans.values(), key=lambda span: (span.since, span.key)))


def entry_of(
    history: History, log: bytes, known: KnownHistory | None, policy: Policy, now: int
) -> HistoryTaken:
    """What is entered of a history that was verified at a receipt time.

    Args:
        log: the bytes that it was verified from. known: what was taken of it before.
    """
    spans = spans_of(history, known, now=now, back=policy.time.max_age_s * 1000)
    return HistoryTaken(
        history.did,
        history.scid,
        history.last.number,
        history.last.version_id,
        hashlib.sha256(log).digest(),
        spans,
        history.deactivated,
    )


def take_history(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """Verify a did:webvh log and take it: ``{"log": JSON lines, "witness": JSON or None}``.

    If the DID is a device's, its keys follow, and what waited for a new key is taken up.

    Raises:
        DIDError: the log does not verify, or does not go on from the one that was taken.
        ConfigError: ``admin.request``; ``registry.duplicate_key``.
    """
    log, witness = request.get("log"), request.get("witness")
    if not isinstance(log, str) or not isinstance(witness, str | None):
        raise ConfigError("admin.request", "the request has no text 'log'")
    now, data = aggregator.now(), log.encode("utf-8", "surrogatepass")
    proofs = None if witness is None else witness.encode("utf-8", "surrogatepass")
    history = verify_log(data, witness=proofs, now_ms=now)
    fold = aggregator.fold
    known = known_of(fold.identity, history.scid)
    if known is not None:
        check_extends(history, known)
        if known.number == history.last.number:
            return {"did": history.did, "changed": False, "version": known.version_id}
    entry = entry_of(history, data, known, fold.policy, now)
    index = aggregator.administer([entry], at=now)
    taken = _take_up(aggregator, entry.spans)
    return {
        "did": entry.did,
        "changed": True,
        "version": entry.version_id,
        "keys": sum(span.until is None for span in entry.spans),
        "deactivated": entry.deactivated,
        "index": index,
        "parked": taken,
    }


def _take_up(aggregator: Aggregator, spans: tuple[KeySpan, ...]) -> dict[str, Any]:
    """What waited in quarantine for keys that count now."""
    summary = Summary()
    for span in spans:
        key = PublicKey.from_cose_key(span.key)
        if aggregator.fold.registry.key(key.thumbprint) is not None:
            summary.add(aggregator.take_parked(key.kid))
    return summary.to_json()
