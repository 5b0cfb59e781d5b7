"""COSE of others: the working group's examples, and what each rule refuses."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from depin_id.errors import AttestationError, EncodingError, KeyRefused
from tests.attestation.ca import new_key
from tests.attestation.tokens import sign1
from tests.paths import vectors
from verify.attestation import foreign_cbor, foreign_cose
from verify.attestation.foreign_cose import (
    ECDSA,
    EDDSA,
    HMAC,
    PKCS1,
    PSS,
    CoseMessage,
    CoseRules,
    VerifyKey,
    load_key,
    open_message,
    read,
    signature_is_good,
    to_be_signed,
)
from verify.attestation.steps import Steps

_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
ANY = CoseRules(
    ECDSA | EDDSA | PSS | PKCS1 | HMAC,
    kinds=("Signature1", "MAC0"),
    unprotected=frozenset((4,)),
)
KEY = ec.generate_private_key(ec.SECP256R1())


def _example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(vectors(f"cose-examples/{name}.json").read_text())
    return found


def _number(key: dict[str, str], name: str) -> int:
    return int(key[f"{name}_hex"], 16) if f"{name}_hex" in key else int.from_bytes(_b64(key[name]))


def _b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _key_of(example: dict[str, Any]) -> VerifyKey:
    key = example["input"]["sign0"]["key"]
    if key["kty"] == "OKP":
        return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["x_hex"]))
    curve = _CURVES[key["crv"]]
    return ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), curve).public_key()


def _output(example: dict[str, Any]) -> bytes:
    return bytes.fromhex(example["output"]["cbor"])


def _read(name: str, rules: CoseRules = ANY) -> tuple[CoseMessage, dict[str, Any]]:
    example = _example(name)
    return read(_output(example), rules, max_bytes=2048), example


@pytest.mark.parametrize(
    "name",
    [
        "sign1-tests/sign-pass-02",
        "ecdsa-examples/ecdsa-sig-01",
        "ecdsa-examples/ecdsa-sig-02",
        "ecdsa-examples/ecdsa-sig-03",
        "eddsa-examples/eddsa-sig-01",
        "RFC8152/Appendix_C_2_1",
        "CWT/A_3",
    ],
)
def test_good_examples(name: str) -> None:
    message, example = _read(name)
    aad = bytes.fromhex(example["input"]["sign0"].get("external", ""))
    assert message.to_be_signed(aad).hex().upper() == example["intermediates"]["ToBeSign_hex"]
    assert message.verifies(_key_of(example), external_aad=aad)
    assert not message.verifies(_key_of(example), external_aad=aad + b"x")
    assert not message.verifies(KEY.public_key(), external_aad=aad)


def test_a_message_without_tag_only_where_that_is_allowed() -> None:
    with pytest.raises(EncodingError, match="tag"):
        _read("sign1-tests/sign-pass-03")
    untagged = CoseRules(ECDSA, untagged="Signature1", unprotected=frozenset((4,)))
    message, example = _read("sign1-tests/sign-pass-03", untagged)
    assert message.verifies(_key_of(example))


def test_an_empty_map_as_protected_header_counts_as_empty() -> None:
    """The example has its algorithm in the unprotected header, which is refused here."""
    with pytest.raises(EncodingError, match="nobody reads"):
        _read("sign1-tests/sign-pass-01")
    with pytest.raises(KeyRefused):
        _read("sign1-tests/sign-pass-01", CoseRules(ECDSA, unprotected=frozenset((1, 4))))
    example = _example("sign1-tests/sign-pass-01")
    protected, _, payload, signature = cbor.decode(_output(example)).value
    signed = to_be_signed("Signature1", protected, payload)
    assert protected == b"\xa0" and signed[12:13] == b"\x40"
    assert signature_is_good(-7, _key_of(example), signature, signed)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("sign-fail-01", EncodingError),  # another tag
        ("sign-fail-02", None),  # the payload
        ("sign-fail-03", KeyRefused),  # an unknown algorithm
        ("sign-fail-04", KeyRefused),  # a text as algorithm
        ("sign-fail-06", None),  # a protected parameter more
        ("sign-fail-07", None),  # one less
    ],
)
def test_bad_examples(name: str, error: type[Exception] | None) -> None:
    if error is not None:
        with pytest.raises(error):
            _read(f"sign1-tests/{name}")
        return
    message, example = _read(f"sign1-tests/{name}")
    assert not message.verifies(_key_of(example))


@pytest.mark.parametrize("name", ["CWT/A_4", "CWT/A_7", "RFC8152/Appendix_C_6_1"])
def test_tags_that_are_cut_short_are_refused(name: str) -> None:
    with pytest.raises(KeyRefused):
        _read(name)


def test_another_hash_than_that_of_the_curve_is_refused() -> None:
    message, example = _read("ecdsa-examples/ecdsa-sig-04")
    assert not message.verifies(_key_of(example))


def test_ed448_is_not_taken() -> None:
    message, example = _read("eddsa-examples/eddsa-sig-02")
    raw = bytes.fromhex(example["input"]["sign0"]["key"]["x_hex"])
    key = ed448.Ed448PublicKey.from_public_bytes(raw)
    key.verify(message.signature, message.to_be_signed())
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="unknown kind"):
        load_key(spki)


# --- made here ----------------------------------------------------------------------------------


def _signed(
    protected: object = None,
    unprotected: object = None,
    payload: object = b"payload",
    *,
    raw_protected: bytes | None = None,
) -> bytes:
    header = raw_protected
    if header is None:
        header = cbor.encode({1: -7} if protected is None else protected)
    der = KEY.sign(
        to_be_signed("Signature1", header, payload if isinstance(payload, bytes) else b""),
        ec.ECDSA(SHA256()),
    )
    signature = b"".join(number.to_bytes(32) for number in decode_dss_signature(der))
    parts = [header, {} if unprotected is None else unprotected, payload, signature]
    return cbor.encode(cbor.Tag(18, parts))


def _opened(data: bytes, rules: CoseRules = ANY) -> CoseMessage:
    return read(data, rules, max_bytes=2048)


def test_what_is_made_here_is_read() -> None:
    message = _opened(_signed({1: -7, 3: 60}, {4: b"kid"}))
    assert message.verifies(KEY.public_key())
    assert (message.header(3), message.header(4), message.header(5)) == (60, b"kid", None)
    understood = CoseRules(ECDSA, understood=frozenset((-70_001,)))
    assert _opened(_signed({1: -7, 2: [-70_001], -70_001: 1}), understood)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (_signed({1: -7, 4: b"a"}, {4: b"a"}), "both headers"),
        (_signed({1: -7}, {33: b"x"}), "nobody reads"),
        (_signed({1: -7}, {"x": 1}), "nobody reads"),
        (_signed({1: -7, b"x": 1}), "integer or a text"),
        (_signed({1: -7, 2: [99], 99: 1}), "crit"),
        (_signed({1: -7, 2: [1]}), "crit"),
        (_signed({1: -7, 2: []}), "crit"),
        (_signed({1: -7, 2: 1}), "crit"),
        (_signed({1: -7, 2: None}), "crit"),
        (_signed({1: -7, 2: [[1]]}), "crit"),
        (_signed({1: -7} | {100 + n: 0 for n in range(16)}), "too many"),
        (_signed([1]), "no map"),
        (_signed(None, [1]), "no map"),
        (_signed(None, None, None), "byte strings"),
        (_signed(None, None, "text"), "byte strings"),
        (_signed(raw_protected=bytes.fromhex("a201260126")), "twice"),
        (_signed(raw_protected=bytes.fromhex("a1012600")), "follow"),
        (_signed() + b"\x00", "follow"),
        (b"\xd2\x98\x04" + _signed()[2:], "shortest"),
        (b"\xd8\x12" + _signed()[1:], "shortest"),
        (b"\xd2\x84\x58\x03" + _signed()[3:], "shortest"),
        (b"\xd2" + _signed(), "array of four"),
        (cbor.encode(cbor.Tag(98, [])), "tag"),
        (cbor.encode(cbor.Tag(18, [b"", {}, b""])), "array of four"),
    ],
)
def test_what_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(EncodingError, match=what):
        _opened(data)


def test_critical_is_refused_where_it_is_not_understood_or_not_there() -> None:
    rules = CoseRules(ECDSA, understood=frozenset((99,)))
    assert _opened(_signed({1: -7, 2: [99], 99: 1}), rules)
    for bad in ({1: -7, 2: [99]}, {1: -7, 2: [99, 99], 99: 1}, {1: -7, 2: [99, 98], 99: 1, 98: 1}):
        with pytest.raises(EncodingError, match="crit"):
            _opened(_signed(bad), rules)


def test_the_algorithm_is_of_the_list_and_protected() -> None:
    for protected in ({}, {1: -35}, {1: "ES256"}, {1: True}, {1: None}):
        with pytest.raises(KeyRefused):
            _opened(_signed(protected), CoseRules(frozenset((-7, 1))))
    steps = Steps()
    with pytest.raises(AttestationError) as caught:
        open_message(_signed({}), ANY, max_bytes=2048, name="x", steps=steps)
    assert caught.value.code == "attestation.algorithm"
    with pytest.raises(AttestationError) as caught:
        open_message(b"", ANY, max_bytes=2048, name="x", steps=steps)
    assert caught.value.code == "attestation.malformed"


def test_no_byte_is_free_to_change() -> None:
    data = _signed({1: -7, 3: 60}, {4: b"kid"})
    for offset in range(len(data)):
        for bit in (1, 16, 128):
            changed = data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :]
            try:
                message = _opened(changed)
            except (EncodingError, KeyRefused):
                continue
            kept = message.header(4) == b"kid" and message.verifies(KEY.public_key())
            assert not kept, offset


def test_a_key_of_another_kind_never_verifies() -> None:
    message = _opened(_signed())
    small = rsa.generate_private_key(65537, 1024).public_key()
    large = rsa.generate_private_key(65537, 2048)
    others: list[VerifyKey] = [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        large.public_key(),
        small,
        bytes(32),
    ]
    assert not any(message.verifies(key) for key in others)
    for number in (*ECDSA, *EDDSA, *PSS, *PKCS1, *HMAC, 4, 0):
        for key in others:
            assert not signature_is_good(number, key, bytes(64), b"x")
    scheme = padding.PSS(padding.MGF1(SHA256()), 32)
    assert signature_is_good(-37, large.public_key(), large.sign(b"x", scheme, SHA256()), b"x")
    pkcs1 = large.sign(b"x", padding.PKCS1v15(), SHA256())
    assert signature_is_good(-257, large.public_key(), pkcs1, b"x")
    assert not signature_is_good(-37, large.public_key(), pkcs1, b"x")


def test_messages_of_other_kinds_are_refused() -> None:
    """Encrypted ones, and those of several signers."""
    count = 0
    for path in sorted(vectors("cose-examples").glob("*/*.json")):
        data = bytes.fromhex(json.loads(path.read_text())["output"]["cbor"])
        if data[0] in (0xD2, 0xD1, 0x84):
            continue
        with pytest.raises(EncodingError, match="tag"):
            _opened(data)
        count += 1
    assert count == 24


def test_the_quick_reading_of_a_frame_takes_what_the_strict_one_takes() -> None:
    key, chance = new_key(), random.Random(5)
    for size in (0, 23, 24, 255, 256):
        good = sign1(bytes(size), key)
        assert foreign_cose._usual_frame(good) == foreign_cbor.decode(good, max_bytes=9000)
        assert foreign_cose._usual_frame(good[1:]) is not None
        for _ in range(200):
            changed = bytearray(good)
            changed[chance.randrange(16)] = chance.randrange(256)
            found = foreign_cose._usual_frame(bytes(changed))
            if found is not None:
                assert found == foreign_cbor.decode(bytes(changed), max_bytes=9000)
    for cut in range(len(good)):
        assert foreign_cose._usual_frame(good[:cut]) is None
    for longer in (b"\x84\x58\x01a\xa0\x40\x40", b"\x84\x40\xa0\x59\x00\x01a\x40"):
        assert foreign_cose._usual_frame(longer) is None, "not the shortest head"
