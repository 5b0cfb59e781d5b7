"""What formats of evidence have in common once they are verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from depin_id.attestation.result import Assurance
from depin_id.errors import AttestationError
from depin_id.keys import PublicKey

MAX_EVIDENCE = 65_536
"""Bound on one piece of evidence, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What evidence has to be bound to. The core compares; formats only extract.

    Attributes:
        challenge: 32 bytes (other sizes offline, with evidence of others).
        key: the device's key that signs readings; None offline, when nobody asks for one.
        activation: for a TPM whose attestation key has no certificate: which credential it has
            opened, as (SHA-256 of the SubjectPublicKeyInfo of its endorsement key, Name of its
            attestation key). The caller made the credential, and compared the secret that came
            back (TPM 2.0 Part 1 section 24). None when there was no such step.
    """

    challenge: bytes
    key: PublicKey | None = None
    activation: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundKey:
    """The device's key as the evidence ties it in.

    Attributes:
        how: ``attested``: the hardware vouches for :attr:`key`; ``challenge``: the challenge, a
            hash over its thumbprint, is all that does.
        key: of P-256 or Ed25519; None with ``challenge``, and where the attested key is one that
            no device can sign readings with (RSA, P-384).
        protected: whether it is vouched for that the key cannot leave the hardware.
    """

    how: Literal["attested", "challenge"]
    key: PublicKey | None = None
    protected: bool = False

    def __post_init__(self) -> None:
        if self.how == "challenge" and (self.key is not None or self.protected):
            raise _incomplete("a key that the challenge alone binds is not vouched for")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareRoot:
    """What the evidence is rooted in.

    Attributes:
        id: SHA-256 of what identifies it (a SubjectPublicKeyInfo, a UEID), 32 bytes.
        unique: whether it is one device's alone; a batch key of many devices is not.
        assurance: what keeps the attested key.
    """

    id: bytes
    unique: bool
    assurance: Assurance


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured component.

    Attributes:
        name: within its format (``pcr0``, ``BL``, ``package``).
        digest: as it was measured. signer: digest of the key that signed it, if there is one.
        version: text, if there is one.
    """

    name: str
    digest: bytes
    signer: bytes = b""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedClaims:
    """What verified evidence says. Without challenge and bound key there is none of it.

    Attributes:
        challenge_seen: what stands in the format's challenge slot, as the evidence has it.
        bound_key: how the device's key is tied in.
        root: the hardware it is rooted in.
        identifiers: what may be revoked: :func:`verify.attestation.identifiers` of each certificate
            and key. At least one.
        anchors: :attr:`~verify.attestation.materials.Anchor.digest` of each that was relied on.
        device_ids: names and values that models match on (``implementation``, ``aaguid``): texts,
            bytes as lower-case hexadecimal.
        measurements: what was measured; empty when the format measures nothing.
        measures: whether the format says anything about firmware at all.
        firmware: False when it measures an application alone: that is never level D3.
        secure: False when the device is open (debug, unlocked, test signed), None when the format
            does not say.
        numbers: integers that models set bounds for (``os_patch``, ``svn``).
        counters: those that may never fall between two results of one root (``resets``).
        not_after: until when the evidence itself is good, ms since 1970; None when it has no end.
    """

    challenge_seen: bytes
    bound_key: BoundKey
    root: HardwareRoot
    identifiers: frozenset[str]
    anchors: tuple[bytes, ...]
    device_ids: Mapping[str, str] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    measures: bool = False
    firmware: bool = True
    secure: bool | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    not_after: int | None = None

    def __post_init__(self) -> None:
        if type(self.challenge_seen) is not bytes or not 8 <= len(self.challenge_seen) <= 512:
            raise _incomplete("the challenge that was seen is missing")
        if not isinstance(self.bound_key, BoundKey):
            raise _incomplete("the bound key is missing")
        if len(self.root.id) != 32 or not self.anchors or not self.identifiers:
            raise _incomplete("its root, anchor or identifiers are missing")


def _incomplete(what: str) -> AttestationError:
    return AttestationError("attestation.incomplete", what)
