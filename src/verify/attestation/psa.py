"""PSA attestation tokens (RFC 9783), and by policy those of the profiles before it.

The key is looked up by instance and implementation; the token itself brings none. The challenge is
in the nonce, which is all that binds the device's key: the token has no place for one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from depin_id.attestation.result import Assurance
from verify.attestation.foreign_claims import HASH_SIZES, ForeignClaims, read_claims
from verify.attestation.foreign_cose import (
    ECDSA,
    EDDSA,
    HMAC,
    CoseMessage,
    CoseRules,
    VerifyKey,
    load_key,
    open_message,
)
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Anchor, Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.steps import Steps

PROFILE: Final = "tag:psacertified.org,2023:psa#tfm"
PROFILE_2: Final = "http://arm.com/psa/2.0.0"
PROFILE_1: Final = "PSA_IOT_PROFILE_1"
RULES: Final = CoseRules(ECDSA | EDDSA | HMAC, kinds=("Signature1", "MAC0"))
KEPT_BY: Final = frozenset(("firmware", "secure-element", "tee"))
"""What an anchor may say of the root that keeps its key (``assurance``)."""
_STATES: Final = {
    0x00: "unknown",
    0x10: "assembly",
    0x20: "provisioning",
    0x30: "secured",
    0x40: "other-debug",
    0x50: "recoverable-debug",
    0x60: "decommissioned",
}
_INTEGERS: Final = range(-(1 << 31), 1 << 31)
_SEED: Final = range(8, 33)
_REFERENCE: Final = re.compile(r"[0-9]{13}-[0-9]{5}")
_REFERENCE_OLD: Final = re.compile(r"[0-9]{13}(-[0-9]{5})?")


@dataclass(frozen=True, slots=True)
class _Labels:
    """Where a profile has its claims."""

    profile: int
    client: int
    lifecycle: int
    implementation: int
    seed: int
    reference: int
    components: int
    nonce: int
    instance: int
    service: int


_NEW: Final = _Labels(265, 2394, 2395, 2396, 268, 2398, 2399, 10, 256, 2400)
_SECOND: Final = _Labels(265, 2394, 2395, 2396, 2397, 2398, 2399, 10, 256, 2400)
_FIRST: Final = _Labels(
    -75000, -75001, -75002, -75003, -75004, -75005, -75006, -75008, -75009, -75010
)
_NO_MEASUREMENTS: Final = -75007


@dataclass(frozen=True, slots=True)
class PsaToken:
    """A token as it was read; no signature is looked at.

    Attributes:
        profile: which it follows. lifecycle: as it stands there. state: its name.
        implementation, instance, nonce: bytes. client: who asked for the token on the device.
        reference: of the certification, or empty.
        components: what was measured, at least one.
    """

    message: CoseMessage
    profile: str
    lifecycle: int
    state: str
    implementation: bytes
    instance: bytes
    nonce: bytes
    client: int
    reference: str
    components: tuple[Measurement, ...]

    @property
    def ids(self) -> dict[str, str]:
        """What models match on."""
        return {
            "profile": self.profile,
            "implementation": self.implementation.hex(),
            "instance": self.instance.hex(),
            "reference": self.reference,
        }


def lifecycle_of(claims: ForeignClaims, label: int) -> tuple[int, str]:
    """The lifecycle and the name of its state; values of no state are refused."""
    value = claims.integer(label, "lifecycle", range(0x10000))
    state = _STATES.get(value >> 8)
    if state is None:
        claims.fail("lifecycle", f"{value:#06x} is no state")
    return value, state


def instance_of(claims: ForeignClaims, label: int) -> bytes:
    """The instance id: a UEID of the type RAND, 33 bytes."""
    instance = claims.octets(label, "instance", (33,))
    if instance[0] != 1:
        claims.fail("instance", "the instance id is no UEID of the type RAND (0x01)")
    return instance


def read_token(raw: bytes, steps: Steps, max_bytes: int) -> PsaToken:
    """Read a token: form only. Raises AttestationError."""
    message = open_message(raw, RULES, max_bytes=max_bytes, name="psa", steps=steps)
    claims = read_claims(message.payload, name="psa", steps=steps, max_bytes=max_bytes)
    profile, labels = _profile(claims)
    state = lifecycle_of(claims, labels.lifecycle)
    seed_sizes = (32,) if labels is _FIRST else _SEED
    if labels is _FIRST:
        claims.octets(labels.seed, "boot_seed", seed_sizes)
        if _NO_MEASUREMENTS in claims.claims:
            claims.fail("components", "it says that nothing was measured")
    else:
        claims.optional_octets(labels.seed, "boot_seed", seed_sizes)
    reference = claims.optional_text(labels.reference, "certification")
    form = _REFERENCE if labels is _NEW else _REFERENCE_OLD
    if reference and not form.fullmatch(reference):
        claims.fail("certification", "the certification reference has another form")
    claims.optional_text(labels.service, "service")
    token = PsaToken(
        message=message,
        profile=profile,
        lifecycle=state[0],
        state=state[1],
        implementation=claims.octets(labels.implementation, "implementation", (32,)),
        instance=instance_of(claims, labels.instance),
        nonce=claims.nonce(labels.nonce, "nonce", HASH_SIZES),
        client=claims.integer(labels.client, "client", _INTEGERS),
        reference=reference,
        components=claims.components(labels.components),
    )
    steps.passed("psa.claims", f"{profile}, {len(token.components)} components")
    return token


def _profile(claims: ForeignClaims) -> tuple[str, _Labels]:
    """Which profile it is of: exactly one of the three; that of the first may be implied."""
    named = claims.claims.get(265)
    first = claims.claims.get(-75000, PROFILE_1 if -75001 in claims.claims else None)
    if named == PROFILE and first is None:
        return PROFILE, _NEW
    if named == PROFILE_2 and first is None:
        return PROFILE_2, _SECOND
    if first == PROFILE_1 and 265 not in claims.claims:
        return PROFILE_1, _FIRST
    claims.fail("profile", "none that is known, or more than one")


class PsaHandler:
    """See :class:`~verify.attestation.handlers.EvidenceHandler`.

    Settings of models: ``legacy`` true allows the profiles before RFC 9783.
    """

    name = "psa"
    media_types = frozenset(
        (
            f'application/eat+cwt; eat_profile="{PROFILE}"',
            'application/eat+cwt; eat_profile="tag:psacertified.org,2019:psa#legacy"',
            "application/psa-attestation-token",
        )
    )
    max_bytes = 16_384

    def parse(self, raw: bytes, steps: Steps) -> PsaToken:
        """See EvidenceHandler."""
        return read_token(raw, steps, self.max_bytes)

    def hints(self, parsed: PsaToken) -> Mapping[str, str]:
        """See EvidenceHandler."""
        return parsed.ids

    def verify(
        self,
        parsed: PsaToken,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """See EvidenceHandler."""
        legacy = model.settings.get("legacy") is True
        allowed = parsed.profile == PROFILE or legacy
        steps.require(allowed, "psa.profile", "claims", parsed.profile)
        ids = {
            "instance": parsed.instance.hex(),
            "implementation": parsed.implementation.hex(),
        }
        found = anchors.find("psa", **ids)
        steps.require(bool(found), "psa.anchor", "anchor", f"{len(found)} for this instance")
        anchor = signed_by(parsed.message, found, "psa", steps)
        secure = parsed.state == "secured"
        steps.passed("psa.lifecycle", f"{parsed.lifecycle:#06x} {parsed.state}")
        return VerifiedClaims(
            challenge_seen=parsed.nonce,
            bound_key=BoundKey(how="challenge"),
            root=HardwareRoot(
                id=hashlib.sha256(parsed.instance).digest(), unique=True, assurance=kept_by(anchor)
            ),
            identifiers=frozenset((key_identifier(anchor.spki), f"ueid:{parsed.instance.hex()}")),
            anchors=(anchor.digest,),
            device_ids=parsed.ids | {"lifecycle": parsed.state, "client": str(parsed.client)},
            measurements=parsed.components,
            measures=True,
            secure=secure,
        )


def kept_by(anchor: Anchor) -> Assurance:
    """What keeps the key of an anchor: what the anchor says, firmware otherwise."""
    said = anchor.ids.get("assurance", "firmware")
    return cast("Assurance", said) if said in KEPT_BY else "firmware"


def signed_by(message: CoseMessage, found: tuple[Anchor, ...], name: str, steps: Steps) -> Anchor:
    """The anchor whose key has signed a message.

    A common key is one only where its anchor says so (``key``: ``symmetric``): the bytes of a
    public key are known to everybody. Raises AttestationError.
    """
    for anchor in found[:8]:
        common = anchor.ids.get("key") == "symmetric"
        if common != (message.kind == "MAC0"):
            continue
        try:
            key: VerifyKey = anchor.spki if common else load_key(anchor.spki)
        except ValueError:
            steps.fail(f"{name}.anchor", "anchor", f"{anchor.name} has a key of an unknown kind")
        if message.verifies(key):
            steps.passed(f"{name}.signature", anchor.name)
            return anchor
    steps.fail(f"{name}.signature", "signature", "by none of the keys that it may be")


HANDLER: Final = PsaHandler()
