"""Remote attestation (RATS, RFC 9334): what a device shows, and what it is told about it.

The device is the attester, the aggregator (``verify``) the verifier. Whatever the format of its
evidence, one challenge goes into it: :class:`Binding`.
"""

from depin_id.attestation.binding import CHALLENGE_BYTES, Binding
from depin_id.attestation.message import AttestMessage, read_message, sign_message
from depin_id.attestation.result import AttestationResult, TrustVector

__all__ = [
    "CHALLENGE_BYTES",
    "AttestMessage",
    "AttestationResult",
    "Binding",
    "TrustVector",
    "read_message",
    "sign_message",
]
