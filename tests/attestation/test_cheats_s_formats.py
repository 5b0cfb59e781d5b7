"""Formats on top of certificates: evidence that says less than it seems to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depin_id.attestation.idevid_evidence import MEDIA_TYPE as IDEVID_TYPE
from depin_id.attestation.idevid_evidence import signed_bytes as idevid_signed
from tests.attestation import dices, idevids, nitros, phones, test_android_key
from tests.attestation import tpm2_world as tpm
from tests.attestation.ca import NOW
from tests.attestation.test_android_key import EXPECTED, MATERIALS, MODEL
from tests.attestation.tpm2_world import changed, key, selection
from verify.attestation import Anchors, Appraisal, Expected, Materials, Models, appraise_evidence
from verify.attestation.fdo import signed_bytes as fdo_signed
from verify.attestation.handlers import handlers
from verify.attestation.open_dice.handler import signed_bytes as dice_signed
from verify.attestation.tpm2 import wire


def _last(found: Appraisal) -> tuple[str, bool]:
    return found.steps[-1].name, found.steps[-1].passed


@pytest.mark.parametrize("ca", [None, False])
def test_an_attested_key_that_is_described_in_another_form_attests_nothing(ca: bool | None) -> None:
    attested = replace(
        phones.FACTORY[0], ca=ca, extensions=(("1.3.6.1.4.1.11129.2.1.25", b"\xa0"),)
    )
    chain = phones.chain(links=(attested, phones.FACTORY[1]))
    found = test_android_key._appraise(chain)
    assert _last(found) == ("android-key.attester", False)
    # What is marked as an authority is Google's word, whatever else stands in it.
    authority = replace(attested, ca=True)
    assert test_android_key._appraise(phones.chain(links=(authority, phones.FACTORY[1]))).affirmed


def test_a_phone_whose_package_alone_is_approved_is_never_d3() -> None:
    package = tuple(item for item in MODEL.references if item.name == "package")
    loose = replace(MODEL, references=package, complete=False)
    found = test_android_key._appraise(
        phones.chain(), materials=replace(MATERIALS, models=Models([loose])), expected=EXPECTED
    )
    assert found.affirmed and found.level == "D2"


def test_an_enclave_whose_image_nobody_approved_is_never_d3() -> None:
    good = nitros.Case()
    assert good.run().level == "D3"
    where = replace(good.model, references=nitros.references({1: nitros.IMAGE}), complete=False)
    assert nitros.Case(model=where).run().level == "D2"


@pytest.mark.parametrize("form", ["cwt", "x509"])
def test_layers_whose_configuration_alone_is_approved_are_never_d3(form: str) -> None:
    chain = dices.layers() if form == "cwt" else dices.certificates()
    assert dices.Case(chain=chain).run().level == "D3"
    some = tuple(item for item in dices.references() if item.name.endswith(".config"))
    loose = replace(dices.MODEL, references=some, complete=False)
    assert dices.Case(chain=chain, model=loose).run().level == "D2"


def test_registers_that_any_program_resets_are_no_firmware() -> None:
    for index, level in ((16, "D2"), (23, "D2"), (17, "D3")):
        value = {index: bytes(31) + b"\x01"}
        spec = changed(pcrs=value, selection=selection((wire.SHA256, value)))
        found = tpm.appraise(spec, chosen=tpm.model(value, pcrs=[index]))
        assert found.affirmed and found.level == level, found.steps[-1]


@pytest.mark.parametrize("extra", [b"", tpm.CHALLENGE[:7]])
def test_a_quote_over_nothing_fails_in_a_step(extra: bytes) -> None:
    found = tpm.appraise(changed(extra=extra), wanted=tpm.expected(tpm.GOOD))
    assert _last(found) == ("tpm2.quote.extra", False)


def test_a_quote_over_more_than_the_challenge_is_refused() -> None:
    for extra in (tpm.CHALLENGE + b"\x00", tpm.CHALLENGE * 2, tpm.CHALLENGE[:-1]):
        found = tpm.appraise(changed(extra=extra), wanted=tpm.expected(tpm.GOOD))
        assert _last(found) == ("binding.challenge", False)


@pytest.mark.parametrize(
    "banks",
    [
        [(wire.SHA256, range(8)), (wire.SHA256, range(8))],
        [(wire.SHA256, range(4)), (wire.SHA256, range(4, 8))],
        [(wire.SHA256, range(8)), (wire.SHA256, [])],
        [(wire.SHA256, range(8)), (wire.SHA384, [])],
    ],
)
def test_a_selection_has_one_bank_once(banks: list[tuple[int, list[int]]]) -> None:
    found = tpm.appraise(changed(selection=selection(*banks)))
    assert _last(found) == ("tpm2.quote.selection", False)


def test_a_credential_is_for_an_endorsement_key_that_is_shown() -> None:
    certified = changed(ak_chain=tpm.ak_leaf(key("ak")), ek_chain=(), place="endorsement")
    assert tpm.appraise(certified, activated=False).affirmed
    wanted = replace(tpm.expected(tpm.GOOD), activation=certified.activation())
    found = tpm.appraise(certified, wanted=wanted)
    assert _last(found) == ("tpm2.activation.endorsement", False)


def test_an_anchor_is_of_one_format() -> None:
    case = idevids.Case()
    anchors = [replace(idevids.ROOT.anchor("idevid"), format=name) for name in handlers()]
    others = [item for item in anchors if item.format != "idevid"]
    found = appraise_evidence(
        IDEVID_TYPE,
        case.raw,
        expected=Expected(challenge=idevids.CHALLENGE),
        at=NOW,
        materials=Materials(Anchors(others)),
    )
    assert _last(found) == ("evidence.anchors", False)


def test_a_proof_for_one_format_is_none_for_another() -> None:
    made = {
        idevid_signed(bytes(32)),
        dice_signed(bytes(32)),
        fdo_signed(bytes(32), b"voucher"),
    }
    assert len(made) == 3 and not any(
        one != other and one.startswith(other) for one in made for other in made
    )
