"""Certificates of a TPM's endorsement and attestation keys (TCG EK Credential Profile)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchor
from verify.attestation.steps import Steps
from verify.attestation.tpm2.endorsement import qualified_names
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
class _Leaf:
    """What the certificate of a TPM's key says.

    Attributes:
        ids: see :func:`device_ids`. critical: whether the name they stand in is critical.
        uses: of its extended key usage. spki: SubjectPublicKeyInfo, DER.
        decrypts, signs: of its key usage: whether secrets are sent to it, whether it signs.
    """

    ids: Mapping[str, str]
    critical: bool
    uses: frozenset[str]
    spki: bytes
    decrypts: bool
    signs: bool


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An endorsement key whose certificate leads to an anchor.

    Attributes:
        path: its chain. spki: SubjectPublicKeyInfo, DER. ids: ``manufacturer``, ``model``,
            ``version``. names: qualified names that it may have, by the templates.
    """

    path: Path
    spki: bytes
    ids: Mapping[str, str]
    names: tuple[bytes, ...]


def device_ids(leaf: x509.Certificate) -> Mapping[str, str]:
    """What a certificate's alternative name says of the TPM; a name that is there twice is left
    out, and what is not there as well."""
    return dict(_read_leaf(leaf).ids)


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
    path = verify_path(certificates, anchors, at=at, rules=_RULES, name="tpm2.ek", steps=steps)
    leaf = _read_leaf(certificates[0])
    _check_usage(leaf, EK_USAGE, "tpm2.ek", steps)
    steps.require(leaf.critical, "tpm2.ek.names_critical", "chain", "a critical alternative name")
    named = len(leaf.ids) == len(_NAMES)
    steps.require(named, "tpm2.ek.names", "chain", "manufacturer, model and version, once")
    with steps.typed("tpm2.ek.key", "algorithm"):
        names = qualified_names(leaf.spki)
    steps.require(leaf.decrypts, "tpm2.ek.key_usage", "chain", "a key that secrets are sent to")
    return Endorsement(path, leaf.spki, leaf.ids, names)


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
    path = verify_path(certificates, anchors, at=at, rules=_RULES, name="tpm2.ak", steps=steps)
    leaf = _read_leaf(certificates[0])
    _check_usage(leaf, AK_USAGE, "tpm2.ak", steps)
    steps.require(leaf.signs, "tpm2.ak.key_usage", "chain", "a key that signs")
    steps.require(leaf.spki == spki, "tpm2.ak.certified", "key", "the certificate's key")
    return path


def _check_usage(leaf: _Leaf, usage: str, name: str, steps: Steps) -> None:
    found = ", ".join(sorted(leaf.uses)) or "none"
    steps.require(usage in leaf.uses, f"{name}.usage", "chain", found)


@lru_cache(maxsize=128)
def _read_leaf(leaf: x509.Certificate) -> _Leaf:
    """What is read of a certificate; the same comes again with every boot."""
    alternative = _extension(leaf, x509.SubjectAlternativeName)
    uses = _extension(leaf, x509.ExtendedKeyUsage)
    extension = _extension(leaf, x509.KeyUsage)
    usage = None if extension is None else extension.value
    key = leaf.public_key()
    encrypted = isinstance(key, rsa.RSAPublicKey)
    return _Leaf(
        ids={} if alternative is None else _read_ids(alternative.value),
        critical=alternative is not None and alternative.critical,
        uses=frozenset(oid.dotted_string for oid in uses.value) if uses else frozenset(),
        spki=spki_of(leaf),
        decrypts=usage is not None
        and (usage.key_encipherment if encrypted else usage.key_agreement),
        signs=usage is not None and usage.digital_signature,
    )


def _read_ids(alternative: x509.SubjectAlternativeName) -> dict[str, str]:
    found: dict[str, str] = {}
    twice: set[str] = set()
    for directory in alternative.get_values_for_type(x509.DirectoryName):
        for attribute in directory:
            name, value = _NAMES.get(attribute.oid.dotted_string), attribute.value
            if name is None or not isinstance(value, str):
                continue
            if name in found:
                twice.add(name)
            found[name] = value[:64]
    return {name: value for name, value in found.items() if name not in twice}


def _extension(
    certificate: x509.Certificate, kind: type[_Extension]
) -> x509.Extension[_Extension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
