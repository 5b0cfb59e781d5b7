"""Plain EAT: what is read of a token, whose key it may be, and one test for each check."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id import cbor
from depin_id.keys import PublicKey, SoftwareSigner
from tests.attestation import diagnostic
from tests.attestation.ca import NOW, Authority, extended_by, new_key
from tests.attestation.mutation import survivors
from tests.attestation.tokens import CHALLENGE, materials, sign1, spki
from tests.paths import vectors
from verify.attestation import Anchor, Appraisal, Expected, Materials, Model, appraise_evidence
from verify.attestation.materials import Reference

MEDIA_TYPE = "application/eat+cwt"
PROFILE = "tag:example.org,2026:gauge"
SIGNER = new_key()
KID = b"signer-1"
DEVICE = SoftwareSigner.generate("p256").public_key
UEID = b"\x01" + bytes(range(16))
CONTENT = b"software of the gauge"
ROOT = Authority("eat root")
MIDDLE = Authority("eat middle", parent=ROOT)
SECONDS = NOW // 1000


def _cose_key(key: PublicKey) -> dict[int, Any]:
    found: dict[int, Any] = cbor.decode(key.cose_key)
    return found


CLAIMS: dict[int, Any] = {
    4: SECONDS + 3600,
    5: SECONDS - 60,
    6: SECONDS - 60,
    8: {1: _cose_key(DEVICE)},
    10: CHALLENGE,
    256: UEID,
    258: 64242,
    259: b"model",
    260: ["3.1", 1],
    262: True,
    263: 3,
    265: PROFILE,
    267: 7,
    270: "gauge",
    271: ["1.0"],
    273: [[258, CONTENT]],
}
MODEL = Model(
    "gauge",
    frozenset(("eat",)),
    match={"oemid": "64242"},
    references=(Reference("measurements.0", frozenset((hashlib.sha256(CONTENT).digest(),))),),
    settings={"profile": PROFILE, "cnf_protected": True, "audience": "verifier"},
    revocation="none",
)


def _anchor(pinned: bytes = b"", /, **ids: str) -> Anchor:
    return Anchor("eat", "signer", pinned or spki(SIGNER), ids={"assurance": "tee"} | ids)


MATERIALS = materials([_anchor(kid=KID.hex()), ROOT.anchor("eat", assurance="tee")], MODEL)


def appraise(
    raw: bytes,
    given: Materials = MATERIALS,
    challenge: bytes = CHALLENGE,
    at: int = NOW,
    key: PublicKey | None = DEVICE,
) -> Appraisal:
    expected = Expected(challenge=challenge, key=key)
    return appraise_evidence(MEDIA_TYPE, raw, expected=expected, at=at, materials=given)


def _token(claims: dict[int, Any] = CLAIMS, **more: Any) -> bytes:
    return sign1(claims, SIGNER, **({"unprotected": {4: KID}} | more))


def _with(**changes: Any) -> dict[int, Any]:
    found = CLAIMS | {int(label[1:]): value for label, value in changes.items()}
    return {label: value for label, value in found.items() if value is not None}


def _failed(appraisal: Appraisal, step: str, code: str) -> None:
    last = appraisal.steps[-1]
    assert (last.name, last.passed, appraisal.reasons) == (step, False, (f"attestation.{code}",))
    assert not appraisal.affirmed and appraisal.claims is None


def test_a_good_token_is_affirmed() -> None:
    for raw in (_token(), b"\xd8\x3d" + _token()):
        appraisal = appraise(raw)
        assert appraisal.affirmed and appraisal.level == "D3", appraisal.steps
        claims = appraisal.claims
        assert claims is not None and claims.bound_key.key == DEVICE and claims.bound_key.protected
        assert claims.counters == {"bootcount": 7}
        assert claims.not_after == (SECONDS + 3600) * 1000
        assert claims.device_ids["hwmodel"] == b"model".hex()
        assert claims.device_ids["hwversion"] == "3.1" and claims.device_ids["swversion"] == "1.0"
        assert claims.root.unique and claims.root.id == hashlib.sha256(UEID).digest()


def test_without_cnf_the_challenge_is_all_that_binds() -> None:
    appraisal = appraise(_token(_with(_8=None)))
    assert appraisal.affirmed and appraisal.level == "D1"
    assert appraisal.claims is not None and appraisal.claims.bound_key.how == "challenge"


def test_a_key_is_protected_only_where_the_model_says_so() -> None:
    model = Model("m", frozenset(("eat",)), references=MODEL.references, revocation="none")
    appraisal = appraise(_token(), materials([_anchor(kid=KID.hex())], model))
    assert appraisal.claims is not None and not appraisal.claims.bound_key.protected
    assert appraisal.level == "D1"


def test_what_keeps_the_key_is_the_anchors_word() -> None:
    for ids in ({}, {"assurance": "nothing"}, {"assurance": "software"}):
        anchor = Anchor("eat", "signer", spki(SIGNER), ids={"kid": KID.hex()} | ids)
        appraisal = appraise(_token(), materials([anchor], MODEL))
        assert not appraisal.affirmed and "attestation.software" in appraisal.reasons


def test_kinds_of_keys_in_cnf() -> None:
    ed = SoftwareSigner.generate().public_key
    assert appraise(_token(_with(_8={1: _cose_key(ed)})), key=ed).affirmed
    x, y = (_cose_key(DEVICE)[label] for label in (-2, -3))
    compressed = {1: 2, -1: 1, -2: x, -3: bool(y[-1] & 1)}
    assert appraise(_token(_with(_8={1: compressed}))).affirmed
    _failed(appraise(_token(), key=ed), "binding.key", "key")
    large = appraise(_token(_with(_8={1: {1: 2, -1: 2, -2: bytes(48), -3: bytes(48)}})))
    _failed(large, "binding.key", "key")


@pytest.mark.parametrize(
    ("claims", "step"),
    [
        (_with(_10=None), "eat.nonce"),
        (_with(_10=bytes(7)), "eat.nonce"),
        (_with(_10=bytes(65)), "eat.nonce"),
        (_with(_10=[CHALLENGE, CHALLENGE]), "eat.nonce"),
        (_with(_10=[]), "eat.nonce"),
        (_with(_10="nonce of a text"), "eat.nonce"),
        (_with(_265=None), "eat.profile"),
        (_with(_265=PROFILE + "2"), "eat.profile"),
        (_with(_265=cbor.Tag(111, b"\x2a")), "eat.profile"),
        (_with(_265=1), "eat.profile"),
        (_with(_3="somebody else"), "eat.audience"),
        (_with(_3=[]), "eat.audience"),
        (_with(_3=1), "eat.audience"),
        (_with(_8={}), "eat.cnf"),
        (_with(_8={3: b"kid"}), "eat.cnf"),
        (_with(_8={1: _cose_key(DEVICE), 3: b"kid"}), "eat.cnf"),
        (_with(_8={1: _cose_key(DEVICE) | {-4: bytes(32)}}), "eat.cnf"),
        (_with(_8={1: {1: 1, -1: 6, -2: bytes(32)}}), "eat.cnf"),
        (_with(_8={1: {1: 2, -1: 1, -2: bytes(32)}}), "eat.cnf"),
        (_with(_8={1: {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)}}), "eat.cnf"),
        (_with(_8={1: {1: 4, -1: b"secret"}}), "eat.cnf"),
        (_with(_256=bytes(6)), "eat.ueid"),
        (_with(_256=bytes(16)), "eat.ueid"),
        (_with(_256=b"\x01" + bytes(33)), "eat.ueid"),
        (_with(_258=-1), "eat.oemid"),
        (_with(_258=bytes(4)), "eat.oemid"),
        (_with(_259=b""), "eat.hwmodel"),
        (_with(_260="3.1"), "eat.hwversion"),
        (_with(_262=1), "eat.oemboot"),
        (_with(_263=5), "eat.dbgstat"),
        (_with(_263=True), "eat.dbgstat"),
        (_with(_266={}), "eat.submods"),
        (_with(_267=-1), "eat.bootcount"),
        (_with(_270=1), "eat.swname"),
        (_with(_272=[]), "eat.manifests"),
        (_with(_273=[]), "eat.measurements"),
        (_with(_273=[[258, "text"]]), "eat.measurements"),
        (_with(_273=[[258, b""]] * 17), "eat.measurements"),
        (_with(_4="later"), "eat.exp"),
        (_with(_4=True), "eat.exp"),
        (_with(_4=-1), "eat.exp"),
        (_with(_5=float("nan")), "eat.nbf"),
        (_with(_6=1 << 41), "eat.iat"),
    ],
)
def test_a_claim_that_is_not_of_the_format(claims: dict[int, Any], step: str) -> None:
    _failed(appraise(_token(claims)), step, "claims")


def test_times_are_held_against_that_of_the_appraisal() -> None:
    _failed(appraise(_token(_with(_4=SECONDS))), "eat.exp", "expired")
    assert appraise(_token(_with(_4=SECONDS + 1))).affirmed
    assert appraise(_token(_with(_4=SECONDS + 90.5))).not_after == NOW + 90_500
    for label, name in ((5, "nbf"), (6, "iat")):
        early = CLAIMS | {label: SECONDS + 61}
        _failed(appraise(_token(early)), f"eat.{name}", "expired")
        assert appraise(_token(CLAIMS | {label: SECONDS + 60})).affirmed


@pytest.mark.parametrize(
    ("changes", "secure"),
    [
        ({"_263": 0}, False),
        ({"_262": False}, False),
        ({"_262": False, "_263": None}, False),
        ({"_262": None, "_263": 1}, True),
        ({"_262": True, "_263": None}, None),
        ({"_262": None, "_263": None}, None),
    ],
)
def test_debugging_and_boot(changes: dict[str, Any], secure: bool | None) -> None:
    appraisal = appraise(_token(_with(**changes)))
    assert appraisal.claims is not None and appraisal.claims.secure is secure
    assert appraisal.affirmed == (secure is not False)


def test_another_form() -> None:
    good = _token()
    for raw in (b"", good + b"\x00", b"\xd8\x3d" * 2 + good, good[1:], b"\xd9\x02\x5a\x80"):
        assert appraise(raw).reasons == ("attestation.malformed",)
    encoded = cbor.encode(CLAIMS)
    twice = bytes([encoded[0] + 1]) + encoded[1:] + b"\x0a\x40"
    _failed(appraise(sign1(twice, SIGNER, unprotected={4: KID})), "eat.claims", "malformed")
    _failed(appraise(_token(protected={1: 5})), "eat.algorithm", "algorithm")
    for protected, unprotected in (
        ({1: -7, 2: [9], 9: 0}, {4: KID}),
        ({1: -7, 4: KID}, {4: KID}),
        ({1: -7}, {4: KID, 3: 0}),
    ):
        raw = _token(protected=protected, unprotected=unprotected)
        _failed(appraise(raw), "eat.cose", "malformed")
    _failed(appraise(_token(unprotected={4: b""})), "eat.kid", "malformed")
    _failed(appraise(_token(unprotected={4: "text"})), "eat.kid", "malformed")


def test_the_key_is_that_of_the_kid_or_of_the_ueid() -> None:
    assert appraise(_token(protected={1: -7, 4: KID}, unprotected={})).affirmed
    _failed(appraise(_token(unprotected={4: b"another"})), "eat.anchor", "anchor")
    _failed(appraise(_token(unprotected={})), "eat.anchor", "anchor")
    raw = sign1(CLAIMS, new_key(), unprotected={4: KID})
    _failed(appraise(raw), "eat.signature", "signature")
    for name in ("ueid", "instance"):
        given = materials([_anchor(b"", **{name: UEID.hex()})], MODEL)
        assert appraise(_token(unprotected={}), given).affirmed
        nameless = _token(_with(_256=None), unprotected={})
        _failed(appraise(nameless, given), "eat.anchor", "anchor")
        both = materials([_anchor(b"", kid=KID.hex(), **{name: UEID[::-1].hex()})], MODEL)
        _failed(appraise(_token(), both), "eat.ueid", "claims")
    broken = materials([_anchor(b"no key", kid=KID.hex())], MODEL)
    _failed(appraise(_token(), broken), "eat.anchor", "anchor")


def test_a_key_of_many_devices_is_not_unique() -> None:
    given = materials([_anchor(kid=KID.hex(), unique="no")], MODEL)
    for ueid, unique in ((UEID, True), (None, False)):
        claims = appraise(_token(_with(_256=ueid)), given).claims
        assert claims is not None and claims.root.unique is unique


@pytest.mark.parametrize("curve", ["ed25519", "p384"])
def test_other_algorithms(curve: str) -> None:
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = (
        ed25519.Ed25519PrivateKey.generate()
        if curve == "ed25519"
        else ec.generate_private_key(ec.SECP384R1())
    )
    given = materials([_anchor(spki(key), kid=KID.hex())], MODEL)
    assert appraise(sign1(CLAIMS, key, unprotected={4: KID}), given).affirmed


# --- with a chain -------------------------------------------------------------------------------

LEAF = new_key()
CHAIN = MIDDLE.issue("signer of tokens", LEAF.public_key())


def _chained(chain: Any = None, key: Any = LEAF) -> bytes:
    return sign1(CLAIMS, key, unprotected={33: CHAIN if chain is None else chain})


def test_a_chain_up_to_an_anchor() -> None:
    appraisal = appraise(_chained())
    assert appraisal.affirmed and appraisal.claims is not None
    assert any(name.startswith("cert:eat:") for name in appraisal.claims.identifiers)
    single = ROOT.issue("signer of tokens", LEAF.public_key())
    assert appraise(_chained(single[0])).affirmed
    with_root = [*CHAIN, ROOT.certificate.public_bytes(Encoding.DER)]
    assert appraise(_chained(with_root)).affirmed


def test_a_chain_that_is_none() -> None:
    for chain in ([], [CHAIN[0]], "text", [CHAIN[0], 1]):
        _failed(appraise(_chained(chain)), "eat.x5chain", "malformed")
    _failed(appraise(_chained([b"no", b"certificates"])), "eat.x5chain", "malformed")
    _failed(appraise(_chained(key=new_key())), "eat.signature", "signature")
    raw = sign1(CLAIMS, LEAF, unprotected={33: CHAIN, 4: KID})
    _failed(appraise(raw), "eat.kid", "malformed")
    other = Authority("eat middle", parent=Authority("eat root"))
    foreign = other.issue("signer of tokens", LEAF.public_key())
    assert appraise(_chained(foreign)).reasons == ("attestation.anchor",)
    expired = MIDDLE.issue("signer of tokens", LEAF.public_key(), days=1)
    assert appraise(_chained(expired)).reasons == ("attestation.expired",)
    authority = MIDDLE.issue("signer of tokens", LEAF.public_key(), ca=True)
    assert appraise(_chained(authority)).reasons == ("attestation.chain",)


def test_a_chain_that_the_attested_key_extended_is_refused() -> None:
    fake = new_key()
    extended = extended_by(LEAF, CHAIN, fake.public_key())
    assert appraise(_chained(extended, key=fake)).reasons == ("attestation.chain",)


def test_a_pinned_key_of_a_device_begins_no_chain() -> None:
    device = Authority("a device")
    pinned = device.anchor("eat", assurance="tee", kid=KID.hex())
    forged = device.issue("signer of tokens", LEAF.public_key())
    appraisal = appraise(_chained(forged[0]), materials([pinned], MODEL))
    _failed(appraisal, "eat.anchor", "anchor")


# --- replay, bytes, and examples of others ------------------------------------------------------


def test_another_challenge_is_refused() -> None:
    _failed(appraise(_token(), challenge=bytes(32)), "binding.challenge", "challenge")


@pytest.mark.parametrize("raw", [_token(), _chained()], ids=["kid", "chain"])
def test_no_byte_may_change(raw: bytes) -> None:
    expected = Expected(challenge=CHALLENGE, key=DEVICE)
    assert not survivors(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=MATERIALS)


def test_example_claims_of_the_rfc() -> None:
    """Published without signatures: signed here. Those with submodules are refused."""
    model = Model("any", frozenset(("eat",)), revocation="none")
    given = materials([_anchor(kid=KID.hex())], model)
    folder = vectors("attestation/eat-rfc9711/cddl/Example-Payloads")
    outcomes = {}
    for path in sorted(folder.glob("*.diag")):
        claims = diagnostic.read(path.read_text())
        appraisal = appraise(_token(claims), given, claims[10])
        if 266 in claims:
            assert appraisal.steps[-1].name == "eat.submods", path.name
        else:
            assert appraisal.claims is not None, (path.name, appraisal.steps[-1])
        outcomes[path.stem] = appraisal.affirmed
    assert outcomes == {
        "minimal": True,
        "simple": True,
        "submods": False,
        "valid_hw_block": True,
        "valid_hw_block2": False,
        "valid_iot": False,
        "valid_key_store": False,
        "valid_submods": False,
        "valid_tee": False,  # a manifest, and no reference value for it
    }


def test_example_token_of_the_rfc() -> None:
    """Its key is not published: its form is read, and no key verifies it."""
    path = vectors("attestation/eat-rfc9711/cddl/Example-Tokens/valid_cwt.diag")
    raw = cbor.encode(diagnostic.read(path.read_text()))
    given = materials([_anchor(ueid="0198f50a4ff6c05861c8860d13a638ea")], MODEL)
    _failed(appraise(raw, given), "eat.profile", "claims")
    model = Model("any", frozenset(("eat",)), revocation="none")
    given = materials([_anchor(ueid="0198f50a4ff6c05861c8860d13a638ea")], model)
    _failed(appraise(raw, given), "eat.signature", "signature")


# --- what the token says that it compared itself -------------------------------------------------


def test_a_measurement_that_failed_by_the_tokens_own_word_opens_it() -> None:
    good = appraise(_token(_with(_274=[["boot", [["app", 1], [b"\x01", 1]]]])))
    assert good.affirmed
    for number in (2, 3, 4):
        found = appraise(_token(_with(_274=[["a", [["app", 1]]], ["b", [["x", number]]]])))
        assert found.claims is not None and found.claims.secure is False
        assert not found.affirmed and found.level == "D1"
        assert found.reasons == ("attestation.debug",)


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], 1, ["a"], [["a", []]], [["a", [["x", 5]]]], [["a", [["x", True]]]]),
        *([[1, [["x", 1]]]], [["a", [["x"]]]], [["a", [[1, 1]]]], [["a", [["x", 1]], 1]]),
    ],
)
def test_measurement_results_of_another_form_are_refused(value: Any) -> None:
    _failed(appraise(_token(CLAIMS | {274: value})), "eat.measres", "claims")


def test_a_token_that_measures_nothing_is_not_affirmed_where_something_is_approved() -> None:
    found = appraise(_token(_with(_273=None)))
    assert found.claims is not None and not found.affirmed and found.level == "D2"
    assert found.reasons == ("attestation.references",)
