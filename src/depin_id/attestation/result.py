"""An attestation result: what a verifier says of one piece of evidence, and on what grounds.

The trust vector and its tiers are those of AR4SI (draft-ietf-rats-ar4si).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Assurance = Literal["software", "firmware", "secure-element", "tee", "strongbox", "tpm"]
"""What keeps the attested key: ``software`` nothing; ``firmware`` a microcontroller's root of trust
(PSA, DICE, ESP-TEE); a secure element; an application processor's TEE, or an enclave; StrongBox;
a TPM. From a root's own chain: nothing that a device merely says counts."""

NONE, AFFIRMING, WARNING, CONTRAINDICATED = 0, 2, 32, 96
"""The tiers of AR4SI: no claim, affirming, warning, contraindicated."""

RECOGNIZED_IDENTITY: Final = 2
UNRECOGNIZED_IDENTITY: Final = 97
GENUINE_HARDWARE: Final = 2
UNSAFE_HARDWARE: Final = 32
CONTRAINDICATED_HARDWARE: Final = 96
APPROVED_EXECUTABLES: Final = 2
APPROVED_BOOT: Final = 3
UNSAFE_EXECUTABLES: Final = 32
UNRECOGNIZED_EXECUTABLES: Final = 33
CONTRAINDICATED_EXECUTABLES: Final = 96
APPROVED_CONFIGURATION: Final = 2
NO_CONFIGURATION_VULNERABILITIES: Final = 3
UNSAFE_CONFIGURATION: Final = 32
UNAVAILABLE_CONFIGURATION: Final = 36
UNSUPPORTABLE_CONFIGURATION: Final = 96
HARDWARE_KEYS: Final = 2
UNENCRYPTED_SECRETS: Final = 96
CRYPTO_FAILED: Final = 99
"""Values of AR4SI section 2.3, as far as they are given here."""


def tier(value: int) -> int:
    """The tier of one value of a trust vector: 0, 2, 32 or 96."""
    if value in (-1, 0, 1):
        return NONE
    magnitude = abs(value)
    if magnitude < WARNING:
        return AFFIRMING
    return WARNING if magnitude < CONTRAINDICATED else CONTRAINDICATED


@dataclass(frozen=True, slots=True)
class TrustVector:
    """What is said about each aspect of the device; 0 is no claim (AR4SI section 2.3)."""

    instance_identity: int = 0
    configuration: int = 0
    executables: int = 0
    file_system: int = 0
    hardware: int = 0
    runtime_opaque: int = 0
    storage_opaque: int = 0
    sourced_data: int = 0

    @property
    def status(self) -> int:
        """The worst tier of all claims that are made; 0 when none is made."""
        return max(map(tier, set(self.values())))

    def values(self) -> tuple[int, ...]:
        """The eight values in the order of their labels 0 to 7."""
        return (
            self.instance_identity,
            self.configuration,
            self.executables,
            self.file_system,
            self.hardware,
            self.runtime_opaque,
            self.storage_opaque,
            self.sourced_data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """The result of one appraisal: what an EAR carries.

    Attributes:
        verifier: who appraised: DID of the network. software: name and version of what did.
        did, thumbprint: the device, and its key that signs readings (32 bytes).
        boot: its epoch. nonce: the challenge's, 16 bytes. challenge: 32 bytes.
        media_type: of the evidence. format: its short name. model: the policy it was held to.
        evidence: SHA-256 of it.
        issued, not_after: ms since 1970: when it was appraised, and until when it is good.
        vector: see :class:`TrustVector`. level: ``D1``, ``D2`` or ``D3``.
        assurance: what keeps the attested key.
        bound: ``attested`` when the hardware vouches for the device's key, ``challenge`` when only
            the challenge ties them together.
        root: identity of the hardware root, 32 bytes. unique: whether it is one device's alone.
        identifiers: what may be revoked of it: certificates and keys, sorted.
        reasons: codes of what is not affirmed, sorted.
        anchors, references, revocations: SHA-256 of everything it was judged by.
    """

    verifier: str
    software: str
    did: str
    thumbprint: bytes
    boot: int
    nonce: bytes
    challenge: bytes
    media_type: str
    format: str
    model: str
    evidence: bytes
    issued: int
    not_after: int
    vector: TrustVector
    level: Literal["D1", "D2", "D3"]
    assurance: Assurance
    bound: Literal["attested", "challenge"]
    root: bytes
    unique: bool
    identifiers: tuple[str, ...]
    reasons: tuple[str, ...]
    anchors: bytes
    references: bytes
    revocations: bytes
