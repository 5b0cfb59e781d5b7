"""COSE_Sign1 (RFC 9052) as the wire uses it: tag 18, received bytes, empty unprotected header.

Everything that is signed carries its purpose in ``external_aad``, which costs nothing on the wire:
nothing moves between networks, purposes or keys.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, NamedTuple

from depin_id import cbor
from depin_id.errors import EncodingError, EnvelopeError, KeyRefused
from depin_id.keys import ALGORITHMS, SIGNATURE_BYTES, PublicKey, Signer

HEADER_ALG = 1
HEADER_CONTENT_TYPE = 3
HEADER_KID = 4

MAX_PROTECTED = 1024
"""Bound on the protected header, in bytes."""

_TAG_SIGN1 = 18
_SIGN1_HEAD = cbor.head(6, _TAG_SIGN1) + cbor.array_head(4)


@lru_cache(maxsize=256)
def _aad_head(kind: str, network: str, size: int) -> bytes:
    """Everything of ``external_aad`` before a thumbprint of this size."""
    return cbor.encode_plain(["depin/1", kind, network, bytes(size)])[: -size or None]


def external_aad(kind: str, network: str, thumbprint: bytes) -> bytes:
    """``det-CBOR["depin/1", kind, network DID, signer thumbprint]``: the domain separation."""
    return _aad_head(kind, network, len(thumbprint)) + thumbprint


def sig_structure(protected: bytes, aad: bytes, payload: bytes) -> bytes:
    """The Sig_structure of a COSE_Sign1 (RFC 9052, section 4.4): the bytes that are signed.

    A protected header of ``h'a0'`` counts as empty (COSE WG, sign-pass-01).
    """
    body = b"" if protected == b"\xa0" else protected
    return b"".join(
        (
            b"\x84\x6aSignature1",
            cbor.bytes_head(len(body)),
            body,
            cbor.bytes_head(len(aad)),
            aad,
            cbor.bytes_head(len(payload)),
            payload,
        )
    )


class Sign1(NamedTuple):
    """A COSE_Sign1 as received.

    Attributes:
        protected: the protected header's bytes, as received.
        headers: the same, read.
        payload: the payload's bytes, as received.
        signature: 64 bytes.
    """

    protected: bytes
    headers: dict[Any, Any]
    payload: bytes
    signature: bytes

    def to_be_signed(self, kind: str, network: str, thumbprint: bytes) -> bytes:
        """The signed bytes, for the signer with this key thumbprint (32 bytes)."""
        return sig_structure(self.protected, external_aad(kind, network, thumbprint), self.payload)

    def verify(
        self, kind: str, network: str, key: PublicKey, *, allow_deprecated: bool = False
    ) -> bytes:
        """Verify under an admitted key; gives the identity of the object (32 bytes).

        Raises:
            KeyRefused: ``key.algorithm`` when the algorithm is not the key's.
            SignatureInvalid: the signature does not verify.
        """
        check_algorithm(self.headers.get(HEADER_ALG), key, allow_deprecated=allow_deprecated)
        message = self.to_be_signed(kind, network, key.thumbprint)
        key.verify(message, self.signature)
        return hashlib.sha256(message).digest()


def check_algorithm(algorithm: Any, key: PublicKey, *, allow_deprecated: bool = False) -> None:
    """Refuse (KeyRefused ``key.algorithm``) an algorithm that is not the key's own."""
    current, deprecated = ALGORITHMS[key.curve]
    allowed = (current, deprecated) if allow_deprecated else (current,)
    if type(algorithm) is int and algorithm in allowed:
        return
    raise KeyRefused(
        "key.algorithm",
        f"algorithm {algorithm!r} with a key on {key.curve}, which signs with {current}",
        hint="the algorithm is fixed for a key when it is enrolled",
    )


def parse_sign1(data: bytes, *, max_bytes: int = cbor.MAX_BYTES) -> Sign1:
    """Read a COSE_Sign1 strictly: deterministic, tagged 18, unprotected header empty.

    Raises:
        EncodingError: the bytes are not deterministic CBOR.
        EnvelopeError: ``envelope.malformed`` when they are no such COSE_Sign1.
    """
    value = cbor.decode(data, max_bytes=max_bytes)
    if not isinstance(value, cbor.Tag) or value.tag != _TAG_SIGN1:
        raise malformed("it is not a COSE_Sign1 with tag 18")
    parts = value.value
    if not isinstance(parts, list) or len(parts) != 4:
        raise malformed("a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or len(protected) > MAX_PROTECTED:
        raise malformed("the protected header is no byte string of bounded size")
    if unprotected != {} or not isinstance(unprotected, dict):
        raise malformed("the unprotected header is not empty")
    if not isinstance(payload, bytes):
        raise malformed("the payload is not a byte string")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise malformed("the signature is not a byte string of 64")
    headers = cbor.decode(protected, max_bytes=MAX_PROTECTED)
    if not isinstance(headers, dict):
        raise malformed("the protected header is not a map")
    return Sign1(protected, headers, payload, signature)


def malformed(what: str) -> EnvelopeError:
    """An EnvelopeError ``envelope.malformed`` that says what is wrong."""
    return EnvelopeError("envelope.malformed", what)


def assemble(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """The wire form of a COSE_Sign1 from its parts."""
    head = cbor.bytes_head
    return b"".join(
        (
            _SIGN1_HEAD,
            head(len(protected)),
            protected,
            b"\xa0",
            head(len(payload)),
            payload,
            head(len(signature)),
            signature,
        )
    )


def sign1(
    headers: dict[int, Any], payload: bytes, *, kind: str, network: str, signer: Signer
) -> bytes:
    """Sign ``payload`` under ``headers``; the algorithm is set to the signer's own.

    Raises:
        EncodingError: the protected header is larger than a reader takes.
    """
    key = signer.public_key
    protected = cbor.encode({**headers, HEADER_ALG: key.algorithm})
    if len(protected) > MAX_PROTECTED:
        raise EncodingError("encoding.too_large", "the protected header is over 1024 bytes")
    message = sig_structure(protected, external_aad(kind, network, key.thumbprint), payload)
    return assemble(protected, payload, signer.sign(message))
