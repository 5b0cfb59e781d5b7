"""Targets: statements, proofs of possession, and the desk that hears them."""

from __future__ import annotations

from depin_id import cbor
from depin_id.ack import challenge_nonce
from depin_id.possession import enrol_statement, prove, read_proof
from depin_id.statements import (
    CHALLENGE,
    is_statement,
    read_statement,
    statement_id,
    write_statement,
)
from tests.fuzz.target import target
from tests.fuzz.wire import NETWORK
from verify.identity.state import IdentityState
from verify.identity.trust import verify_certificate
from verify.policy import IdentityPolicy

_DEVICE = NETWORK.device("prover")
_NONCE = challenge_nonce(7, bytes(32), _DEVICE.key.thumbprint)
_CERTIFICATE = b'{"type":["VerifiableCredential","DeviceBirthCertificate"],"issuer":"did:key:z6Mk"}'
_PROOF = prove(
    _DEVICE.signer,
    _DEVICE.enrolment,
    nonce=_NONCE,
    network=NETWORK.did,
    certificate=_CERTIFICATE,
)


def take_statement(data: bytes) -> None:
    """A statement has one spelling, and no bundle is one."""
    found = read_statement(data)
    assert is_statement(data) and found.id == statement_id(data)
    assert write_statement(found.kind, *found.parts) == data


def take_proof(data: bytes) -> None:
    """A proof that reads is signed by the key in it, and says the same when written again."""
    found = read_proof(data, network=NETWORK.did)
    assert cbor.encode(found.enrolment.to_list())
    assert len(found.nonce) == 16


def take_certificate(data: bytes) -> None:
    """Whatever is shown as a certificate is refused by an error of ours."""
    verify_certificate(
        data,
        identity=IdentityState(),
        policy=IdentityPolicy(manufacturers=["did:key:z6Mk"]),
        did=_DEVICE.did,
        at=NETWORK.now * 1000,
    )


target(
    "statement",
    take_statement,
    [
        write_statement(CHALLENGE, _DEVICE.key.thumbprint),
        enrol_statement(_PROOF, _CERTIFICATE),
        write_statement("dance"),
    ],
)
target("possession", take_proof, [_PROOF])
target("shown-certificate", take_certificate, [_CERTIFICATE])
