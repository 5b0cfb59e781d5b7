"""Proof of possession: a device's key signs a network's challenge together with who it says it is.

A COSE_Sign1 of kind ``enrolment`` (docs/protocol.md, section 14). It is bound to one network, one
challenge, one enrolment and, where there is one, one birth certificate, so nothing of it can be
used for anything else.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple, NoReturn

from depin_id import cbor, cose
from depin_id.ack import NONCE_BYTES
from depin_id.enrolment import Enrolment
from depin_id.errors import CredentialError
from depin_id.keys import Signer
from depin_id.statements import ENROL, write_statement

KIND: Final = "enrolment"
MAX_PROOF: Final = 4096
"""Bound on a proof, in bytes."""
_NONCE, _ENROLMENT, _CERTIFICATE, _EARLIER = 1, 2, 3, 4


class Proof(NamedTuple):
    """A proof whose signature verifies under the key of its own enrolment.

    Attributes:
        enrolment: who the device says it is, its key admitted.
        nonce: of the challenge that it answers, 16 bytes.
        certificate: SHA-256 of the birth certificate that it is shown with, or None.
        earlier: whether what it sent before counts, as far back as the network allows.
        id: identity of the proof, 32 bytes.
    """

    enrolment: Enrolment
    nonce: bytes
    certificate: bytes | None
    earlier: bool
    id: bytes


def _wrong(what: str) -> NoReturn:
    raise CredentialError(
        "possession.malformed", what, hint="`depin-id device prove` makes a correct one"
    )


def prove(
    signer: Signer,
    enrolment: Enrolment,
    *,
    nonce: bytes,
    network: str,
    certificate: bytes | None = None,
    earlier: bool = True,
) -> bytes:
    """Prove that a device holds its key. Once for each challenge; nothing of its position is used.

    Args:
        signer: the device's key. enrolment: who it is.
        nonce: of the network's challenge (:func:`~depin_id.ack.read_challenge`), 16 bytes.
        network: the network's DID.
        certificate: the birth certificate, byte for byte as it will be shown.
        earlier: whether what was sent before the enrolment is to count.

    Raises:
        CredentialError: ``possession.key``: the signer's key is not the enrolment's;
            ``possession.malformed``.
    """
    if signer.public_key != enrolment.key:
        raise CredentialError("possession.key", "the signer's key is not that of the enrolment")
    if len(nonce) != NONCE_BYTES:
        _wrong(f"the nonce has {len(nonce)} bytes, a challenge has {NONCE_BYTES}")
    payload = {
        _NONCE: nonce,
        _ENROLMENT: enrolment.to_list(),
        _CERTIFICATE: None if certificate is None else hashlib.sha256(certificate).digest(),
        _EARLIER: earlier,
    }
    headers = {cose.HEADER_KID: signer.public_key.kid}
    return cose.sign1(headers, cbor.encode(payload), kind=KIND, network=network, signer=signer)


def read_proof(data: bytes, *, network: str) -> Proof:
    """Read a proof and verify it under the key of the enrolment in it, which is admitted first.

    The caller compares :attr:`Proof.nonce` with his challenge, and the certificate's digest with
    the certificate beside it.

    Args:
        data: as it arrived. network: DID of the network that it has to be for.

    Raises:
        CredentialError: ``possession.malformed``, ``possession.key``.
        EncodingError, EnvelopeError, ConfigError, DIDError: it has another form.
        KeyRefused: the key is not admissible. SignatureInvalid: it is another key's, or for
            another network.
    """
    sign1 = cose.parse_sign1(data, max_bytes=MAX_PROOF)
    if set(sign1.headers) != {cose.HEADER_ALG, cose.HEADER_KID}:
        _wrong("the protected header is not exactly alg and kid")
    payload: Any = cbor.decode(sign1.payload)
    if not isinstance(payload, dict) or set(payload) != {1, 2, 3, 4}:
        _wrong("the payload is not the map of a proof")
    nonce, certificate, earlier = payload[_NONCE], payload[_CERTIFICATE], payload[_EARLIER]
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        _wrong(f"the nonce is not {NONCE_BYTES} bytes")
    if certificate is not None and (not isinstance(certificate, bytes) or len(certificate) != 32):
        _wrong("the certificate's digest is neither null nor 32 bytes")
    if not isinstance(earlier, bool):
        _wrong("whether earlier envelopes count is not true or false")
    enrolment = Enrolment.from_list(payload[_ENROLMENT])
    key = enrolment.key
    if sign1.headers[cose.HEADER_KID] != key.kid:
        raise CredentialError("possession.key", "the kid is not that of the key in the enrolment")
    return Proof(enrolment, nonce, certificate, earlier, sign1.verify(KIND, network, key))


def enrol_statement(proof: bytes, certificate: bytes) -> bytes:
    """The statement by which a device asks to be taken in. Raises EnvelopeError."""
    return write_statement(ENROL, proof, certificate)
