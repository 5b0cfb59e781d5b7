"""What a device sends for attestation: its evidence, and its own signature over what it is for.

The signature is by the key that signs readings: whoever sends the evidence holds that key, and says
for which boot it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import cbor, cose
from depin_id.attestation.binding import Binding
from depin_id.errors import AttestationError
from depin_id.keys import PublicKey, Signer
from depin_id.statements import MAX_STATEMENT, write_statement

KIND: Final = "attest"
"""Of the signature's domain, and of the statement: ``[message]``."""
ACTIVATE: Final = "activate"
"""Statement of a TPM that asks for a credential to activate; see docs/protocol.md."""
MAX_MESSAGE: Final = MAX_STATEMENT - 64
MAX_EVIDENCE: Final = 65_536
MAX_MEDIA_TYPE: Final = 120
MAX_ACTIVATION: Final = 64
_DID, _NONCE, _EXPIRES, _BOOT, _TYPE, _EVIDENCE, _ACTIVATION = range(1, 8)


@dataclass(frozen=True, slots=True)
class AttestMessage:
    """A message as it was read; its signature is verified by :meth:`verify`.

    Attributes:
        did, nonce, expires, boot: of :class:`~depin_id.attestation.binding.Binding`.
        media_type: names the format of the evidence. evidence: as the format says.
        activation: the secret that a TPM has opened, or None.
    """

    sign1: cose.Sign1
    did: str
    nonce: bytes
    expires: int
    boot: int
    media_type: str
    evidence: bytes
    activation: bytes | None

    @property
    def kid(self) -> bytes:
        """The hint which key signed it, 8 bytes."""
        return bytes(self.sign1.headers[cose.HEADER_KID])

    def verify(self, network: str, key: PublicKey) -> Binding:
        """Verify under the device's admitted key; gives what the evidence has to be bound to.

        Raises KeyRefused, SignatureInvalid, AttestationError ``attestation.binding``.
        """
        self.sign1.verify(KIND, network, key)
        return Binding(network, self.nonce, self.did, key.thumbprint, self.expires, self.boot)


def sign_message(
    binding: Binding,
    media_type: str,
    evidence: bytes,
    *,
    signer: Signer,
    activation: bytes | None = None,
) -> bytes:
    """Sign evidence that was made for a binding.

    Args:
        signer: of the device's key, whose thumbprint the binding has.

    Raises:
        AttestationError: ``attestation.message``: another key, or too large.
        SignatureInvalid: the signer's hardware gave a wrong signature.
    """
    if signer.public_key.thumbprint != binding.thumbprint:
        _wrong("the signer's key is not the one that the evidence is bound to")
    payload: dict[int, Any] = {
        _DID: binding.did,
        _NONCE: binding.nonce,
        _EXPIRES: binding.expires,
        _BOOT: binding.boot,
        _TYPE: media_type,
        _EVIDENCE: evidence,
        _ACTIVATION: activation,
    }
    _check(payload)
    headers = {cose.HEADER_KID: signer.public_key.kid}
    data = cbor.encode(payload)
    return cose.sign1(headers, data, kind=KIND, network=binding.audience, signer=signer)


def read_message(data: bytes) -> AttestMessage:
    """Read a message strictly; no signature is looked at.

    Raises:
        AttestationError: ``attestation.message``. EncodingError, EnvelopeError: another form.
    """
    sign1 = cose.parse_sign1(data, max_bytes=MAX_MESSAGE)
    if set(sign1.headers) != {cose.HEADER_ALG, cose.HEADER_KID}:
        _wrong("the protected header is not exactly alg and kid")
    kid = sign1.headers[cose.HEADER_KID]
    if type(kid) is not bytes or len(kid) != 8:
        _wrong("kid is not 8 bytes")
    payload: Any = cbor.decode(sign1.payload, max_bytes=MAX_MESSAGE)
    if not isinstance(payload, dict) or set(payload) != set(range(1, 8)):
        _wrong("the payload is not the map of a message")
    _check(payload)
    # Its form is checked with the thumbprint of whoever turns out to have signed it.
    Binding("", payload[_NONCE], payload[_DID], bytes(32), payload[_EXPIRES], payload[_BOOT])
    return AttestMessage(sign1, *(payload[label] for label in range(1, 8)))


def _check(payload: dict[int, Any]) -> None:
    media_type, evidence, activation = payload[_TYPE], payload[_EVIDENCE], payload[_ACTIVATION]
    if type(media_type) is not str or not 0 < len(media_type) <= MAX_MEDIA_TYPE:
        _wrong("the media type is no short text")
    if type(evidence) is not bytes or not 0 < len(evidence) <= MAX_EVIDENCE:
        _wrong(f"the evidence is not 1 to {MAX_EVIDENCE} bytes")
    if activation is not None and (
        type(activation) is not bytes or not 0 < len(activation) <= MAX_ACTIVATION
    ):
        _wrong(f"the activation secret is not 1 to {MAX_ACTIVATION} bytes")


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.message", what)


def attest_statement(message: bytes) -> bytes:
    """The statement that carries a message. Raises EnvelopeError."""
    return write_statement(KIND, message)
