"""Layers as CWTs (RFC 8392): COSE_Sign1 each, the one next to the UDS first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from depin_id.ecdsa import VerificationKey, admit_p384
from depin_id.errors import DepinError, EncodingError
from depin_id.keys import admit
from verify.attestation import foreign_cbor, foreign_cose
from verify.attestation.foreign_cose import CoseMessage, CoseRules
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Anchor
from verify.attestation.open_dice.layer import MAX_LAYERS, Layer
from verify.attestation.public_keys import read_spki, spki_of_raw
from verify.attestation.steps import Steps

MAX_CERTIFICATE: Final = 16_384
_RULES: Final = CoseRules(frozenset((-7, -9, -35, -51, -8, -19)), untagged="Signature1")
_ISS, _SUB = 1, 2
_CODE, _CODE_TEXT, _CONFIG, _CONFIG_TEXT = -4670545, -4670546, -4670547, -4670548
_AUTHORITY, _AUTHORITY_TEXT, _MODE = -4670549, -4670550, -4670551
_KEY, _USAGE, _PROFILE = -4670552, -4670553, -4670554
_INPUTS: Final = frozenset(range(_MODE, _CODE + 1))
_KNOWN: Final = frozenset((_ISS, _SUB, _KEY, _USAGE, _PROFILE)) | _INPUTS
_CERT_SIGN: Final = b"\x20"
_VERIFY: Final = 2
_CURVES: Final[Mapping[tuple[Any, Any], str]] = {(1, 6): "ed25519", (2, 1): "p256", (2, 2): "p384"}
_ALGORITHMS: Final = {"ed25519": (-8, -19), "p256": (-7, -9), "p384": (-35, -51)}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A CWT: its envelope, and what it says. ``inputs``: whether it measures a layer at all."""

    cose: CoseMessage
    layer: Layer
    inputs: bool


def read_chain(chain: Sequence[Any], steps: Steps) -> tuple[Certificate, ...]:
    """Read CWTs: form only. Raises AttestationError."""
    count = 0 < len(chain) <= MAX_LAYERS + 1
    steps.require(count, "open-dice.form", "malformed", f"{len(chain)} certificates")
    found = []
    for item in chain:
        small = type(item) is bytes and len(item) <= MAX_CERTIFICATE
        steps.require(small, "open-dice.form", "malformed", "a certificate of bounded size")
        found.append(_read(item, steps))
    return tuple(found)


def _read(data: bytes, steps: Steps) -> Certificate:
    cose = foreign_cose.open_message(
        data, _RULES, max_bytes=MAX_CERTIFICATE, name="open-dice", steps=steps
    )
    only = set(cose.protected) == {foreign_cose.ALG}
    steps.require(only, "open-dice.headers", "malformed", "the protected header is exactly alg")
    with steps.typed("open-dice.claims"):
        claims = foreign_cbor.decode(cose.payload, max_bytes=MAX_CERTIFICATE, max_depth=4)
        if not isinstance(claims, dict) or not _KNOWN.issuperset(claims):
            raise EncodingError("encoding.malformed", "not the map of a certificate")
        for label, value in claims.items():
            if type(value) is not (str if label in (_ISS, _SUB, _PROFILE) else bytes):
                raise EncodingError("encoding.malformed", f"claim {label} has another type")
    ids = all(0 < len(claims.get(label, "")) <= 128 for label in (_ISS, _SUB))
    steps.require(ids, "open-dice.ids", "malformed", "issuer and subject")
    usage = claims.get(_USAGE) == _CERT_SIGN
    steps.require(usage, "open-dice.key_usage", "malformed", "exactly keyCertSign")
    profile = claims.get(_PROFILE, "")
    steps.require(len(profile) <= 128, "open-dice.profile", "malformed", "a short name")
    mode = claims.get(_MODE)
    key, spki = _subject_key(claims.get(_KEY, b""), steps)
    layer = Layer(
        key=key,
        spki=spki,
        issuer=claims[_ISS],
        subject=claims[_SUB],
        code=claims.get(_CODE),
        authority=claims.get(_AUTHORITY),
        config=claims.get(_CONFIG),
        descriptor=claims.get(_CONFIG_TEXT),
        mode=mode[0] if mode is not None and len(mode) == 1 else None,
        profile=profile,
    )
    return Certificate(cose, layer, not _INPUTS.isdisjoint(claims))


