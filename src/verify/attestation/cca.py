"""Arm CCA attestation tokens: that of the platform, and that of the realm which it vouches for.

The platform's key is looked up by instance and implementation. Its nonce is a hash over the realm's
key, which has signed the realm's token; the challenge is in that one. The slot has 64 bytes: a
challenge of 32 stands there with zeros behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from depin_id.attestation.binding import CHALLENGE_BYTES
from verify.attestation import foreign_cbor
from verify.attestation.foreign_claims import HASH_SIZES, ForeignClaims, read_claims
from verify.attestation.foreign_cose import ECDSA, CoseMessage, CoseRules, open_message
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.psa import instance_of, lifecycle_of, signed_by
from verify.attestation.steps import Steps

PLATFORM_PROFILE: Final = "tag:arm.com,2023:cca_platform#1.0.0"
REALM_PROFILE: Final = "tag:arm.com,2023:realm#1.0.0"
OLD_PROFILE: Final = "http://arm.com/CCA-SSD/1.0.0"
RULES: Final = CoseRules(ECDSA)
_TAG: Final = 399
_PLATFORM, _REALM = 44234, 44241
_HASHES: Final = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
_CURVES: Final[Mapping[int, tuple[ec.EllipticCurve, int]]] = {
    1: (ec.SECP256R1(), 32),
    2: (ec.SECP384R1(), 48),
    3: (ec.SECP521R1(), 66),
}


@dataclass(frozen=True, slots=True)
class PlatformToken:
    """The platform's token as it was read. ``nonce`` is the hash over the realm's key."""

    message: CoseMessage
    profile: str
    nonce: bytes
    implementation: bytes
    instance: bytes
    config: bytes
    lifecycle: int
    state: str
    components: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class RealmToken:
    """The realm's token as it was read.

    Attributes:
        challenge: 64 bytes. personalization: 64 bytes.
        key: that signs it. key_digest: the hash over its claim, by the algorithm of the token.
        measurements: ``rim``, and ``rem0`` to ``rem3``.
    """

    message: CoseMessage
    challenge: bytes
    personalization: bytes
    key: ec.EllipticCurvePublicKey
    key_digest: bytes
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class CcaToken:
    """Both tokens."""

    platform: PlatformToken
    realm: RealmToken

    @property
    def ids(self) -> dict[str, str]:
        """What models match on."""
        return {
            "profile": self.platform.profile,
            "implementation": self.platform.implementation.hex(),
            "instance": self.platform.instance.hex(),
            "config": self.platform.config.hex(),
            "personalization": self.realm.personalization.hex(),
        }


def read_token(raw: bytes, steps: Steps, max_bytes: int) -> CcaToken:
    """Read a collection: form only. Raises AttestationError."""
    with steps.typed("cca.collection"):
        value = foreign_cbor.decode(raw, max_bytes=max_bytes, max_depth=4)
    if not isinstance(value, foreign_cbor.Tag) or value.tag != _TAG:
        steps.fail("cca.collection", "malformed", "no collection with tag 399")
    parts = value.value
    both = type(parts) is dict and set(parts) == {_PLATFORM, _REALM}
    if not both or any(type(part) is not bytes for part in parts.values()):
        steps.fail("cca.collection", "malformed", "not just a platform's and a realm's token")
    if cbor2.dumps(value) != raw:
        steps.fail("cca.collection", "malformed", "it is not written in the shortest way")
    platform = _platform(parts[_PLATFORM], steps, max_bytes)
    realm = _realm(parts[_REALM], platform.profile, steps, max_bytes)
    steps.passed("cca.claims", f"{platform.profile}, {len(platform.components)} components")
    return CcaToken(platform, realm)


def _platform(raw: bytes, steps: Steps, max_bytes: int) -> PlatformToken:
    name = "cca.platform"
    message = open_message(raw, RULES, max_bytes=max_bytes, name=name, steps=steps)
    claims = read_claims(message.payload, name=name, steps=steps, max_bytes=max_bytes)
    profile = claims.text(265, "profile")
    if profile not in (PLATFORM_PROFILE, OLD_PROFILE):
        claims.fail("profile", "none that is known")
    _hash_name(claims, 2402)
    claims.optional_text(2400, "service")
    lifecycle, state = lifecycle_of(claims, 2395)
    return PlatformToken(
        message=message,
        profile=profile,
        nonce=claims.nonce(10, "nonce", HASH_SIZES),
        implementation=claims.octets(2396, "implementation", (32,)),
        instance=instance_of(claims, 256),
        config=claims.octets(2401, "config", range(1, 257)),
        lifecycle=lifecycle,
        state=state,
        components=claims.components(2399),
    )


def _realm(raw: bytes, profile: str, steps: Steps, max_bytes: int) -> RealmToken:
    name = "cca.realm"
    message = open_message(raw, RULES, max_bytes=max_bytes, name=name, steps=steps)
    claims = read_claims(message.payload, name=name, steps=steps, max_bytes=max_bytes)
    old = profile == OLD_PROFILE
    if claims.claims.get(265) != (None if old else REALM_PROFILE):
        claims.fail("profile", "not the one that goes with the platform's")
    _hash_name(claims, 44236)
    public = claims.octets(44237, "key", range(1, 257))
    rems = claims.claims.get(44239)
    if type(rems) is not list or len(rems) != 4:
        claims.fail("measurements", "there are not four extensible measurements")
    measured = [("rim", claims.octets(44238, "measurements", HASH_SIZES))]
    for index, rem in enumerate(rems):
        if type(rem) is not bytes or len(rem) not in HASH_SIZES:
            claims.fail("measurements", "an extensible measurement is no digest")
        measured.append((f"rem{index}", rem))
    return RealmToken(
        message=message,
        challenge=claims.nonce(10, "nonce", (64,)),
        personalization=claims.octets(44235, "personalization", (64,)),
        key=_point(claims, public) if old else _cose_key(claims, public),
        key_digest=hashlib.new(_hash_name(claims, 44240), public).digest(),
        measurements=tuple(Measurement(name=name, digest=digest) for name, digest in measured),
    )


def _hash_name(claims: ForeignClaims, label: int) -> str:
    found = _HASHES.get(claims.text(label, "hash"))
    if found is None:
        claims.fail("hash", f"claim {label} names no hash that is known")
    return found


def _point(claims: ForeignClaims, data: bytes) -> ec.EllipticCurvePublicKey:
    """The realm's key as the old profile has it: a point, not compressed."""
    for curve, size in _CURVES.values():
        if len(data) == 2 * size + 1 and data[0] == 4:
            try:
                return ec.EllipticCurvePublicKey.from_encoded_point(curve, data)
            except ValueError:
                break
    claims.fail("key", "no point of a curve that is known")


