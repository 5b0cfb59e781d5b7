"""Evidence of a TPM 2.0: a quote over the challenge, and the device's key certified beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509

from depin_id.attestation import tpm2_evidence
from depin_id.attestation.tpm2_evidence import Tpm2Evidence
from depin_id.errors import AttestationError, EncodingError
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.steps import Steps
from verify.attestation.tpm2 import certificates, checks, wire
from verify.attestation.tpm2.certificates import Endorsement
from verify.attestation.tpm2.endorsement import place_of
from verify.attestation.tpm2.eventlog import EventLog, read_event_log
from verify.attestation.tpm2.public import Public, read_public
from verify.attestation.x509path import Path, read_certificates

NAME: Final = "tpm2"
DEFAULT_PCRS: Final = tuple(range(8))
_RESETTABLE: Final = frozenset((16, 23))
"""PCRs that any program may reset and extend: what stands in them is no firmware's."""
_PLAIN: Final = frozenset(("ek", "endorsement", "platform"))
"""Where an attestation key sees the TPM's counters as they are (Part 1 section 36.7)."""


_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Evidence whose form is that of a TPM's. The last three are None without a certified key."""

    evidence: Tpm2Evidence
    quote: wire.Attest
    signature: wire.Signature
    ak: Public
    ak_chain: tuple[x509.Certificate, ...]
    ek_chain: tuple[x509.Certificate, ...]
    log: EventLog | None
    certify: wire.Attest | None
    certify_signature: wire.Signature | None
    key: Public | None


@dataclass(frozen=True, slots=True)
class _Root:
    """What the attestation key is tied to, and the chains that say so."""

    spki: bytes
    place: str
    paths: tuple[Path, ...]


def _optional(read: Callable[[bytes], _Read], data: bytes | None) -> _Read | None:
    return None if data is None else read(data)


def _certificates(chain: Sequence[bytes], name: str, steps: Steps) -> tuple[x509.Certificate, ...]:
    return tuple(read_certificates(chain, name, steps)) if chain else ()


