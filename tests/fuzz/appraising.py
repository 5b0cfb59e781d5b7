"""Targets: result tokens, and everything that evidence is judged by."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.attestation import ear
from depin_id.attestation.ear_foreign import parse_foreign_ear
from depin_id.errors import AttestationError
from depin_id.keys import SoftwareSigner
from tests.attestation.ca import NOW
from tests.attestation.test_anchors_files import JWK_TEXT, PEM, SPKI
from tests.attestation.test_corim import GOOD, SIGNER, good_corims
from tests.attestation.test_ear import NETWORK, RESULT
from tests.attestation.test_ear_foreign import CBOR_1, JSON_1
from tests.attestation.test_references_bundle import everything
from tests.attestation.test_revocations_lists import FORMAT, MIDDLE, OWN, STATUS, _crl, _entry
from tests.fuzz.target import target
from verify.attestation.anchor_keys import admit_spki, read_keys
from verify.attestation.bundles import (
    bundle_references,
    bundle_revocations,
    check_bundle,
    describe,
    materials_from,
)
from verify.attestation.corim import look_at, read_corim
from verify.attestation.reference_files import read_references_file
from verify.attestation.revocation_lists import read_list

_PAYLOAD = ear.encode_result(RESULT)
_SIGNER = SoftwareSigner.generate()
_TOKEN = ear.sign_ear(_PAYLOAD, network=NETWORK, signer=_SIGNER)
_ISSUERS = (MIDDLE.certificate.public_bytes(Encoding.DER),)


def take_result(data: bytes) -> None:
    """A result that is read is written as the same bytes."""
    assert ear.encode_result(ear.decode_result(data)) == data


def take_token(data: bytes) -> None:
    """Only the token that was signed is one."""
    found, payload = ear.read_ear(data, network=NETWORK, keys=[_SIGNER.public_key])
    assert (data, found, payload) == (_TOKEN, RESULT, _PAYLOAD)


def take_foreign(data: bytes) -> None:
    """A token of another verifier; what its tiers say is never better than its claims."""
    parse_foreign_ear(data)


def take_bundle(data: bytes) -> None:
    """What is taken can be read, told of and used; whatever kind it is taken for."""
    for what in ("anchors", "references", "revocations"):
        try:
            check_bundle(what, data)
        except AttestationError:
            continue
        assert describe(what, data)
        materials_from([(what, "x", data)], max_age_ms=1, at=NOW)


def take_corim(data: bytes) -> None:
    """A CoRIM that is read has values that approve something."""
    for _, value in look_at(data).values:
        assert value.digests
    read_corim(data, signers=[SIGNER], unsigned=True)


def take_references(data: bytes) -> None:
    """Models in TOML: what is read from a file can be taken, or is refused then."""
    bundle_references(read_references_file(data, lambda _: good_corims()[0]))


def take_list(data: bytes) -> None:
    """Lists of all kinds."""
    bundle_revocations([read_list(data, taken=NOW, covers=FORMAT, issuers=_ISSUERS)])


def take_keys(data: bytes) -> None:
    """A key that is read is admitted, in its one encoding."""
    for spki, _ in read_keys(data):
        assert admit_spki(spki) == spki


target("ear-result", take_result, [_PAYLOAD])
target("ear-token", take_token, [_TOKEN])
target("ear-foreign", take_foreign, [CBOR_1, JSON_1])
target(
    "materials",
    take_bundle,
    [*(data for _, _, data in everything()), bundle_revocations([_entry(_crl())])],
)
target("corim", take_corim, good_corims())
target("references", take_references, [GOOD % ("dd" * 32, "ee" * 32)])
target("revocation-lists", take_list, [OWN, STATUS, _crl()])
target("anchor-keys", take_keys, [PEM, SPKI, JWK_TEXT, b"\xa5\x01\x02\x20\x01", _ISSUERS[0]])
