"""The signed envelope: protected headers, position and chain, gateway nesting, bundles.

An envelope is a COSE_Sign1 whose protected header is an exact allow-list. Its identity is the
SHA-256 of the bytes that are signed, never of the signature: ECDSA has many for one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

from depin_id import cbor, cose
from depin_id.claims import NO_CLAIMS, Claims, is_uint, parse_claims
from depin_id.common_envelope import Common, read_common
from depin_id.errors import EncodingError, EnvelopeError
from depin_id.keys import ALGORITHMS, PublicKey, Signer

KIND_ENVELOPE = "envelope"
KIND_GATEWAY = "gateway"

CONTENT_SENML = 112
"""CoAP content format of application/senml+cbor (RFC 8428)."""
CONTENT_SIGN1 = 18
"""CoAP content format of a COSE_Sign1: a gateway envelope around one device envelope."""
CONTENT_STATUS = "application/depin-status+cbor"
CONTENT_EVIDENCE = "application/depin-evidence+cbor"
CONTENT_TYPES = (CONTENT_SENML, CONTENT_SIGN1, CONTENT_STATUS, CONTENT_EVIDENCE)

HEADER_CLAIMS = 15
HEADER_PROVENANCE = -65537
HEADER_HASH_ALG, HEADER_PREIMAGE_TYPE, HEADER_LOCATION = 258, 259, 260

PREV_BYTES = 16
NO_PREV = bytes(PREV_BYTES)
"""``prev`` of the first envelope of a boot when no durable head is known."""
MAX_POSITION = (1 << 32) - 1
"""Bound on epoch and n."""
MAX_BUNDLE = 131_072
"""Bound on a bundle, in bytes (128 KiB)."""

MAX_STATUS = 4096
"""Bound on a status, in bytes."""
MIN_ENVELOPE = 96
"""No envelope is smaller, in bytes: the signature alone takes 66."""
_TAG_18 = 0xD2

_ALGORITHMS = {algorithm for pair in ALGORITHMS.values() for algorithm in pair}
_SHA256_ALG = -16
_BASE = {cose.HEADER_ALG, cose.HEADER_KID, HEADER_PROVENANCE}
_PLAIN = _BASE | {cose.HEADER_CONTENT_TYPE}
_HASHED = _BASE | {HEADER_HASH_ALG}
_OPTIONAL = {HEADER_CLAIMS, HEADER_PREIMAGE_TYPE, HEADER_LOCATION}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Header -65537: where in its stream an envelope stands.

    Attributes:
        epoch: boot counter, durable before the first signature of a boot.
        n: counts from 0 within the boot.
        prev: first 16 bytes of the previous envelope's identity; zeros when unknown at n = 0.
        uptime: whole seconds since boot at sealing.
        clock: error bound of the wall clock in whole seconds, or None without a clock.
        ear: the first 16 bytes of the attestation result's digest it stands on, or None.
    """

    epoch: int
    n: int
    prev: bytes
    uptime: int
    clock: int | None = None
    ear: bytes | None = None

    def __post_init__(self) -> None:
        if not is_uint(self.epoch, MAX_POSITION) or not is_uint(self.n, MAX_POSITION):
            _wrong("epoch and n are not integers of 32 bits")
        if type(self.prev) is not bytes or len(self.prev) != PREV_BYTES:
            _wrong("prev is not 16 bytes")
        if not is_uint(self.uptime):
            _wrong("uptime is not whole seconds")
        if self.clock is not None and not is_uint(self.clock):
            _wrong("clock is neither null nor whole seconds")
        if self.ear is not None and (type(self.ear) is not bytes or len(self.ear) != 16):
            _wrong("ear is neither null nor 16 bytes")

    def to_list(self) -> list[Any]:
        """The array of the header."""
        return [self.epoch, self.n, self.prev, self.uptime, self.clock, self.ear]


@dataclass(frozen=True, slots=True)
class PayloadHash:
    """A payload that is the hash of a large object (COSE Hash Envelope, RFC 9995)."""

    preimage_type: int | str | None
    location: str | None


class Envelope(NamedTuple):
    """An envelope as received: its form is checked, its signature is not."""

    raw: bytes
    sign1: cose.Sign1
    kid: bytes
    content_type: int | str | None
    provenance: Provenance
    claims: Claims
    payload_hash: PayloadHash | None

    @property
    def kind(self) -> str:
        """``gateway`` around a device's envelope, ``envelope`` for everything else."""
        return KIND_GATEWAY if self.content_type == CONTENT_SIGN1 else KIND_ENVELOPE

    @property
    def payload(self) -> bytes:
        """The payload's bytes."""
        return self.sign1.payload

    @property
    def algorithm(self) -> int:
        """The COSE algorithm of the signature."""
        return int(self.sign1.headers[cose.HEADER_ALG])

    def to_be_signed(
        self, network: str, key: PublicKey, *, allow_deprecated: bool = False
    ) -> bytes:
        """What an admitted key has to have signed; its SHA-256 is the envelope's identity.

        Raises KeyRefused ``key.algorithm`` (see :func:`depin_id.cose.check_algorithm`).
        """
        cose.check_algorithm(self.algorithm, key, allow_deprecated=allow_deprecated)
        return self.sign1.to_be_signed(self.kind, network, key.thumbprint)

    def verify(self, network: str, key: PublicKey, *, allow_deprecated: bool = False) -> bytes:
        """Verify under an admitted key; gives the envelope's identity, 32 bytes.

        Raises: KeyRefused, SignatureInvalid (see :meth:`depin_id.cose.Sign1.verify`).
        """
        return self.sign1.verify(self.kind, network, key, allow_deprecated=allow_deprecated)


