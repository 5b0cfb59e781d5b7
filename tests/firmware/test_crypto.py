"""Hashes and Ed25519 of the device library: the standards' vectors, and what Python refuses."""

from __future__ import annotations

import ctypes as c
import hashlib
import json
import random

import pytest

from depin_id.errors import DepinError
from depin_id.keys import PublicKey, SoftwareSigner, admit
from tests.firmware.library import Bytes, library
from tests.paths import vectors

ORDER = 2**252 + 27742317777372353535851937790883648493


def _parts(*pieces: bytes) -> c.Array[Bytes]:
    return (Bytes * len(pieces))(*(Bytes(piece, len(piece)) for piece in pieces))


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_hashes_of_every_size_and_any_pieces(name: str) -> None:
    rng = random.Random(1)
    out = c.create_string_buffer(64)
    for size in range(400):
        data = rng.randbytes(size)
        cut = rng.randint(0, size)
        getattr(library(), f"depin_{name}")(_parts(data[:cut], data[cut:]), c.c_size_t(2), out)
        want = hashlib.new(name, data).digest()
        assert out.raw[: len(want)] == want, size


def _sign(seed: bytes, message: bytes) -> tuple[bytes, bytes]:
    key, out = c.create_string_buffer(seed, 64), c.create_string_buffer(64)
    library().depin_ed25519_derive(key)
    cut = len(message) // 3
    parts = _parts(message[:cut], message[cut:])
    assert library().depin_ed25519_sign(key, parts, c.c_size_t(2), out) == 0
    return key.raw[32:], out.raw


def _verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    parts = _parts(message)
    return not library().depin_ed25519_verify(None, 1, public, parts, c.c_size_t(1), signature)


def _admits(public: bytes) -> bool:
    return not library().depin_ed25519_admit(None, 1, public)


def test_rfc_8032() -> None:
    # Section 7.1, TEST 1 and TEST 3.
    cases = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
            "4dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ]
    for seed, message, signature in cases:
        assert _sign(bytes.fromhex(seed), bytes.fromhex(message))[1].hex() == signature


def test_signatures_are_those_of_python() -> None:
    rng = random.Random(2)
    for _ in range(40):
        signer, message = SoftwareSigner("ed25519", rng.randbytes(32)), rng.randbytes(200)
        public, signature = _sign(signer.secret, message)
        assert (public, signature) == (signer.public_key.raw, signer.sign(message))
        assert _verifies(public, message, signature)
        assert not _verifies(public, message + b"x", signature)


def _python_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        PublicKey("ed25519", public).verify(message, signature)
    except DepinError:
        return False
    return True


def test_wycheproof() -> None:
    path = vectors("wycheproof/testvectors_v1/ed25519_test.json")
    met = 0
    for group in json.loads(path.read_text())["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            signature, message = bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])
            if len(signature) == 64:
                met += 1
                assert _verifies(public, message, signature) == (test["result"] == "valid"), test
    assert met > 100


def test_speccheck_as_python_has_it() -> None:
    cases = json.loads(vectors("ed25519-speccheck/cases.json").read_text())
    for case in cases:
        public, signature = bytes.fromhex(case["pub_key"]), bytes.fromhex(case["signature"])
        message = bytes.fromhex(case["message"])
        admitted = _admits(public)
        assert admitted == _python_admits(public)
        if admitted:  # a key of mixed order never comes to a signature
            assert _verifies(public, message, signature) == _python_verifies(
                public, message, signature
            )
        else:
            both = admitted and _verifies(public, message, signature)
            assert not both


def _python_admits(public: bytes) -> bool:
    try:
        admit("ed25519", public, allow_published=True)
    except DepinError:
        return False
    return True


def test_keys_are_admitted_as_python_admits_them() -> None:
    rng = random.Random(3)
    keys = [rng.randbytes(32) for _ in range(40)]
    keys += [SoftwareSigner("ed25519", rng.randbytes(32)).public_key.raw for _ in range(10)]
    prime = 2**255 - 19
    for y in (0, 1, prime - 1, prime, prime + 1, 2**255 - 1):
        keys += [(y | sign << 255).to_bytes(32, "little") for sign in (0, 1)]
    assert {key: _admits(key) for key in keys} == {key: _python_admits(key) for key in keys}


def test_a_signature_with_a_high_s_or_a_point_of_small_order_is_refused() -> None:
    signer = SoftwareSigner("ed25519", b"a device that tests sign with..."[:32])
    signature = signer.sign(b"m")
    high = int.from_bytes(signature[32:], "little") + ORDER
    public = signer.public_key.raw
    assert _verifies(public, b"m", signature)
    assert not _verifies(public, b"m", signature[:32] + high.to_bytes(32, "little"))
    neutral = bytes([1]) + bytes(31)
    assert not _verifies(neutral, b"m", neutral + bytes(32))
