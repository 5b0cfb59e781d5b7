"""Chains of certificates: what both validators refuse."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.errors import AttestationError
from tests.attestation.ca import NOW, START, Authority, extended_by, new_key
from verify.attestation.steps import Steps
from verify.attestation.x509path import (
    Path,
    PathRules,
    read_certificates,
    verify_path,
    verify_strict,
)

ROOT = Authority("root")
MIDDLE = Authority("middle", parent=ROOT)
ANCHOR = ROOT.anchor("x")


def _run(chain: list[bytes], *, strict: bool, at: int = NOW) -> Path:
    steps = Steps()
    certificates = read_certificates(chain, "x.form", steps)
    if strict:
        return verify_strict(certificates, [ANCHOR], at=at, name="x", steps=steps)
    return verify_path(certificates, [ANCHOR], at=at, rules=PathRules(), name="x", steps=steps)


@pytest.mark.parametrize("strict", [True, False])
def test_a_good_chain_passes_with_and_without_its_root(strict: bool) -> None:
    chain = MIDDLE.issue("leaf", new_key().public_key())
    assert _run(chain, strict=strict).anchor is ANCHOR
    whole = [*chain, ROOT.certificate.public_bytes(Encoding.DER)]
    assert _run(whole, strict=strict).anchor is ANCHOR


@pytest.mark.parametrize("strict", [True, False])
def test_a_chain_that_the_attested_key_extended_is_refused(strict: bool) -> None:
    key = new_key()
    chain = extended_by(key, MIDDLE.issue("leaf", key.public_key()), new_key().public_key())
    with pytest.raises(AttestationError) as caught:
        _run(chain, strict=strict)
    assert caught.value.code == "attestation.chain"


@pytest.mark.parametrize("strict", [True, False])
def test_another_root_of_the_same_name_is_refused(strict: bool) -> None:
    other = Authority("middle", parent=Authority("root"))
    for chain in (
        other.issue("leaf", new_key().public_key()),
        [*other.issue("leaf", new_key().public_key()), ROOT.certificate.public_bytes(Encoding.DER)],
    ):
        with pytest.raises(AttestationError):
            _run(chain, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_an_expired_leaf_is_refused(strict: bool) -> None:
    chain = MIDDLE.issue("leaf", new_key().public_key(), days=1, start=START)
    with pytest.raises(AttestationError):
        _run(chain, strict=strict)


def test_what_the_signature_does_not_cover_is_not_free() -> None:
    while True:
        leaf = MIDDLE.issue("leaf", new_key().public_key())[0]
        if leaf[-1] & 3 == 0:
            break
    signature = x509.load_der_x509_certificate(leaf).signature
    unused = leaf[: -len(signature) - 1] + b"\x02" + signature
    assert x509.load_der_x509_certificate(unused).signature == signature
    at = leaf.rindex(b"\x04\x03\x02\x03")
    twice = leaf[: at + 2] + b"\x03" + leaf[at + 3 :]
    assert twice != leaf
    for changed in (unused, twice):
        with pytest.raises(AttestationError) as caught:
            read_certificates([changed], "x.form", Steps())
        assert caught.value.code == "attestation.malformed"


def test_the_end_of_the_path_is_that_of_the_first_certificate_to_expire() -> None:
    chain = MIDDLE.issue("leaf", new_key().public_key(), days=200)
    end = int(START.timestamp()) * 1000 + 200 * 86_400_000
    assert _run(chain, strict=False).not_after == _run(chain, strict=True).not_after == end


def test_what_no_signature_covers_has_one_form() -> None:
    good = MIDDLE.issue("leaf", new_key().public_key())[0]
    signature = x509.load_der_x509_certificate(good).signature
    at = len(good) - len(signature) - 1
    assert good[at] == 0
    found = 0
    for bit in (1, 2, 4):
        changed = good[:at] + bytes([bit]) + good[at + 1 :]
        with pytest.raises(AttestationError) as caught:
            read_certificates([changed], "x.form", Steps())
        found += caught.value.code == "attestation.malformed"
    assert found == 3
    # ecdsa-with-SHA256 outside, where the signed part says so too: SHA-384 instead.
    name = bytes.fromhex("2a8648ce3d040302")
    last = good.rindex(name)
    changed = good[: last + 7] + b"\x03" + good[last + 8 :]
    with pytest.raises(AttestationError):
        read_certificates([changed], "x.form", Steps())
