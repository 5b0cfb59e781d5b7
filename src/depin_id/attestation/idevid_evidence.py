"""The evidence of a device with a manufacturer's certificate (IEEE 802.1AR, IDevID).

802.1AR says what a device is given, not how it shows it. This is the one small container for it:
the certificate's chain, and a signature by its key over the challenge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.errors import AttestationError
from depin_id.keys import SIGNATURE_BYTES, Signer

MEDIA_TYPE: Final = "application/vnd.depin.idevid+cbor"
LABEL: Final = "depin-idevid/v1"
MAX_CERTIFICATES: Final = 8
MAX_CERTIFICATE: Final = 16_384
MAX_MANIFEST: Final = 8192
MAX_EVIDENCE: Final = 65_536
_CHAIN, _SIGNATURE, _CHALLENGE, _MANIFEST = range(1, 5)


@dataclass(frozen=True, slots=True)
class IDevIDEvidence:
    """What is in the container.

    Attributes:
        chain: certificates, DER, the device's own first, with or without the root.
        signature: by the certificate's key over :func:`signed_bytes`: Ed25519, or r || s of P-256
            with a low s; 64 bytes.
        challenge: 32 bytes.
        manifest: what the manufacturer signed about the part (a COSE_Sign1), or None.
    """

    chain: tuple[bytes, ...]
    signature: bytes
    challenge: bytes
    manifest: bytes | None = None

    def to_bytes(self) -> bytes:
        """The container, deterministic CBOR. Raises AttestationError ``attestation.idevid``."""
        _check(list(self.chain), self.signature, self.challenge, self.manifest)
        parts = {
            _CHAIN: list(self.chain),
            _SIGNATURE: self.signature,
            _CHALLENGE: self.challenge,
            _MANIFEST: self.manifest,
        }
        return cbor.encode(parts)


def signed_bytes(challenge: bytes) -> bytes:
    """What the device's key signs: the challenge under a label of its own.

    Args:
        challenge: :attr:`depin_id.attestation.binding.Binding.challenge`, 32 bytes.
    """
    return cbor.encode([LABEL, challenge])


def make_evidence(
    chain: Sequence[bytes], challenge: bytes, *, signer: Signer, manifest: bytes | None = None
) -> bytes:
    """Sign the challenge with the key of the certificate: the whole evidence.

    Args:
        chain: certificates, DER, the device's own first. challenge: 32 bytes.
        signer: of the key in the first certificate; its hardware signs.
        manifest: as the manufacturer gave it.

    Raises:
        AttestationError: ``attestation.idevid``, a part has the wrong form.
        SignatureInvalid: the signer's hardware gave a wrong signature.
    """
    signature = signer.sign(signed_bytes(challenge))
    return IDevIDEvidence(tuple(chain), signature, challenge, manifest).to_bytes()


def read_evidence(data: bytes) -> IDevIDEvidence:
    """Read a container strictly; neither certificates nor signature are looked at.

    Raises:
        AttestationError: ``attestation.idevid``. EncodingError: no deterministic CBOR.
    """
    value: Any = cbor.decode(data, max_bytes=MAX_EVIDENCE)
    if not isinstance(value, dict) or set(value) != {_CHAIN, _SIGNATURE, _CHALLENGE, _MANIFEST}:
        _wrong("it is not a map of exactly 1 to 4")
    chain, signature, challenge, manifest = (value[label] for label in range(1, 5))
    _check(chain, signature, challenge, manifest)
    return IDevIDEvidence(tuple(chain), signature, challenge, manifest)


def _check(chain: Any, signature: Any, challenge: Any, manifest: Any) -> None:
    if not isinstance(chain, list) or not 0 < len(chain) <= MAX_CERTIFICATES:
        _wrong(f"it does not have 1 to {MAX_CERTIFICATES} certificates")
    if not all(type(item) is bytes and 0 < len(item) <= MAX_CERTIFICATE for item in chain):
        _wrong(f"a certificate is no byte string of 1 to {MAX_CERTIFICATE}")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        _wrong(f"the signature is not {SIGNATURE_BYTES} bytes")
    if type(challenge) is not bytes or len(challenge) != 32:
        _wrong("the challenge is not 32 bytes")
    if manifest is not None and (
        type(manifest) is not bytes or not 0 < len(manifest) <= MAX_MANIFEST
    ):
        _wrong(f"the manifest is no byte string of 1 to {MAX_MANIFEST}")


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.idevid", what)
