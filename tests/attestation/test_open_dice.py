"""Open DICE in both forms: a chain broken in each place."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest

from depin_id import cbor
from depin_id.keys import P256_ORDER, SoftwareSigner
from tests.attestation.dices import (
    ANCHOR,
    AUTHORITY,
    CODE,
    CONFIG,
    CONFIG_TEXT,
    DEVICE,
    KEY,
    MODE,
    MODEL,
    PROFILE,
    SIGNERS,
    UDS,
    USAGE,
    Case,
    certificate,
    certificates,
    claims,
    cose_key,
    cwt,
    digest,
    inputs,
    layers,
    p384_cose_key,
    p384_sign,
    root_of,
    signer,
    tlv,
    uds_cwt,
)
from tests.attestation.idevids import CHALLENGE, SIGNER, spki
from tests.attestation.mutation import survivors
from verify.attestation import Anchor, Appraisal, Expected
from verify.attestation.materials import Reference
from verify.attestation.open_dice import CWT_TYPE, X509_TYPE, signed_bytes

MAKER = SoftwareSigner.generate("p256")
STRANGER = signer("stranger")
BOTH = pytest.mark.parametrize("form", ["cwt", "x509"])


def _chain(form: str, count: int = 3) -> list[bytes]:
    return layers(count) if form == "cwt" else certificates(count)


def _refused(appraisal: Appraisal, step: str, kind: str) -> None:
    assert not appraisal.affirmed
    assert (appraisal.steps[-1].name, appraisal.steps[-1].passed) == (step, False)
    assert appraisal.reasons == (f"attestation.{kind}",)


# --- both forms -----------------------------------------------------------------------------------


@BOTH
def test_a_chain_is_affirmed_with_all_its_layers(form: str) -> None:
    found = Case(chain=_chain(form)).run()
    assert found.affirmed and found.level == "D3" and found.reasons == ()
    assert found.claims is not None
    assert found.claims.bound_key.how == "attested" and found.claims.secure is True
    assert found.claims.root.assurance == "firmware" and found.claims.root.unique
    assert found.claims.device_ids == {"layers": "3", "profile": "opendice.example"}
    assert {item.name for item in found.claims.measurements} == {
        f"layer{number}.{name}" for number in range(3) for name in ("code", "config", "authority")
    }


@BOTH
def test_the_key_is_kept_by_approved_code_only(form: str) -> None:
    found = Case(chain=_chain(form), model=replace(MODEL, protects_key=False)).run()
    assert found.claims is not None and not found.claims.bound_key.protected
    assert found.affirmed and found.level == "D1"
    assert Case(chain=_chain(form), model=replace(MODEL, references=())).run().level == "D1"


@BOTH
def test_replays_and_other_keys_are_refused(form: str) -> None:
    chain = _chain(form)
    _refused(Case(chain=chain, challenge=bytes(32)).run(), "binding.challenge", "challenge")
    _refused(Case(chain=chain, by=STRANGER).run(), "open-dice.possession", "signature")
    other = DEVICE.sign(cbor.encode(["depin-idevid/v1", CHALLENGE]))
    _refused(Case(chain=chain, signature=other).run(), "open-dice.possession", "signature")
    good = DEVICE.sign(signed_bytes(CHALLENGE))
    high = (P256_ORDER - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
    _refused(
        Case(chain=chain, signature=good[:32] + high).run(), "open-dice.possession", "signature"
    )


@BOTH
def test_another_device_key_is_bound_by_the_challenge_alone(form: str) -> None:
    expected = Expected(challenge=CHALLENGE, key=SIGNER.public_key)
    found = Case(chain=_chain(form), expected=expected).run()
    assert found.affirmed and found.claims is not None
    assert found.claims.bound_key.how == "challenge" and found.claims.bound_key.key is None


@BOTH
def test_a_layer_that_the_attested_key_added_is_not_affirmed(form: str) -> None:
    """It is a layer as all the others are; it is the count and the references that refuse it."""
    said = claims(2) | {1: "id2", 2: "id3", KEY: cbor2.dumps(cose_key(STRANGER))}
    added = (
        [*layers(), cwt(said, DEVICE)]
        if form == "cwt"
        else [
            certificate(3, inputs(2), key=STRANGER, by=DEVICE, names=(2, 3)),
            *certificates(),
        ]
    )
    expected = Expected(challenge=CHALLENGE, key=STRANGER.public_key)
    case = Case(chain=added, by=STRANGER, expected=expected)
    _refused(case.run(), "open-dice.layers", "claims")
    case.model = replace(MODEL, settings={})
    found = case.run()
    assert found.reasons == ("attestation.references",) and found.level == "D1"
    case.model = replace(MODEL, settings={}, complete=False)
    _refused(case.run(), "open-dice.layers", "claims")
    case.model = replace(MODEL, settings={"layers": "3"})
    _refused(case.run(), "open-dice.layers", "claims")


@BOTH
def test_a_chain_cut_short_is_not_affirmed(form: str) -> None:
    by = SIGNERS[2]
    expected = Expected(challenge=CHALLENGE, key=by.public_key)
    case = Case(chain=_chain(form, 2), by=by, expected=expected)
    _refused(case.run(), "open-dice.layers", "claims")
    case.model = replace(MODEL, settings={})
    assert case.run().reasons == ("attestation.references",)


@BOTH
@pytest.mark.parametrize("mode", [0, 2, 3])
@pytest.mark.parametrize("layer", [0, 2])
def test_any_layer_in_another_mode_is_not_secure(form: str, mode: int, layer: int) -> None:
    chain = _chain(form)
    if form == "cwt":
        chain[layer] = cwt(claims(layer) | {MODE: bytes([mode])}, SIGNERS[layer])
    else:
        chain[2 - layer] = certificate(layer, inputs(layer, n6=b"\x0a\x01" + bytes([mode])))
    found = Case(chain=chain).run()
    assert found.claims is not None and found.claims.secure is False
    assert not found.affirmed and found.reasons == ("attestation.debug",)


@BOTH
def test_other_code_is_not_affirmed(form: str) -> None:
    chain = _chain(form)
    if form == "cwt":
        chain[1] = cwt(claims(1) | {CODE: digest("other")}, SIGNERS[1])
    else:
        chain[1] = certificate(1, inputs(1, n0=tlv(4, digest("other"))))
    found = Case(chain=chain).run()
    assert found.reasons == ("attestation.references",) and found.level == "D1"
    signed = Reference(
        "layer1.code", frozenset((digest("other"),)), signer=digest("somebody else's authority")
    )
    kept = tuple(item for item in MODEL.references if item.name != "layer1.code")
    case = Case(chain=chain, model=replace(MODEL, references=(*kept, signed)))
    assert case.run().reasons == ("attestation.references",)
    right = replace(signed, signer=digest("authority"))
    case.model = replace(MODEL, references=(*kept, right))
    assert case.run().affirmed


@BOTH
def test_no_anchor_and_another_anchor(form: str) -> None:
    _refused(Case(chain=_chain(form), anchors=[]).run(), "evidence.anchors", "anchor")
    other = Anchor("open-dice", "other", spki(STRANGER))
    _refused(Case(chain=_chain(form), anchors=[other]).run(), "open-dice.anchor", "anchor")


@BOTH
def test_no_byte_can_change(form: str) -> None:
    case = Case(chain=_chain(form))
    if form == "cwt":
        case.chain = [uds_cwt(), *case.chain]
    else:
        case.chain = [*case.chain, certificate(-1, None)]
    media_type = CWT_TYPE if form == "cwt" else X509_TYPE
    left = survivors(
        media_type, case.raw, expected=case.expected, at=case.at, materials=case.materials
    )
    assert left == []


def test_the_container_has_one_form() -> None:
    raw = Case().raw
    value = cbor.decode(raw)
    bad = [raw + b"\x00", raw[:-1], b"", b"\x80", cbor.encode({**value, 4: 1})]
    for label, wrong in [(1, []), (1, [b""]), (1, [[]]), (1, b""), (2, bytes(63)), (3, bytes(31))]:
        bad.append(cbor.encode({**value, label: wrong}))
    for other in bad:
        _refused(Case().run(other), "open-dice.form", "malformed")
    many = cbor.encode({**value, 1: [layers()[0]] * 10})
    _refused(Case().run(many), "open-dice.form", "malformed")


# --- CWT ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [False, True])
def test_a_cwt_with_and_without_tag(tag: bool) -> None:
    chain = [cwt(claims(number), SIGNERS[number], tag=tag) for number in range(3)]
    assert Case(chain=chain).run().affirmed


@pytest.mark.parametrize(
    ("changed", "step", "kind"),
    [
        ({1: "id7"}, "open-dice.ids", "chain"),
        ({2: "id7"}, "open-dice.ids", "chain"),
        ({1: ""}, "open-dice.ids", "malformed"),
        ({2: 5}, "open-dice.claims", "malformed"),
        ({CODE: bytes(31)}, "open-dice.code", "malformed"),
        ({CODE: None}, "open-dice.code", "malformed"),
        ({AUTHORITY: None}, "open-dice.authority", "malformed"),
        ({AUTHORITY: b""}, "open-dice.authority", "malformed"),
        ({CONFIG_TEXT: None}, "open-dice.config", "malformed"),
        ({CONFIG: digest("x")}, "open-dice.config", "malformed"),
        ({CONFIG: b"short", CONFIG_TEXT: None}, "open-dice.config", "malformed"),
        ({CONFIG_TEXT: bytes(4097)}, "open-dice.config", "malformed"),
        ({MODE: None}, "open-dice.mode", "malformed"),
        ({MODE: b"\x01\x00"}, "open-dice.mode", "malformed"),
        ({MODE: b"\x04"}, "open-dice.mode", "malformed"),
        ({MODE: 1}, "open-dice.claims", "malformed"),
        ({USAGE: None}, "open-dice.key_usage", "malformed"),
        ({USAGE: b"\x80"}, "open-dice.key_usage", "malformed"),
        ({PROFILE: "x" * 129}, "open-dice.profile", "malformed"),
        ({-4670555: b""}, "open-dice.claims", "malformed"),
        ({KEY: None}, "open-dice.key", "malformed"),
        ({KEY: b"\xa0"}, "open-dice.key", "algorithm"),
        ({KEY: cbor2.dumps(cose_key(UDS) | {3: -7})}, "open-dice.key", "malformed"),
        ({KEY: cbor2.dumps(cose_key(UDS) | {4: [1]})}, "open-dice.key", "malformed"),
        ({KEY: cbor2.dumps(cose_key(UDS) | {-4: b""})}, "open-dice.key", "malformed"),
        ({KEY: cbor2.dumps(cose_key(UDS) | {-2: bytes(31)})}, "open-dice.key", "key"),
        ({KEY: cbor2.dumps(cose_key(UDS) | {-2: bytes(32)})}, "open-dice.key", "key"),
        ({KEY: cbor2.dumps(cose_key(DEVICE) | {-3: True})}, "open-dice.key", "malformed"),
        ({KEY: cbor2.dumps({1: 7, 3: -49, -1: bytes(1952)})}, "open-dice.key", "algorithm"),
    ],
)
def test_a_claim_that_is_wrong(changed: dict[int, Any], step: str, kind: str) -> None:
    said = {key: value for key, value in (claims(1) | changed).items() if value is not None}
    chain = layers()
    chain[1] = cwt(said, SIGNERS[1])
    _refused(Case(chain=chain).run(), step, kind)


def test_what_stands_in_the_headers_is_exactly_the_algorithm() -> None:
    for protected, step, kind in [
        (b"\xa1\x01\x26", "open-dice.signature", "signature"),
        (b"", "open-dice.algorithm", "algorithm"),
        (b"\xa1\x01\x38\x30", "open-dice.algorithm", "algorithm"),
        (b"\xa2\x01\x27\x01\x27", "open-dice.cose", "malformed"),
        (b"\xa2\x01\x27\x02\x81\x19\x03\xe7", "open-dice.cose", "malformed"),
        (b"\xa2\x01\x27\x04\x41\x00", "open-dice.headers", "malformed"),
    ]:
        chain = layers()
        chain[1] = cwt(claims(1), SIGNERS[1], protected=protected)
        _refused(Case(chain=chain).run(), step, kind)
    chain[1] = cwt(claims(1), SIGNERS[1], unprotected={4: b"kid"})
    _refused(Case(chain=chain).run(), "open-dice.cose", "malformed")
    for bad in (layers()[1] + b"\x00", layers()[1][:-1], b"\x80"):
        chain[1] = bad
        _refused(Case(chain=chain).run(), "open-dice.cose", "malformed")


def test_each_layer_is_signed_by_the_one_before() -> None:
    chain = layers()
    chain[1] = cwt(claims(1), signer("another", "ed25519"))
    _refused(Case(chain=chain).run(), "open-dice.signature", "signature")
    chain = [layers()[0], layers()[2]]
    _refused(Case(chain=chain).run(), "open-dice.ids", "chain")


def test_a_uds_certifies_itself_or_the_manufacturer_does() -> None:
    assert Case(chain=[uds_cwt(), *layers()]).run().affirmed
    stranger = cwt(
        {1: "id-1", 2: "id-1", KEY: cbor2.dumps(cose_key(STRANGER)), USAGE: b"\x20"}, UDS
    )
    _refused(Case(chain=[stranger, *layers()]).run(), "open-dice.uds", "chain")
    _refused(Case(chain=[uds_cwt(issuer="id9"), *layers()]).run(), "open-dice.uds", "chain")
    chain = [uds_cwt(MAKER, "maker"), *layers()]
    maker = Anchor("open-dice", "maker", spki(MAKER), ids={"role": "manufacturer"})
    found = Case(chain=chain, anchors=[maker]).run()
    assert found.affirmed and found.claims is not None
    assert found.claims.root.id == root_of(Case().run())
    # A manufacturer's key measures no layer itself, and a UDS is no manufacturer.
    measured = replace(ANCHOR, ids={"role": "manufacturer"})
    _refused(Case(anchors=[measured]).run(), "open-dice.uds", "chain")
    _refused(Case(chain=[uds_cwt()], by=UDS).run(), "open-dice.layers", "chain")
    again = [*layers()[:2], uds_cwt()]
    _refused(Case(chain=again, by=SIGNERS[2]).run(), "open-dice.ids", "chain")
    plain = cwt({1: "id1", 2: "id2", KEY: claims(2)[KEY], USAGE: b"\x20"}, SIGNERS[2])
    found = Case(chain=[*layers()[:2], plain], by=SIGNERS[2]).run()
    _refused(found, "open-dice.inputs", "chain")


def test_a_configuration_is_64_bytes_or_a_digest_of_its_descriptor() -> None:
    text = b"a descriptor"
    for said in (
        {CONFIG_TEXT: text, CONFIG: hashlib.sha512(text).digest()},
        {CONFIG_TEXT: text},
        {CONFIG: hashlib.sha512(text).digest(), CONFIG_TEXT: None},
    ):
        whole = {key: value for key, value in (claims(2) | said).items() if value is not None}
        found = Case(chain=[*layers(2), cwt(whole, SIGNERS[2])]).run()
        assert found.claims is not None
        measured = {item.name: item.digest for item in found.claims.measurements}
        assert measured["layer2.config"] == hashlib.sha512(text).digest()


def test_a_last_key_of_p384_proves_itself_and_signs_no_readings() -> None:
    last = cwt(claims(2) | {KEY: cbor2.dumps(p384_cose_key())}, SIGNERS[2])
    signature = p384_sign(signed_bytes(CHALLENGE))
    case = Case(chain=[*layers(2), last], signature=signature)
    found = case.run()
    assert found.affirmed and found.claims is not None
    assert found.claims.bound_key.how == "challenge"
    case.expected = Expected(challenge=CHALLENGE)
    found = case.run()
    assert found.claims is not None and found.claims.bound_key.how == "attested"
    assert found.claims.bound_key.key is None