class Tpm2Handler:
    """The handler of the format ``tpm2``.

    Settings of a model: ``pcrs`` (indices that have to be quoted, 0 to 7 without), ``eventlog``
    (whether the firmware's log has to be there), ``secure_boot`` (whether it has to say that Secure
    Boot was on).
    """

    name = NAME
    media_types = frozenset((tpm2_evidence.MEDIA_TYPE,))
    max_bytes = tpm2_evidence.MAX_EVIDENCE

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        """Read the map, the TPM's structures and the certificates."""
        try:
            evidence = tpm2_evidence.read(raw)
        except AttestationError as error:
            steps.fail("tpm2.form", "malformed", error.message)
        steps.passed("tpm2.form")
        try:
            quote = wire.read_attest(evidence.quote)
            signature = wire.read_signature(evidence.quote_signature)
            ak = read_public(evidence.ak_public)
            # A point that is not on its curve is found here.
            _ = ak.key
            certify = _optional(wire.read_attest, evidence.certify)
            certify_signature = _optional(wire.read_signature, evidence.certify_signature)
            key = _optional(read_public, evidence.key_public)
            log = _optional(read_event_log, evidence.event_log)
        except EncodingError as error:
            weak = error.code == "encoding.unsupported"
            steps.fail("tpm2.structures", "algorithm" if weak else "malformed", error.message)
        steps.passed("tpm2.structures")
        return Parsed(
            evidence=evidence,
            quote=quote,
            signature=signature,
            ak=ak,
            ak_chain=_certificates(evidence.ak_chain, "tpm2.ak.certificates", steps),
            ek_chain=_certificates(evidence.ek_chain, "tpm2.ek.certificates", steps),
            log=log,
            certify=certify,
            certify_signature=certify_signature,
            key=key,
        )

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        """``manufacturer``, ``model`` and ``version``, as its certificate has them."""
        return certificates.device_ids((parsed.ek_chain or parsed.ak_chain)[0])

    def verify(
        self,
        parsed: Parsed,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """Verify everything; see docs/attestation/tpm2.md."""
        ak, quote, pcrs = parsed.ak, parsed.quote, parsed.evidence.pcrs
        checks.check_ak(ak, steps)
        root = _find_root(parsed, anchors, expected, at, steps)
        checks.check_signature(ak, parsed.signature, parsed.evidence.quote, "tpm2.quote", steps)
        checks.check_quote(quote, pcrs, _wanted(model, steps), ak.scheme_digest, steps)
        steps.require(len(quote.extra) >= 8, "tpm2.quote.extra", "challenge", "8 bytes or more")
        secure = _check_log(parsed, model, steps)
        bound = _check_key(parsed, steps)
        names = [path.identifiers(NAME) for path in root.paths]
        keys = {key_identifier(root.spki), key_identifier(ak.spki)}
        plain = root.place in _PLAIN
        return VerifiedClaims(
            challenge_seen=quote.extra,
            bound_key=bound,
            root=HardwareRoot(id=hashlib.sha256(root.spki).digest(), unique=True, assurance="tpm"),
            identifiers=frozenset(keys).union(*names),
            anchors=tuple(dict.fromkeys(path.anchor.digest for path in root.paths)),
            device_ids=self.hints(parsed),
            measurements=tuple(
                Measurement(name=f"pcr{index}", digest=pcrs[index]) for index in sorted(pcrs)
            ),
            measures=True,
            firmware=not _RESETTABLE.issuperset(pcrs),
            secure=secure,
            numbers={"clock_safe": int(quote.safe)} | ({"tpm": quote.firmware} if plain else {}),
            counters={"resets": quote.resets << 32 | quote.restarts} if plain else {},
            not_after=min(
                (path.not_after for path in root.paths if path.not_after is not None), default=None
            ),
        )


def _find_root(
    parsed: Parsed, anchors: Anchors, expected: Expected, at: int, steps: Steps
) -> _Root:
    """Verify the chains, and what ties the attestation key to them."""
    ak, trusted = parsed.ak, anchors.of(NAME)
    paths: list[Path] = []
    endorsement: Endorsement | None = None
    if parsed.ek_chain:
        endorsement = certificates.check_endorsement(parsed.ek_chain, trusted, at=at, steps=steps)
        paths.append(endorsement.path)
    if parsed.ak_chain:
        paths.append(
            certificates.check_attestation_key(
                parsed.ak_chain, ak.spki, trusted, at=at, steps=steps
            )
        )
    place = place_of(parsed.quote.signer, ak.name, () if endorsement is None else endorsement.names)
    if expected.activation is not None:
        named = expected.activation[1] == ak.name
        steps.require(named, "tpm2.activation.name", "key", "the credential was for this key")
    if endorsement is None:
        # A credential is one endorsement key's: without it nothing says which TPM opened it.
        alone = expected.activation is None
        steps.require(alone, "tpm2.activation.endorsement", "key", "its endorsement key is shown")
        # Its certificate vouches for the key alone; that its public area is what it says shows in
        # the qualified name, which the TPM itself signs.
        steps.require(bool(place), "tpm2.ak.place", "key", "a primary key of a known hierarchy")
        return _Root(ak.spki, place, tuple(paths))
    if expected.activation is not None:
        same = expected.activation[0] == hashlib.sha256(endorsement.spki).digest()
        steps.require(same, "tpm2.activation.endorsement", "key", "and for this endorsement key")
    else:
        tied = bool(parsed.ak_chain) and place == "ek"
        detail = "by an activated credential, or as a certified child of the endorsement key"
        steps.require(tied, "tpm2.tie", "key", detail)
    return _Root(endorsement.spki, place, tuple(paths))


def _wanted(model: Model, steps: Steps) -> tuple[int, ...]:
    """The PCRs that the verifier wants, ascending."""
    given = model.settings.get("pcrs", DEFAULT_PCRS)
    good = isinstance(given, list | tuple) and all(
        type(index) is int and 0 <= index < tpm2_evidence.PCRS for index in given
    )
    steps.require(good and len(given) > 0, "tpm2.settings.pcrs", "claims", "indices of PCRs")
    return tuple(sorted(set(given)))


def _check_log(parsed: Parsed, model: Model, steps: Steps) -> bool | None:
    """Replay the event log; gives whether the device is closed, as far as the log says."""
    settings, log = model.settings, parsed.log
    demanded = bool(settings.get("eventlog", False))
    steps.require(log is not None or not demanded, "tpm2.eventlog.given", "claims", "the log")
    secure: bool | None = None
    if log is not None:
        replayed, pcrs = log.replay(), parsed.evidence.pcrs
        wrong = [index for index, value in sorted(pcrs.items()) if replayed[index] != value]
        steps.require(not wrong, "tpm2.eventlog.replay", "claims", f"PCRs {wrong} differ")
        secure = log.secure_boot() if 7 in pcrs else None
    if settings.get("secure_boot", False):
        return secure is True
    return secure


def _check_key(parsed: Parsed, steps: Steps) -> BoundKey:
    """The device's key, if it is in the TPM."""
    evidence, certify, signature, key = (
        parsed.evidence,
        parsed.certify,
        parsed.certify_signature,
        parsed.key,
    )
    if evidence.certify is None or certify is None or signature is None or key is None:
        return BoundKey(how="challenge")
    checks.check_signature(parsed.ak, signature, evidence.certify, "tpm2.certify", steps)
    return checks.check_certified(parsed.quote, certify, key, steps)


HANDLER: Final = Tpm2Handler()
