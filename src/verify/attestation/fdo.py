"""FIDO Device Onboard 1.1: ownership vouchers, as a signed history of who owns a device.

A voucher says who made a device and to whom it went. It says nothing of what keeps a key or what
runs: as evidence it names, and that is all (assurance ``software``, never affirmed hardware).
:func:`verify_voucher` is what a transfer of ownership needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from depin_id import cbor
from depin_id.errors import DepinError
from depin_id.keys import P256_ORDER, PublicKey
from verify.attestation import foreign_cose
from verify.attestation.foreign_cose import CoseMessage, CoseRules, VerifyKey
from verify.attestation.identifiers import key_identifier, spki_of
from verify.attestation.materials import Anchor, Anchors, Model
from verify.attestation.model import MAX_EVIDENCE, BoundKey, Expected, HardwareRoot, VerifiedClaims
from verify.attestation.public_keys import device_key
from verify.attestation.steps import Steps
from verify.attestation.x509path import (
    Path,
    PathRules,
    read_certificates,
    supported,
    verify_path,
)

NAME: Final = "fdo"
MEDIA_TYPE: Final = "application/vnd.fdo.ownership-voucher+cbor"
LABEL: Final = "depin-fdo/v1"
VERSION: Final = 101
MAX_ENTRIES: Final = 32
_RULES: Final = CoseRules(frozenset((-7, -35, -257)))
_HASHES: Final = {-16: hashlib.sha256, -43: hashlib.sha384}
_HMACS: Final = {5: 32, 6: 48}
_RSA_2048, _RSA, _P256, _P384 = 1, 5, 10, 11
_SPKI, _CHAIN = 1, 2
_ALGORITHMS: Final = {_RSA_2048: -257, _RSA: -257, _P256: -7, _P384: -35}


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """A key of a manufacturer or an owner.

    Attributes:
        kind: ``pkType`` of the standard. spki: its SubjectPublicKeyInfo, DER.
    """

    kind: int
    spki: bytes
    loaded: VerifyKey

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether it signed; of P-256 only in the form with the low s."""
        if self.kind == _P256 and int.from_bytes(signature[32:]) > P256_ORDER // 2:
            return False
        algorithm = _ALGORITHMS[self.kind]
        return foreign_cose.signature_is_good(algorithm, self.loaded, signature, signed)


@dataclass(frozen=True, slots=True)
class Entry:
    """One transfer: what was signed, and to whom it goes."""

    cose: CoseMessage
    encoded: bytes
    previous: tuple[int, bytes]
    header: tuple[int, bytes]
    owner: OwnerKey


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher; from :func:`verify_voucher` every link of it is verified.

    Attributes:
        guid: of the device, 16 bytes. info: what it is, a text of the manufacturer's.
        manufacturer: its key. entries: transfers, the first one first.
        chain: the device's certificates, DER, its own first; empty when it has none.
        header, hmac: as they arrived; the device alone can check the second.
    """

    guid: bytes
    info: str
    manufacturer: OwnerKey
    entries: tuple[Entry, ...]
    chain: tuple[bytes, ...]
    chain_hash: tuple[int, bytes] | None
    header: bytes
    hmac: bytes

    @property
    def owner(self) -> OwnerKey:
        """Who it belongs to: whom the last entry names, or the manufacturer."""
        return self.entries[-1].owner if self.entries else self.manufacturer


def signed_bytes(challenge: bytes, voucher: bytes) -> bytes:
    """What the owner's key signs: the challenge (32 bytes) and which voucher it is."""
    return cbor.encode([LABEL, challenge, hashlib.sha256(voucher).digest()])


def verify_voucher(data: bytes, anchors: Anchors, *, at: int | None = None) -> Voucher:
    """Verify a voucher from its manufacturer to its last owner.

    Args:
        data: in deterministic CBOR. anchors: those of the format ``fdo`` are manufacturers' keys,
            but those with ``role`` = ``device-ca``: with any of these the device's certificates
            have to lead to one. at: ms since 1970, for the dates of these certificates.

    Raises:
        AttestationError: ``attestation.malformed``, ``.anchor``, ``.signature``, ``.claims``.
    """
    steps = Steps()
    voucher = read_voucher(data, steps)
    check_voucher(voucher, anchors, steps)
    _check_device(voucher, anchors, at, steps)
    return voucher


