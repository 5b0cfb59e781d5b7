"""From a manufacturer's birth certificate to a machine's key that is trusted."""

from __future__ import annotations

from depin_id.credentials import verify
from depin_id.did.multikey import encode_multikey
from depin_id.peaq.evidence import birth_evidence
from depin_id.peaq.resolved import did_document
from depin_id.peaq.trust import keys_of_document, vouched_by_evidence
from tests.credentials.world import DEVICE, MAKER, NOW, THIEF, birth, calibration, key_of
from tests.credentials.world import LAB as LABORATORY
from tests.peaq.test_trust import machine
from tests.peaq.world import WALLET_ADDRESS, code


def test_a_birth_certificate_of_a_numbered_machine() -> None:
    key = DEVICE.signer.public_key
    made = machine()
    method = made.methods[0]
    listed = (type(method)("#device", "Multikey", WALLET_ADDRESS, encode_multikey(key)),)
    keys = keys_of_document(did_document(machine(methods=listed, authentication=(0,))))
    assert code(keys.require_key, key) == "peaq.attribute_only"

    signed = MAKER.sign(birth(id="did:peaq:42"))
    evidence = birth_evidence(verify(signed, key_of=key_of, now_ms=NOW))
    assert vouched_by_evidence(keys, evidence).require_key(key) == "birth-certificate"

    # Somebody else wrote the attribute: it names the thief's key, and the certificate does not.
    stolen = encode_multikey(THIEF.signer.public_key)
    swapped = (type(method)("#device", "Multikey", WALLET_ADDRESS, stolen),)
    theirs = keys_of_document(did_document(machine(methods=swapped, authentication=(0,))))
    assert code(vouched_by_evidence, theirs, evidence) == "peaq.not_vouched"
    # The certificate of another machine, and a credential of another kind.
    other = MAKER.sign(birth(id="did:peaq:43"))
    wrong = birth_evidence(verify(other, key_of=key_of, now_ms=NOW))
    assert code(vouched_by_evidence, keys, wrong) == "peaq.not_vouched"
    measured = verify(LABORATORY.sign(calibration()), key_of=key_of, now_ms=NOW)
    assert code(birth_evidence, measured) == "peaq.not_vouched"
