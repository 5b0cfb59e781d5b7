"""ESP-TEE: tokens made here, in the form of the firmware's own; one test for each check."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attestation.ca import NOW, new_key
from tests.attestation.mutation import survivors
from tests.attestation.tokens import CHALLENGE, materials, spki
from verify.attestation import Anchor, Appraisal, Expected, Materials, Model, appraise_evidence
from verify.attestation.esp_tee import MEDIA_TYPE
from verify.attestation.materials import Reference

KEY = new_key()
ADDRESS = bytes.fromhex("d885ac67c978")
HEADER = {
    "magic": "44fef7cc",
    "encr_alg": "",
    "sign_alg": "ecdsa_secp256r1_sha256",
    "key_id": "tee_att_key0",
}


def instance(key: ec.EllipticCurvePrivateKey) -> str:
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return hashlib.sha256(point[1:]).hexdigest()


def _image(kind: int, **digest: Any) -> dict[str, Any]:
    part = {"type": 0, "calc_digest": "ab" * 32, "digest_validated": True, "sign_verified": True}
    return {
        "type": kind,
        "ver": "v1.0",
        "idf_ver": "v5.5",
        "secure_ver": 0,
        "part_chip_rev": {"min": 0, "max": 99},
        "part_digest": part | digest,
    }


IMAGES = {"tee": _image(1), "app": _image(2), "bootloader": _image(0)}
CLAIMS: dict[str, Any] = {
    "auth_challenge": CHALLENGE.hex(),
    "client_id": 262974944,
    "chip_id": 13,
    "device_ver": 1,
    "ueid": {"mac": ADDRESS.hex(), "optional_id": "94fa4d7e305682714d48e7bbd710c961"},
    "device_id": hashlib.sha256(ADDRESS).hexdigest(),
    "instance_id": instance(KEY),
    "psa_cert_ref": "0716053550477-10100",
    "device_status": 165,
    "sw_claims": IMAGES,
}


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def token(
    claims: Any = None,
    header: Any = None,
    key: ec.EllipticCurvePrivateKey = KEY,
    *,
    eat: bytes | None = None,
) -> bytes:
    head = _compact(HEADER if header is None else header)
    body = _compact(CLAIMS if claims is None else claims) if eat is None else eat
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    public = _compact({"compressed": point.hex()})
    r, s = decode_dss_signature(key.sign(head + body + public, ec.ECDSA(SHA256())))
    sign = _compact({"r": f"{r:064x}", "s": f"{s:064x}"})
    parts = (head, body, public, sign)
    return b'{"header":%b,"eat":%b,"public_key":%b,"sign":%b}' % parts


MODEL = Model(
    "m",
    frozenset(("esp-tee",)),
    match={"chip": "13"},
    references=tuple(Reference(name, frozenset((bytes.fromhex("ab" * 32),))) for name in IMAGES),
    revocation="none",
    protects_key=True,
)


def _registry(pinned: bytes = b"", **more: str) -> Materials:
    ids = {"instance": instance(KEY)} | more
    return materials([Anchor("esp-tee", "registry", pinned, ids=ids)], MODEL)


MATERIALS = _registry()


def appraise(raw: bytes, given: Materials = MATERIALS, challenge: bytes = CHALLENGE) -> Appraisal:
    expected = Expected(challenge=challenge)
    return appraise_evidence(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=given)


def _failed(appraisal: Appraisal, step: str, code: str) -> None:
    last = appraisal.steps[-1]
    assert (last.name, last.passed, appraisal.reasons) == (step, False, (f"attestation.{code}",))
    assert not appraisal.affirmed and appraisal.claims is None


def _with(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (CLAIMS | changes).items() if value is not None}


def _with_image(name: str, **digest: Any) -> dict[str, Any]:
    return _with(sw_claims=IMAGES | {name: _image(1, **digest)})


def test_a_good_token_of_the_registry() -> None:
    appraisal = appraise(token())
    assert appraisal.affirmed and appraisal.claims is not None
    claims = appraisal.claims
    assert claims.root.assurance == "firmware" and claims.root.unique and claims.secure is None
    assert claims.device_ids["chip"] == "13" and claims.device_ids["instance"] == instance(KEY)
    assert [item.name for item in claims.measurements] == ["app", "bootloader", "tee"]
    assert appraise(token(_with(ueid=None))).affirmed


def test_a_key_that_vouches_for_itself_never_affirms_firmware() -> None:
    """Even where each digest is approved, and the model says that its firmware protects keys."""
    appraisal = appraise(token())
    assert appraisal.claims is not None and not appraisal.claims.measures
    assert appraisal.vector.executables == 0 and appraisal.vector.configuration == 0
    assert appraisal.level == "D1"


def test_what_it_admits_counts() -> None:
    for name in IMAGES:
        for flag in ("digest_validated", "sign_verified"):
            appraisal = appraise(token(_with_image(name, **{flag: False})))
            assert appraisal.claims is not None and appraisal.claims.secure is False
            assert appraisal.reasons == ("attestation.debug",)


def test_a_key_that_is_not_of_the_registry() -> None:
    other = new_key()
    stranger = token(_with(instance_id=instance(other)), key=other)
    _failed(appraise(stranger), "esp-tee.registry", "anchor")
    _failed(appraise(stranger, _registry(spki(other))), "esp-tee.registry", "anchor")
    _failed(appraise(token(), _registry(spki(other))), "esp-tee.registry", "anchor")
    _failed(appraise(token(), materials([], MODEL)), "evidence.anchors", "anchor")
    # The instance of another key is not the hash of this one.
    _failed(appraise(token(key=other)), "esp-tee.instance", "claims")
    assert appraise(token(), _registry(spki(KEY))).affirmed


def test_the_device_of_the_registry() -> None:
    assert appraise(token(), _registry(device=CLAIMS["device_id"])).affirmed
    _failed(appraise(token(), _registry(device="00" * 32)), "esp-tee.registry", "anchor")
    ueid = {"mac": "000000000000", "optional_id": "94fa4d7e305682714d48e7bbd710c961"}
    _failed(appraise(token(_with(ueid=ueid))), "esp-tee.device", "claims")


@pytest.mark.parametrize(
    ("claims", "step"),
    [
        (_with(auth_challenge=None), "auth_challenge"),
        (_with(auth_challenge=CHALLENGE.hex()[:-2]), "auth_challenge"),
        (_with(auth_challenge="AB" * 32), "auth_challenge"),
        (_with(auth_challenge=None, nonce=-1582119980), "auth_challenge"),
        (_with(instance_id=None), "instance_id"),
        (_with(device_id=None), "device_id"),
        (_with(device_id="ab"), "device_id"),
        (_with(device_ver="1"), "device_ver"),
        (_with(client_id=None), "client_id"),
        (_with(device_status=True), "device_status"),
        (_with(chip_id=1 << 32), "chip_id"),
        (_with(psa_cert_ref=None), "psa_cert_ref"),
        (_with(psa_cert_ref="x" * 65), "psa_cert_ref"),
        (_with(ueid=[]), "ueid"),
        (_with(ueid={"mac": "d885"}), "mac"),
        (_with(ueid={"mac": ADDRESS.hex()}), "optional_id"),
        (_with(sw_claims=None), "sw_claims"),
        (_with(sw_claims={}), "sw_claims"),
        (_with(sw_claims={"app": _image(2)}), "sw_claims"),
        (_with(sw_claims=IMAGES | {"other": _image(3)}), "sw_claims"),
        (_with(sw_claims=IMAGES | {"app": 1}), "app"),
        (_with(sw_claims=IMAGES | {"app": {"secure_ver": 0}}), "part_digest"),
        (_with_image("app", calc_digest="ab" * 31), "calc_digest"),
        (_with_image("app", sign_verified=1), "sign_verified"),
        (_with_image("app", digest_validated=None), "digest_validated"),
    ],
)
def test_a_claim_that_is_not_of_the_format(claims: dict[str, Any], step: str) -> None:
    _failed(appraise(token(claims)), f"esp-tee.{step}", "claims")


def test_another_header() -> None:
    for change in ({"magic": "44fef7cd"}, {"encr_alg": "aes"}):
        _failed(appraise(token(header=HEADER | change)), "esp-tee.header", "malformed")
    weak = token(header=HEADER | {"sign_alg": "none"})
    _failed(appraise(weak), "esp-tee.algorithm", "algorithm")


def test_another_form() -> None:
    good = token()
    for raw in (
        b"",
        good + b"\x00",
        good + b" ",
        b" " + good,
        good.replace(b'"eat":', b'"eat": '),
        good.replace(b"},", b"} ,", 1),
        good[:-1] + b',"more":1}',
        good.replace(b'"header"', b'"Header"'),
        good[: good.index(b',"public_key"')],
        good.replace(b'{"mac"', b'{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}},{"mac"'),
        b'{"header":' + b"{" * 4000,
        b'{"header":{"' + b'\\"' * 3000,
    ):
        _failed(appraise(raw), "esp-tee.form", "malformed")
    sign = good.index(b'"r":"') + 5
    upper = good[:sign] + good[sign:].upper()
    _failed(appraise(upper), "esp-tee.form", "malformed")
    twice = _compact(CLAIMS)[:-1] + b',"chip_id":13}'
    _failed(appraise(token(eat=twice)), "esp-tee.json", "malformed")
    _failed(appraise(token(eat=b"{{}}")), "esp-tee.json", "malformed")
    short = good.replace(b'"compressed":"0', b'"compressed":"1')
    _failed(appraise(short), "esp-tee.key", "malformed")
    at = good.index(b'"compressed":"') + 16
    for digit in b"0123456789abcdef":
        off = good[:at] + b"f" * 63 + bytes([digit]) + good[at + 64 :]
        assert appraise(off).reasons == ("attestation.key",), "no point: beyond the field"


def test_the_bytes_are_signed_as_they_stand() -> None:
    spaced = json.dumps(CLAIMS).encode()
    assert appraise(token(eat=spaced)).affirmed, "other spacing, signed as it is"
    respelled = token().replace(_compact(CLAIMS), spaced)
    _failed(appraise(respelled), "esp-tee.signature", "signature")


def test_another_challenge_is_refused() -> None:
    _failed(appraise(token(), challenge=bytes(32)), "binding.challenge", "challenge")


def test_no_byte_may_change() -> None:
    expected = Expected(challenge=CHALLENGE)
    raw = token()
    assert not survivors(MEDIA_TYPE, raw, expected=expected, at=NOW, materials=MATERIALS)
