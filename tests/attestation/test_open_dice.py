"""Open DICE in both forms: other people's chains, and one broken in each place."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography import x509

from depin_id import cbor
from depin_id.errors import AttestationError
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
    seed_of,
    signer,
    tlv,
    uds_cwt,
    vector,
)
from tests.attestation.idevids import CHALLENGE, SIGNER, spki
from tests.attestation.mutation import survivors
from verify.attestation import Anchor, Appraisal, Expected, Model
from verify.attestation.materials import Reference
from verify.attestation.open_dice import CWT_TYPE, X509_TYPE, signed_bytes
from verify.attestation.open_dice import cwt as cwt_form
from verify.attestation.open_dice import x509 as x509_form
from verify.attestation.steps import Steps

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
    assert found.claims.root.id == _root_of(Case().run())
    # A manufacturer's key measures no layer itself, and a UDS is no manufacturer.
    measured = replace(ANCHOR, ids={"role": "manufacturer"})
    _refused(Case(anchors=[measured]).run(), "open-dice.uds", "chain")
    _refused(Case(chain=[uds_cwt()], by=UDS).run(), "open-dice.layers", "chain")
    again = [*layers()[:2], uds_cwt()]
    _refused(Case(chain=again, by=SIGNERS[2]).run(), "open-dice.ids", "chain")
    plain = cwt({1: "id1", 2: "id2", KEY: claims(2)[KEY], USAGE: b"\x20"}, SIGNERS[2])
    found = Case(chain=[*layers()[:2], plain], by=SIGNERS[2]).run()
    _refused(found, "open-dice.inputs", "chain")


def _root_of(found: Appraisal) -> bytes:
    assert found.claims is not None
    return found.claims.root.id


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


# --- X.509 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extension", "kind"),
    [
        (inputs(1, n0=None), "open-dice.code"),
        (inputs(1, n0=tlv(4, bytes(20))), "open-dice.code"),
        (inputs(1, n3=None), "open-dice.config"),
        (inputs(1, n2=tlv(4, digest("x"))), "open-dice.config"),
        (inputs(1, n4=None), "open-dice.authority"),
        (inputs(1, n6=None), "open-dice.mode"),
        (inputs(1, n6=b"\x0a\x01\x04"), "open-dice.mode"),
        (inputs(1, n6=b"\x0a\x02\x00\x01"), "open-dice.extension"),
        (inputs(1, n6=b"\x02\x01\x01"), "open-dice.extension"),
        (inputs(1, n8=b"\x02\x01\x01"), "open-dice.extension"),
        (inputs(1, n7=tlv(12, b"\xff")), "open-dice.profile"),
        (inputs(1, n1=tlv(4, b"") + b"\x00"), "open-dice.extension"),
        (inputs(1) + b"\x00", "open-dice.extension"),
        (inputs(1)[:-1], "open-dice.extension"),
        (tlv(0x30, tlv(0xA6, b"\x0a\x01\x01") + tlv(0xA0, b"\x04\x00")), "open-dice.extension"),
        (tlv(0x30, tlv(0xA6, b"\x0a\x01\x01") * 2), "open-dice.extension"),
        (tlv(0x31, b""), "open-dice.extension"),
        (b"\x30\x80\x00\x00", "open-dice.extension"),
        (b"\x30\x81\x05\xa6\x03\x0a\x01\x01", "open-dice.extension"),
        (b"\x30\x82\x00\x05\xa6\x03\x0a\x01\x01", "open-dice.extension"),
    ],
)
def test_an_extension_that_is_wrong(extension: bytes, kind: str) -> None:
    chain = certificates()
    chain[1] = certificate(1, extension)
    _refused(Case(chain=chain).run(), kind, "malformed")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_certificate_without_the_extension_is_no_layer(number: int) -> None:
    chain = certificates()
    chain[2 - number] = certificate(number, None)
    step = "open-dice.uds" if number == 0 else "open-dice.inputs"
    case = Case(chain=chain, model=replace(MODEL, settings={}))
    _refused(case.run(), step, "chain")


def test_what_a_layers_certificate_has_to_be() -> None:
    chain = certificates()
    chain[1] = certificate(1, inputs(1), critical=False)
    _refused(Case(chain=chain).run(), "open-dice.extension", "malformed")
    signs = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    for bad in (certificate(2, inputs(2), usage=signs), certificate(2, inputs(2), ca=False)):
        _refused(Case(chain=[bad, *certificates()[1:]]).run(), "open-dice.key_usage", "malformed")
    chain = certificates()
    chain[0] = certificate(2, inputs(2), names=(0, 2))
    _refused(Case(chain=chain).run(), "open-dice.names", "chain")
    chain[0] = certificate(2, inputs(2), by=STRANGER)
    _refused(Case(chain=chain).run(), "open-dice.signature", "signature")


def test_a_fake_leaf_without_the_extension_is_refused() -> None:
    fake = certificate(3, None, key=STRANGER, by=DEVICE, ca=False, names=(2, 3))
    expected = Expected(challenge=CHALLENGE, key=STRANGER.public_key)
    case = Case(chain=[fake, *certificates()], by=STRANGER, expected=expected)
    _refused(case.run(), "open-dice.inputs", "chain")


def test_layers_below_a_certificate_that_measures_none_are_refused() -> None:
    """A layer cannot stand itself in for a UDS, to begin again below with what is approved."""
    bad = certificate(0, inputs(0, n0=tlv(4, digest("malware"))))
    other = certificate(1, None)
    chain = [certificate(2, inputs(2)), other, bad]
    maker = replace(ANCHOR, ids={"role": "manufacturer"})
    case = Case(chain=chain, anchors=[maker], model=replace(MODEL, settings={}))
    _refused(case.run(), "open-dice.inputs", "chain")


def test_a_manufacturer_certifies_the_uds() -> None:
    uds = certificate(-1, None, key=UDS, by=MAKER, names=(-2, -1))
    maker = Anchor("open-dice", "maker", spki(MAKER), ids={"role": "manufacturer"})
    case = Case(chain=[*certificates(), uds], anchors=[maker])
    found = case.run()
    assert found.affirmed and _root_of(found) == _root_of(Case().run())
    case.anchors = [replace(maker, ids={})]
    _refused(case.run(), "open-dice.uds", "chain")
    direct = certificate(0, inputs(0), by=MAKER)
    case = Case(chain=[*certificates()[:2], direct], anchors=[maker])
    _refused(case.run(), "open-dice.uds", "chain")


# --- what others made -----------------------------------------------------------------------------


def _real_uds() -> Anchor:
    """The key of all-zero secrets, as in other people's certificates."""
    owner = SoftwareSigner("ed25519", seed_of(bytes(32)), allow_published=True)
    return Anchor("open-dice", "zero", spki(owner))


