"""Open DICE: certificates of X.509 broken in each place, and other people's chains."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from depin_id.errors import AttestationError
from depin_id.keys import SoftwareSigner
from tests.attestation.dices import (
    ANCHOR,
    DEVICE,
    MODEL,
    UDS,
    Case,
    certificate,
    certificates,
    digest,
    inputs,
    layers,
    root_of,
    seed_of,
    signer,
    tlv,
    vector,
)
from tests.attestation.idevids import CHALLENGE, spki
from verify.attestation import Anchor, Appraisal, Expected, Model
from verify.attestation.materials import Reference
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
    assert found.affirmed and root_of(found) == root_of(Case().run())
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
