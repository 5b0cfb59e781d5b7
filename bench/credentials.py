"""Credentials: verification beside the raw signature, turn by turn, on one core."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.signing import SigningKey

from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from depin_id.credentials import (
    BirthCertificate,
    Calibration,
    Credential,
    Location,
    Ownership,
    batch_digest,
    batch_proof,
    issue,
    leaf_hash,
    make,
    sign_batch,
    verify,
    verify_birth,
    write,
)
from depin_id.did.key import did_key
from depin_id.keys import PublicKey, SoftwareSigner

NOW, SINCE, UNTIL = 1_795_262_400_000, "2026-11-20T00:00:00Z", "2027-11-20T00:00:00Z"
_TURN = 100
"""Credentials in one turn, before the raw signature has one: both meet the same machine."""


@dataclass(frozen=True)
class _Case:
    name: str
    verify: Callable[[Any], object]
    documents: Sequence[Any]
    target: Target | None = None
    note: str = ""


class _World:
    """Issuers with their keys known, and devices."""

    def __init__(self, count: int) -> None:
        self.signer = SoftwareSigner.generate()
        self.issuer = did_key(self.signer.public_key)
        self.method = f"{self.issuer}#{self.issuer[8:]}"
        self.devices = [did_key(SoftwareSigner.generate().public_key) for _ in range(count)]
        self.keys: dict[str, PublicKey] = {self.method: self.signer.public_key}

    def key_of(self, method: str, _issuer: str, _created: str | None) -> PublicKey:
        return self.keys[method]

    def verify(self, data: bytes) -> object:
        return verify(data, key_of=self.key_of, now_ms=NOW)

    def credential(
        self, kind: type[Credential], subject: dict[str, Any], **more: Any
    ) -> Credential:
        given = {"issuer": self.issuer, "valid_from": SINCE} | more
        return make(kind, credential_subject=subject, **given)

    def issued(self, credential: Credential) -> dict[str, Any]:
        return issue(credential, self.signer, verification_method=self.method, created=SINCE)

    def births(self) -> list[BirthCertificate]:
        return [
            make(
                BirthCertificate,
                issuer=self.issuer,
                valid_from=SINCE,
                credential_subject={
                    "batch": "2026-11-A",
                    "claimDigest": f"{number:064x}",
                    "hardwareRevision": "B2",
                    "id": did,
                    "key": did[8:],
                    "keyProtection": "secure-element",
                    "model": "noise-class2",
                    "serial": f"SN-{number:06}",
                },
            )
            for number, did in enumerate(self.devices)
        ]

    def others(self) -> dict[str, list[Credential]]:
        """Credentials that name no key of a device."""
        end = {"valid_until": UNTIL}
        calibration = {
            "coverageFactor": "2",
            "quantity": "sound pressure level",
            "reference": "pistonphone 114 dB, certificate 17-4711",
            "uncertainty": "0.25",
            "unit": "dB",
        }
        place = {"accuracy": "10", "latitude": "52.52", "longitude": "13.405"}
        gift = {"owner": self.devices[0], "previous": "ab" * 32}
        kinds: list[tuple[type[Credential], dict[str, str], dict[str, str]]] = [
            (Ownership, gift, {}),
            (Calibration, calibration, end),
            (Location, place, end),
        ]
        return {
            kind.TYPE: [self.credential(kind, {"id": did} | about, **more) for did in self.devices]
            for kind, about, more in kinds
        }


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _cases(world: _World) -> list[_Case]:
    births = world.births()
    issued = {"DeviceBirthCertificate": [world.issued(one) for one in births]}
    for name, credentials in world.others().items():
        issued[name] = [world.issued(one) for one in credentials]
    cases = [
        _Case(
            f"{name} verified",
            world.verify,
            [_compact(document) for document in documents],
            Target(0.7),
            "the device's key was admitted before" if "Birth" in name else "",
        )
        for name, documents in issued.items()
    ]
    ownerships = issued["DeviceOwnership"]
    indented = [json.dumps(one, indent=2).encode() for one in ownerships]
    note = "members in order, but with spaces: read strictly and made canonical first"
    cases.append(_Case("DeviceOwnership verified, indented", world.verify, indented, note=note))
    signed, tree = sign_batch(
        [leaf_hash(one) for one in births],
        world.signer,
        batch="2026-11-A",
        issuer=world.issuer,
        valid_from=SINCE,
        verification_method=world.method,
        created=SINCE,
    )
    digest = batch_digest(signed)
    leaves = [
        _compact(json.loads(write(one)) | {"proof": batch_proof(tree, index, digest)})
        for index, one in enumerate(births)
    ]
    whole = verify(signed, key_of=world.key_of, now_ms=NOW)

    def leaf(data: bytes) -> object:
        return verify_birth(data, key_of=world.key_of, now_ms=NOW, batch=whole)

    return [*cases, _Case("certificate of a batch verified", leaf, leaves)]


def _turn(action: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for item in items:
        action(item)
    return time.thread_time() - start


def _measure(case: _Case, settings: Settings) -> Row:
    key = SigningKey.generate()
    public = bytes(key.verify_key)
    documents = list(case.documents)
    raw = [bytes(key.sign(number.to_bytes(64, "big"))) for number in range(len(documents))]
    _turn(case.verify, documents)  # whatever is made once is made
    values, ratios = [], []
    for _ in range(settings.runs):
        ours = theirs = 0.0
        count = 0
        while ours < settings.raw_seconds:
            for start in range(0, len(documents), _TURN):
                part = documents[start : start + _TURN]
                ours += _turn(case.verify, part)
                theirs += _turn(
                    lambda one: crypto_sign_open(one, public), raw[start : start + _TURN]
                )
                count += len(part)
        values.append(count / ours)
        ratios.append(theirs / ours)
    return Row(
        "credentials",
        case.name,
        "/s",
        values,
        ratios,
        "raw verification, one core",
        case.target,
        note=case.note,
    )


def measure(lab: Lab) -> list[Row]:
    """Each type, in both spellings, and as a leaf of a batch."""
    world = _World(lab.settings.receipts)
    return [_measure(case, lab.settings) for case in _cases(world)]
