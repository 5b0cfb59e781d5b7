"""Targets: credentials, batches, chains of ownership, proofs of others."""

from __future__ import annotations

import json

from depin_id import strict_json
from depin_id.credentials import Verified, verify, verify_birth, verify_chain, write
from depin_id.credentials.wire import read
from depin_id.ecdsa import decode_p384, encode_p384
from depin_id.jcs import canonicalize
from depin_id.proof_sets import verify_secured
from tests.credentials.test_batch import CERTIFICATES, SIGNED
from tests.credentials.world import (
    ANNA,
    LAB,
    MAKER,
    NOW,
    birth,
    calibration,
    check,
    compact,
    key_of,
    location,
    ownership,
)
from tests.fuzz.target import target, text

_BIRTH = check(MAKER.sign(birth()))


def take_credential(data: bytes) -> None:
    """What is read is canonical when it is written, and its own digest."""
    parts = read(data)
    body = strict_json.parse(parts.body)
    assert canonicalize(body) == parts.body == write(parts.credential)
    assert "proof" not in body
    assert read(parts.body).digest == parts.digest
    assert isinstance(verify(data, key_of=key_of, now_ms=NOW), Verified)


def take_birth(data: bytes) -> None:
    """A certificate of a batch, then a chain that begins with it."""
    found = verify_birth(data, key_of=key_of, now_ms=NOW, batch=SIGNED)
    assert found.issuer == MAKER.did, "nobody else signed one"


def take_transfer(data: bytes) -> None:
    """A transfer behind a birth certificate."""
    transfer = verify(data, key_of=key_of, now_ms=NOW)
    owners = verify_chain(_BIRTH, [transfer], claimed=lambda *_: True)
    assert owners.owner_at(NOW) is not None


def take_secured(data: bytes) -> None:
    """Any JSON with proofs."""
    document = strict_json.parse(data)
    if isinstance(document, dict):
        verify_secured(
            document,
            key_of=lambda options: key_of(
                "", options["verificationMethod"].partition("#")[0], None
            ),
            purpose="assertionMethod",
            now_ms=NOW,
        )


def take_p384(data: bytes) -> None:
    """A multikey of P-384 has one spelling."""
    assert encode_p384(decode_p384(text(data))) == text(data)


_EACH = [
    MAKER.sign(birth()),
    MAKER.sign(ownership(MAKER, ANNA, _BIRTH.digest)),
    LAB.sign(calibration(credential_status={"type": "x", "nested": {"proof": {"a": 1}}})),
    ANNA.sign(location(altitude="1.5")),
    SIGNED,
]
target(
    "credential",
    take_credential,
    [*map(compact, _EACH), json.dumps(_EACH[0], indent=1), write(_BIRTH.credential)],
)
target("birth-certificate", take_birth, [compact(CERTIFICATES[0]), compact(_EACH[0])])
target("ownership", take_transfer, [compact(_EACH[1])])
target("data-integrity", take_secured, [compact(_EACH[2]), compact(_EACH[3])])
target(
    "multikey-p384",
    take_p384,
    ["z82LkuBieyGShVBhvtE2zoiD6Kma4tJGFtkAhxR5pfkp5QPw4LutoYWhvQCnGjdVn14kujQ"],
)
