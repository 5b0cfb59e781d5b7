"""Certificate chains of attestation (RFC 5280 section 6.1), leaf first, up to a pinned key.

Two validators. :func:`verify_strict` is that of ``cryptography``, for chains that follow the Web
PKI's rules. Devices' chains often do not (GeneralizedTime before 2050, no expiry, critical
extensions of their own): :func:`verify_path` is for those, and says in :class:`PathRules` what it
allows. Neither accepts a certificate that an end entity issued, unless the rules say so: loops over
pairs would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from verify.attestation.identifiers import certificate_identifiers, key_identifier, spki_of
from verify.attestation.materials import Anchor
from verify.attestation.steps import Steps
from verify.attestation.x509signatures import HASHES, authority_key, is_signed_by

MAX_CHAIN: Final = 8
MAX_CERTIFICATE: Final = 8192
_MAX_CONTENT: Final = 3072
"""Bytes of it without key and signature. Read, they take up to fifty times as much memory."""
_KEPT: Final = 2048
"""Certificates up to this size are kept for when they come again."""
_DER: Final = Encoding.DER
_OF_READING: Final = (
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading raises beside ValueError."""
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_KNOWN: Final = frozenset(
    (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE)
)


@dataclass(frozen=True, slots=True)
class PathRules:
    """What a format's chains may do that the strict validator refuses.

    Attributes:
        dates: ``check`` every certificate but the anchor; ``ignore`` for chains that are put into
            devices at the factory and never renewed.
        critical: dotted OIDs of critical extensions that the format itself reads.
        leaf_may_be_ca: whether the leaf may have the CA bit (Open DICE's have).
        key_usage: whether a CA without key usage is refused.
        plain_attester: whether the certificate right above the leaf may lack the CA bit, as those
            of early Android factories do. The format then has to see to it that no attested key
            stands there.
    """

    dates: Literal["check", "ignore"] = "check"
    critical: frozenset[str] = frozenset()
    leaf_may_be_ca: bool = False
    key_usage: bool = True
    plain_attester: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A verified chain.

    Attributes:
        certificates: leaf first, as they came. anchor: what it ends at.
        not_after: ms since 1970, the earliest end of those whose dates count; None without.
    """

    certificates: tuple[x509.Certificate, ...]
    anchor: Anchor
    not_after: int | None

    def identifiers(self, format_name: str) -> frozenset[str]:
        """What may be revoked of it: also the anchor's key, which a chain may leave out."""
        named = certificate_identifiers(self.certificates, format_name)
        return named | {key_identifier(self.anchor.spki)}


def read_certificates(chain: Sequence[bytes], name: str, steps: Steps) -> list[x509.Certificate]:
    """Read DER certificates, bounded in count and size, extensions included.

    Args:
        name: of the step.

    Raises AttestationError ``attestation.malformed``.
    """
    steps.require(0 < len(chain) <= MAX_CHAIN, name, "malformed", f"{len(chain)} certificates")
    found: list[x509.Certificate] = []
    for der in chain:
        small = isinstance(der, bytes) and len(der) <= MAX_CERTIFICATE
        steps.require(small, name, "malformed", "a certificate of bounded size")
        read = _read_certificate if len(der) <= _KEPT else _read_certificate.__wrapped__
        with steps.typed(name), supported(steps, name):
            certificate, wrong = read(der)
        steps.require(not wrong, name, "malformed", wrong or "read")
        found.append(certificate)
    steps.require(len(set(chain)) == len(found), name, "malformed", "no certificate twice")
    return found


@lru_cache(maxsize=512)
def _read_certificate(der: bytes) -> tuple[x509.Certificate, str]:
    """A certificate, and what is wrong with its form. The same come again with every boot."""
    certificate = x509.load_der_x509_certificate(der)
    if certificate.version is not x509.Version.v3:
        return certificate, "a certificate is not of version 3"
    # Reading refuses duplicates and what is not DER.
    _ = certificate.extensions, certificate.subject, certificate.issuer
    content = len(der) - len(spki_of(certificate)) - len(certificate.signature)
    if content > _MAX_CONTENT:
        raise ValueError("names and extensions of unbounded size")
    bound = is_bound(der, certificate.tbs_certificate_bytes, certificate.signature)
    return certificate, "" if bound else "its signature's form"


