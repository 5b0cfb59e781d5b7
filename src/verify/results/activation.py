"""Credential activation: does an attestation key live in the TPM that its certificate is for?

The aggregator makes a credential that only that TPM opens, for that key alone (TPM 2.0 Part 1,
section 24). What it has to open to is derived, so nothing is kept while the device works on it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id import cbor
from depin_id.attestation import tpm2_evidence
from depin_id.errors import AttestationError
from verify.attestation.materials import Materials
from verify.attestation.tpm2.credential import activation_of, credential_for
from verify.identity.desk import StatementResult, attempt
from verify.requests import hexed
from verify.results.materials import materials_of
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

MAX_REQUEST: Final = 65_536
ACTIVATION: Final = "activation"
"""What the key is for that credentials are derived from."""
Pair = tuple[bytes, bytes]
"""SHA-256 of the SubjectPublicKeyInfo of the endorsement key, and Name of the attestation key."""


def pair_in(media_type: str, evidence: bytes) -> Pair:
    """Whose credential evidence would need. Raises AttestationError."""
    if media_type != tpm2_evidence.MEDIA_TYPE:
        raise _wrong("only a TPM activates credentials")
    found = tpm2_evidence.read(evidence)
    if not found.ek_chain:
        raise _wrong("the evidence has no certificate of an endorsement key")
    return activation_of(found.ek_chain, found.ak_public)


def secret_of(key: bytes, thumbprint: bytes, pair: Pair) -> bytes:
    """What the credential of a device opens to, 32 bytes.

    Args:
        key: the aggregator's own. thumbprint: of the device's key that signs readings.
    """
    return hmac.digest(key, cbor.encode(["depin-activation/1", thumbprint, *pair]), "sha256")


def check_opened(key: bytes, thumbprint: bytes, pair: Pair, opened: bytes) -> None:
    """Whether a device has opened its credential. Raises AttestationError."""
    if not hmac.compare_digest(secret_of(key, thumbprint, pair), opened):
        raise AttestationError(
            "attestation.activation",
            "it is not what the credential of this TPM and key opens to",
            hint="ask this aggregator for a credential, for this device and this attestation key",
        )


def make_credential(aggregator: Aggregator, request: bytes, now: int) -> tuple[bytes, bytes]:
    """The credential for ``[thumbprint, [certificate of the endorsement key, ...], TPMT_PUBLIC]``.

    Returns:
        The thumbprint, and the credential as tpm2_activatecredential reads it.

    Raises:
        AttestationError: ``attestation.activation`` and others, for a certificate that no trust
            anchor vouches for.
    """
    thumbprint, chain, public = _read(request)
    fold = aggregator.fold
    if fold.registry.holder(thumbprint) is None:
        raise _wrong("no enrolled device has this key")
    materials: Materials = materials_of(fold, now)
    secret = secret_of(
        aggregator.keys.derived(ACTIVATION), thumbprint, activation_of(chain, public)
    )
    made = credential_for(
        chain,
        public,
        anchors=materials.anchors,
        at=now,
        secret=secret,
        randomness=aggregator.randomness,
    )
    return thumbprint, made


def _read(request: bytes) -> tuple[bytes, Sequence[bytes], bytes]:
    value: Any = cbor.decode(request, max_bytes=MAX_REQUEST, max_depth=2)
    if not isinstance(value, list) or len(value) != 3:
        raise _wrong("a request is an array of three")
    thumbprint, chain, public = value
    if not isinstance(thumbprint, bytes) or len(thumbprint) != 32 or type(public) is not bytes:
        raise _wrong("a request names a thumbprint and a public area")
    if not isinstance(chain, list) or not 0 < len(chain) <= tpm2_evidence.MAX_CERTIFICATES:
        raise _wrong("a request has the certificate of an endorsement key")
    if not all(isinstance(item, bytes) for item in chain):
        raise _wrong("a certificate is no byte string")
    return thumbprint, chain, public


def _wrong(what: str) -> AttestationError:
    return AttestationError("attestation.activation", what)


def hear(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "activate", request]``."""
    if len(parts) != 1:
        return StatementResult("statement.malformed")
    recipient = _read(parts[0])[0]

    def work() -> StatementResult:
        _, made = make_credential(aggregator, parts[0], now)
        return StatementResult(ACCEPTED, recipient, None, made)

    return attempt(aggregator, recipient, work)


def activate_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``activate``: ``request`` in hexadecimal."""
    thumbprint, made = make_credential(aggregator, hexed(request, "request"), aggregator.now())
    return {"thumbprint": thumbprint.hex(), "credential": made.hex()}
