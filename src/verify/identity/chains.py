"""Capability chains that the journal holds: read again, and whether they are still good.

Only chains whose signatures were verified when they were taken get here, so reading is enough.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from depin_id.capability import Budget, Capability, read_chain
from depin_id.did.key import did_key
from verify.identity.state import IdentityState
from verify.identity.statuses import status_of
from verify.policy import IdentityPolicy

_CACHED: Final = 4096
EXPIRED_MS: Final = 7 * 86_400_000
"""How long what has expired is still told from what was never shown."""


def _least(numbers: list[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


@lru_cache(maxsize=_CACHED)
def read(data: bytes) -> Capability:
    """What a chain allows; the same bytes always allow the same. Signatures are not looked at.

    Raises:
        CredentialError, EncodingError, EnvelopeError, KeyRefused: it is no chain.
    """
    blocks = read_chain(data)
    grants = tuple(block.grant for block in blocks)
    last = grants[-1]
    budgets = tuple(
        Budget(block.id, block.grant.max_count, *(block.grant.rate or (None, None)))
        for block in blocks
    )
    return Capability(
        id=blocks[-1].id,
        ids=tuple(block.id for block in blocks),
        issuer=grants[0].issuer or "",
        audience=last.audience,
        operations=frozenset.intersection(*(grant.operations for grant in grants)),
        selector=last.selector,
        region=last.region,
        max_count=_least([budget.max_count for budget in budgets]),
        rate_per_minute=_least([budget.rate_per_minute for budget in budgets]),
        burst=_least([budget.burst for budget in budgets]),
        not_before_ms=max(grant.not_before or 0 for grant in grants) * 1000,
        expires_ms=min(grant.expires for grant in grants) * 1000,
        depth=last.depth,
        budgets=budgets,
        grants=grants,
    )


def prune(identity: IdentityState, holder: str, at: int) -> None:
    """Forget a holder's capabilities that expired long before a receipt time: he shows new ones."""
    held = [item for item in identity.capabilities.items() if item[1][0] == holder]
    for key, (_, data) in held:
        if read(data).expires_ms + EXPIRED_MS <= at:
            del identity.capabilities[key]


def withdrawn_as(
    found: Capability, identity: IdentityState, policy: IdentityPolicy, at: int
) -> tuple[str, str]:
    """Whether a capability, or one that it was derived from, is good no more at a receipt time.

    Returns:
        Code and what it is about; both empty while it is good. ``capability.withdrawn`` by the
        operator's entry or a status list; ``capability.undecided`` when no list answers.
    """
    for item in found.ids:
        since = identity.withdrawn.get(item)
        if since is not None and since <= at:
            return "capability.withdrawn", item.hex()
    signer = found.issuer
    for grant in found.grants:
        if grant.status is not None:
            asked = replace(grant.status, issuer=signer)
            said = status_of(asked, identity, policy.status_max_age_s, at)
            if not said.decided:
                return "capability.undecided", said.code
            if not said.ok:
                return "capability.withdrawn", said.state
        signer = did_key(grant.audience)
    return "", ""
