"""Targets: what a TPM says, its keys' public areas and certificates, event logs, whole evidence."""

from __future__ import annotations

from depin_id.attestation.tpm2_evidence import MEDIA_TYPE, read
from depin_id.errors import DepinError
from tests.attestation import tpm2_world as made
from tests.attestation.ca import NOW
from tests.attestation.test_tpm2_eventlog import boot, head, locality
from tests.attestation.tpm2_world import GOOD, Spec, rsa_key
from tests.fuzz.target import target
from verify.attestation import appraise_evidence
from verify.attestation.tpm2 import credential_for, make_credential, public, wire
from verify.attestation.tpm2.eventlog import read_event_log

_LOG = boot(locality(3))
_RSA = Spec(ak=rsa_key("ak"))
_EVIDENCE = [spec.evidence() for spec in (GOOD, _RSA)]
_MATERIALS = made.materials()
_EXPECTED = made.expected(GOOD)


def take_structure(data: bytes) -> None:
    """Each structure is read or refused; a public area has a Name and makes a credential or not."""
    for read_it in (wire.read_attest, wire.read_signature, public.read_public):
        try:
            found = read_it(data)
        except DepinError as error:
            assert error.code and error.message
            continue
        if isinstance(found, public.Public):
            assert found.raw == data and len(found.name) in (22, 34, 50, 66)
            make_credential(data, made.GOOD.ak_name(), bytes(32), bytes)


def take_event_log(data: bytes) -> None:
    """A log that is read replays to 24 PCRs."""
    log = read_event_log(data)
    assert {len(value) for value in log.replay().values()} == {32}
    assert log.secure_boot() in (True, False, None)


def take_evidence(data: bytes) -> None:
    """Evidence keeps its form; only ours is affirmed."""
    found = appraise_evidence(MEDIA_TYPE, data, expected=_EXPECTED, at=NOW, materials=_MATERIALS)
    assert not found.affirmed or data == _EVIDENCE[0].encode()
    evidence = read(data)
    assert evidence.encode() == data
    credential_for(
        evidence.ek_chain,
        evidence.ak_public,
        anchors=_MATERIALS.anchors,
        at=NOW,
        secret=bytes(32),
        randomness=bytes,
    )


target(
    "tpm2-structure",
    take_structure,
    [
        part
        for evidence in _EVIDENCE
        for part in (
            evidence.quote,
            evidence.quote_signature,
            evidence.ak_public,
            evidence.certify or b"",
            evidence.key_public or b"",
        )
    ],
)
target("tpm2-event-log", take_event_log, [_LOG, head()])
target("tpm2-evidence", take_evidence, [evidence.encode() for evidence in _EVIDENCE])
