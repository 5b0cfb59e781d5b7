"""Signing for somebody else's subject: what a gateway with a capability may do, and how often.

Signatures of a chain were verified when it was taken, under the keys that counted then; here only
what can change is looked at, and what the envelope itself says. Nothing is asked of envelopes
without a capability.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from depin_id.capability import Capability, Operation
from depin_id.did.jwk import parse_did_jwk
from depin_id.did.key import parse_did_key
from depin_id.errors import DepinError
from verify.checks import quota
from verify.identity.chains import read as read_capability
from verify.identity.chains import withdrawn_as
from verify.identity.state import Spending, Use
from verify.verdict import Rejected, fault_of
from verify.world import Authenticated, Receipt, World

VOUCHER_BYTES: Final = 16


def _rejected(code: str, measured: str = "", limit: str = "") -> Rejected:
    return Rejected(code, fault_of(code), measured[:120], limit)


def find_capability(auth: Authenticated, cap: bytes, world: World) -> Capability | Rejected:
    """The capability that an envelope names, if its signer holds it and it is for its subject.

    Otherwise nothing is remembered of the subject, not even that somebody named it.
    """
    held = world.identity.capabilities.get(cap)
    if held is None:
        return _rejected("capability.unknown", cap.hex())
    found = read_capability(held[1])
    if found.audience.thumbprint != auth.thumbprint:
        return _rejected("capability.unknown", cap.hex(), "another key holds it")
    why = _not_covered(found, auth.envelope.claims.sub or "", world)
    return _rejected("capability.subject", auth.envelope.claims.sub or "", why) if why else found


@lru_cache(maxsize=4096)
def _thumbprint(did: str) -> bytes | None:
    """Of the key that a DID is, 32 bytes."""
    try:
        if did.startswith("did:jwk:"):
            return parse_did_jwk(did).thumbprint
        return parse_did_key(did).thumbprint if did.startswith("did:key:") else None
    except DepinError:
        return None


def _has_key(did: str, world: World) -> bool:
    """Whether a DID is a device's: its own, another name of its key, or one it had or has since."""
    registry, histories = world.registry, world.identity.histories
    thumbprint, known = _thumbprint(did), histories.get(did)
    if registry.device(did) is not None:
        return True
    if thumbprint is not None and registry.key(thumbprint) is not None:
        return True
    if known is None:
        return False
    return any(registry.device(name) for name in world.identity.names_of(known.scid))


def _not_covered(found: Capability, subject: str, world: World) -> str:
    """Why the subject is not what the capability is for; empty when it is."""
    did, _, name = subject.partition("#")
    if _has_key(did, world):
        return "it has a key of its own"
    if Operation.SIGN_FOR not in found.operations:
        return "the capability is not for signing"
    if name and did.endswith(f":{name}"):
        return "the name of a key"
    if not all(
        grant.selector.selects(subject, owned=did == found.issuer, model=None)
        for grant in found.grants
    ):
        return "the capability is for others"
    if did == found.issuer:
        return ""
    named = found.grants[0].selector
    if name or named.kind != "devices" or subject not in named.items:
        return "it is not the owner's, and not named whole"
    # A DID that nobody has proven to be his: the first who vouches for it keeps it.
    if world.identity.vouched.get(subject, voucher(found)) != voucher(found):
        return "somebody else vouches for it"
    return ""


@lru_cache(maxsize=4096)
def _digest(did: str) -> bytes:
    return hashlib.sha256(did.encode()).digest()[:VOUCHER_BYTES]


def voucher(found: Capability) -> bytes:
    """Who vouches for a subject, as it is remembered."""
    return _digest(found.issuer)


def purse_of(owner: str) -> str:
    """What the quota of an owner is kept under, whose name rests sealed."""
    return _digest(owner).hex()


def refuse_use(
    found: Capability, auth: Authenticated, receipt: Receipt, world: World
) -> Rejected | None:
    """Refuse a capability that is out of time, withdrawn or suspended, or of another region."""
    at, claims = receipt.at, auth.envelope.claims
    if at < found.not_before_ms:
        return _rejected("capability.expired", str(at), f"not before {found.not_before_ms}")
    if at >= found.expires_ms:
        return _rejected("capability.expired", str(at), str(found.expires_ms))
    code, why = withdrawn_as(found, world.identity, world.policy.identity, at)
    if code:
        return _rejected(code, why)
    # That it may be signed for was looked at before a stream was opened for it.
    if not found.covers(claims.place):
        # Where it was said to be stays sealed with the envelope.
        return _rejected("capability.region", "no place" if claims.place is None else "outside")
    return None


def spend(found: Capability, subject: str, receipt: Receipt, world: World) -> Spending | Rejected:
    """Take one envelope from the budget of every block: those of a parent bind all its children."""
    uses: list[Use] = []
    for budget in found.budgets:
        spent = world.identity.spent.get(budget.id)
        used, bucket = (0, None) if spent is None else spent
        if budget.max_count is not None and used >= budget.max_count:
            limit = f"{budget.max_count} in all"
            return _rejected("capability.budget", str(used), limit)
        if budget.rate_per_minute is not None and budget.burst is not None:
            bucket, allowed = quota.take(bucket, receipt.at, budget.rate_per_minute, budget.burst)
            if not allowed:
                limit = f"{budget.rate_per_minute} a minute, burst {budget.burst}"
                return _rejected("capability.budget", str(used), limit)
        uses.append(Use(budget.id, used + 1, bucket))
    own = subject.partition("#")[0] == found.issuer
    return Spending(b"" if own else voucher(found), tuple(uses))
