"""One layer of a DICE chain, whichever form its certificate has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from depin_id.ecdsa import VerificationKey
from verify.attestation.model import Measurement
from verify.attestation.steps import Steps

MAX_LAYERS: Final = 8
MAX_DESCRIPTOR: Final = 4096
NORMAL: Final = 1
MODES: Final[Mapping[int, str]] = {0: "not configured", 1: "normal", 2: "debug", 3: "recovery"}
_HASHES: Final = {32: hashlib.sha256, 48: hashlib.sha384, 64: hashlib.sha512}
_INLINE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one certificate says of the layer that its key was made for.

    Attributes:
        key: of that layer. spki: its SubjectPublicKeyInfo, DER.
        issuer, subject: ids of the layer before, and of this one.
        code, authority: digests of its code, and of who signed that.
        config: its configuration: a digest, or the 64 bytes themselves. descriptor: of these.
        mode: a key of :data:`MODES`. profile: empty when it names none.
    """

    key: VerificationKey
    spki: bytes
    issuer: str
    subject: str
    code: bytes | None
    authority: bytes | None
    config: bytes | None
    descriptor: bytes | None
    mode: int | None
    profile: str = ""

    def check(self, number: int, steps: Steps) -> None:
        """Its inputs are all there and of the form that Open DICE gives them."""
        for name, digest in (("code", self.code), ("authority", self.authority)):
            sized = digest is not None and len(digest) in _HASHES
            steps.require(sized, f"open-dice.{name}", "malformed", f"layer {number}: a digest")
        small = self.descriptor is None or len(self.descriptor) <= MAX_DESCRIPTOR
        steps.require(small, "open-dice.config", "malformed", f"layer {number}: its descriptor")
        if self.config is None:
            there = self.descriptor is not None and len(self.descriptor) > 0
        else:
            # A digest of a descriptor that nobody can see is worth as much as one that is shown.
            made = _HASHES.get(len(self.config))
            there = made is not None and (
                self.descriptor is None or made(self.descriptor).digest() == self.config
            )
        steps.require(there, "open-dice.config", "malformed", f"layer {number}: its configuration")
        known = self.mode in MODES
        steps.require(known, "open-dice.mode", "malformed", f"layer {number}: {self.mode}")

    @property
    def configuration(self) -> bytes:
        """What is measured of its configuration: 64 bytes as they are, or a digest."""
        if self.config is not None:
            return self.config
        inline = self.descriptor or b""
        return inline if len(inline) == _INLINE else hashlib.sha512(inline).digest()

    def measurements(self, number: int) -> tuple[Measurement, ...]:
        """``layer0.code`` and so on; the code's signer is the authority."""
        authority = self.authority or b""
        return (
            Measurement(name=f"layer{number}.code", digest=self.code or b"", signer=authority),
            Measurement(name=f"layer{number}.authority", digest=authority),
            Measurement(name=f"layer{number}.config", digest=self.configuration),
        )
