"""The envelope of a CoRIM: a COSE_Sign1, as others write it, or none."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import cbor2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from depin_id.cose import sig_structure
from depin_id.errors import AttestationError
from verify.attestation.materials import Anchor

_ALG, _CRIT, _TYPE, _KID, _META = 1, 2, 3, 4, 8
_SIGN1: Final = 18
_TYPES: Final = ("application/rim+cbor", "application/corim-unsigned+cbor")
_DEPTH: Final = 24
# COSE algorithm to hash and curve: nothing else is taken.
_ECDSA: Final[Mapping[int, tuple[type[HashAlgorithm], str]]] = {
    -7: (SHA256, "secp256r1"),
    -9: (SHA256, "secp256r1"),
    -35: (SHA384, "secp384r1"),
    -51: (SHA384, "secp384r1"),
    -36: (SHA512, "secp521r1"),
    -52: (SHA512, "secp521r1"),
}
_EDDSA: Final = (-8, -19)


@dataclass(frozen=True)
class Envelope:
    """A CoRIM taken out of its envelope.

    Attributes:
        payload: the CoRIM, read. signature: None when it is unsigned.
        not_before, not_after: of the signature, ms since 1970.
    """

    payload: Any
    signature: bytes | None = None
    signed: bytes = b""
    algorithm: int = 0
    not_before: int | None = None
    not_after: int | None = None

    def signer(self, signers: Sequence[Anchor]) -> str:
        """Name of the anchor whose key signed it. Raises AttestationError."""
        if not signers:
            raise AttestationError("attestation.anchor", "no trust anchor signs CoRIMs")
        for anchor in signers:
            if self.signature is not None and self._verifies(anchor.spki, self.signature):
                return anchor.name
        raise AttestationError(
            "attestation.signature", f"none of {len(signers)} trust anchors signed this CoRIM"
        )

    def _verifies(self, spki: bytes, signature: bytes) -> bool:
        try:
            key = load_der_public_key(spki)
            if isinstance(key, ed25519.Ed25519PublicKey) and self.algorithm in _EDDSA:
                key.verify(signature, self.signed)
                return True
            hashed, curve = _ECDSA.get(self.algorithm, (SHA256, ""))
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve:
                return False
            size = (key.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            key.verify(encode_dss_signature(r, s), self.signed, ec.ECDSA(hashed()))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True


def open_envelope(data: bytes) -> Envelope:
    """Read the envelope; nothing is verified. Raises AttestationError ``attestation.corim``."""
    value = loose_cbor(data, "the file")
    if getattr(value, "tag", None) != _SIGN1:
        return Envelope(value)
    parts = value.value
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        refuse("a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = parts
    if not all(type(part) is bytes for part in (protected, payload, signature)):
        refuse("its envelope has another form")
    if not isinstance(unprotected, Mapping) or unprotected:
        refuse("the unprotected header is not empty")
    headers = loose_cbor(protected, "the protected header")
    if not isinstance(headers, Mapping) or not {_ALG} <= set(headers) <= {_ALG, _TYPE, _KID, _META}:
        refuse("a header that is not known")
    algorithm, content = headers[_ALG], headers.get(_TYPE, _TYPES[0])
    if algorithm not in (*_ECDSA, *_EDDSA) or content not in _TYPES:
        refuse("its algorithm or content type is not one that is taken")
    begins, ends = _meta(headers.get(_META))
    return Envelope(
        loose_cbor(payload, "the CoRIM"),
        signature,
        sig_structure(protected, b"", payload),
        algorithm,
        begins,
        ends,
    )


def _meta(value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if type(value) is not bytes:
        refuse("its meta data are no byte string")
    meta = loose_cbor(value, "its meta data")
    if not isinstance(meta, Mapping) or not set(meta) <= {0, 1}:
        refuse("its meta data have another form")
    times = meta.get(1, {})
    if not isinstance(times, Mapping) or not set(times) <= {0, 1}:
        refuse("its signature's validity has another form")
    return _moment(times.get(0)), _moment(times.get(1))


def _moment(value: Any) -> int | None:
    if value is None:
        return None
    seconds = value.value if getattr(value, "tag", None) == 1 else value
    if type(seconds) is not int or not 0 <= seconds < 1 << 40:
        refuse("a time that is no whole number of seconds")
    return int(seconds) * 1000


class _Keep(dict[int, Callable[[Any, bool], cbor2.CBORTag]]):
    """Every tag stays a tag: cbor2 makes objects of dozens."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], cbor2.CBORTag]:
        return lambda value, _immutable: cbor2.CBORTag(tag, value)


def loose_cbor(data: bytes, what: str) -> Any:
    """Exactly one item of CBOR that need not be deterministic: others sign as they please.

    Duplicate keys, indefinite lengths, deep nesting and bytes after it are refused, with
    AttestationError ``attestation.corim``.
    """
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            stream,
            semantic_decoders=_Keep(),
            max_depth=_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            read_size=1,
        ).decode()
    except (cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError, MemoryError):
        refuse(f"{what} is not well-formed CBOR with each key once")
    if stream.read(1):
        refuse(f"{what}: bytes follow it")
    return value


def refuse(what: str) -> NoReturn:
    """Raise AttestationError ``attestation.corim``."""
    raise AttestationError("attestation.corim", f"CoRIM: {what}")
