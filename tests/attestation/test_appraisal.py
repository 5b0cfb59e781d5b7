"""The core: what no format can forget, and what is not affirmed when something is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from depin_id.attestation.result import TrustVector, tier
from depin_id.errors import AttestationError
from depin_id.keys import SoftwareSigner
from tests.attestation import tiny
from verify.attestation import (
    Anchor,
    Anchors,
    Appraisal,
    BoundKey,
    Expected,
    Materials,
    Model,
    Models,
    Revocations,
    VerifiedClaims,
    appraise_evidence,
)
from verify.attestation.identifiers import key_identifier
from verify.attestation.materials import Reference, RevocationSnapshot
from verify.attestation.public_keys import spki_bytes

ROOT, DEVICE = SoftwareSigner.generate("p256"), SoftwareSigner.generate()
CHALLENGE, DIGEST, AT = bytes(range(32)), b"\xdd" * 32, 1_800_000_000_000
DAY = 86_400_000
SPKI = spki_bytes(ROOT.public_key)
MODEL = Model(
    "station",
    frozenset({"tiny"}),
    references=(Reference("BL", frozenset({DIGEST})),),
    assurance=frozenset({"tee"}),
)
LIST = RevocationSnapshot(frozenset({"tiny"}), {"cert:tiny:ff": "stolen"}, AT - DAY)
MATERIALS = Materials(Anchors([Anchor("tiny", "root", SPKI)]), Models([MODEL]), Revocations([LIST]))


class _Changed(tiny.Tiny):
    """Says something else than what it has verified."""

    def __init__(self, **changes: Any) -> None:
        self._changes = changes

    def verify(self, parsed: list[Any], **about: Any) -> VerifiedClaims:
        return replace(super().verify(parsed, **about), **self._changes)


def appraise(
    materials: Materials = MATERIALS,
    *,
    expected: Expected | None = None,
    digest: bytes = DIGEST,
    **changes: Any,
) -> Appraisal:
    raw = tiny.make(ROOT, CHALLENGE, DEVICE.public_key, digest)
    return appraise_evidence(
        tiny.MEDIA_TYPE,
        raw,
        expected=expected or Expected(challenge=CHALLENGE, key=DEVICE.public_key),
        at=AT,
        materials=materials,
        handler=_Changed(**changes),
    )


def model(**changes: Any) -> Materials:
    return replace(MATERIALS, models=Models([replace(MODEL, **changes)]))


def lists(*snapshots: RevocationSnapshot) -> Materials:
    return replace(MATERIALS, revocations=Revocations(snapshots))


def test_all_of_it_is_affirmed() -> None:
    found = appraise()
    assert found.affirmed and found.level == "D3" and not found.reasons
    assert found.vector == TrustVector(2, 2, 2, 0, 2, 0, 2, 0)
    assert all(step.passed for step in found.steps)
    assert found.not_after == AT + MODEL.max_age_s * 1000
    assert appraise(not_after=AT + 5000).not_after == AT + 5000


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"expected": Expected(challenge=bytes(32), key=DEVICE.public_key)}, "challenge"),
        ({"expected": Expected(challenge=CHALLENGE, key=ROOT.public_key)}, "key"),
        ({"bound_key": BoundKey(how="attested")}, "key"),
        ({"materials": replace(MATERIALS, anchors=Anchors())}, "anchor"),
        ({"not_after": AT}, "expired"),
        ({"challenge_seen": b""}, "incomplete"),
        ({"bound_key": None}, "incomplete"),
        ({"anchors": ()}, "incomplete"),
        ({"identifiers": frozenset()}, "incomplete"),
    ],
)
def test_what_is_not_fresh_not_of_the_key_or_not_whole_is_nothing(
    about: dict[str, Any], code: str
) -> None:
    found = appraise(**about)
    assert found.claims is None and not found.affirmed and found.level == "D1"
    assert found.reasons == (f"attestation.{code}",)
    assert [step.passed for step in found.steps].count(False) == 1
    assert not found.steps[-1].passed, "the last step is the one that failed"


@pytest.mark.parametrize(
    ("about", "reason", "level"),
    [
        ({"materials": replace(MATERIALS, models=Models())}, "model", "D1"),
        ({"materials": model(references=())}, "references", "D2"),
        ({"digest": b"\xee" * 32}, "references", "D2"),
        ({"measurements": ()}, "references", "D2"),
        ({"materials": model(assurance=frozenset({"strongbox"}))}, "assurance", "D1"),
        ({"materials": model(minimum={"svn": 2}), "numbers": {"svn": 1}}, "outdated", "D2"),
        ({"materials": model(minimum={"svn": 2})}, "outdated", "D2"),
        ({"materials": lists()}, "revocations", "D1"),
        ({"materials": lists(replace(LIST, taken=AT - 8 * DAY))}, "revocations", "D1"),
        ({"materials": lists(replace(LIST, taken=AT + 1))}, "revocations", "D1"),
        ({"materials": lists(replace(LIST, expires=AT))}, "revocations", "D1"),
        ({"materials": lists(replace(LIST, covers=frozenset({"x"})))}, "revocations", "D1"),
        ({"materials": lists(replace(LIST, revoked={key_identifier(SPKI): ""}))}, "revoked", "D1"),
        ({"secure": False}, "debug", "D1"),
    ],
)
def test_what_is_missing_or_not_as_it_should_be_is_not_affirmed(
    about: dict[str, Any], reason: str, level: str
) -> None:
    found = appraise(**about)
    assert found.claims is not None, "it is authentic"
    assert f"attestation.{reason}" in found.reasons
    assert not found.affirmed and found.level == level


def test_a_maker_without_a_list_has_to_say_so() -> None:
    none = replace(MATERIALS, models=Models([replace(MODEL, revocation="none")]))
    assert appraise(replace(none, revocations=Revocations())).affirmed


def test_a_key_that_the_challenge_alone_binds_needs_the_word_of_its_firmwares_maker() -> None:
    loose = BoundKey(how="challenge")
    assert appraise(bound_key=loose).level == "D1"
    vouched = model(protects_key=True)
    assert appraise(vouched, bound_key=loose).level == "D3"
    assert appraise(vouched, bound_key=loose, digest=b"\xee" * 32).level == "D1"
    for more in ({"key": DEVICE.public_key}, {"protected": True}):
        with pytest.raises(AttestationError):
            BoundKey(how="challenge", **more)


def test_only_firmware_makes_d3() -> None:
    assert appraise(firmware=False).level == "D2"
    silent = appraise(model(references=()), measures=False, measurements=())
    assert silent.affirmed and silent.level == "D2" and silent.vector.executables == 0


def test_tiers_are_those_of_ar4si() -> None:
    assert [tier(n) for n in (-1, 0, 1, 2, 31, 32, 95, 96, 127)] == [0, 0, 0, 2, 2, 32, 32, 96, 96]
    assert tier(-2) == 2 and tier(-33) == 32 and tier(-99) == 96
