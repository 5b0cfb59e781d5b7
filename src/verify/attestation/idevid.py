"""IEEE 802.1AR: a manufacturer's certificate, and proof that its key is here (ATECC608 and others).

The chip proves who it is. It measures nothing: no firmware is ever affirmed by this format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from depin_id.attestation import idevid_evidence
from depin_id.attestation.idevid_evidence import IDevIDEvidence, signed_bytes
from depin_id.attestation.part_manifest import SignedManifest, read_manifest
from depin_id.attestation.result import Assurance
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchor, Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, VerifiedClaims
from verify.attestation.public_keys import device_key, is_proof, read_spki
from verify.attestation.steps import Steps
from verify.attestation.x509path import PathRules, read_certificates, verify_path

NAME: Final = "idevid"
_HARDWARE_MODULE: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
_RULES: Final = PathRules(
    critical=frozenset((ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,))
)
_LEAF_KEYS: Final = (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
_PURPOSES: Final = frozenset(
    (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
)


@asn1.sequence
class _HardwareModuleName:
    """RFC 4108 section 5."""

    hw_type: x509.ObjectIdentifier
    hw_serial: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """Evidence that was read: certificates, and what names the device."""

    evidence: IDevIDEvidence
    certificates: tuple[x509.Certificate, ...]
    names: Mapping[str, str]
    manifest: SignedManifest | None

    @property
    def leaf(self) -> x509.Certificate:
        """The device's own certificate."""
        return self.certificates[0]

    @property
    def ids(self) -> dict[str, str]:
        """What it says it is; verified together with the chain and the manifest."""
        if self.manifest is None:
            return dict(self.names)
        said = self.manifest.manifest
        challenged = "yes" if said.slots[0].challenged else "no"
        return {**self.names, "sku": said.sku, "slot0.challenged": challenged}


class Handler:
    """``application/vnd.depin.idevid+cbor``."""

    name = NAME
    media_types = frozenset((idevid_evidence.MEDIA_TYPE,))
    max_bytes = idevid_evidence.MAX_EVIDENCE

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        try:
            evidence = idevid_evidence.read_evidence(raw)
            manifest = None if evidence.manifest is None else read_manifest(evidence.manifest)
        except DepinError as error:
            steps.fail("idevid.form", "malformed", error.message)
        certificates = tuple(read_certificates(evidence.chain, "idevid.certificates", steps))
        return Parsed(evidence, certificates, _names(certificates[0], steps), manifest)

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        return parsed.ids

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
        key = _key_of(parsed.leaf, steps)
        _check_usage(parsed.leaf, steps)
        steps.require(bool(parsed.names), "idevid.serial", "claims", "no serial number names it")
        evidence, loaded = parsed.evidence, parsed.leaf.public_key()
        proven = isinstance(loaded, _LEAF_KEYS) and is_proof(
            loaded, evidence.signature, signed_bytes(evidence.challenge)
        )
        steps.require(proven, "idevid.possession", "signature", "its key signed the challenge")
        issuers = [anchor for anchor in anchors.of(NAME) if anchor.ids.get("role") != "manifest"]
        path = verify_path(
            parsed.certificates, issuers, at=at, rules=_RULES, name=NAME, steps=steps
        )
        assurance = _assurance(path.anchor)
        used = [path.anchor.digest]
        # Nothing ties the manifest to the rest, so its absence has to be refused by who needs it.
        given = parsed.manifest is not None or path.anchor.ids.get("manifest") != "required"
        steps.require(given, "idevid.manifest", "claims", "where the anchor says so, there is one")
        if parsed.manifest is not None:
            signer = _check_manifest(parsed, parsed.manifest, anchors, steps)
            used.append(signer.digest)
            if not parsed.manifest.manifest.slots[0].keeps:
                assurance = "software"
        mine = expected.key is None or expected.key == key
        protected = mine and assurance == "secure-element"
        return VerifiedClaims(
            challenge_seen=evidence.challenge,
            bound_key=(
                BoundKey(how="attested", key=key, protected=protected)
                if mine
                else BoundKey(how="challenge")
            ),
            root=HardwareRoot(
                id=hashlib.sha256(spki_of(parsed.leaf)).digest(), unique=True, assurance=assurance
            ),
            identifiers=path.identifiers(NAME),
            anchors=tuple(used),
            device_ids=parsed.ids,
            not_after=path.not_after,
        )