def _wrong(what: str) -> NoReturn:
    raise cose.malformed(what)


def _parse_provenance(value: Any) -> Provenance:
    if not isinstance(value, list) or len(value) != 6:
        _wrong("provenance is not an array of six")
    return Provenance(*value)


def _parse_hash(headers: dict[Any, Any], payload: bytes) -> PayloadHash:
    algorithm = headers[HEADER_HASH_ALG]
    if type(algorithm) is not int or algorithm != _SHA256_ALG or len(payload) != 32:
        _wrong("a payload hash is SHA-256 (-16) and 32 bytes")
    preimage, location = headers.get(HEADER_PREIMAGE_TYPE), headers.get(HEADER_LOCATION)
    if preimage is not None and not (is_uint(preimage, 65535) or _is_text(preimage)):
        _wrong("the preimage content type is neither a CoAP number nor a media type")
    if location is not None and not _is_text(location):
        _wrong("the payload location is not a text of at most 255 characters")
    return PayloadHash(preimage, location)


def _is_text(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 255


def parse_envelope(data: bytes, *, max_bytes: int = MAX_BUNDLE) -> Envelope:
    """Read an envelope strictly; its signature is not looked at.

    Args:
        data: the received bytes, exactly one envelope.
        max_bytes: bound on its size.

    Raises:
        EncodingError: not deterministic CBOR, too large or too deep.
        EnvelopeError: ``envelope.malformed`` or ``envelope.claims``.
    """
    common = read_common(data) if type(data) is bytes and len(data) <= max_bytes else None
    if common is not None and common.algorithm in _ALGORITHMS:
        return _of_common(data, common)
    return parse_any(data, max_bytes=max_bytes)


def parse_any(data: bytes, *, max_bytes: int = MAX_BUNDLE) -> Envelope:
    """What :func:`parse_envelope` does, by the general reader alone (the arbiter of the other)."""
    sign1 = cose.parse_sign1(data, max_bytes=max_bytes)
    headers = sign1.headers
    labels = set(headers)
    hashed = HEADER_HASH_ALG in labels
    if not (_HASHED if hashed else _PLAIN) <= labels or labels - _PLAIN - _HASHED - _OPTIONAL:
        _wrong("the protected header is not exactly the allowed set")
    if not hashed and labels & {HEADER_PREIMAGE_TYPE, HEADER_LOCATION}:
        _wrong("headers of a payload hash without one")
    if hashed and cose.HEADER_CONTENT_TYPE in labels:
        _wrong("a content type beside a payload hash")
    algorithm = headers[cose.HEADER_ALG]
    if type(algorithm) is not int or algorithm not in _ALGORITHMS:
        _wrong("the algorithm is not one of the wire's")
    kid = headers[cose.HEADER_KID]
    if type(kid) is not bytes or len(kid) != 8:
        _wrong("kid is not 8 bytes")
    content_type = headers.get(cose.HEADER_CONTENT_TYPE)
    if not hashed and not (type(content_type) in (int, str) and content_type in CONTENT_TYPES):
        _wrong("the content type is not one of the wire's")
    provenance = _parse_provenance(headers[HEADER_PROVENANCE])
    claims = parse_claims(headers[HEADER_CLAIMS]) if HEADER_CLAIMS in headers else NO_CLAIMS
    payload_hash = _parse_hash(headers, sign1.payload) if hashed else None
    return Envelope(bytes(data), sign1, kid, content_type, provenance, claims, payload_hash)


_new: Any = object.__new__
_put: Final[tuple[Any, ...]] = tuple(
    Provenance.__dict__[name].__set__ for name in ("epoch", "n", "prev", "uptime", "clock", "ear")
)


def _of_common(data: bytes, common: Common) -> Envelope:
    """The envelope; its pattern has checked all that the constructors would."""
    (protected, algorithm, content, kid, iat, nonce, *position, payload, signature) = common
    provenance: Provenance = _new(Provenance)
    for put, value in zip(_put, position, strict=True):
        put(provenance, value)
    headers = {
        cose.HEADER_ALG: algorithm,
        cose.HEADER_CONTENT_TYPE: content,
        cose.HEADER_KID: kid,
        HEADER_PROVENANCE: position,
    }
    claims = NO_CLAIMS
    if iat is not None:
        claims = Claims(iat=iat, nonce=nonce)
        headers[HEADER_CLAIMS] = claims.to_map()
    sign1 = cose.Sign1(protected, headers, payload, signature)
    return Envelope(data, sign1, kid, content, provenance, claims, None)


def seal(
    payload: bytes,
    *,
    content_type: int | str,
    provenance: Provenance,
    network: str,
    signer: Signer,
    claims: Claims = NO_CLAIMS,
) -> bytes:
    """Sign an envelope. Positions are the caller's: see :class:`depin_id.device.Device`.

    Args:
        payload: the content, in the form its content type names.
        network: the network's DID.

    Returns:
        The envelope's bytes.

    Raises:
        EnvelopeError: the content type is not one of the wire's, or a gateway envelope does not
            hold exactly one device envelope.
    """
    if content_type not in CONTENT_TYPES:
        _wrong("the content type is not one of the wire's")
    if content_type == CONTENT_SIGN1:
        open_gateway_payload(payload)
    headers: dict[int, Any] = {cose.HEADER_CONTENT_TYPE: content_type}
    return _seal(headers, payload, provenance, network, signer, claims)


def seal_hash(
    digest: bytes,
    *,
    preimage_type: int | str | None,
    location: str | None,
    provenance: Provenance,
    network: str,
    signer: Signer,
    claims: Claims = NO_CLAIMS,
) -> bytes:
    """Sign an envelope whose payload is the SHA-256 of a large object (RFC 9995)."""
    headers: dict[int, Any] = {HEADER_HASH_ALG: _SHA256_ALG}
    if preimage_type is not None:
        headers[HEADER_PREIMAGE_TYPE] = preimage_type
    if location is not None:
        headers[HEADER_LOCATION] = location
    _parse_hash(headers, digest)
    return _seal(headers, digest, provenance, network, signer, claims)


def _seal(
    headers: dict[int, Any],
    payload: bytes,
    provenance: Provenance,
    network: str,
    signer: Signer,
    claims: Claims,
) -> bytes:
    headers |= {cose.HEADER_KID: signer.public_key.kid, HEADER_PROVENANCE: provenance.to_list()}
    carried = claims.to_map()
    if carried:
        headers[HEADER_CLAIMS] = carried
    hold = headers.get(cose.HEADER_CONTENT_TYPE) == CONTENT_SIGN1
    kind = KIND_GATEWAY if hold else KIND_ENVELOPE
    data = cose.sign1(headers, payload, kind=kind, network=network, signer=signer)
    if len(data) > MAX_BUNDLE:
        raise EncodingError(
            "encoding.too_large", "the envelope is over 128 KiB", hint="put fewer readings in it"
        )
    return data


def open_gateway_payload(payload: bytes) -> Envelope:
    """The one device envelope inside a gateway envelope (nesting depth 1).

    Raises:
        EncodingError, EnvelopeError: the content is no envelope; ``envelope.nested`` when it is a
            gateway envelope again.
    """
    inner = parse_envelope(payload)
    if inner.kind == KIND_GATEWAY:
        raise EnvelopeError("envelope.nested", "a gateway envelope inside a gateway envelope")
    return inner


def bundle(envelopes: Iterable[bytes], *, max_bytes: int = MAX_BUNDLE) -> Iterator[bytes]:
    """Join envelopes into bundles (CBOR Sequences, RFC 8742) of at most ``max_bytes``, in order.

    Raises:
        EncodingError: ``encoding.too_large`` when one envelope alone is larger.
    """
    parts: list[bytes] = []
    size = 0
    for envelope in envelopes:
        if len(envelope) > max_bytes:
            raise EncodingError(
                "encoding.too_large",
                f"an envelope of {len(envelope)} bytes does not fit a bundle of {max_bytes}",
            )
        if size + len(envelope) > max_bytes:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(envelope)
        size += len(envelope)
    if parts:
        yield b"".join(parts)


def split_bundle(data: bytes, *, max_bytes: int = MAX_BUNDLE) -> Iterator[bytes]:
    """The envelopes of a bundle, as received. What cannot be split further is given as it is.

    Each part still has to be read with :func:`parse_envelope`. Whatever follows the first part that
    cannot be an envelope is one part: garbage costs one verdict, not one a byte.

    Raises:
        EncodingError: ``encoding.too_large``, before anything is given.
    """
    if len(data) > max_bytes:
        raise EncodingError(
            "encoding.too_large", f"a message of {len(data)} bytes, at most {max_bytes} are taken"
        )
    at = 0
    while at < len(data):
        try:
            end = cbor.item_end(data, at)
        except EncodingError:
            end = at
        if end - at < MIN_ENVELOPE or data[at] != _TAG_18:
            yield data[at:]
            return
        yield data[at:end]
        at = end
