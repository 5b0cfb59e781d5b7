"""Credentials that Python makes: the private half of the endorsement key opens them, no other."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from depin_id.attestation.tpm2_evidence import MAX_STRUCTURE, Tpm2Evidence, read
from depin_id.errors import AttestationError, EncodingError
from tests.attestation import tpm2_world as made
from tests.attestation.ca import NOW, Authority, extended_by
from tests.attestation.tpm2_world import GOOD, Private, changed, ek_leaf, key, rsa_key, spki
from verify.attestation import Anchors
from verify.attestation.tpm2 import activation_of, credential_for, make_credential, public, wire
from verify.attestation.tpm2.credential import kdfa, kdfe
from verify.attestation.tpm2.endorsement import templates

SECRET = bytes(range(32))
P384 = ec.generate_private_key(ec.SECP384R1())


def opened(private: Private, name: bytes, blob: bytes) -> bytes:
    """TPM2_ActivateCredential, as far as its mathematics go."""
    strong = private.key_size in (384, 3072)
    called, bits = ("sha384", 256) if strong else ("sha256", 128)
    made_by = hashes.SHA384() if strong else hashes.SHA256()
    reader = wire.Reader(blob, "a credential")
    assert (reader.u32(), reader.u32()) == (0xBADCC0DE, 1)
    identity = wire.Reader(reader.sized(200), "an identity")
    encrypted = reader.sized(512)
    reader.end()
    if isinstance(private, rsa.RSAPrivateKey):
        scheme = padding.OAEP(padding.MGF1(made_by), made_by, b"IDENTITY\0")
        seed = private.decrypt(encrypted, scheme)
    else:
        point = wire.Reader(encrypted, "a point")
        x, y = point.sized(48), point.sized(48)
        other = ec.EllipticCurvePublicKey.from_encoded_point(private.curve, b"\x04" + x + y)
        own = private.public_key().public_numbers().x.to_bytes(len(x), "big")
        seed = kdfe(called, private.exchange(ec.ECDH(), other), b"IDENTITY", x, own)
    outer = identity.sized(64)
    sealed = blob[12 + len(outer) :][: int.from_bytes(blob[8:10], "big") - 2 - len(outer)]
    integrity = kdfa(called, seed, b"INTEGRITY", b"", b"", made_by.digest_size * 8)
    if not hmac.compare_digest(outer, hmac.digest(integrity, sealed + name, called)):
        raise ValueError("integrity")
    stream = Cipher(algorithms.AES(kdfa(called, seed, b"STORAGE", name, b"", bits)), modes.ECB())
    found, previous = b"", bytes(16)
    for at in range(0, len(sealed), 16):
        part = sealed[at : at + 16]
        block = stream.encryptor().update(previous.ljust(16, b"\0"))
        found += bytes(one ^ two for one, two in zip(part, block, strict=False))
        previous = part
    return wire.Reader(found, "a secret").sized(32)


@pytest.mark.parametrize("private", [key("ek"), rsa_key("ek"), P384], ids=["P-256", "RSA", "P-384"])
@pytest.mark.parametrize("size", [1, 16, 32])
def test_only_its_endorsement_key_opens_it(private: Private, size: int) -> None:
    name = GOOD.ak_name()
    for form in (spki(private), list(templates(private.public_key()))[-1]):
        blob = make_credential(form, name, SECRET[:size], secrets.token_bytes)
        assert opened(private, name, blob) == SECRET[:size]
        with pytest.raises(ValueError):
            opened(private, b"\0\x0b" + bytes(32), blob)


def test_the_same_randomness_makes_the_same() -> None:
    def fixed(count: int) -> bytes:
        return hashlib.shake_256(b"fixed").digest(count)

    for private in (key("ek"), rsa_key("ek")):
        first = make_credential(spki(private), GOOD.ak_name(), SECRET, fixed)
        assert first == make_credential(spki(private), GOOD.ak_name(), SECRET, fixed)
        assert first != make_credential(spki(private), GOOD.ak_name(), SECRET, secrets.token_bytes)


def test_kdfa_is_that_of_sp800_108() -> None:
    key_, context = bytes(32), b"\1" * 34
    told = b"\0\0\0\1STORAGE\0" + context + (128).to_bytes(4, "big")
    assert (
        kdfa("sha256", key_, b"STORAGE", context, b"", 128)
        == hmac.digest(key_, told, "sha256")[:16]
    )
    assert len(kdfa("sha256", key_, b"STORAGE", context, b"", 512)) == 64


def _chain(**changes: object) -> list[bytes]:
    return ek_leaf(key("ek"), **changes)


def test_for_genuine_endorsement_keys() -> None:
    anchors = Anchors([made.root().anchor("tpm2")])
    chain, area = _chain(), GOOD.ak_area()
    blob = credential_for(
        chain, area, anchors=anchors, at=NOW, secret=SECRET, randomness=secrets.token_bytes
    )
    assert opened(key("ek"), GOOD.ak_name(), blob) == SECRET
    assert activation_of(chain, area) == GOOD.activation()


REFUSED: dict[str, tuple[Callable[[], tuple[list[bytes], bytes]], str]] = {
    "of nobody": (lambda: (_chain(by=Authority("own")), GOOD.ak_area()), "anchor"),
    "out of time": (lambda: (_chain(days=1), GOOD.ak_area()), "expired"),
    "no endorsement key": (lambda: (_chain(usage="2.23.133.8.3"), GOOD.ak_area()), "chain"),
    "extended": (
        lambda: (extended_by(key("ek"), _chain(), key("fake").public_key()), GOOD.ak_area()),
        "chain",
    ),
    "no chain": (lambda: ([], GOOD.ak_area()), "malformed"),
    "a key that signs anything": (
        lambda: (_chain(), changed(ak_attributes=made.AK_ATTRIBUTES ^ 1 << 16).ak_area()),
        "key",
    ),
    "a Name by SHA-1": (lambda: (_chain(), changed(ak_digest=wire.SHA1).ak_area()), "algorithm"),
    "no key": (lambda: (_chain(), b"\0"), "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_made_for_others(name: str) -> None:
    build, kind = REFUSED[name]
    chain, area = build()
    with pytest.raises(AttestationError) as refused:
        credential_for(
            chain,
            area,
            anchors=Anchors([made.root().anchor("tpm2"), made.root().anchor("idevid")]),
            at=NOW,
            secret=SECRET,
            randomness=secrets.token_bytes,
        )
    assert refused.value.code == f"attestation.{kind}"


@pytest.mark.parametrize(
    ("ek", "name", "secret", "kind"),
    [
        (b"0junk", GOOD.ak_name(), SECRET, "malformed"),
        (b"", GOOD.ak_name(), SECRET, "malformed"),
        (spki(key("ek")), GOOD.ak_name(), b"", "malformed"),
        (spki(key("ek")), GOOD.ak_name(), bytes(33), "malformed"),
        (spki(key("ek")), GOOD.ak_name()[:-1], SECRET, "malformed"),
        (spki(key("ek")), b"\0\x04" + bytes(20), SECRET, "algorithm"),
        (spki(ec.generate_private_key(ec.SECP256K1())), GOOD.ak_name(), SECRET, "algorithm"),
        (GOOD.ak_area(), GOOD.ak_name(), SECRET, "algorithm"),
    ],
)
def test_what_no_credential_is_made_of(ek: bytes, name: bytes, secret: bytes, kind: str) -> None:
    with pytest.raises(AttestationError) as refused:
        make_credential(ek, name, secret, secrets.token_bytes)
    assert refused.value.code == f"attestation.{kind}"


# --- the structures and the container ------------------------------------------------------------


def test_evidence_is_read_as_it_was_written() -> None:
    evidence = GOOD.evidence()
    assert read(evidence.encode()) == evidence
    with pytest.raises(AttestationError):
        read(evidence.encode() + b"\0")


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": b""},
        {"quote": bytes(MAX_STRUCTURE + 1)},
        {"ak_public": None},
        {"ek_chain": ()},
        {"ek_chain": [b"x"] * 9},
        {"ek_chain": b"x"},
        {"ak_chain": [b""]},
        {"certify": b"x"},
        {"pcrs": {}},
        {"pcrs": {24: bytes(32)}},
        {"pcrs": {0: bytes(20)}},
        {"pcrs": {"0": bytes(32)}},
        {"pcrs": None},
        {"event_log": b""},
    ],
)
def test_evidence_of_another_form(changes: dict[str, object]) -> None:
    members: dict[str, Any] = {
        "quote": b"q",
        "quote_signature": b"s",
        "ak_public": b"a",
        "ek_chain": [b"c"],
        "pcrs": {0: bytes(32)},
    }
    assert Tpm2Evidence(**members).encode()
    with pytest.raises(AttestationError) as refused:
        Tpm2Evidence(**{**members, **changes})
    assert refused.value.code == "attestation.malformed"


@pytest.mark.parametrize("name", ["quote", "quote_signature", "ak_public"])
def test_structures_end_where_they_end(name: str) -> None:
    readers: dict[str, Callable[[bytes], object]] = {
        "quote": wire.read_attest,
        "quote_signature": wire.read_signature,
        "ak_public": public.read_public,
    }
    raw, read_it = getattr(GOOD.evidence(), name), readers[name]
    assert read_it(raw)
    for bad in (b"", *(raw[:end] for end in range(1, len(raw))), raw + b"\0", bytes(5000)):
        with pytest.raises(EncodingError):
            read_it(bad)


def test_numbers_of_a_signature_have_one_form_or_the_short_one() -> None:
    message = b"message"
    private = key("ak")
    while True:
        signature = wire.read_signature(made.sign(private, message))
        if not signature.parts[0][0]:
            break
    own = public.read_public(GOOD.ak_area()).key
    r, s = signature.parts
    good = [(r, s), (r.lstrip(b"\0"), s)]
    wrong = [(b"\0" + r, s), (b"", s), (s, r)]
    if len(r.lstrip(b"\0")) < 31:
        wrong.append((r[1:], s))
    for parts, valid in [*((one, True) for one in good), *((one, False) for one in wrong)]:
        found = wire.Signature(signature.scheme, signature.digest, parts)
        assert public.is_signed(own, found, message) is valid