def _subject_key(data: bytes, steps: Steps) -> tuple[VerificationKey, bytes]:
    """A COSE_Key, and its SubjectPublicKeyInfo.

    ``alg`` and ``key_ops`` may be there and have to fit.
    """
    with steps.typed("open-dice.key"):
        members = foreign_cbor.decode(data, max_bytes=8192, max_depth=3)
        if not isinstance(members, dict) or not {1, 2, 3, 4, -1, -2, -3}.issuperset(members):
            raise EncodingError("encoding.malformed", "not a COSE_Key")
    kind, curve, x, y = (members.get(label) for label in (1, -1, -2, -3))
    numbered = isinstance(kind, int) and isinstance(curve, int)
    name = _CURVES.get((kind, curve), "") if numbered else ""
    steps.require(bool(name), "open-dice.key", "algorithm", "Ed25519, P-256 or P-384")
    fits = members.get(3, _ALGORITHMS[name][0]) in _ALGORITHMS[name]
    steps.require(fits, "open-dice.key", "malformed", "its algorithm is its curve's")
    may_verify = members.get(4, [_VERIFY]) == [_VERIFY]
    steps.require(may_verify, "open-dice.key", "malformed", "it is for verifying")
    try:
        if name == "ed25519" and type(x) is bytes and y is None:
            return admit("ed25519", x), spki_of_raw(name, x)
        size = 32 if name == "p256" else 48
        if type(x) is bytes and type(y) is bytes and len(x) == len(y) == size:
            point = b"\x04" + x + y
            key = admit("p256", point) if name == "p256" else admit_p384(point)
            return key, spki_of_raw(name, point)
    except DepinError as error:
        steps.fail("open-dice.key", "key", error.message)
    steps.fail("open-dice.key", "malformed", "its coordinates")


def verify_chain(
    chain: Sequence[Certificate], anchors: Sequence[Anchor], steps: Steps
) -> tuple[Anchor, VerificationKey, tuple[Layer, ...], frozenset[str]]:
    """Verify a chain from its anchor down.

    Returns:
        Its anchor, the key of the UDS, the layers from the UDS down, and what may be revoked.

    Raises:
        AttestationError: ``attestation.anchor``, ``.signature``, ``.chain``.
    """
    first = chain[0]
    anchor = next((item for item in anchors if _is_signed(first, item.spki)), None)
    if anchor is None:
        steps.fail("open-dice.anchor", "anchor", f"none of {len(anchors)} trust anchors")
    layers = list(chain if first.inputs else chain[1:])
    if anchor.ids.get("role") == "manufacturer":
        given = not first.inputs and first.layer.spki != anchor.spki
        steps.require(given, "open-dice.uds", "chain", "the manufacturer certifies a UDS")
    elif not first.inputs:
        itself = first.layer.issuer == first.layer.subject
        itself = itself and first.layer.spki == anchor.spki
        steps.require(itself, "open-dice.uds", "chain", "a UDS certifies itself")
    steps.require(bool(layers), "open-dice.layers", "chain", f"{len(layers)} layers")
    for parent, child in zip(chain, chain[1:], strict=False):
        linked = child.layer.issuer == parent.layer.subject
        steps.require(linked, "open-dice.ids", "chain", "issuer and subject are linked")
        steps.require(child.inputs, "open-dice.inputs", "chain", "every layer is measured")
        signed = _is_signed(child, parent.layer.spki)
        steps.require(signed, "open-dice.signature", "signature", "by the layer before it")
    steps.passed("open-dice.chain", f"{len(layers)} layers below {anchor.name}")
    keys = {key_identifier(item.layer.spki) for item in chain}
    keys.add(key_identifier(anchor.spki))
    uds = _uds_key(anchor, first)
    if uds is None:
        steps.fail("open-dice.anchor", "algorithm", "a key of another kind")
    return anchor, uds, tuple(item.layer for item in layers), frozenset(keys)


def _uds_key(anchor: Anchor, first: Certificate) -> VerificationKey | None:
    return read_spki(anchor.spki) if first.inputs else first.layer.key


def _is_signed(certificate: Certificate, spki: bytes) -> bool:
    try:
        key = foreign_cose.load_key(spki)
    except ValueError:
        return False
    return certificate.cose.verifies(key)
