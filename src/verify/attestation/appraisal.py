"""The core: parse, verify, compare what it is bound to, appraise. The same way for every format.

Freshness and key binding are compared here, once, so that no format can forget them. What was
verified is held against references, revocations and the model's policy; whatever is missing or
empty is not affirmed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final, Literal

from depin_id.attestation import result as ar4si
from depin_id.attestation.result import TrustVector, tier
from depin_id.errors import AttestationError
from verify.attestation.handlers import EvidenceHandler, handler_for
from verify.attestation.materials import Materials, Model
from verify.attestation.model import Expected, VerifiedClaims
from verify.attestation.steps import Step, Steps

Level = Literal["D1", "D2", "D3"]
NO_MODEL: Final = Model("", frozenset())
"""What evidence is held to that no model fits: nothing of its firmware is affirmed."""


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What became of one piece of evidence.

    Attributes:
        format, media_type: of it. evidence: its SHA-256. at: when, ms since 1970.
        model: the policy it was held to; empty when none fits.
        claims: what it says; None when it is not authentic, not fresh or not bound to the key.
        vector, level: of :class:`~depin_id.attestation.result.AttestationResult`.
        reasons: codes of what is not affirmed, sorted; empty when all is.
        steps: every check in order; the last is the one that failed, if any did.
        not_after: until when it is good, ms since 1970.
    """

    format: str
    media_type: str
    evidence: bytes
    at: int
    model: Model
    claims: VerifiedClaims | None
    vector: TrustVector
    level: Level
    reasons: tuple[str, ...]
    steps: tuple[Step, ...]
    not_after: int

    @property
    def affirmed(self) -> bool:
        """Whether every claim that it makes is affirmed, its identity and hardware among them."""
        identity, hardware = self.vector.instance_identity, self.vector.hardware
        named = tier(identity) == tier(hardware) == ar4si.AFFIRMING
        return self.claims is not None and named and self.vector.status == ar4si.AFFIRMING


def appraise_evidence(
    media_type: str,
    raw: bytes,
    *,
    expected: Expected,
    at: int,
    materials: Materials,
    model: str = "",
    handler: EvidenceHandler[Any] | None = None,
) -> Appraisal:
    """Appraise one piece of evidence. Bad evidence is no error: the appraisal says what is wrong.

    Args:
        media_type: names the format. raw: as it arrived.
        expected: the challenge, and the key that it has to be bound to.
        at: ms since 1970. materials: what it is judged by.
        model: name of the only model it may be of; empty for the first that fits.
        handler: instead of the one of the media type.

    Raises:
        AttestationError: ``attestation.format``, no handler for this media type.
    """
    found = handler_for(media_type) if handler is None else handler
    return _Case(found, media_type, raw, expected, at, materials, model).run()


