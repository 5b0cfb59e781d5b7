"""Materials as bytes: they come back whole, kept for their content, and only in their form."""

from __future__ import annotations

from typing import Any

import pytest

from depin_id import cbor
from depin_id.errors import AttestationError
from tests.attestation.ca import NOW, Authority
from verify.attestation import Anchor, Model
from verify.attestation import bundles as made
from verify.attestation.materials import Reference, RevocationSnapshot
from verify.attestation.reference_files import ModelEntry, References

DAY = 86_400_000
ROOT = Authority("root")
MODEL = Model(
    "thermometer",
    frozenset({"android-key"}),
    match={"implementation": "aa"},
    references=(Reference("BL", frozenset({b"d" * 32, b"e" * 32}), b"s" * 32),),
    complete=False,
    minimum={"os_patch": 202_601},
    settings={"package": "org.example", "pcrs": [0, 1, 7]},
    assurance=frozenset({"tee"}),
    revocation="none",
    protects_key=True,
    max_age_s=600,
)
LIST = RevocationSnapshot(frozenset({"android-key"}), {"key:00": "leaked"}, NOW, NOW + DAY)


def everything() -> list[tuple[str, str, bytes]]:
    return [
        ("references", "models", made.bundle_references(References((ModelEntry(MODEL),)))),
        ("anchors", "roots", made.bundle_anchors([ROOT.anchor("android-key", maker="x")])),
        ("revocations", "list", made.bundle_revocations([LIST])),
    ]


def test_materials_come_back_whole_and_are_kept() -> None:
    bundles = everything()
    materials = made.materials_from(bundles, max_age_ms=DAY)
    assert list(materials.anchors) == [ROOT.anchor("android-key", maker="x")]
    assert list(materials.models) == [MODEL]
    assert materials.revocations.snapshots == (LIST,)
    assert materials.revocations.max_age_ms == DAY
    again = made.materials_from(reversed(bundles), max_age_ms=DAY, at=NOW)
    assert again is materials
    for what, _, data in bundles:
        made.check_bundle(what, data)
        assert len(made.describe(what, data)) == 1


def test_digests_tell_materials_apart() -> None:
    bundles = everything()
    before = made.materials_from(bundles, max_age_ms=DAY)
    for index, (what, name, data) in enumerate(bundles):
        renamed = [*bundles[:index], (what, f"{name}2", data), *bundles[index + 1 :]]
        after = made.materials_from(renamed, max_age_ms=DAY)
        assert (after.models.digest == before.models.digest) == (what != "references")
        assert (after.revocations.digest == before.revocations.digest) == (what != "revocations")
    empty = made.materials_from([], max_age_ms=DAY)
    assert empty.anchors.digest != before.anchors.digest
    assert not len(empty.anchors) and not len(empty.models)


SPOILT: list[tuple[str, Any]] = [
    ("anchors", [2, []]),
    ("anchors", [1, []]),
    ("anchors", [1, [["Bad Name", "x", b"k" * 60, b"", {}]]]),
    ("anchors", [1, [["psa", "", b"k" * 60, b"", {}]]]),
    ("anchors", [1, [["psa", "x", b"", b"", {}]]]),
    ("anchors", [1, [["psa", "x", b"k" * 32, b"", {}]]]),
    ("anchors", [1, [["psa", "x", b"0" + bytes(60), b"", {}]]]),
    ("anchors", [1, [["psa", "x", b"k" * 60, b"", {"a": 1}]]]),
    ("anchors", [1, [["psa", "x", b"k" * 60, b""]]]),
    ("references", [1, [], []]),
    ("references", [1, [["m", ["psa"], {}, [["BL", [], b""]]]], []]),
    ("references", [1, [], [["c", b"\x00", False, ""]]]),
    ("revocations", [1, []]),
    ("revocations", [1, [["list", [], [], 0, None]]]),
    ("revocations", [1, [["list", ["psa"], [["a"]], 0, None]]]),
    ("revocations", [1, [["list", ["psa"], [], -1, None]]]),
    ("revocations", [1, [["crl", ["psa"], b"0", []]]]),
    ("revocations", {}),
    ("others", [1, []]),
]


@pytest.mark.parametrize(("what", "value"), SPOILT)
def test_another_form_is_refused(what: str, value: Any) -> None:
    with pytest.raises(AttestationError):
        made.check_bundle(what, cbor.encode(value))


MODEL_FORM: list[Any] = [
    *["m", ["psa"], {}, [["BL", [b"d" * 32], b""]], True, {}, {}, [], "none", False, 60, "", {}]
]


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, ""),
        (1, []),
        (2, {"a": 5}),
        (3, [["BL", [], b""]]),
        (4, 1),
        (5, {"svn": True}),
        (6, []),
        (7, ["magic"]),
        (8, "maybe"),
        (9, None),
        (10, 0),
        (11, "missing"),
        (12, {"": ""}),
    ],
)
def test_each_part_of_a_model_is_checked(index: int, value: Any) -> None:
    made.check_bundle("references", cbor.encode([1, [MODEL_FORM], []]))
    changed = [*MODEL_FORM[:index], value, *MODEL_FORM[index + 1 :]]
    with pytest.raises(AttestationError) as caught:
        made.check_bundle("references", cbor.encode([1, [changed], []]))
    assert caught.value.code == "attestation.bundle"


def test_a_secret_is_no_material_and_a_certificate_has_its_own_key() -> None:
    with pytest.raises(AttestationError, match="symmetric"):
        made.bundle_anchors([Anchor("psa", "mac", b"k" * 32)])
    good = ROOT.anchor("android-key")
    other = Authority("another").anchor("android-key")
    with pytest.raises(AttestationError, match="another key"):
        made.bundle_anchors([Anchor("android-key", "x", good.spki, other.certificate)])
