"""A manufacturer, a laboratory, owners and a device, and credentials between them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from depin_id.credentials import (
    BirthCertificate,
    BirthSubject,
    Calibration,
    CalibrationSubject,
    Credential,
    Location,
    LocationSubject,
    Ownership,
    OwnershipSubject,
    Verified,
    issue,
    verify,
)
from depin_id.data_integrity import make_proof
from depin_id.did.key import did_key, parse_did_key
from depin_id.keys import PublicKey, SoftwareSigner

DAY = 86_400_000
NOW = 1_795_262_400_000
"""2026-11-21T12:00:00Z."""
BORN, LATER = "2026-11-20T00:00:00Z", "2027-11-20T00:00:00Z"


@dataclass(frozen=True)
class Party:
    """Somebody with a did:key."""

    signer: SoftwareSigner

    @property
    def did(self) -> str:
        return did_key(self.signer.public_key)

    @property
    def method(self) -> str:
        return f"{self.did}#{self.did[8:]}"

    def sign(self, credential: Credential, created: str = BORN) -> dict[str, Any]:
        return issue(credential, self.signer, verification_method=self.method, created=created)

    def sign_raw(self, document: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Whatever the document is: what an issuer who is an enemy would sign."""
        document = {name: item for name, item in document.items() if name != "proof"}
        options = {"verification_method": self.method, "purpose": "assertionMethod"}
        proof = make_proof(document, self.signer, **({"created": BORN} | options | more))
        return {**document, "proof": proof}


def party(seed: int) -> Party:
    """The same one for the same number."""
    return Party(SoftwareSigner("ed25519", seed.to_bytes(32, "big")))


MAKER, LAB, DEVICE, ANNA, BERT, CARL, THIEF = (party(1000 + number) for number in range(7))


def key_of(method: str, issuer: str, created: str | None) -> PublicKey:
    """The key in a did:key."""
    return parse_did_key(issuer)


def birth(device: Party = DEVICE, **more: Any) -> BirthCertificate:
    """A birth certificate, unsigned; ``more`` goes to the subject."""
    subject: dict[str, Any] = {
        "batch": "2026-11-A",
        "hardware_revision": "B2",
        "id": device.did,
        "key": device.did[8:],
        "key_protection": "secure-element",
        "model": "noise-class2",
        "serial": "SN-000001",
    }
    return BirthCertificate(
        issuer=MAKER.did, valid_from=BORN, credential_subject=BirthSubject(**(subject | more))
    )


def ownership(
    giver: Party, taker: Party, previous: bytes, since: str = BORN, device: Party = DEVICE
) -> Ownership:
    """A transfer, unsigned."""
    subject = OwnershipSubject(id=device.did, owner=taker.did, previous=previous.hex())
    return Ownership(issuer=giver.did, valid_from=since, credential_subject=subject)


def calibration(**more: Any) -> Calibration:
    """A calibration, unsigned; ``more`` goes to the credential."""
    subject = CalibrationSubject(
        id=DEVICE.did,
        quantity="sound pressure level",
        unit="dB",
        reference="pistonphone 114 dB, certificate 17-4711",
        uncertainty="0.25",
        coverage_factor="2",
    )
    given = {"issuer": LAB.did, "valid_from": BORN, "valid_until": LATER} | more
    return Calibration(credential_subject=subject, **given)


def location(**more: Any) -> Location:
    """A location assertion, unsigned; ``more`` goes to the subject."""
    subject = {"id": DEVICE.did, "latitude": "52.52", "longitude": "-13.405", "accuracy": "10"}
    return Location(
        issuer=ANNA.did,
        valid_from=BORN,
        valid_until=LATER,
        credential_subject=LocationSubject(**(subject | more)),
    )


def compact(document: Any) -> bytes:
    """As JSON, compact, members in their order."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def check(document: Any, **more: Any) -> Verified:
    """Verify with the usual arguments."""
    given: dict[str, Any] = {"key_of": key_of, "now_ms": NOW}
    return verify(document, **(given | more))
