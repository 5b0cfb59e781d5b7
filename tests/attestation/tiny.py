"""A format of evidence for tests: an anchor's key signs challenge, device key and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from depin_id import cbor
from depin_id.keys import PublicKey, SoftwareSigner
from verify.attestation import (
    Anchors,
    BoundKey,
    Expected,
    HardwareRoot,
    Measurement,
    Model,
    Steps,
    VerifiedClaims,
)
from verify.attestation.identifiers import key_identifier, serial_identifier
from verify.attestation.public_keys import spki_bytes

NAME: Final = "tiny"
MEDIA_TYPE: Final = "application/x-tiny"
SERIAL: Final = 0x1F


def make(signer: SoftwareSigner, challenge: bytes, key: PublicKey, digest: bytes) -> bytes:
    """Evidence: the parts, and a signature over them."""
    parts = [challenge, key.cose_key, digest, signer.public_key.cose_key]
    return cbor.encode([*parts, signer.sign(cbor.encode(parts))])


class Tiny:
    """Its handler."""

    name = NAME
    media_types = frozenset((MEDIA_TYPE,))
    max_bytes = 1024

    def parse(self, raw: bytes, steps: Steps) -> list[Any]:
        value = cbor.decode(raw)
        whole = isinstance(value, list) and [type(part) for part in value] == [bytes] * 5
        steps.require(whole, "tiny.form", "malformed", "five byte strings")
        return list(value)

    def hints(self, parsed: list[Any]) -> Mapping[str, str]:
        return {"implementation": "aa"}

    def verify(
        self,
        parsed: list[Any],
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        signer = PublicKey.from_cose_key(parsed[3])
        spki = spki_bytes(signer)
        anchor = next((item for item in anchors.of(NAME) if item.spki == spki), None)
        steps.require(anchor is not None, "tiny.anchor", "anchor", "a known key")
        assert anchor is not None
        with steps.typed("tiny.signature", "signature"):
            signer.verify(cbor.encode(parsed[:4]), parsed[4])
        steps.passed("tiny.signature")
        return VerifiedClaims(
            challenge_seen=parsed[0],
            bound_key=BoundKey(
                how="attested", key=PublicKey.from_cose_key(parsed[1]), protected=True
            ),
            root=HardwareRoot(id=hashlib.sha256(spki).digest(), unique=True, assurance="tee"),
            identifiers=frozenset((key_identifier(spki), serial_identifier(NAME, SERIAL))),
            anchors=(anchor.digest,),
            device_ids={"implementation": "aa"},
            measurements=(Measurement(name="BL", digest=parsed[2]),),
            measures=True,
            secure=True,
        )


HANDLER: Final = Tiny()
