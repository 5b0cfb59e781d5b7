"""Capability chains that the journal holds: read again, and whether they are still good.

Only chains whose signatures were verified when they were taken get here, so reading is enough.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from depin_id.capability import Capability, effective, read_chain
from depin_id.did.key import did_key
from verify.identity.state import IdentityState
from verify.identity.statuses import status_of
from verify.policy import IdentityPolicy

_CACHED: Final = 4096
EXPIRED_MS: Final = 7 * 86_400_000
"""How long what has expired is still told from what was never shown."""


@lru_cache(maxsize=_CACHED)
def read(data: bytes) -> Capability:
    """What a chain allows; the same bytes always allow the same. Signatures are not looked at.

    Raises:
        CredentialError, EncodingError, EnvelopeError, KeyRefused: it is no chain.
    """
    return effective(read_chain(data))


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
