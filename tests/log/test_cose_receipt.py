"""COSE Receipts: the structure of RFC 9942, read by others' CBOR, and nothing in one changeable."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import cbor2
import pytest
from nacl.signing import VerifyKey

from depin_id import cbor
from depin_id.errors import DepinError, LogError
from depin_id.keys import SoftwareSigner
from tests.docs.cddl import Cddl
from tests.log.helpers import ORIGIN, entries, mth, path, subproof
from tests.paths import vectors
from verify.log import (
    check_cose_consistency,
    check_cose_inclusion,
    sign_cose_consistency,
    sign_cose_inclusion,
)
from verify.log.cose_receipt import MAX_COSE_RECEIPT

SIGNER = SoftwareSigner("ed25519", sha256(b"the key of the test log").digest())
OTHER = SoftwareSigner("ed25519", sha256(b"another log").digest())
KEY = SIGNER.public_key
LEAVES = entries(13)
ROOT = mth(LEAVES)

# Sections 4 and 5 of RFC 9942, with the algorithm, claims and key of these logs put in.
CDDL = Cddl("""
receipt = #6.18([protected: bstr .cbor headers, { 396 => proofs }, payload: null, signature])
headers = { 1 => -19, 4 => bstr, 15 => { 1 => tstr }, 395 => 1 }
proofs = { -1 => [1*1 bstr .cbor inclusion] } / { -2 => [1*1 bstr .cbor consistency] }
inclusion = [size: uint, index: uint, path: [1*63 bstr .size 32]]
consistency = [old: uint, new: uint, path: [1*63 bstr .size 32]]
signature = bstr .size 64
""")


def inclusion(index: int = 4) -> bytes:
    proof = path(index, LEAVES)
    return sign_cose_inclusion(index, 13, LEAVES[index], proof, signer=SIGNER, origin=ORIGIN)


def consistency(old: int = 6) -> bytes:
    return sign_cose_consistency(
        old, 13, mth(LEAVES[:old]), subproof(old, LEAVES, True), signer=SIGNER, origin=ORIGIN
    )


def changed(data: bytes, part: int, value: Any) -> bytes:
    tag = cbor.decode(data)
    tag.value[part] = value
    return cbor.encode(tag)


def with_header(data: bytes, label: int, value: Any) -> bytes:
    headers = cbor.decode(cbor.decode(data).value[0])
    headers.pop(label, None)
    if value is not None:
        headers[label] = value
    return changed(data, 0, cbor.encode(headers))


def with_proof(data: bytes, proof: Any, kind: int = -1) -> bytes:
    return changed(data, 1, {396: {kind: [cbor.encode(proof)]}})


@pytest.mark.parametrize("index", range(13))
def test_inclusion_of_every_leaf(index: int) -> None:
    data = inclusion(index)
    found = check_cose_inclusion(data, LEAVES[index], KEY, origin=ORIGIN)
    assert (found.size, found.index, found.root) == (13, index, ROOT)
    assert CDDL.matches("receipt", data) and len(data) < 1024


@pytest.mark.parametrize("old", range(1, 13))
def test_consistency_from_every_size(old: int) -> None:
    data = consistency(old)
    found = check_cose_consistency(data, mth(LEAVES[:old]), KEY, origin=ORIGIN)
    assert (found.old_size, found.size, found.root) == (old, 13, ROOT)
    assert CDDL.matches("receipt", data)
    with pytest.raises(DepinError):
        check_cose_consistency(data, mth(LEAVES[1 : old + 1]), KEY, origin=ORIGIN)


def test_another_s_library_verifies_it() -> None:
    tag = cbor2.loads(inclusion())
    protected, unprotected, payload, signature = tag.value
    assert tag.tag == 18 and payload is None
    size, index, hashes = cbor2.loads(unprotected[396][-1][0])
    assert (size, index, hashes) == (13, 4, path(4, LEAVES))
    message = cbor2.dumps(["Signature1", protected, b"", ROOT])
    VerifyKey(KEY.raw).verify(message, signature)
    headers = cbor2.loads(protected)
    assert headers == {1: -19, 4: KEY.kid, 15: {1: ORIGIN}, 395: 1}


@pytest.mark.parametrize("name", ["inclusion", "consistency"])
def test_the_structure_is_that_of_the_rfc_s_samples(name: str) -> None:
    """The samples are ES256 and not in deterministic order: their shape is compared."""
    sample = cbor2.loads(vectors(f"cose-receipts/examples/{name}-receipt.cbor").read_bytes())
    own = cbor2.loads(inclusion() if name == "inclusion" else consistency())
    assert sample.tag == own.tag
    assert set(cbor2.loads(sample.value[0])) == set(cbor2.loads(own.value[0]))
    assert sample.value[2] is own.value[2] is None
    [kind] = own.value[1][396]
    for receipt in (sample, own):
        first, second, hashes = cbor2.loads(receipt.value[1][396][kind][0])
        assert type(first) is type(second) is int
        assert hashes and all(len(item) == 32 for item in hashes)
    with pytest.raises(DepinError):
        check_cose_inclusion(
            vectors(f"cose-receipts/examples/{name}-receipt.cbor").read_bytes(),
            LEAVES[4],
            KEY,
            origin=ORIGIN,
        )


def test_a_tree_of_one_leaf_has_no_receipt_in_this_form() -> None:
    with pytest.raises(LogError) as caught:
        sign_cose_inclusion(0, 1, b"leaf", [], signer=SIGNER, origin=ORIGIN)
    assert caught.value.code == "log.cose_receipt" and "tlog-proof" in caught.value.hint
    # Nor is one read, though its signature is good.
    protected = cbor.decode(inclusion()).value[0]
    root = sha256(b"\x00leaf").digest()
    signature = SIGNER.sign(cbor2.dumps(["Signature1", protected, b"", root]))
    forged = with_proof(changed(inclusion(), 3, signature), [1, 0, []])
    with pytest.raises(LogError) as caught:
        check_cose_inclusion(forged, b"leaf", KEY, origin=ORIGIN)
    assert caught.value.code == "log.cose_receipt"


def test_an_impossible_proof_is_not_signed() -> None:
    with pytest.raises(LogError):
        sign_cose_inclusion(4, 13, LEAVES[4], path(4, LEAVES)[:-1], signer=SIGNER, origin=ORIGIN)
    with pytest.raises(LogError):
        sign_cose_consistency(
            6, 13, mth(LEAVES[1:7]), subproof(6, LEAVES, True), signer=SIGNER, origin=ORIGIN
        )


PATH = path(4, LEAVES)
TAMPERED: list[tuple[str, bytes, str]] = [
    ("another index", with_proof(inclusion(), [13, 5, PATH]), "signature.invalid"),
    ("an index outside", with_proof(inclusion(), [13, 13, PATH]), "log.proof"),
    ("a size of another depth", with_proof(inclusion(), [130, 4, PATH]), "log.proof"),
    ("a hash less", with_proof(inclusion(), [13, 4, PATH[:-1]]), "log.proof"),
    ("a hash more", with_proof(inclusion(), [13, 4, [*PATH, ROOT]]), "log.proof"),
    ("hashes exchanged", with_proof(inclusion(), [13, 4, PATH[::-1]]), "signature.invalid"),
    ("a short hash", with_proof(inclusion(), [13, 4, [*PATH[:-1], b""]]), "log.cose_receipt"),
    ("64 hashes", with_proof(inclusion(), [13, 4, [ROOT] * 64]), "log.cose_receipt"),
    ("a bool as index", with_proof(inclusion(), [13, True, PATH]), "log.cose_receipt"),
    ("a negative index", with_proof(inclusion(), [13, -1, PATH]), "log.proof"),
    ("four members", with_proof(inclusion(), [13, 4, PATH, 0]), "log.cose_receipt"),
    ("no array", with_proof(inclusion(), {}), "log.cose_receipt"),
    ("another kind", with_proof(inclusion(), [13, 4, PATH], kind=-2), "log.cose_receipt"),
    ("no proof", changed(inclusion(), 1, {396: {-1: []}}), "log.cose_receipt"),
    ("bytes that are no CBOR", changed(inclusion(), 1, {396: {-1: [b"\xff"]}}), "log.cose_receipt"),
    ("text as proof", changed(inclusion(), 1, {396: {-1: [""]}}), "log.cose_receipt"),
    ("a second proof", changed(inclusion(), 1, {396: {-1: [b"", b""]}}), "log.cose_receipt"),
    ("both kinds", changed(inclusion(), 1, {396: {-1: [b""], -2: [b""]}}), "log.cose_receipt"),
    ("no proofs", changed(inclusion(), 1, {}), "log.cose_receipt"),
    ("a header more", changed(inclusion(), 1, {396: {-1: [b""]}, 4: b""}), "log.cose_receipt"),
    ("an attached root", changed(inclusion(), 2, ROOT), "log.cose_receipt"),
    ("a signature of 63", changed(inclusion(), 3, bytes(63)), "log.cose_receipt"),
    ("another signature", changed(inclusion(), 3, bytes(64)), "signature.invalid"),
    ("another structure", with_header(inclusion(), 395, 2), "log.cose_receipt"),
    ("structure true", with_header(inclusion(), 395, True), "log.cose_receipt"),
    ("no structure", with_header(inclusion(), 395, None), "log.cose_receipt"),
    ("another algorithm", with_header(inclusion(), 1, -8), "key.algorithm"),
    ("another kid", with_header(inclusion(), 4, bytes(8)), "log.signature"),
    ("another issuer", with_header(inclusion(), 15, {1: "log.example/other"}), "log.origin"),
    ("a claim more", with_header(inclusion(), 15, {1: ORIGIN, 2: "x"}), "log.cose_receipt"),
    ("claims no map", with_header(inclusion(), 15, [ORIGIN]), "log.cose_receipt"),
    ("a critical header", with_header(inclusion(), 2, [395]), "log.cose_receipt"),
    ("headers of another type", changed(inclusion(), 0, []), "log.cose_receipt"),
    ("headers no map", changed(inclusion(), 0, b"\x80"), "log.cose_receipt"),
    ("no tag", cbor.encode(cbor.decode(inclusion()).value), "log.cose_receipt"),
    ("another tag", cbor.encode(cbor.Tag(17, cbor.decode(inclusion()).value)), "log.cose_receipt"),
    ("a byte more", inclusion() + b"\x00", "encoding.malformed"),
    ("too large", b"\x00" * (MAX_COSE_RECEIPT + 1), "encoding.too_large"),
    ("empty", b"", "encoding.malformed"),
    (
        "of another log",
        sign_cose_inclusion(4, 13, LEAVES[4], PATH, signer=OTHER, origin=ORIGIN),
        "log.signature",
    ),
]


@pytest.mark.parametrize(
    ("data", "code"), [row[1:] for row in TAMPERED], ids=[r[0] for r in TAMPERED]
)
def test_nothing_in_one_can_be_changed(data: bytes, code: str) -> None:
    with pytest.raises(DepinError) as caught:
        check_cose_inclusion(data, LEAVES[4], KEY, origin=ORIGIN)
    assert caught.value.code == code


def test_every_flipped_bit_is_an_error_of_ours() -> None:
    data = inclusion()
    for at in range(len(data)):
        wrong = bytearray(data)
        wrong[at] ^= 1 << at % 8
        with pytest.raises(DepinError):
            check_cose_inclusion(bytes(wrong), LEAVES[4], KEY, origin=ORIGIN)


def test_another_leaf_or_another_origin_is_refused() -> None:
    with pytest.raises(DepinError) as caught:
        check_cose_inclusion(inclusion(), LEAVES[5], KEY, origin=ORIGIN)
    assert caught.value.code == "signature.invalid"
    with pytest.raises(DepinError) as caught:
        check_cose_inclusion(inclusion(), LEAVES[4], KEY, origin="log.example/other")
    assert caught.value.code == "log.origin"


def test_the_signature_does_not_cover_the_size() -> None:
    """So RFC 9942 has it: who needs the size takes it from a signed checkpoint."""
    data = with_proof(inclusion(), [14, 4, PATH])
    found = check_cose_inclusion(data, LEAVES[4], KEY, origin=ORIGIN)
    assert (found.size, found.root) == (14, ROOT)