def test_a_chain_of_seven_layers_in_cbor() -> None:
    uds = vector("open/test/_CBOR_Ed25519_uds_cert.cert")
    chain = [vector(f"open/test/_CBOR_Ed25519_cert_full_cert_chain_{at}.cert") for at in range(7)]
    for whole in (chain, [uds, *chain]):
        read = cwt_form.read_chain(whole, Steps())
        anchor, _, found, _ = cwt_form.verify_chain(read, [_real_uds()], Steps())
        assert anchor.name == "zero" and [layer.mode for layer in found] == [1] * 7
    for at in range(6):
        read = cwt_form.read_chain([*chain[:at], *chain[at + 1 :]], Steps())
        with pytest.raises(AttestationError):
            cwt_form.verify_chain(read, [_real_uds()], Steps())


def test_a_chain_of_seven_layers_in_x509() -> None:
    uds = vector("open/test/_X509_Ed25519_uds_cert.cert")
    chain = [vector(f"open/test/_X509_Ed25519_cert_full_cert_chain_{at}.cert") for at in range(7)]
    for whole in (chain[::-1], [*chain[::-1], uds]):
        read = x509_form.read_chain(whole, Steps())
        found = x509_form.verify_chain(read, [_real_uds()], Case().at, Steps())
        assert [layer.mode for layer in found[2]] == [1] * 7
        assert [len(layer.measurements(0)) for layer in found[2]] == [3] * 7
    with pytest.raises(AttestationError):
        read = x509_form.read_chain([*chain[:3:-1], *chain[2::-1]], Steps())
        x509_form.verify_chain(read, [_real_uds()], Case().at, Steps())


@pytest.mark.parametrize("form", ["Cbor", "X509"])
def test_a_known_certificate_from_its_secret_to_the_appraisal(form: str) -> None:
    """Its CDI is known, so its key signs our challenge. It is of a device not configured."""
    secret = vector("google/kExpectedCdiAttest_ZeroInput.bin")
    owner = SoftwareSigner("ed25519", seed_of(secret), allow_published=True)
    raw = vector(f"google/kExpected{form}Ed25519Cert_ZeroInput.bin")
    case = Case(
        chain=[raw],
        by=owner,
        anchors=[_real_uds()],
        expected=Expected(challenge=CHALLENGE, key=owner.public_key),
        model=replace(
            MODEL,
            references=tuple(
                Reference(f"layer0.{name}", frozenset((bytes(64),)))
                for name in ("code", "config", "authority")
            ),
            settings={"layers": 1},
        ),
    )
    found = case.run()
    assert found.claims is not None and found.claims.bound_key.how == "attested"
    assert found.vector.executables == 2 and found.claims.secure is False
    assert found.reasons == ("attestation.debug",) and found.level == "D1"


@pytest.mark.parametrize("form", ["Cbor", "X509"])
@pytest.mark.parametrize("kind", ["ZeroInput", "HashOnlyInput", "DescriptorInput"])
@pytest.mark.parametrize("curve", ["Ed25519", "P256", "P384", "Mldsa65", "Mldsa87"])
def test_known_certificates_are_read_or_refused_by_algorithm(
    form: str, kind: str, curve: str
) -> None:
    raw = vector(f"google/kExpected{form}{curve}Cert_{kind}.bin")
    if not raw:
        pytest.skip("empty in the corpus")
    case = Case(chain=[raw], model=Model("any", frozenset({"open-dice"})))
    found = case.run()
    if curve.startswith("Mldsa"):
        assert found.reasons == ("attestation.algorithm",)
        return
    _refused(found, "open-dice.possession", "signature")
    if form == "Cbor":
        (read,) = cwt_form.read_chain([raw], Steps())
        layer = read.layer
    else:
        (layer,) = x509_form.read_chain([raw], Steps()).layers
    # Its inputs were all taken: zeros, hashes, or descriptors beside hashes.
    layer.check(0, Steps())
    assert layer.code is not None and any(layer.code) == (kind != "ZeroInput")
    assert (layer.config is not None) == (kind == "DescriptorInput")
