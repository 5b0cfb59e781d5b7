"""Layers as X.509 certificates with the extension OpenDiceInput, the last layer's first.

Every layer is an authority for the next one, so the attested key could issue one more. That is no
way round: a certificate below the UDS without the extension is refused, and one with it is a layer
that counts and has to be approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import NameOID

from depin_id.ecdsa import VerificationKey
from depin_id.errors import DepinError
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchor
from verify.attestation.open_dice.layer import Layer
from verify.attestation.public_keys import admitted
from verify.attestation.steps import Steps
from verify.attestation.x509path import PathRules, read_certificates, verify_path

OID: Final = "1.3.6.1.4.1.11129.2.1.24"
_INPUT: Final = x509.ObjectIdentifier(OID)
_RULES: Final = PathRules(critical=frozenset((OID,)), leaf_may_be_ca=True)
_SEQUENCE, _OCTETS, _ENUMERATED, _UTF8 = 0x30, 0x04, 0x0A, 0x0C
_MODE, _PROFILE, _FIELDS = 6, 7, 8


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates as they came; ``layers`` are those with the extension, the last layer first."""

    certificates: tuple[x509.Certificate, ...]
    layers: tuple[Layer, ...]
    rest: tuple[VerificationKey, ...]


def read_chain(chain: Sequence[bytes], steps: Steps) -> Chain:
    """Read certificates: form only. Raises AttestationError."""
    certificates = read_certificates(chain, "open-dice.certificates", steps)
    keys = [_key_of(certificate, steps) for certificate in certificates]
    inputs = [_inputs(certificate, steps) for certificate in certificates]
    count = next((at for at, value in enumerate(inputs) if value is None), len(inputs))
    layers = [
        _layer(certificate, key, value, steps)
        for certificate, key, value in zip(certificates, keys, inputs, strict=True)
        if value is not None
    ]
    # Below the UDS every certificate measures a layer; above it none does.
    together = len(layers) == count
    steps.require(together, "open-dice.inputs", "chain", "every layer is measured")
    return Chain(tuple(certificates), tuple(layers), tuple(keys[count:]))


def _key_of(certificate: x509.Certificate, steps: Steps) -> VerificationKey:
    try:
        key = admitted(certificate.public_key())
    except DepinError as error:
        steps.fail("open-dice.key", "key", error.message)
    if key is None:
        steps.fail("open-dice.key", "algorithm", "neither Ed25519 nor P-256 nor P-384")
    return key


def _inputs(certificate: x509.Certificate, steps: Steps) -> dict[int, bytes] | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(_INPUT)
    except x509.ExtensionNotFound:
        return None
    steps.require(extension.critical, "open-dice.extension", "malformed", "it is critical")
    value = extension.value
    raw = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    with steps.typed("open-dice.extension"):
        return parse_inputs(raw)


def parse_inputs(data: bytes) -> dict[int, bytes]:
    """Read an OpenDiceInput strictly: fields by their tag, each once and in order.

    Raises:
        ValueError: it is not one in DER.
    """
    tag, body, end = _tlv(data, 0)
    if tag != _SEQUENCE or end != len(data):
        raise ValueError("no sequence")
    found: dict[int, bytes] = {}
    at, least = 0, 0
    while at < len(body):
        tag, inner, at = _tlv(body, at)
        number = tag - 0xA0
        if not least <= number < _FIELDS:
            raise ValueError("a field of another kind, or out of order")
        kind, value, end = _tlv(inner, 0)
        wanted = {_MODE: _ENUMERATED, _PROFILE: _UTF8}.get(number, _OCTETS)
        if kind != wanted or end != len(inner) or (number == _MODE and len(value) != 1):
            raise ValueError("a value of another type")
        found[number], least = value, number + 1
    return found


def _tlv(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, value and where it ends; definite lengths in the shortest form."""
    if len(data) < at + 2:
        raise ValueError("cut short")
    tag, size, start = data[at], data[at + 1], at + 2
    if size >= 0x80:
        width = size & 0x7F
        if not 0 < width <= 2 or len(data) < start + width:
            raise ValueError("a length of another form")
        size = int.from_bytes(data[start : start + width])
        if size < 0x80 or size < 1 << 8 * (width - 1):
            raise ValueError("a length longer than needed")
        start += width
    if len(data) < start + size:
        raise ValueError("cut short")
    return tag, data[start : start + size], start + size


def _layer(
    certificate: x509.Certificate, key: VerificationKey, found: dict[int, bytes], steps: Steps
) -> Layer:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        signs = usage.key_cert_sign and not usage.digital_signature and basic.ca
    except x509.ExtensionNotFound:
        signs = False
    steps.require(signs, "open-dice.key_usage", "malformed", "exactly keyCertSign")
    with steps.typed("open-dice.profile"):
        profile = found.get(_PROFILE, b"").decode()
    mode = found.get(_MODE)
    return Layer(
        key=key,
        spki=spki_of(certificate),
        issuer=_id_of(certificate.issuer, steps),
        subject=_id_of(certificate.subject, steps),
        code=found.get(0),
        authority=found.get(4),
        config=found.get(2),
        descriptor=found.get(3),
        mode=None if mode is None else mode[0],
        profile=profile[:128],
    )


def _id_of(name: x509.Name, steps: Steps) -> str:
    """An id of DICE stands in the serial number of a name."""
    values = [item.value for item in name.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    good = len(values) == 1 and isinstance(values[0], str) and 0 < len(values[0]) <= 128
    steps.require(good, "open-dice.ids", "malformed", "issuer and subject")
    return str(values[0])


def verify_chain(
    chain: Chain, anchors: Sequence[Anchor], at: int, steps: Steps
) -> tuple[Anchor, VerificationKey, tuple[Layer, ...], frozenset[str], int | None]:
    """Verify a chain up to its anchor.

    Returns:
        Its anchor, the key of the UDS, the layers from the UDS down, what may be revoked, and when
        the first certificate ends (ms since 1970).

    Raises:
        AttestationError: see :func:`~verify.attestation.x509path.verify_path`.
    """
    steps.require(bool(chain.layers), "open-dice.layers", "chain", f"{len(chain.layers)} layers")
    path = verify_path(
        chain.certificates, anchors, at=at, rules=_RULES, name="open-dice", steps=steps
    )
    above = chain.certificates[len(chain.layers) :]
    if path.anchor.ids.get("role") == "manufacturer":
        given = bool(above) and spki_of(above[0]) != path.anchor.spki
        steps.require(given, "open-dice.uds", "chain", "the manufacturer certifies a UDS")
        uds = chain.rest[0]
    else:
        itself = len(above) <= 1 and all(spki_of(item) == path.anchor.spki for item in above)
        steps.require(itself, "open-dice.uds", "chain", "a UDS certifies itself")
        uds = _anchored(path.anchor, steps)
    names = path.identifiers("open-dice")
    return path.anchor, uds, chain.layers[::-1], names, path.not_after


def _anchored(anchor: Anchor, steps: Steps) -> VerificationKey:
    with steps.typed("open-dice.anchor", "algorithm"):
        key = admitted(load_der_public_key(anchor.spki))
    if key is None:
        steps.fail("open-dice.anchor", "algorithm", "a key of another kind")
    return key