@dataclass(slots=True)
class _Case:
    handler: EvidenceHandler[Any]
    media_type: str
    raw: bytes
    expected: Expected
    at: int
    materials: Materials
    wanted: str
    steps: Steps = field(default_factory=Steps)
    model: Model = NO_MODEL
    reasons: set[str] = field(default_factory=set)

    def run(self) -> Appraisal:
        try:
            claims = self._verified()
        except AttestationError as error:
            self.reasons.add(error.code)
            taken = self.steps.taken
            if not taken or taken[-1].passed:
                # What a format refuses without a step of its own has one all the same.
                taken.append(Step("evidence.refused", False, error.message[:200]))
            vector = TrustVector(instance_identity=ar4si.CRYPTO_FAILED)
            return self._appraisal(None, vector, "D1", self.at)
        vector = self._vector(claims)
        ends = [self.at + self.model.max_age_s * 1000]
        if claims.not_after is not None:
            ends.append(claims.not_after)
        return self._appraisal(claims, vector, self._level(claims, vector), min(ends))

    def _appraisal(
        self, claims: VerifiedClaims | None, vector: TrustVector, level: Level, not_after: int
    ) -> Appraisal:
        return Appraisal(
            self.handler.name,
            self.media_type,
            hashlib.sha256(self.raw).digest(),
            self.at,
            self.model,
            claims,
            vector,
            level,
            tuple(sorted(self.reasons)),
            tuple(self.steps.taken),
            not_after,
        )

    # --- is it authentic, fresh, and of this key ----------------------------------------------

    def _verified(self) -> VerifiedClaims:
        handler, steps = self.handler, self.steps
        small = isinstance(self.raw, bytes) and len(self.raw) <= handler.max_bytes
        steps.require(small, "evidence.size", "malformed", f"at most {handler.max_bytes} bytes")
        with steps.typed(f"{handler.name}.form"):
            parsed = handler.parse(self.raw, steps)
            hints = handler.hints(parsed)
        self.model = self.materials.models.choose(handler.name, hints, self.wanted) or NO_MODEL
        anchored = len(self.materials.anchors.of(handler.name))
        steps.require(anchored > 0, "evidence.anchors", "anchor", f"{anchored} for {handler.name}")
        with steps.typed(f"{handler.name}.verify", "claims"):
            claims = handler.verify(
                parsed,
                anchors=self.materials.anchors,
                expected=self.expected,
                model=self.model,
                at=self.at,
                steps=steps,
            )
        self._check_bound(claims)
        if any(claims.device_ids.get(key) != value for key, value in self.model.match.items()):
            # It was chosen by what the evidence claims; this is what was verified of it.
            self.model = NO_MODEL
        return claims

    def _check_bound(self, claims: VerifiedClaims) -> None:
        steps, expected = self.steps, self.expected
        fresh = compare_digest(claims.challenge_seen, expected.challenge)
        steps.require(fresh, "binding.challenge", "challenge", claims.challenge_seen.hex()[:64])
        bound = claims.bound_key
        if bound.how == "attested" and expected.key is not None:
            named = bound.key is not None and bound.key == expected.key
            steps.require(named, "binding.key", "key", "the attested key is the device's")
        elif bound.how == "challenge":
            steps.passed("binding.key", "by the challenge alone")
        if claims.not_after is not None:
            left = (claims.not_after - self.at) // 1000
            steps.require(left > 0, "binding.time", "expired", f"{left} seconds are left of it")

    # --- what it is worth -----------------------------------------------------------------------

    def _vector(self, claims: VerifiedClaims) -> TrustVector:
        return TrustVector(
            instance_identity=self._identity(claims),
            configuration=self._configuration(claims),
            executables=self._executables(claims),
            hardware=self._hardware(claims),
            storage_opaque=ar4si.HARDWARE_KEYS if claims.bound_key.protected else 0,
        )

    def _judge(self, name: str, passed: bool, reason: str, detail: str = "") -> bool:
        self.steps.taken.append(Step(name, passed, detail[:200]))
        if not passed:
            self.reasons.add(f"attestation.{reason}")
        return passed

    def _identity(self, claims: VerifiedClaims) -> int:
        revoked = self.materials.revocations.revoked(claims.identifiers)
        named = ", ".join(sorted(f"{key}: {why}" for key, why in revoked.items()))
        if not self._judge("appraisal.revoked", not revoked, "revoked", named):
            return ar4si.UNRECOGNIZED_IDENTITY
        return ar4si.RECOGNIZED_IDENTITY

    def _hardware(self, claims: VerifiedClaims) -> int:
        assurance, model = claims.root.assurance, self.model
        if not self._judge("appraisal.hardware", assurance != "software", "software", assurance):
            return ar4si.CONTRAINDICATED_HARDWARE
        fits = self._judge("appraisal.model", bool(model.name), "model", model.name or "none fits")
        if model.assurance:
            fits &= self._judge(
                "appraisal.assurance", assurance in model.assurance, "assurance", assurance
            )
        if model.revocation == "required":
            current = self.materials.revocations.is_current(self.handler.name, self.at)
            fits &= self._judge(
                "appraisal.revocations", current, "revocations", "a list that is not too old"
            )
        return ar4si.GENUINE_HARDWARE if fits else ar4si.UNSAFE_HARDWARE

    def _configuration(self, claims: VerifiedClaims) -> int:
        if claims.secure is None and not self.model.minimum:
            return 0
        if claims.secure is False:
            self._judge("appraisal.secure", False, "debug", "open to be read or changed")
            return ar4si.UNSUPPORTABLE_CONFIGURATION
        for name, least in sorted(self.model.minimum.items()):
            found = claims.numbers.get(name)
            enough = found is not None and found >= least
            if not self._judge(f"appraisal.{name}", enough, "outdated", f"{found}, {least} needed"):
                return ar4si.UNSAFE_CONFIGURATION
        return ar4si.APPROVED_CONFIGURATION

    def _executables(self, claims: VerifiedClaims) -> int:
        if not claims.measures:
            return 0
        references = self.model.references
        wrong = _unapproved(claims, self.model) if references else ["no reference value"]
        detail = ", ".join(wrong)[:200]
        if not self._judge("appraisal.executables", not wrong, "references", detail):
            return ar4si.UNRECOGNIZED_EXECUTABLES
        return ar4si.APPROVED_EXECUTABLES

    def _level(self, claims: VerifiedClaims, vector: TrustVector) -> Level:
        """D2: the key is in attested hardware. D3: and its firmware is measured and approved."""
        sound = tier(vector.instance_identity) == tier(vector.hardware) == ar4si.AFFIRMING
        if not sound or vector.status >= ar4si.CONTRAINDICATED:
            return "D1"
        approved = tier(vector.executables) == ar4si.AFFIRMING
        configured = tier(vector.configuration) in (ar4si.NONE, ar4si.AFFIRMING)
        vouched = approved and configured and self.model.protects_key
        if not claims.bound_key.protected and not vouched:
            return "D1"
        return "D3" if approved and configured and claims.firmware else "D2"


def _unapproved(claims: VerifiedClaims, model: Model) -> Sequence[str]:
    """Components that are not approved, and references that nothing was measured for."""
    named, measured, wrong = model.references_of, set[str](), set[str]()
    for item in claims.measurements:
        name = item.name
        measured.add(name)
        for reference in named.get(name, ()):
            if reference.approves(item):
                break
        else:
            if name in named or model.complete:
                wrong.add(name)
    wrong.update(named.keys() - measured)
    return sorted(wrong)
