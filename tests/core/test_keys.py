"""Keys: admission, verification against other people's vectors, signers, thumbprints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depin_id import cose
from depin_id.errors import DepinError, EncodingError, KeyRefused, SignatureInvalid
from depin_id.keys import (
    P256_ORDER,
    CallbackSigner,
    DigestSigner,
    PublicKey,
    SoftwareSigner,
    admit,
)
from tests.paths import vectors


def load(name: str) -> Any:
    return json.loads(vectors(name).read_text())


def high(signature: bytes) -> bytes:
    return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def test_speccheck_cases_are_all_refused() -> None:
    found = load("ed25519-speccheck/cases.json")
    assert len(found) == 12
    for case in found:
        with pytest.raises((KeyRefused, SignatureInvalid)):
            key = admit("ed25519", bytes.fromhex(case["pub_key"]))
            key.verify(bytes.fromhex(case["message"]), bytes.fromhex(case["signature"]))


def test_wycheproof_ed25519() -> None:
    counted = {"valid": 0, "invalid": 0}
    for group in load("wycheproof/testvectors_v1/ed25519_test.json")["testGroups"]:
        key = admit("ed25519", bytes.fromhex(group["publicKey"]["pk"]), allow_published=True)
        for case in group["tests"]:
            good = True
            try:
                key.verify(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            except SignatureInvalid:
                good = False
            assert good == (case["result"] == "valid"), case
            counted[case["result"]] += 1
    assert sum(counted.values()) == 151 and counted["valid"] > 50


def test_wycheproof_p256() -> None:
    """Every verdict as published, but that a high s is refused and its low form taken instead."""
    counted = {"valid": 0, "high": 0, "invalid": 0}
    found = load("wycheproof/testvectors_v1/ecdsa_secp256r1_sha256_p1363_test.json")
    for group in found["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = admit("p256", point, allow_published=True)
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            kind = case["result"]
            try:
                key.verify(message, signature)
                good = True
            except SignatureInvalid as error:
                good = False
                if error.code == "signature.malleable" and kind == "valid":
                    key.verify(message, high(signature))
                    kind = "high"
            assert good == (kind == "valid"), case
            counted[kind] += 1
    assert sum(counted.values()) == 262
    assert counted["high"] > 0 and counted["valid"] > 50


def test_rfc_9679_thumbprint() -> None:
    x = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
    y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
    key = admit("p256", b"\x04" + x + y, allow_published=True)
    assert (
        key.thumbprint.hex() == "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    )
    with pytest.raises(KeyRefused, match="published"):
        admit("p256", b"\x04" + x + y)


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_cose_key_has_one_form(curve: Any) -> None:
    key = SoftwareSigner.generate(curve).public_key
    assert PublicKey.from_cose_key(key.cose_key) == key
    data = key.cose_key
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            other = PublicKey.from_cose_key(bytes(changed))
        except DepinError:
            continue
        assert other != key and other.cose_key == bytes(changed)
    with pytest.raises(EncodingError):
        PublicKey.from_cose_key(data + b"\x00")


@pytest.mark.parametrize(
    "curve, raw",
    [
        ("ed25519", b"\x01" + bytes(31)),
        ("ed25519", bytes(32)),
        ("ed25519", bytes(31)),
        ("p256", bytes(33)),
        ("p256", b"\x00"),
        ("p256", b"\x04" + bytes(64)),
        ("p256", b""),
        ("secp256k1", bytes(33)),
    ],
)
def test_what_is_no_key(curve: str, raw: bytes) -> None:
    with pytest.raises(KeyRefused) as caught:
        admit(curve, raw)
    assert caught.value.code == "key.not_admissible"


def test_a_published_seed_is_no_device_key() -> None:
    # RFC 8032, section 7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    with pytest.raises(KeyRefused):
        SoftwareSigner("ed25519", seed)


def test_a_high_s_is_refused_and_signers_make_low_ones() -> None:
    signer = SoftwareSigner.generate("p256")
    for index in range(20):
        message = bytes([index])
        signature = signer.sign(message)
        signer.public_key.verify(message, signature)
        with pytest.raises(SignatureInvalid) as caught:
            signer.public_key.verify(message, high(signature))
        assert caught.value.code == "signature.malleable"


def test_callback_signers_normalise_and_check() -> None:
    inner = SoftwareSigner.generate("p256")
    kms = CallbackSigner(inner.public_key, lambda message: high(inner.sign(message)))
    inner.public_key.verify(b"m", kms.sign(b"m"))
    for broken in (b"", bytes(64), b"\xff" * 64, inner.sign(b"other")):
        with pytest.raises(SignatureInvalid):
            CallbackSigner(inner.public_key, {b"m": broken}.__getitem__).sign(b"m")
    edwards = SoftwareSigner.generate()
    assert CallbackSigner(edwards.public_key, edwards.sign).sign(b"m") == edwards.sign(b"m")


def test_a_digest_signer_signs_the_digest_of_the_message() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import (
        Prehashed,
        decode_dss_signature,
    )

    inner = SoftwareSigner.generate("p256")
    private = ec.derive_private_key(int.from_bytes(inner.secret, "big"), ec.SECP256R1())

    def element(digest: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    inner.public_key.verify(b"m", DigestSigner(inner.public_key, element).sign(b"m"))
    with pytest.raises(KeyRefused):
        DigestSigner(SoftwareSigner.generate().public_key, element)


# --- COSE working group -------------------------------------------------------------------------


def test_cose_sign1_vectors() -> None:
    """The Sig_structure of every vector, and the verdict on its signature where it is readable."""
    verdicts = {}
    for path in sorted(vectors("cose-examples/sign1-tests").glob("*.json")):
        case = json.loads(path.read_text())
        data = bytes.fromhex(case["output"]["cbor"])
        with pytest.raises(DepinError):  # all carry alg or kid outside the protected header
            cose.parse_sign1(data)
        sign0 = case["input"]["sign0"]
        from depin_id import cbor

        value = cbor.decode(data)
        tagged = isinstance(value, cbor.Tag) and value.tag == 18
        protected, _, payload, signature = value.value if isinstance(value, cbor.Tag) else value
        message = cose.sig_structure(protected, bytes.fromhex(sign0.get("external", "")), payload)
        if "fail" not in case:
            assert message.hex().upper() == case["intermediates"]["ToBeSign_hex"]
        raw = b"\x04" + b"".join(_b64(sign0["key"][name]) for name in "xy")
        key = admit("p256", raw, allow_published=True)
        try:
            signature = min(signature, high(signature), key=lambda text: text[32:])
            key.verify(message, signature)
            headers = cbor.decode(protected)
            verdicts[path.stem] = tagged and headers.get(1, -7) == -7
        except SignatureInvalid:
            verdicts[path.stem] = False
    assert verdicts["sign-pass-01"] and verdicts["sign-pass-02"]
    assert not any(good for name, good in verdicts.items() if "fail" in name), verdicts
    assert len(verdicts) == 9


def _b64(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
