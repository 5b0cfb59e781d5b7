"""Android Key Attestation: the chain of a key that an Android keystore holds.

The device's key is the leaf's; the challenge sits in its ``attestationChallenge``. Chains are those
that a factory has put into a batch of devices, or of remote key provisioning (RKP), where each
attestation key is one device's and is renewed every few weeks.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from depin_id import cbor
from depin_id.attestation.result import Assurance
from depin_id.keys import PublicKey, admit
from verify.attestation.android_key import der
from verify.attestation.android_key.description import (
    OID,
    SOFTWARE,
    STRONGBOX,
    TEE,
    Authorizations,
    KeyDescription,
    read_description,
)
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import (
    MAX_EVIDENCE,
    BoundKey,
    Expected,
    HardwareRoot,
    Measurement,
    VerifiedClaims,
)
from verify.attestation.steps import Steps
from verify.attestation.x509path import MAX_CHAIN, PathRules, read_certificates, verify_path

NAME: Final = "android-key"
CBOR_TYPE: Final = "application/vnd.android.key-attestation+cbor"
PEM_TYPE: Final = "application/pem-certificate-chain"
PROVISIONING_OID: Final = "1.3.6.1.4.1.11129.2.1.30"
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_BLOCK: Final = re.compile(_BEGIN + rb"([A-Za-z0-9+/=\r\n]{1,24000})" + _END)
_ASSURANCE: Final[Mapping[int, Assurance]] = {
    SOFTWARE: "software",
    TEE: "tee",
    STRONGBOX: "strongbox",
}
_GENERATED: Final = 0
_SIGN, _ATTEST_KEY = 2, 7
_RSA, _EC, _ML_DSA = 1, 3, 4
_VERIFIED: Final = 0
_BOOT: Final = ("verified-boot-key", "verified-boot-hash")
_FACTORY_NAMES: Final = frozenset((NameOID.SERIAL_NUMBER, NameOID.TITLE))
_RULES: Final = {"factory": PathRules(dates="ignore", plain_attester=True)}
"""Batch keys of a factory are never renewed; early ones are not marked as authorities."""
_Provisioning = Literal["factory", "rkp", "unknown"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """Evidence as it was read."""

    certificates: Sequence[x509.Certificate]
    description: KeyDescription


class AndroidKey:
    """The handler (:class:`~verify.attestation.handlers.EvidenceHandler`)."""

    name = NAME
    media_types = frozenset((CBOR_TYPE, PEM_TYPE))
    max_bytes = MAX_EVIDENCE

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        """Read the chain, and the description in its leaf."""
        step = f"{NAME}.form"
        chain = read_pem(raw) if raw.startswith(b"-") else cbor.decode(raw, max_bytes=MAX_EVIDENCE)
        steps.require(isinstance(chain, list), step, "malformed", "a chain of certificates")
        certificates = read_certificates(chain, f"{NAME}.certificates", steps)
        found = _extension(certificates[0], OID)
        if found is None:
            steps.fail(f"{NAME}.description", "malformed", "the leaf describes no key")
        with steps.typed(f"{NAME}.description"):
            description = read_description(found)
        return Parsed(certificates, description)

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        """Device and application."""
        return _device_ids(parsed.description)

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
        """Verify the chain, and that the description is of a key as it has to be."""
        certificates, description = parsed.certificates, parsed.description
        # First of all: an attested key that attests another one stands out by its own description.
        _check_described_once(certificates, steps)
        provisioning = provisioning_of(certificates)
        path = verify_path(
            certificates,
            anchors.of(NAME),
            at=at,
            rules=_RULES.get(provisioning, PathRules()),
            name=NAME,
            steps=steps,
        )
        _check_attester(certificates[1], steps)
        _check_leaf(certificates[0], at, steps)
        _check_key(certificates[0], description, steps)
        _check_application(description, model, steps)
        size = len(description.challenge)
        steps.require(size >= 8, f"{NAME}.challenge", "claims", f"a challenge of {size} bytes")
        level = description.level
        secure = _secure(description, steps)
        ends = [_end(certificates[0]), path.not_after]
        ends.append(description.hardware.number("origination_expire_date_time"))
        return VerifiedClaims(
            challenge_seen=description.challenge,
            bound_key=BoundKey(
                how="attested", key=_device_key(certificates[0]), protected=level != SOFTWARE
            ),
            root=HardwareRoot(
                id=hashlib.sha256(spki_of(certificates[1])).digest(),
                unique=provisioning == "rkp",
                assurance=_ASSURANCE[level],
            ),
            identifiers=path.identifiers(NAME),
            anchors=(path.anchor.digest,),
            device_ids={**_device_ids(description), "provisioning": provisioning},
            measurements=_measurements(description),
            measures=True,
            # Who approves of the package alone has not looked at what it runs on.
            firmware=any(item.name in _BOOT for item in model.references),
            secure=secure,
            numbers=_numbers(description),
            not_after=min(end for end in ends if end is not None),
        )


HANDLER: Final = AndroidKey()


def read_pem(raw: bytes) -> list[bytes]:
    """Certificates of a PEM chain (RFC 8555 section 9.1): nothing but them, and spelled evenly.

    Lines have 64 characters. They end with LF or CRLF, those of Base64 all alike and the others all
    alike (Java's encoder mixes the two so); the very last end of line may be missing.

    Raises EncodingError ``encoding.malformed``.
    """
    try:
        chain = [base64.b64decode(block) for block in _BLOCK.findall(raw)[: MAX_CHAIN + 1]]
    except ValueError:
        der.malformed("something that is no Base64")
    if not 0 < len(chain) <= MAX_CHAIN:
        der.malformed("no chain of certificates")
    head = raw[len(_BEGIN) : len(_BEGIN) + 100]
    outer = b"\r\n" if head.startswith(b"\r\n") else b"\n"
    inner = b"\r\n" if b"\r\n" in head[2:] else b"\n"
    written = write_pem(chain, outer, inner)
    if raw not in (written, written.removesuffix(outer)):
        der.malformed("something but certificates, or another spelling of them")
    return chain


def write_pem(chain: Sequence[bytes], outer: bytes = b"\n", inner: bytes = b"\n") -> bytes:
    """A chain as :func:`read_pem` takes it, with these ends of lines."""
    parts = []
    for certificate in chain:
        text = base64.b64encode(certificate)
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        parts.append(_BEGIN + outer + inner.join(lines) + outer + _END + outer)
    return b"".join(parts)


def provisioning_of(certificates: Sequence[x509.Certificate]) -> _Provisioning:
    """How the attestation key came into the device, by the form of its chain.

    RKP's attestation certificate has an extension of its own. A factory's chain has two
    certificates between leaf and root, named by a serial number and at most a title. Whatever is
    neither is held to its dates.
    """
    if any(_extension(one, PROVISIONING_OID) is not None for one in certificates):
        return "rkp"
    last = certificates[-1]
    above = certificates[1:-1] if last.issuer == last.subject else certificates[1:]
    names = [{attribute.oid for attribute in one.subject} for one in above]
    factory = all(NameOID.SERIAL_NUMBER in name and name <= _FACTORY_NAMES for name in names)
    return "factory" if len(names) == 2 and factory else "unknown"


def _check_described_once(certificates: Sequence[x509.Certificate], steps: Steps) -> None:
    above = certificates[1:]
    steps.require(len(above) > 0, f"{NAME}.attestation", "chain", "somebody who attested the key")
    described = any(_extension(one, OID) is not None for one in above)
    steps.require(not described, f"{NAME}.extension", "chain", "a description in the leaf alone")


def _check_attester(attester: x509.Certificate, steps: Steps) -> None:
    """Early factories do not mark their attestation key as an authority, nor as anything else.

    An attested key may be described in another form than the one that is read here (there was one
    of EAT), so what says something that nobody here reads is taken for an authority's only.
    """
    found = [extension.value for extension in attester.extensions]
    marked = any(isinstance(value, x509.BasicConstraints) and value.ca for value in found)
    plain = not any(isinstance(value, x509.UnrecognizedExtension) for value in found)
    steps.require(marked or plain, f"{NAME}.attester", "chain", "an authority, or nothing else")


def _check_leaf(leaf: x509.Certificate, at: int, steps: Steps) -> None:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    within = leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc
    steps.require(within, f"{NAME}.leaf_dates", "expired", "the dates of the leaf")


def _check_key(leaf: x509.Certificate, description: KeyDescription, steps: Steps) -> None:
    level, other = description.level, description.keymint_level
    steps.require(level == other, f"{NAME}.levels", "claims", f"security levels {level}, {other}")
    enforced = description.software if level == SOFTWARE else description.hardware
    origin = enforced.number("origin")
    steps.require(origin == _GENERATED, f"{NAME}.origin", "claims", f"origin {origin}")
    purposes = enforced.purposes
    signs = _SIGN in purposes and _ATTEST_KEY not in purposes
    steps.require(signs, f"{NAME}.purpose", "claims", f"purposes {sorted(purposes)}")
    algorithm = enforced.number("algorithm")
    fits = algorithm == _algorithm(leaf)
    steps.require(fits, f"{NAME}.algorithm", "key", f"algorithm {algorithm}")
    shared = any(
        "all_applications" in one.values for one in (description.software, description.hardware)
    )
    steps.require(not shared, f"{NAME}.scope", "claims", "a key of one application")


def _check_application(description: KeyDescription, model: Model, steps: Steps) -> None:
    """A model may name the package whose key it has to be, or several."""
    wanted: Any = model.settings.get("package")
    if wanted is None:
        return
    allowed = [wanted] if isinstance(wanted, str) else list(wanted)
    application = description.software.application
    names = [] if application is None else [name for name, _ in application.packages]
    fits = bool(names) and all(name in allowed for name in names)
    steps.require(fits, f"{NAME}.package", "claims", ", ".join(names))


def _secure(description: KeyDescription, steps: Steps) -> bool | None:
    if description.level == SOFTWARE:
        return None
    boot = description.hardware.root_of_trust
    if boot is None:
        steps.fail(f"{NAME}.root_of_trust", "claims", "the hardware says nothing of the boot")
    detail = f"{'locked' if boot.locked else 'unlocked'}, state {boot.state}"
    steps.passed(f"{NAME}.root_of_trust", detail)
    return boot.locked and boot.state == _VERIFIED


def _measurements(description: KeyDescription) -> tuple[Measurement, ...]:
    found: list[Measurement] = []
    boot = description.hardware.root_of_trust
    if boot is not None:
        named = zip(_BOOT, (boot.key, boot.hash), strict=True)
        found += [Measurement(name=name, digest=digest) for name, digest in named if digest]
    application = description.software.application
    if application is not None:
        version = ", ".join(f"{name} {number}" for name, number in application.packages)[:200]
        found += [
            Measurement(name="package", digest=signer, version=version)
            for signer in application.signers
        ]
    return tuple(found)


def _numbers(description: KeyDescription) -> dict[str, int]:
    """Versions. Patch levels come with and without a day: one form of each is compared."""
    hardware = description.hardware
    os_patch = hardware.number("os_patch_level")
    found = {
        "attestation_version": description.version,
        "keymint_version": description.keymint_version,
        "os_version": hardware.number("os_version"),
        "os_patch": os_patch // 100 if os_patch is not None and os_patch > 999_999 else os_patch,
        "vendor_patch": _day(hardware.number("vendor_patch_level")),
        "boot_patch": _day(hardware.number("boot_patch_level")),
    }
    return {name: number for name, number in found.items() if number is not None}


def _day(level: int | None) -> int | None:
    return level * 100 if level is not None and level <= 999_999 else level


def _device_ids(description: KeyDescription) -> dict[str, str]:
    """What models match on. Serial numbers and IMEI are a person's, and left out."""
    hardware: Authorizations = description.hardware
    found = {
        name: hardware.text(name)
        for name in ("brand", "device", "product", "manufacturer", "model")
    }
    application = description.software.application
    if application is not None:
        found["package"] = ",".join(sorted(name for name, _ in application.packages))
        found["package_signer"] = ",".join(sorted(one.hex() for one in application.signers))
    return {name: value for name, value in found.items() if value}


def _device_key(leaf: x509.Certificate) -> PublicKey | None:
    """The key that devices can sign readings with; None for RSA, ML-DSA and other curves."""
    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return admit("p256", point)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return admit("ed25519", key.public_bytes_raw())
    return None


def _algorithm(leaf: x509.Certificate) -> int:
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA
    curve = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return _EC if curve else _ML_DSA


def _extension(certificate: x509.Certificate, oid: str) -> bytes | None:
    for extension in certificate.extensions:
        if extension.oid.dotted_string == oid:
            value = extension.value
            return value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    return None


def _end(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp()) * 1000