def _cose_key(claims: ForeignClaims, data: bytes) -> ec.EllipticCurvePublicKey:
    """The same as a COSE_Key."""
    with claims.steps.typed("cca.realm.key", "claims"):
        key: Any = foreign_cbor.decode(data, max_bytes=256, max_depth=2)
    if type(key) is not dict or key.get(1) != 2 or not set(key) <= {1, 2, 3, -1, -2, -3}:
        claims.fail("key", "no COSE_Key of a curve")
    number, x, y = key.get(-1), key.get(-2), key.get(-3)
    found = _CURVES.get(number) if type(number) is int else None
    if found is None or type(x) is not bytes or type(y) is not bytes:
        claims.fail("key", "no COSE_Key of a curve that is known")
    if len(x) != found[1] or len(y) != found[1]:
        claims.fail("key", "its coordinates have another size")
    return _point(claims, b"\x04" + x + y)


class CcaHandler:
    """See :class:`~verify.attestation.handlers.EvidenceHandler`.

    An anchor's ``unique`` says ``yes`` where its key is one device's alone: the architecture lets a
    group of devices share it.
    """

    name = "cca"
    media_types = frozenset(
        (
            f'application/eat-collection; profile="{PLATFORM_PROFILE}"',
            f'application/eat-collection; profile="{OLD_PROFILE}"',
            f"application/eat-collection; profile={OLD_PROFILE}",
        )
    )
    max_bytes = 32_768

    def parse(self, raw: bytes, steps: Steps) -> CcaToken:
        """See EvidenceHandler."""
        return read_token(raw, steps, self.max_bytes)

    def hints(self, parsed: CcaToken) -> Mapping[str, str]:
        """See EvidenceHandler."""
        return parsed.ids

    def verify(
        self,
        parsed: CcaToken,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """See EvidenceHandler."""
        platform, realm = parsed.platform, parsed.realm
        instance, implementation = platform.instance.hex(), platform.implementation.hex()
        found = anchors.find("cca", instance=instance, implementation=implementation)
        steps.require(bool(found), "cca.anchor", "anchor", f"{len(found)} for this instance")
        anchor = signed_by(platform.message, found, "cca.platform", steps)
        vouched = platform.nonce == realm.key_digest
        steps.require(vouched, "cca.binding", "key", "the platform's nonce is the realm's key's")
        good = realm.message.verifies(realm.key)
        steps.require(good, "cca.realm.signature", "signature", "by the realm's key")
        steps.passed("cca.lifecycle", f"{platform.lifecycle:#06x} {platform.state}")
        padded = not any(realm.challenge[CHALLENGE_BYTES:]) and len(expected.challenge) != 64
        return VerifiedClaims(
            challenge_seen=realm.challenge[:CHALLENGE_BYTES] if padded else realm.challenge,
            bound_key=BoundKey(how="challenge"),
            root=HardwareRoot(
                id=hashlib.sha256(platform.instance).digest(),
                unique=anchor.ids.get("unique") == "yes",
                assurance="tee",
            ),
            identifiers=frozenset((key_identifier(anchor.spki), f"ueid:{instance}")),
            anchors=(anchor.digest,),
            device_ids=parsed.ids | {"lifecycle": platform.state},
            measurements=platform.components + realm.measurements,
            measures=True,
            secure=platform.state == "secured",
        )


HANDLER: Final = CcaHandler()