def read_voucher(data: bytes, steps: Steps) -> Voucher:
    """Read a voucher: form only. Raises AttestationError ``attestation.malformed``."""
    with steps.typed("fdo.voucher"):
        value: Any = cbor.decode(data, max_bytes=MAX_EVIDENCE)
        version, raw, hmac, chain, entries = _array(value, 5)
        header = _array(cbor.decode(_bytes(raw, 16_384)), 6)
        if version != VERSION or header[0] != VERSION:
            raise ValueError("not of this version")
        guid, _, info, key, chain_hash = header[1:]
        if len(_bytes(guid, 16)) != 16 or type(info) is not str or len(info) > 256:
            raise ValueError("GUID or device information")
        kind, tag = _array(hmac, 2)
        if type(kind) is not int or _HMACS.get(kind) != len(_bytes(tag, 64)):
            raise ValueError("HMAC")
        certificates = [] if chain is None else _list(chain, 8)
        listed = _list(entries, MAX_ENTRIES)
    if (chain is None) != (chain_hash is None):
        steps.fail("fdo.voucher", "malformed", "a chain and its hash come together")
    with steps.typed("fdo.voucher"):
        found = tuple(_bytes(der, 16_384) for der in certificates)
        hashed = None if chain_hash is None else _hash(chain_hash)
    made = _key(key, steps)
    transfers = tuple(_entry(entry, steps) for entry in listed)
    return Voucher(guid, info, made, transfers, found, hashed, raw, cbor.encode(hmac))


def check_voucher(voucher: Voucher, anchors: Anchors, steps: Steps) -> Anchor:
    """Everything but the form; gives the manufacturer's anchor. See :func:`verify_voucher`."""
    makers = [anchor for anchor in anchors.of(NAME) if anchor.ids.get("role") != "device-ca"]
    maker = next((item for item in makers if item.spki == voucher.manufacturer.spki), None)
    if maker is None:
        steps.fail("fdo.anchor", "anchor", f"none of {len(makers)} manufacturers")
    steps.passed("fdo.anchor", maker.name)
    if voucher.chain_hash is not None:
        fits = _is_hash(voucher.chain_hash, voucher.chain)
        steps.require(fits, "fdo.device_chain", "claims", "the hash of the device's certificates")
    owner, before = voucher.manufacturer, voucher.header + voucher.hmac
    about = (voucher.guid, voucher.info.encode())
    for number, entry in enumerate(voucher.entries):
        linked = _is_hash(entry.previous, [before])
        steps.require(linked, "fdo.previous", "claims", f"entry {number}: what came before")
        same = _is_hash(entry.header, about)
        steps.require(same, "fdo.header_info", "claims", f"entry {number}: GUID and information")
        right = entry.cose.algorithm == _ALGORITHMS[owner.kind]
        steps.require(right, "fdo.algorithm", "algorithm", f"entry {number}: of the owner's key")
        signed = entry.cose.verifies(owner.loaded)
        steps.require(signed, "fdo.signature", "signature", f"entry {number}: by who owned it")
        owner, before = entry.owner, entry.encoded
    return maker


def _check_device(voucher: Voucher, anchors: Anchors, at: int | None, steps: Steps) -> Path | None:
    """The device's certificates, where an authority is pinned for them."""
    authorities = anchors.find(NAME, role="device-ca")
    if not authorities:
        return None
    certificates = read_certificates(voucher.chain, "fdo.certificates", steps)
    if at is None:
        steps.fail("fdo.time", "expired", "no time that the device's certificates are looked at")
    return verify_path(certificates, authorities, at=at, rules=PathRules(), name=NAME, steps=steps)


def _entry(value: Any, steps: Steps) -> Entry:
    with steps.typed("fdo.entry"):
        cose = foreign_cose.from_value(value, _RULES)
        if set(cose.protected) != {foreign_cose.ALG}:
            raise ValueError("the protected header is exactly alg")
        previous, header, extra, key = _array(cbor.decode(cose.payload), 4)
        if extra is not None:
            _bytes(extra, 4096)
        hashes = _hash(previous), _hash(header)
    return Entry(cose, cbor.encode(value), *hashes, _key(key, steps))


def _key(value: Any, steps: Steps) -> OwnerKey:
    """``PublicKey``: its type, how it is written, and the key (SPKI, or a chain's first)."""
    with steps.typed("fdo.key"), supported(steps, "fdo.key"):
        kind, form, body = _array(value, 3)
        if form == _CHAIN:
            spki = spki_of(x509.load_der_x509_certificate(_bytes(_list(body, 8)[0], 16_384)))
        else:
            spki = _bytes(body, 2048)
    steps.require(form in (_SPKI, _CHAIN), "fdo.key", "algorithm", "an SPKI or a chain")
    try:
        loaded = foreign_cose.load_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        steps.fail("fdo.key", "algorithm", "a key of another kind")
    steps.require(_is_kind(kind, loaded), "fdo.key", "algorithm", f"type {kind!r:.20}")
    return OwnerKey(kind, spki, loaded)


