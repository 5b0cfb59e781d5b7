"""Ownership vouchers: every link of the history, its last owner, and how little that says."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from depin_id.errors import AttestationError, EncodingError
from depin_id.keys import P256_ORDER, SoftwareSigner
from tests.attestation.ca import NOW, extended_by
from tests.attestation.idevids import CHALLENGE, SIGNER
from tests.attestation.vouchers import (
    DEVICE_CA,
    DEVICE_CHAIN,
    GUID,
    HMAC,
    INFO,
    LAST,
    MAKER,
    P256,
    P384,
    RSA,
    Case,
    entry,
    good_entries,
    header,
    public,
    real,
    real_manufacturer,
    sha,
    spki,
    start,
    voucher,
)
from verify.attestation import Anchor, Anchors, Appraisal, Expected
from verify.attestation.fdo import MAX_ENTRIES, read_voucher, verify_voucher
from verify.attestation.steps import Steps
from verify.attestation.x509path import PathRules, read_certificates, verify_path

HEAD = header(P256)
FIRST = good_entries(HEAD)[0]


def _refused(appraisal: Appraisal, step: str, kind: str) -> None:
    assert appraisal.claims is None and not appraisal.affirmed
    assert (appraisal.steps[-1].name, appraisal.steps[-1].passed) == (step, False)
    assert appraisal.reasons == (f"attestation.{kind}",)


# --- what others made ---------------------------------------------------------------------------


def test_a_real_voucher_of_six_transfers() -> None:
    raw = real("ov_extended")
    maker = Anchor("fdo", "virtual", read_voucher(raw, Steps()).manufacturer.spki)
    found = verify_voucher(raw, Anchors([maker]))
    assert len(found.entries) == 6 and found.info == "I am a virtual FIDO Alliance device!"
    assert found.owner.spki == found.entries[-1].owner.spki
    assert found.guid.hex() == "f1d0fd0066bd4ef392bc1b7c393fbe18"


def test_a_real_chain_with_sha1_leads_nowhere() -> None:
    raw = real("ov_extended")
    read = read_voucher(raw, Steps())
    anchors = [
        Anchor("fdo", "virtual", read.manufacturer.spki),
        DEVICE_CA.anchor("fdo", role="device-ca"),
    ]
    # Nobody has its last owner's key, so the chain is looked at by itself.
    with pytest.raises(AttestationError) as caught:
        steps = Steps()
        certificates = read_certificates(read.chain[:2], "fdo.certificates", steps)
        verify_path(
            certificates, anchors[1:], at=Case().at, rules=PathRules(), name="fdo", steps=steps
        )
    assert caught.value.code in ("attestation.anchor", "attestation.algorithm")
    with pytest.raises(AttestationError):
        read_certificates(read.chain, "fdo.certificates", Steps())


def test_a_real_voucher_without_transfers_and_its_manufacturer() -> None:
    raw, maker = real("ov"), real_manufacturer()
    case = Case(raw, owner=maker, anchors=[Anchor("fdo", "maker", spki(maker))])
    found = case.run()
    assert found.claims is not None and found.claims.device_ids["entries"] == "0"
    case.owner = P384
    _refused(case.run(), "fdo.possession", "signature")


@pytest.mark.parametrize("number", range(6))
def test_a_real_voucher_without_one_of_its_transfers(number: int) -> None:
    raw = real("ov_extended")
    maker = Anchor("fdo", "virtual", read_voucher(raw, Steps()).manufacturer.spki)
    value = cbor.decode(raw)
    del value[4][number]
    changed = cbor.encode(value)
    if number == 5:
        assert (
            verify_voucher(changed, Anchors([maker])).owner
            != verify_voucher(raw, Anchors([maker])).owner
        )
        return
    with pytest.raises(AttestationError) as caught:
        verify_voucher(changed, Anchors([maker]))
    assert caught.value.code == "attestation.claims"


# --- evidence -----------------------------------------------------------------------------------


def test_a_voucher_names_and_affirms_no_hardware() -> None:
    found = Case().run()
    assert found.claims is not None
    assert found.claims.root.assurance == "software" and not found.claims.bound_key.protected
    assert found.claims.bound_key.how == "attested"
    assert not found.affirmed and found.level == "D1"
    assert found.reasons == ("attestation.software",) and found.vector.instance_identity == 2
    assert found.claims.device_ids == {"guid": GUID.hex(), "info": INFO, "entries": "3"}


def test_another_device_key_is_bound_by_the_challenge_alone() -> None:
    other = SoftwareSigner.generate("p256").public_key
    for case in (
        Case(expected=Expected(challenge=CHALLENGE, key=other)),
        Case(voucher(head=(head := header(P256, None)), chain=None, entries=good_entries(head))),
    ):
        found = case.run()
        assert found.claims is not None and found.claims.bound_key.how == "challenge"


def test_replays_and_other_owners_are_refused() -> None:
    _refused(Case(challenge=bytes(32)).run(), "binding.challenge", "challenge")
    for before in (P256, P384):
        _refused(Case(owner=before).run(), "fdo.possession", "signature")
    good = cbor.decode(Case().raw)[2]
    high = (P256_ORDER - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
    _refused(Case(signature=good[:32] + high).run(), "fdo.possession", "signature")
    other = voucher(
        good_entries(HEAD)[:2] + [entry(P384, LAST, cbor.encode(good_entries(HEAD)[1]))]
    )
    _refused(Case(other, signature=good).run(), "fdo.possession", "signature")


@pytest.mark.parametrize(("count", "owner"), [(0, P256), (1, RSA), (2, P384)])
def test_owners_of_each_kind(count: int, owner: Any) -> None:
    case = Case(voucher(good_entries(HEAD)[:count]), owner=owner)
    found = case.run()
    assert found.claims is not None and found.claims.device_ids["entries"] == str(count)


def test_a_manufacturer_that_nobody_trusts() -> None:
    _refused(Case(anchors=[Anchor("fdo", "other", spki(P384))]).run(), "fdo.anchor", "anchor")
    authority = replace(MAKER, ids={"role": "device-ca"})
    _refused(Case(anchors=[authority]).run(), "fdo.anchor", "anchor")
    _refused(Case(anchors=[]).run(), "evidence.anchors", "anchor")


def test_the_devices_chain_where_its_authority_is_pinned() -> None:
    authority = DEVICE_CA.anchor("fdo", role="device-ca")
    found = Case(anchors=[MAKER, authority]).run()
    assert found.claims is not None and len(found.claims.anchors) == 2
    other = replace(authority, spki=spki(P384), certificate=b"")
    _refused(Case(anchors=[MAKER, other]).run(), "fdo.anchor", "anchor")
    # The same for a voucher alone, at a time that its caller says.
    both = Anchors([MAKER, authority])
    assert verify_voucher(voucher(), both, at=NOW).guid
    for anchors, at in ((both, None), (Anchors([MAKER, other]), NOW)):
        with pytest.raises(AttestationError):
            verify_voucher(voucher(), anchors, at=at)
    # A fake leaf that the device's key issued is no authority's word, whatever hash is over it.
    device = ec.derive_private_key(int.from_bytes(SIGNER.secret, "big"), ec.SECP256R1())
    chain = extended_by(device, DEVICE_CHAIN, P384.public_key())
    head = header(P256, chain)
    whole = voucher(head=head, chain=chain)
    _refused(Case(whole, anchors=[MAKER, authority]).run(), "fdo.authority", "chain")


@pytest.mark.parametrize(
    ("bad", "step", "kind"),
    [
        (entry(P256, LAST, b"other"), "fdo.previous", "claims"),
        (entry(P256, LAST, HEAD), "fdo.previous", "claims"),
        (entry(P256, LAST, start(HEAD), info=sha(GUID)), "fdo.header_info", "claims"),
        (entry(P384, LAST, start(HEAD)), "fdo.algorithm", "algorithm"),
        (entry(LAST, LAST, start(HEAD)), "fdo.signature", "signature"),
        (entry(P256, LAST, start(HEAD), protected=b"\xa1\x01\x27"), "fdo.entry", "malformed"),
        (
            entry(P256, LAST, start(HEAD), protected=b"\xa1\x01\x38\x22"),
            "fdo.algorithm",
            "algorithm",
        ),
        (
            entry(P256, LAST, start(HEAD), protected=b"\xa2\x01\x26\x04\x40"),
            "fdo.entry",
            "malformed",
        ),
        (entry(P256, LAST, start(HEAD), unprotected={4: b"x"}), "fdo.entry", "malformed"),
        (entry(P256, LAST, start(HEAD), extra=1), "fdo.entry", "malformed"),
        (entry(P256, LAST, start(HEAD), previous=[5, bytes(32)]), "fdo.entry", "malformed"),
        (entry(P256, LAST, start(HEAD), previous=[-16]), "fdo.entry", "malformed"),
        (entry(P256, LAST, start(HEAD), owner=[11, 1, spki(LAST)]), "fdo.key", "algorithm"),
        (entry(P256, LAST, start(HEAD), owner=[10, 3, spki(LAST)]), "fdo.key", "algorithm"),
        (entry(P256, LAST, start(HEAD), owner=[10, 1, b"x"]), "fdo.key", "algorithm"),
        (entry(P256, LAST, start(HEAD), owner=[10, 2, []]), "fdo.key", "malformed"),
        (entry(P256, LAST, start(HEAD), owner=[10, 1]), "fdo.key", "malformed"),
        (cbor.Tag(17, FIRST.value), "fdo.entry", "malformed"),
        (FIRST.value, "fdo.entry", "malformed"),
    ],
)
def test_a_transfer_that_is_wrong(bad: Any, step: str, kind: str) -> None:
    _refused(Case(voucher([bad])).run(), step, kind)


def test_weak_and_foreign_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    whole = entry(P256, LAST, start(HEAD), owner=[5, 1, spki(weak)])
    _refused(Case(voucher([whole])).run(), "fdo.key", "algorithm")
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = entry(P256, LAST, start(HEAD), owner=[10, 1, der])
    _refused(Case(voucher([whole])).run(), "fdo.key", "algorithm")


def test_a_key_whose_exponent_takes_long_is_refused() -> None:
    slow = rsa.RSAPublicNumbers((1 << 2000) + 1, (1 << 2047) + 1).public_key()
    der = slow.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = entry(P256, LAST, start(HEAD), owner=[5, 1, der])
    _refused(Case(voucher([whole])).run(), "fdo.key", "algorithm")


@pytest.mark.parametrize(
    ("found", "instead"), [("a003020102", "a003020104"), ("2a8648ce3d0201", "2a8648ce3d0209")]
)
def test_a_certificate_that_cannot_be_read_is_an_answer(found: str, instead: str) -> None:
    der = DEVICE_CHAIN[0].replace(bytes.fromhex(found), bytes.fromhex(instead))
    assert der != DEVICE_CHAIN[0]
    whole = voucher([entry(P256, LAST, start(HEAD), owner=[10, 2, [der]])])
    _refused(Case(whole).run(), "fdo.key", "algorithm")
    # As the device's own certificate, which nobody has to read, it binds no key.
    head = header(P256, [der])
    claims = Case(voucher(head=head, chain=[der])).run().claims
    assert claims is not None and claims.bound_key.how == "challenge"


def test_an_owner_with_a_certificate() -> None:
    chain = [10, 2, DEVICE_CA.issue("owner", LAST.public_key())]
    whole = voucher([entry(P256, LAST, start(HEAD), owner=chain)])
    assert Case(whole).run().claims is not None


@pytest.mark.parametrize(
    "bad",
    [
        voucher(version=100),
        voucher(head=header(P256, version=100)),
        voucher(head=header(P256, guid=bytes(15))),
        voucher(head=header(P256, info="x" * 257)),
        voucher(head=header(P256, info=b"x")),
        voucher(head=header(P256, more=1)),
        voucher(hmac=[5, bytes(31)]),
        voucher(hmac=[-16, bytes(32)]),
        voucher(hmac=[cbor.Tag(1, [1]), bytes(32)]),
        voucher([entry(P256, LAST, start(HEAD), previous=[cbor.Tag(1, [1]), bytes(32)])]),
        voucher(chain=None),
        voucher(chain=[b"x"] * 9),
        voucher(chain=[b""], head=header(P256, version="101")),
        voucher(head=header(P256, None)),
        voucher([FIRST] * (MAX_ENTRIES + 1)),
        voucher(more=1),
        voucher() + b"\x00",
        b"\x80",
        b"",
    ],
)
def test_a_voucher_of_another_form(bad: bytes) -> None:
    with pytest.raises(AttestationError) as caught:
        verify_voucher(bad, Anchors([MAKER]))
    assert caught.value.code == "attestation.malformed"


def test_the_hash_over_the_devices_certificates() -> None:
    head = header(P256, [b"others"])
    _refused(Case(voucher(head=head)).run(), "fdo.device_chain", "claims")


def test_the_header_and_its_hmac_are_those_that_were_signed() -> None:
    other = header(P256, info="another device")
    _refused(Case(voucher(good_entries(HEAD), head=other)).run(), "fdo.previous", "claims")
    forged = voucher(good_entries(HEAD), hmac=[5, b"\x01" * 32])
    _refused(Case(forged).run(), "fdo.previous", "claims")
    assert HMAC[1] == bytes(32) and public(P256)[0] == 10


def test_the_container_has_one_form() -> None:
    raw = Case().raw
    value = cbor.decode(raw)
    for bad in (raw + b"\x00", raw[:-1], b"\xa0", cbor.encode({**value, 3: bytes(31)})):
        _refused(Case().run(bad), "fdo.form", "malformed")


def test_no_byte_can_change() -> None:
    """It is never affirmed, so here not even claims may come out."""
    case = Case(voucher(good_entries(HEAD)))
    raw = case.raw
    assert case.run(raw).claims is not None
    left = []
    for offset in range(len(raw)):
        bit = 1 << zlib.crc32(offset.to_bytes(4, "big")) % 8
        changed = raw[:offset] + bytes([raw[offset] ^ bit]) + raw[offset + 1 :]
        if case.run(changed).claims is not None:
            left.append(offset)
    assert left == []


def test_transfers_inside_a_voucher_are_read_alike_by_both_readers() -> None:
    whole = voucher()
    assert cbor.decode(whole) == cbor.decode_strict(whole)
    for depth in range(8):
        nested = b"\x81" + b"\xd2\x81" * 3 + b"\x00"
        found = []
        for read in (cbor.decode, cbor.decode_strict):
            try:
                found.append(read(nested, max_depth=depth))
            except EncodingError as error:
                found.append(error.code)
        assert found[0] == found[1], "a tag is a level for both"