def _names(leaf: x509.Certificate, steps: Steps) -> dict[str, str]:
    """Serial number of the subject (802.1AR section 8.6), and the hardware module's name."""
    found: dict[str, str] = {}
    serials = leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    steps.require(len(serials) <= 1, "idevid.serial", "malformed", f"{len(serials)} serial numbers")
    for attribute in serials:
        value = attribute.value
        good = isinstance(value, str) and 0 < len(value) <= 64
        steps.require(good, "idevid.serial", "malformed", "a serial number that is no short text")
        found["serial"] = str(value)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    modules = [
        name
        for name in names.get_values_for_type(x509.OtherName)
        if name.type_id == _HARDWARE_MODULE
    ]
    steps.require(len(modules) <= 1, "idevid.module", "malformed", f"{len(modules)} module names")
    for module in modules:
        with steps.typed("idevid.module"):
            read = asn1.decode_der(_HardwareModuleName, module.value)
            found["hw_type"] = read.hw_type.dotted_string
            found["hw_serial"] = read.hw_serial.hex()
        steps.require(0 < len(read.hw_serial) <= 64, "idevid.module", "malformed", "its number")
    return found


def _key_of(leaf: x509.Certificate, steps: Steps) -> PublicKey:
    with steps.typed("idevid.key", "key"):
        key = device_key(leaf.public_key())
    if key is None:
        steps.fail("idevid.key", "algorithm", "a key that is neither of P-256 nor Ed25519")
    return key


def _check_usage(leaf: x509.Certificate, steps: Steps) -> None:
    """A device's key signs; keys that may only agree or encrypt prove nothing by signing."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        steps.fail("idevid.key_usage", "chain", "the device's certificate has no key usage")
    steps.require(usage.digital_signature, "idevid.key_usage", "chain", "digitalSignature")
    steps.require(not usage.key_cert_sign, "idevid.key_usage", "chain", "not keyCertSign")
    try:
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return
    fits = not extended.critical or bool(_PURPOSES & set(extended.value))
    steps.require(fits, "idevid.purpose", "chain", "client authentication, or any")


def _assurance(anchor: Anchor) -> Assurance:
    """What the manufacturer's chips are, as the anchor has it; nothing said is nothing kept."""
    said = anchor.ids.get("assurance", "software")
    return cast(Assurance, said) if said in get_args(Assurance) else "software"


def _check_manifest(
    parsed: Parsed, signed: SignedManifest, anchors: Anchors, steps: Steps
) -> Anchor:
    """Signed by a key that is pinned for manifests, of this chip, and of this key."""
    signers = anchors.find(NAME, role="manifest")
    steps.require(bool(signers), "idevid.manifest.anchor", "anchor", "no key for manifests")
    signer = next((anchor for anchor in signers if _verifies(signed, anchor.spki)), None)
    if signer is None:
        steps.fail("idevid.manifest.signature", "signature", f"none of {len(signers)} keys")
    said = signed.manifest
    serials = {parsed.names.get("serial"), parsed.names.get("hw_serial")}
    steps.require(said.serial in serials, "idevid.manifest.serial", "claims", said.serial)
    own = said.key == hashlib.sha256(spki_of(parsed.leaf)).digest()
    steps.require(own, "idevid.manifest.key", "key", "the certificate's key is that of slot 0")
    slot = said.slots[0]
    steps.require(slot.external, "idevid.manifest.external", "claims", "slot 0 signs for others")
    detail = "made inside and never leaves" if slot.keeps else "can be read or written"
    steps.passed("idevid.manifest.slot", f"the key in slot 0 {detail}")
    return signer


def _verifies(signed: SignedManifest, spki: bytes) -> bool:
    try:
        key = read_spki(spki)
        if not isinstance(key, PublicKey):
            return False
        signed.verify(key)
    except DepinError:
        return False
    return True


HANDLER: Final = Handler()