def is_bound(der: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether what no signature covers of a certificate or CRL has one form.

    That is: the algorithm, said once more as it is signed, and a signature without unused bits.

    Args:
        der: all of it. signed: what the signature is over. signature: its bytes.
    """
    start = der.find(signed) + len(signed)
    rest = der[start : len(der) - len(signature) - 1]
    # SEQUENCE of at most 127 bytes for the algorithm; PSS takes that at most.
    algorithm = rest[: 2 + rest[1]] if len(rest) > 2 and rest[1] < 128 else b""
    whole = der.endswith(b"\x00" + signature)
    return whole and bool(algorithm) and algorithm in signed


@contextmanager
def supported(steps: Steps, name: str) -> Iterator[None]:
    """What ``cryptography`` does not know becomes a failed step."""
    try:
        yield
    except _OF_READING as error:
        steps.fail(name, "algorithm", type(error).__name__)


def verify_strict(
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[Anchor],
    *,
    at: int,
    name: str,
    steps: Steps,
) -> Path:
    """Verify a chain as the Web PKI does, but for what the leaf says.

    Args:
        certificates: leaf first, without the root or with it. anchors: those that are certificates
            count. at: ms since 1970. name: prefix of the steps.

    Raises:
        AttestationError: ``attestation.chain``, ``.anchor``, ``.expired``.
    """
    roots = {anchor.certificate: anchor for anchor in anchors if anchor.certificate and anchor.spki}
    if not roots:
        steps.fail(f"{name}.anchor", "anchor", "no trust anchor that is a certificate")
    store = _store(tuple(roots))
    below = [item for item in certificates[1:] if item.public_bytes(_DER) not in roots]
    if len(below) < len(certificates) - 1 and certificates[-1].public_bytes(_DER) not in roots:
        steps.fail(f"{name}.chain", "chain", "a root that is not the last")
    _check_strict(certificates, name, steps)
    moment = datetime.fromtimestamp(at / 1000, UTC)
    verifier = (
        verification.PolicyBuilder()
        .store(store)
        .time(moment)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(certificates[0], below).chain
    except (verification.VerificationError, UnsupportedAlgorithm, ValueError) as error:
        steps.fail(f"{name}.chain", "chain", str(error))
    used = [item.public_bytes(_DER) for item in chain]
    if len(used) != len(below) + 2:
        steps.fail(f"{name}.chain", "chain", "a certificate that is not of the chain")
    steps.passed(f"{name}.chain", f"{len(used)} certificates up to {roots[used[-1]].name}")
    return Path(tuple(certificates), roots[used[-1]], min(map(_end, chain[:-1])))


def _check_strict(certificates: Sequence[x509.Certificate], name: str, steps: Steps) -> None:
    """What the library leaves open: what a leaf may be, and how much there is to try.

    With one name for several certificates it looks for a way through all of them.
    """
    _check_critical(certificates[0], frozenset(), name, steps)
    _check_leaf(certificates[0], name, steps)
    names = {certificate.subject.public_bytes() for certificate in certificates}
    once = len(names) == len(certificates)
    steps.require(once, f"{name}.names", "chain", "each certificate has a name of its own")
    for certificate in certificates[1:]:
        try:
            authority_key(spki_of(certificate))
        except (ValueError, UnsupportedAlgorithm):
            steps.fail(f"{name}.algorithm", "algorithm", "an authority's key")


@lru_cache(maxsize=16)
def _store(roots: tuple[bytes, ...]) -> verification.Store:
    return verification.Store([x509.load_der_x509_certificate(der) for der in roots])


def verify_path(
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[Anchor],
    *,
    at: int,
    rules: PathRules,
    name: str,
    steps: Steps,
) -> Path:
    """Verify a chain by the rules of its format.

    The chain may hold its root or not. A root in it has to be an anchor's certificate byte for
    byte, or, where only the anchor's key is pinned, to have signed itself.

    Args:
        certificates: leaf first (:func:`read_certificates`). at: ms since 1970.
        name: prefix of the steps.

    Raises:
        AttestationError: ``attestation.chain``, ``.anchor``, ``.expired``, ``.algorithm``.
    """
    found = list(certificates)
    anchor, top = _find_anchor(found, anchors, name, steps)
    for index, certificate in enumerate(found):
        _check_critical(certificate, rules.critical, name, steps)
        if index < top and rules.dates == "check":
            _check_dates(certificate, index, at, name, steps)
        if index:
            _check_authority(certificate, index, found, rules, name, steps)
        elif not rules.leaf_may_be_ca:
            _check_leaf(certificate, name, steps)
    if top == len(found) and anchor.certificate:
        root = _anchor_certificate(anchor.certificate)
        # Leaving the root out lifts none of its limits.
        if root.version is x509.Version.v3:
            _check_authority(root, top, found, rules, name, steps)
    own = spki_of(found[0]) == anchor.spki
    steps.require(not own, f"{name}.anchor", "anchor", "the leaf's key is not the anchor's")
    pairs = list(zip(found, found[1:], strict=False))
    for child, parent in pairs:
        steps.require(child.issuer == parent.subject, f"{name}.names", "chain", "issuer, subject")
    # From the anchor down: keys that nobody vouches for are never calculated with.
    for child, parent in reversed(pairs):
        _check_signature(child, spki_of(parent), name, steps)
    steps.passed(f"{name}.chain", f"{len(found)} certificates up to {anchor.name}")
    dated = [] if rules.dates == "ignore" else found[:top]
    return Path(tuple(found), anchor, min(map(_end, dated), default=None))


def _end(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp()) * 1000


def _find_anchor(
    found: list[x509.Certificate], anchors: Sequence[Anchor], name: str, steps: Steps
) -> tuple[Anchor, int]:
    """The anchor, and how many of the certificates are below it."""
    last = found[-1]
    spki = spki_of(last)
    for anchor in anchors:
        if anchor.spki != spki or len(found) < 2:
            continue
        if last.public_bytes(_DER) == anchor.certificate:
            return anchor, len(found) - 1
        # Its key is what is pinned; that it says anything else has to be its own word.
        if last.issuer == last.subject:
            _check_signature(last, anchor.spki, name, steps)
            return anchor, len(found) - 1
    for anchor in anchors:
        if _is_named(anchor, last.issuer) and is_signed_by(last, anchor.spki):
            return anchor, len(found)
    steps.fail(f"{name}.anchor", "anchor", f"none of {len(anchors)} trust anchors")


def _is_named(anchor: Anchor, name: x509.Name) -> bool:
    """Whether an anchor can be an issuer of this name; a key alone can be any."""
    return not anchor.certificate or _anchor_certificate(anchor.certificate).subject == name


@lru_cache(maxsize=512)
def _anchor_certificate(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _check_critical(
    certificate: x509.Certificate, more: frozenset[str], name: str, steps: Steps
) -> None:
    for extension in certificate.extensions:
        oid = extension.oid
        if extension.critical and oid not in _KNOWN and oid.dotted_string not in more:
            steps.fail(f"{name}.critical", "chain", oid.dotted_string)


def _check_dates(
    certificate: x509.Certificate, index: int, at: int, name: str, steps: Steps
) -> None:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        steps.fail(f"{name}.dates", "expired", f"certificate {index}")


def _check_leaf(certificate: x509.Certificate, name: str, steps: Steps) -> None:
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is not None and basic.ca:
        steps.fail(f"{name}.leaf", "chain", "the leaf is a certificate authority")


def _check_authority(
    certificate: x509.Certificate,
    index: int,
    found: list[x509.Certificate],
    rules: PathRules,
    name: str,
    steps: Steps,
) -> None:
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if index == 1 and rules.plain_attester and (basic is None or not basic.ca):
        return
    if basic is None or not basic.ca:
        steps.fail(f"{name}.authority", "chain", f"certificate {index} is no authority")
    below = sum(1 for item in found[1:index] if not _is_self_issued(item))
    if basic.path_length is not None and below > basic.path_length:
        steps.fail(f"{name}.path_length", "chain", f"certificate {index}: {basic.path_length}")
    if (usage is None and rules.key_usage) or (usage is not None and not usage.key_cert_sign):
        steps.fail(f"{name}.key_usage", "chain", f"certificate {index} may not sign certificates")


def _is_self_issued(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_signature(child: x509.Certificate, spki: bytes, name: str, steps: Steps) -> None:
    digest = _hash_of(child)
    if digest is not None and not isinstance(digest, HASHES):
        steps.fail(f"{name}.algorithm", "algorithm", digest.name)
    if not is_signed_by(child, spki):
        steps.fail(f"{name}.signature", "signature", "a certificate's signature")


def _hash_of(certificate: x509.Certificate) -> HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
