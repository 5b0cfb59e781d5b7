"""Who speaks, for whom, and how far the source is proven."""

from __future__ import annotations

from depin_id.envelope import CONTENT_SIGN1
from verify.registry import Device, KeyPeriod
from verify.verdict import Rejected, fault_of
from verify.world import Authenticated, Receipt, World

LEVELS = ("G0", "G1", "D1", "D2", "D3")
"""From least to most proven. D2 and D3 come from attestation, never from the wire."""


def speaks_for(auth: Authenticated) -> str:
    """The DID or DID URL that an envelope is about: ``<DID>`` or ``<DID>#name``.

    Under a capability it is whatever is named, of somebody else.
    """
    claims = auth.envelope.claims
    sub = claims.sub or ""
    return auth.device.did + sub if claims.cap is None else sub


def signer_of(auth: Authenticated, world: World) -> str:
    """The DID that signed; with a history, as DID URL with the version its key is of.

    ``versionId`` names the version that brought the key (DID Core section 3.2.1), ``head`` the
    newest one that was known when the envelope was judged: both end in the hash of all before.
    """
    did, histories = auth.device.did, world.identity.histories
    known = histories.get(did) if histories else None
    span = None if known is None else known.span_of(auth.period.key.cose_key)
    if known is None or span is None:
        return did
    return f"{did}?versionId={span.version_id}&head={known.version_id}"


def source_level(auth: Authenticated) -> str:
    """The level of an envelope as the wire has it: D2 and D3 never come from there."""
    claims = auth.envelope.claims
    if claims.sub is not None:
        return claims.level or "G0"
    return "D1"


def refuse_speaker(auth: Authenticated, receipt: Receipt) -> Rejected | None:
    """Refuse a device or key that may not speak at the receipt time, or not for its subject."""
    return refuse_key(auth.device, auth.period, receipt.at) or _refuse_subject(auth)


def _rejected(code: str, measured: str = "", limit: str = "") -> Rejected:
    return Rejected(code, fault_of(code), measured, limit)


def refuse_key(device: Device, period: KeyPeriod, at: int) -> Rejected | None:
    """Refuse a device or key that may not speak at a receipt time (ms), whatever it says."""
    if device.erased:
        return _rejected("device.erased")
    if device.revoked_at is not None and at >= device.revoked_at:
        return _rejected("device.revoked", str(at), str(device.revoked_at))
    if at < period.since:
        return _rejected("device.not_yet", str(at), str(period.since))
    if period.until is not None and at >= period.until:
        return _rejected("key.rotated", str(at), str(period.until))
    if period.compromised_at is not None and at >= period.compromised_at:
        return _rejected("key.compromised", str(at), str(period.compromised_at))
    if period.suspended_at is not None:
        return _rejected("key.suspended", str(at), str(period.suspended_at))
    return None


def _refuse_subject(auth: Authenticated) -> Rejected | None:
    claims, did = auth.envelope.claims, auth.device.did
    carries = auth.envelope.content_type == CONTENT_SIGN1
    if claims.iss is not None and claims.iss != did:
        return _rejected("identity.issuer", claims.iss[:80], did)
    if claims.sub is None:
        if carries and auth.device.enrolment.role != "gateway":
            return Rejected("subject.refused", "device", "", "only a gateway carries envelopes")
        if claims.level is not None and not carries:
            return _rejected("subject.refused", "a level without a subject")
        return None
    if carries:
        return _rejected("subject.refused", claims.sub, "a sighting has no subject of its own")
    if did.endswith(f":{claims.sub[1:]}"):
        return _rejected("subject.refused", claims.sub, "the name of a key")
    return None


def refuse_level(level: str, world: World) -> Rejected | None:
    """Refuse a source that is proven less than the policy takes from anybody."""
    minimum = world.policy.levels.minimum
    if LEVELS.index(level) < LEVELS.index(minimum):
        return _rejected("level.insufficient", level, minimum)
    return None