def _is_kind(kind: Any, key: VerifyKey) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        size, exponent = key.key_size, key.public_numbers().e
        if kind == _RSA_2048:
            return size == 2048 and exponent == 65_537
        # A long exponent costs whoever verifies a hundred times as much.
        return kind == _RSA and 2048 <= size <= 4096 and 2 < exponent < 1 << 32
    if isinstance(key, ec.EllipticCurvePublicKey):
        wanted = {_P256: "secp256r1", _P384: "secp384r1"}
        return type(kind) is int and wanted.get(kind) == key.curve.name
    return False


def _hash(value: Any) -> tuple[int, bytes]:
    kind, digest = _array(value, 2)
    if type(kind) is not int or kind not in _HASHES:
        raise ValueError("a hash of another kind")
    return kind, _bytes(digest, 48)


def _is_hash(expected: tuple[int, bytes], parts: Iterable[bytes]) -> bool:
    return _HASHES[expected[0]](b"".join(parts)).digest() == expected[1]


def _array(value: Any, size: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != size:
        raise ValueError(f"not an array of {size}")
    return value


def _list(value: Any, most: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"not an array of at most {most}")
    return value


def _bytes(value: Any, most: int) -> bytes:
    if type(value) is not bytes or len(value) > most:
        raise ValueError(f"not a byte string of at most {most}")
    return value


# --- as evidence --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parsed:
    """A voucher, and its last owner's proof."""

    voucher: Voucher
    raw: bytes
    signature: bytes
    challenge: bytes


class Handler:
    """The container: ``{1: voucher, 2: signature, 3: challenge}``."""

    name = NAME
    media_types = frozenset((MEDIA_TYPE,))
    max_bytes = MAX_EVIDENCE

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        try:
            value: Any = cbor.decode(raw, max_bytes=MAX_EVIDENCE)
        except DepinError as error:
            steps.fail("fdo.form", "malformed", error.message)
        whole = isinstance(value, dict) and set(value) == {1, 2, 3}
        steps.require(whole, "fdo.form", "malformed", "a map of exactly 1 to 3")
        typed = all(type(value[label]) is bytes for label in (1, 2, 3))
        steps.require(typed and len(value[3]) == 32, "fdo.form", "malformed", "byte strings")
        voucher = read_voucher(value[1], steps)
        return Parsed(voucher, value[1], value[2], value[3])

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        return _ids(parsed.voucher)

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
        voucher = parsed.voucher
        signed = signed_bytes(parsed.challenge, parsed.raw)
        proven = voucher.owner.verifies(parsed.signature, signed)
        steps.require(proven, "fdo.possession", "signature", "the last owner signed the challenge")
        maker = check_voucher(voucher, anchors, steps)
        keys = {voucher.manufacturer.spki, *(entry.owner.spki for entry in voucher.entries)}
        names = {key_identifier(spki) for spki in keys}
        used, end = [maker.digest], None
        path = _check_device(voucher, anchors, at, steps)
        if path is not None:
            names |= path.identifiers(NAME)
            used.append(path.anchor.digest)
            end = path.not_after
        root = cbor.encode([voucher.guid, voucher.manufacturer.spki])
        return VerifiedClaims(
            challenge_seen=parsed.challenge,
            bound_key=_bound(voucher, expected),
            # Who owns a device says nothing of where its key is.
            root=HardwareRoot(id=hashlib.sha256(root).digest(), unique=True, assurance="software"),
            identifiers=frozenset(names),
            anchors=tuple(used),
            device_ids=_ids(voucher),
            not_after=end,
        )


def _bound(voucher: Voucher, expected: Expected) -> BoundKey:
    """The device's key where it is that of its certificate, which the header's hash covers."""
    key: PublicKey | None = None
    if voucher.chain:
        try:
            key = device_key(x509.load_der_x509_certificate(voucher.chain[0]).public_key())
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, DepinError):
            key = None
    if key is None or (expected.key is not None and key != expected.key):
        return BoundKey(how="challenge")
    return BoundKey(how="attested", key=key)


def _ids(voucher: Voucher) -> dict[str, str]:
    return {"guid": voucher.guid.hex(), "info": voucher.info, "entries": str(len(voucher.entries))}


HANDLER: Final = Handler()
