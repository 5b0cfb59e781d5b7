"""Claim codes: what people type, what labels say, and what a certificate holds."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.errors import CredentialError, DepinError, KeyRefused
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.owners import ClaimCode, Label, claim_digest, qr_text, read_label, read_qr
from depin_id.owners.codes import CODE_CHARACTERS

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
QR_ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
KEYS = [
    SoftwareSigner(curve, hashlib.sha256(b"k").digest()).public_key for curve in ("ed25519", "p256")
]
secrets = st.binary(min_size=16, max_size=16)


@given(secrets)
def test_codes_round_trip_however_they_are_typed(secret: bytes) -> None:
    code = ClaimCode(secret)
    assert len(code.compact) == CODE_CHARACTERS and set(code.compact) <= set(ALPHABET)
    for typed in (
        code.text,
        code.compact.lower(),
        " " + code.text.replace("-", " \u2013 ") + "\n",
        code.text.replace("0", "O").replace("1", "l"),
        code.text.replace("0", "o").replace("1", "I"),
    ):
        assert ClaimCode.parse(typed) == code


@given(secrets, st.integers(0, CODE_CHARACTERS - 1), st.sampled_from(ALPHABET))
def test_a_wrong_character_is_found(secret: bytes, at: int, other: str) -> None:
    text = ClaimCode(secret).compact
    if text[at] == other:
        return
    with pytest.raises(CredentialError) as caught:
        ClaimCode.parse(text[:at] + other + text[at + 1 :])
    assert caught.value.code == "claim.code"
    assert caught.value.hint == f"look at character {at % 4 + 1} of group {at // 4 + 1}"


@given(secrets, st.data())
def test_two_wrong_characters_are_noticed(secret: bytes, data: st.DataObject) -> None:
    text = list(ClaimCode(secret).compact)
    places = data.draw(
        st.lists(st.integers(0, CODE_CHARACTERS - 1), min_size=2, max_size=2, unique=True)
    )
    for at in places:
        text[at] = data.draw(st.sampled_from(ALPHABET.replace(text[at], "")))
    with pytest.raises(CredentialError):
        ClaimCode.parse("".join(text))


@pytest.mark.parametrize("typed", ["", "ABCD", "U" * 28, "-" * 300, "\u00df" * 28, "0" * 27 + "*"])
def test_what_no_code_is_is_refused(typed: str) -> None:
    with pytest.raises(CredentialError, match="claim.code"):
        ClaimCode.parse(typed)


def test_filling_bits_have_one_spelling() -> None:
    from depin_id.owners.codes import _VALUES, _checks

    body = [_VALUES[character] for character in ClaimCode(bytes(16)).compact[:26]]
    body[-1] |= 1
    text = "".join(ALPHABET[value] for value in body + _checks(body))
    with pytest.raises(CredentialError, match="none that was ever made"):
        ClaimCode.parse(text)


def test_the_digest_is_of_tag_device_and_the_codes_key() -> None:
    code, device = ClaimCode(bytes(range(16))), "did:key:z6MkexampleA"
    seed = hashlib.sha256(b"depin/1 claim seed\0" + code.secret).digest()
    public = SoftwareSigner("ed25519", seed).public_key
    assert code.signer.public_key == public
    encoded = cbor.encode(["depin/1 claim", device, public.raw])
    assert code.digest(device) == hashlib.sha256(encoded).digest() == claim_digest(device, public)
    assert code.opens(device, code.digest(device))
    assert not code.opens("did:key:z6MkexampleB", code.digest(device))
    assert not ClaimCode(bytes(16)).opens(device, code.digest(device))


def test_a_code_is_not_shown_by_accident() -> None:
    code = ClaimCode(bytes(range(16)))
    assert code.secret.hex() not in repr(code) and code.text not in f"{code} {code!r}"


def test_codes_are_of_the_randomness_they_are_given() -> None:
    assert ClaimCode.generate(lambda size: bytes([5]) * size).secret == bytes([5]) * 16
    assert ClaimCode.generate() != ClaimCode.generate()


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "p256"])
def test_labels_round_trip_in_few_characters_of_the_alphanumeric_mode(key: PublicKey) -> None:
    code = ClaimCode(bytes(range(16)))
    text = qr_text(key, code)
    assert len(text) <= 90 and set(text) <= QR_ALPHANUMERIC
    assert read_qr(text) == Label(key, code) == read_qr(f" {text.lower()}\n")
    assert read_label(text) == read_label(code.text, read_qr(text).device)


def test_labels_that_are_none() -> None:
    text = qr_text(KEYS[0], ClaimCode(bytes(16)))
    device = text.split(":")[1]
    for wrong in (
        "",
        "DEPIN2" + text[6:],
        text + ":",
        text.replace(device, "X" + device[1:]),
        text.replace(device, device[:-1]),
        text.replace(device, device[:-1] + "1"),
        text.replace(device, "E" + "U" * 52),
        text[:-1] + ("1" if text[-1] == "0" else "0"),
        "DEPIN1:" + "A" * 400,
    ):
        with pytest.raises(CredentialError):
            read_qr(wrong)
    with pytest.raises(KeyRefused):  # the identity point
        read_qr(text.replace(device, "E" + "04" + "0" * 50))


def test_a_typed_code_needs_its_device_and_a_label_no_other() -> None:
    code = ClaimCode(bytes(16))
    label = read_qr(qr_text(KEYS[0], code))
    for arguments in ((code.text,), (qr_text(KEYS[0], code), "did:key:zDnaother")):
        with pytest.raises(CredentialError, match="claim.label"):
            read_label(*arguments)
    with pytest.raises(DepinError):
        read_label(code.text, label.device + "x")
