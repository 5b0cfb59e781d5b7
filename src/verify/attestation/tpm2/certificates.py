"""Certificates of a TPM's endorsement and attestation keys (TCG EK Credential Profile)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchor
from verify.attestation.steps import Steps
from verify.attestation.tpm2.endorsement import strength_of
from verify.attestation.tpm2.public import Key
from verify.attestation.x509path import Path, PathRules, verify_path

EK_USAGE: Final = "2.23.133.8.1"
AK_USAGE: Final = "2.23.133.8.3"
_NAMES: Final = {
    "2.23.133.2.1": "manufacturer",
    "2.23.133.2.2": "model",
    "2.23.133.2.3": "version",
}
_RULES: Final = PathRules(
    critical=frozenset(
        (
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
            ExtensionOID.CERTIFICATE_POLICIES.dotted_string,
        )
    )
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An endorsement key whose certificate leads to an anchor.

    Attributes:
        path: its chain. spki: SubjectPublicKeyInfo, DER. key: the same.
        ids: ``manufacturer``, ``model``, ``version``.
    """

    path: Path
    spki: bytes
    key: Key
    ids: Mapping[str, str]


def device_ids(leaf: x509.Certificate) -> dict[str, str]:
    """What a certificate's alternative name says of the TPM; a name that is there twice is left
    out, and what is not there as well."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    extension = _extension(leaf, x509.SubjectAlternativeName)
    for directory in extension.value.get_values_for_type(x509.DirectoryName) if extension else ():
        for attribute in directory:
            name, value = _NAMES.get(attribute.oid.dotted_string), attribute.value
            if name is None or not isinstance(value, str):
                continue
            if name in found:
                twice.add(name)
            found[name] = value[:64]
    return {name: value for name, value in found.items() if name not in twice}


def check_endorsement(
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[Anchor],
    *,
    at: int,
    steps: Steps,
) -> Endorsement:
    """Verify the certificates of an endorsement key, and that they are of one.

    Args:
        certificates: leaf first. anchors: that the chain may end at. at: ms since 1970.

    Raises:
        AttestationError: a check failed.
    """
    leaf = certificates[0]
    path = verify_path(certificates, anchors, at=at, rules=_RULES, name="tpm2.ek", steps=steps)
    _check_usage(leaf, EK_USAGE, "tpm2.ek", steps)
    alternative, ids = _extension(leaf, x509.SubjectAlternativeName), device_ids(leaf)
    critical = alternative is not None and alternative.critical
    steps.require(critical, "tpm2.ek.names_critical", "chain", "a critical alternative name")
    steps.require(
        len(ids) == len(_NAMES), "tpm2.ek.names", "chain", "manufacturer, model and version, once"
    )
    key = leaf.public_key()
    with steps.typed("tpm2.ek.key", "algorithm"):
        strength_of(key)
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        steps.fail("tpm2.ek.key", "algorithm", "neither RSA nor a curve")
    usage = _extension(leaf, x509.KeyUsage)
    if isinstance(key, rsa.RSAPublicKey):
        decrypts = usage is not None and usage.value.key_encipherment
    else:
        decrypts = usage is not None and usage.value.key_agreement
    steps.require(decrypts, "tpm2.ek.key_usage", "chain", "a key that secrets are sent to")
    return Endorsement(path, spki_of(leaf), key, ids)


def check_attestation_key(
    certificates: Sequence[x509.Certificate],
    spki: bytes,
    anchors: Sequence[Anchor],
    *,
    at: int,
    steps: Steps,
) -> Path:
    """Verify the certificates of an attestation key.

    Args:
        certificates: leaf first. spki: of the key, DER. anchors, at: as above.

    Raises:
        AttestationError: a check failed.
    """
    leaf = certificates[0]
    path = verify_path(certificates, anchors, at=at, rules=_RULES, name="tpm2.ak", steps=steps)
    _check_usage(leaf, AK_USAGE, "tpm2.ak", steps)
    usage = _extension(leaf, x509.KeyUsage)
    signs = usage is not None and usage.value.digital_signature
    steps.require(signs, "tpm2.ak.key_usage", "chain", "a key that signs")
    steps.require(spki_of(leaf) == spki, "tpm2.ak.certified", "key", "the certificate's key")
    return path


def _check_usage(leaf: x509.Certificate, usage: str, name: str, steps: Steps) -> None:
    extension = _extension(leaf, x509.ExtendedKeyUsage)
    found = [oid.dotted_string for oid in extension.value] if extension else []
    steps.require(usage in found, f"{name}.usage", "chain", ", ".join(found) or "none")


def _extension(
    certificate: x509.Certificate, kind: type[_Extension]
) -> x509.Extension[_Extension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
