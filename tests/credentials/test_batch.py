"""Batches of birth certificates, and the tree that they stand in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import merkle
from depin_id.credentials import (
    batch_digest,
    batch_proof,
    leaf_hash,
    sign_batch,
    verify,
    verify_birth,
    write,
)
from depin_id.errors import CredentialError, DepinError
from tests.credentials.world import (
    BORN,
    LAB,
    MAKER,
    NOW,
    THIEF,
    Party,
    birth,
    calibration,
    key_of,
    party,
)
from tests.paths import vectors

DEVICES = [party(5000 + number) for number in range(7)]


def _batch(signer: Party = MAKER, name: str = "2026-11-A", **more: Any) -> Any:
    """Certificates with their proofs, and the credential of the batch."""
    bodies = [birth(device, serial=f"SN-{i}") for i, device in enumerate(DEVICES)]
    signed, tree = sign_batch(
        [leaf_hash(body) for body in bodies],
        signer.signer,
        batch=name,
        issuer=signer.did,
        valid_from=BORN,
        verification_method=signer.method,
        created=BORN,
        **more,
    )
    digest = batch_digest(signed)
    return [
        {**json.loads(write(body)), "proof": batch_proof(tree, index, digest)}
        for index, body in enumerate(bodies)
    ], signed


CERTIFICATES, SIGNED = _batch()


def _verify(certificate: Any, batch: Any = SIGNED, **more: Any) -> Any:
    return verify_birth(certificate, **({"batch": batch, "key_of": key_of, "now_ms": NOW} | more))


def _refused(code: str, certificate: Any, batch: Any = SIGNED, **more: Any) -> None:
    with pytest.raises(DepinError) as caught:
        _verify(certificate, batch, **more)
    assert caught.value.code == code, caught.value


def test_every_certificate_of_a_batch_verifies() -> None:
    whole = verify(SIGNED, key_of=key_of, now_ms=NOW)
    for device, certificate in zip(DEVICES, CERTIFICATES, strict=True):
        found = _verify(certificate, expected_subject=device.did)
        assert (found.subject, found.issuer) == (device.did, MAKER.did)
        assert found.key == MAKER.signer.public_key
        assert _verify(json.dumps(certificate, indent=2), whole) == found
    alone = birth(DEVICES[0])
    assert _verify(MAKER.sign(alone), None).subject == DEVICES[0].did


def test_a_leaf_is_not_a_signed_certificate() -> None:
    with pytest.raises(CredentialError, match=r"credential\.unsigned"):
        verify(CERTIFICATES[0], key_of=key_of, now_ms=NOW)
    _refused("batch.missing", CERTIFICATES[0], None)
    _refused("credential.type", LAB.sign(calibration()))
    body = {name: item for name, item in CERTIFICATES[0].items() if name != "proof"}
    _refused("credential.unsigned", body)


def test_each_part_of_the_inclusion_counts() -> None:
    first = CERTIFICATES[0]
    proof = first["proof"]
    for change, code in (
        ({"index": 1}, "batch.not_included"),
        ({"path": CERTIFICATES[1]["proof"]["path"]}, "batch.not_included"),
        ({"path": "u"}, "batch.not_included"),
        ({"path": proof["path"][:-1]}, "batch.path"),
        ({"path": proof["path"][:43]}, "batch.path"),
        ({"size": 8}, "batch.differs"),
        ({"batch": "00" * 32}, "batch.differs"),
        ({"index": 7}, "batch.not_included"),
        ({"index": -1}, "credential.malformed"),
        ({"index": "0"}, "credential.malformed"),
        ({"index": 0.5}, "credential.malformed"),
        ({"path": "u!"}, "credential.malformed"),
        ({"type": "MerkleProof"}, "credential.malformed"),
        ({"more": 1}, "credential.malformed"),
    ):
        assert isinstance(change, dict)
        _refused(code, {**first, "proof": {**proof, **change}})
    stolen = birth(THIEF).model_dump(by_alias=True, exclude_none=True)["credentialSubject"]
    _refused("batch.not_included", {**first, "credentialSubject": stolen})
    _refused("batch.not_included", {**first, "validFrom": "2026-11-19T00:00:00Z"})
    _refused("credential.subject", first, expected_subject=THIEF.did)


def test_the_batch_has_to_be_the_right_one() -> None:
    _refused("batch.differs", CERTIFICATES[0], _batch(name="2026-11-B")[1])
    # The thief signs the same certificates as a batch of his own.
    certificates, signed = _batch(THIEF)
    _refused("batch.differs", certificates[0], signed)
    _refused("credential.type", CERTIFICATES[0], LAB.sign(calibration()))
    other = verify(LAB.sign(calibration()), key_of=key_of, now_ms=NOW)
    _refused("credential.type", CERTIFICATES[0], other)
    broken = {**SIGNED, "validFrom": "2026-11-19T00:00:00Z"}
    _refused("signature.invalid", CERTIFICATES[0], broken)


def test_a_batch_that_cannot_be_looked_up_stops_its_certificates() -> None:
    certificates, signed = _batch(credential_status={"type": "x"})
    _refused("credential.status_unknown", certificates[0], signed)
    with pytest.raises(CredentialError, match=r"batch\.empty"):
        sign_batch(
            [],
            MAKER.signer,
            batch="x",
            issuer=MAKER.did,
            valid_from=BORN,
            verification_method=MAKER.method,
            created=BORN,
        )


def test_inclusion_of_the_public_vectors() -> None:
    folder = vectors("transparency-dev-merkle")
    seen = 0
    for path in sorted(folder.rglob("inclusion/**/*.json")):
        case = json.loads(path.read_text())
        seen += _agrees(case)
    assert seen >= 77


def _agrees(case: dict[str, Any]) -> int:
    def decode(text: str | None) -> bytes:
        return base64.b64decode(text or "")

    path = [decode(item) for item in case["proof"] or ()]
    if any(len(item) != 32 for item in path) or len(decode(case["leafHash"])) != 32:
        return 0  # not of 32 bytes: the form of a proof here says so before
    found = merkle.root_of(decode(case["leafHash"]), case["leafIdx"], case["treeSize"], path)
    assert (found == decode(case["root"])) != case["wantErr"], case["desc"]
    return 1


@given(size=st.integers(1, 70), data=st.data())
def test_every_leaf_of_every_tree(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    tree = merkle.Tree(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.path(index)
    assert merkle.root_of(leaves[index], index, size, path) == tree.root
    other = data.draw(st.integers(0, size + 2))
    if other != index:
        assert merkle.root_of(leaves[index], other, size, path) != tree.root
    assert merkle.root_of(leaves[index], index, size, [*path, bytes(32)]) != tree.root
    if path:
        assert merkle.root_of(leaves[index], index, size, path[:-1]) != tree.root


def test_an_empty_tree_and_places_outside() -> None:
    assert merkle.Tree([]).root.hex().startswith("e3b0c44298fc1c14")
    for index in (-1, 1):
        with pytest.raises(IndexError):
            merkle.Tree([bytes(32)]).path(index)
