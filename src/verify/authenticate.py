"""Who signed: the form, key and signature of envelopes, and nothing else of them.

No I/O of its own, clock or randomness: the same bytes against the same registry are authentic, or
not, for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from depin_id.envelope import CONTENT_SENML, CONTENT_SIGN1, KIND_GATEWAY, Envelope, parse_envelope
from depin_id.errors import DepinError, KeyRefused, SignatureInvalid
from depin_id.keys import ED25519_INVALID
from verify.signature_helper import Job
from verify.signatures import SignatureChecker
from verify.world import Authenticated, Refusal, World


def authenticate(data: bytes, world: World) -> Authenticated | Refusal:
    """Read an envelope and verify it under the enrolled keys its kid hints at (at most four)."""
    try:
        envelope = parse_envelope(data)
    except DepinError as error:
        return Refusal(hashlib.sha256(data).digest(), error.code, error.message)
    candidates = world.registry.candidates(envelope.kid)
    if not candidates:
        digest = hashlib.sha256(data).digest()
        return Refusal(digest, "device.unknown", envelope.kid.hex(), envelope.kid)
    code, measured = "signature.invalid", ""
    for thumbprint in candidates:
        holder = world.registry.holder(thumbprint)
        if holder is None:
            continue
        device, period = holder
        try:
            identity = envelope.verify(
                world.network,
                period.key,
                allow_deprecated=world.policy.algorithms.allow_deprecated,
            )
        except (SignatureInvalid, KeyRefused) as error:
            code, measured = error.code, error.message
            continue
        return Authenticated(envelope, identity, device, period)
    return Refusal(hashlib.sha256(data).digest(), code, measured, envelope.kid)


class _Claimed(NamedTuple):
    """An envelope, the one enrolled key that its kid hints at, and what that has to have signed."""

    envelope: Envelope
    thumbprint: bytes
    message: bytes
    job: Job


def _claim(data: bytes, world: World) -> _Claimed | Refusal | None:
    """What has to be checked of an envelope; None leaves it to :func:`authenticate`."""
    try:
        envelope = parse_envelope(data)
    except DepinError as error:
        return Refusal(hashlib.sha256(data).digest(), error.code, error.message)
    candidates = world.registry.candidates(envelope.kid)
    if len(candidates) != 1:
        return None
    holder = world.registry.holder(candidates[0])
    if holder is None or holder[1].key.curve != "ed25519":
        return None
    key, deprecated = holder[1].key, world.policy.algorithms.allow_deprecated
    try:
        message = envelope.to_be_signed(world.network, key, allow_deprecated=deprecated)
    except KeyRefused:
        return None
    signed = envelope.sign1.signature + message
    # The payload is the end of what is signed (RFC 9052, section 4.4).
    pack = len(signed) - len(envelope.payload) if envelope.content_type == CONTENT_SENML else 0
    job = Job(key.raw, signed, pack)
    return _Claimed(envelope, candidates[0], message, job)


def authenticate_all(
    parts: Sequence[bytes], world: World, checker: SignatureChecker
) -> Iterator[Authenticated | Refusal]:
    """What :func:`authenticate` says of each, in order, with signatures checked many at a time.

    The registry may learn between two answers, as from a fork, but not whose a key is.
    """
    claims = [_claim(data, world) for data in parts]
    verified = checker.check([claim.job for claim in claims if isinstance(claim, _Claimed)])
    for data, claim in zip(parts, claims, strict=True):
        if isinstance(claim, Refusal):
            yield claim
            continue
        if claim is None:
            yield authenticate(data, world)
            continue
        good, pack = next(verified)
        holder = world.registry.holder(claim.thumbprint)
        if good and holder is not None:
            identity = hashlib.sha256(claim.message).digest()
            yield Authenticated(claim.envelope, identity, *holder, pack)
        else:
            digest = hashlib.sha256(data).digest()
            yield Refusal(digest, "signature.invalid", ED25519_INVALID, claim.envelope.kid)


def open_inner(envelope: Envelope, world: World) -> Authenticated | Refusal | None:
    """What a gateway envelope holds, authenticated on its own; None for other envelopes."""
    if envelope.kind != KIND_GATEWAY:
        return None
    inner = authenticate(envelope.payload, world)
    if isinstance(inner, Authenticated) and inner.envelope.content_type == CONTENT_SIGN1:
        return Refusal(hashlib.sha256(envelope.payload).digest(), "envelope.nested")
    return inner
