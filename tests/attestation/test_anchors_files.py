"""Trust anchors from files: every spelling of a key, and each admitted."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id.errors import AttestationError
from depin_id.keys import admit
from tests.attestation.ca import Authority, PublicKey
from tests.paths import vectors
from verify.attestation.anchor_files import read_anchors
from verify.attestation.bundles import bundle_anchors, materials_from

ROOT = Authority("root")
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
SPKI = KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PEM = KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
POINT = KEY.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


PUBLISHED = (
    "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4=",
    "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM=",
)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


JWK = {"kty": "EC", "crv": "P-256", "x": _b64(POINT[1:33]), "y": _b64(POINT[33:])}
JWK_TEXT = json.dumps(JWK)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("key.pem", PEM),
        ("key.der", SPKI),
        ("key.jwk", json.dumps(JWK | {"kid": "1"}).encode()),
        ("key.cbor", admit("p256", POINT).cose_key),
    ],
)
def test_every_spelling_of_a_key_is_the_same_key(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    (anchor,) = read_anchors(tmp_path / name, "psa")
    assert (anchor.format, anchor.name, anchor.spki) == ("psa", "key", SPKI)
    assert not anchor.certificate


def test_a_folder_has_a_folder_for_each_format(tmp_path: Path) -> None:
    for name in ("android-key", "psa"):
        (tmp_path / name).mkdir()
    der = ROOT.certificate.public_bytes(Encoding.DER)
    two = ROOT.certificate.public_bytes(Encoding.PEM) + PEM
    (tmp_path / "android-key" / "roots.pem").write_bytes(two)
    (tmp_path / "android-key" / "again.der").write_bytes(der)
    (tmp_path / "psa" / "registry.toml").write_text(
        f'[[anchor]]\nname = "one"\nspki = "{SPKI.hex()}"\nids = {{ instance = "01aa" }}\n'
        f'[[anchor]]\nname = "two"\nformat = "esp-tee"\nfile = "../x"\n'.replace("../x", "k.pem")
    )
    (tmp_path / "psa" / "k.pem").write_bytes(PEM)
    (tmp_path / ".hidden").write_text("no key")
    found = read_anchors(tmp_path)
    formats = sorted((anchor.format, anchor.name) for anchor in found)
    assert formats == [
        ("android-key", "again"),
        ("android-key", "roots 2"),
        ("esp-tee", "two"),
        ("psa", "k"),
        ("psa", "one"),
    ]
    assert next(item for item in found if item.name == "one").ids == {"instance": "01aa"}
    read = materials_from([("anchors", "x", bundle_anchors(found))], max_age_ms=1).anchors
    assert (
        read.digest
        == materials_from(
            [("anchors", "x", bundle_anchors(reversed(found)))], max_age_ms=1
        ).anchors.digest
    )
    assert {anchor.digest for anchor in read} == {anchor.digest for anchor in found}


def _weak(kind: str) -> PublicKey:
    if kind == "weak":
        return rsa.generate_private_key(65537, 1024).public_key()
    if kind == "curve":
        return ec.generate_private_key(ec.SECP256K1()).public_key()
    if kind == "ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    # RFC 7517 appendix A.1: its private half is in the document.
    x, y = PUBLISHED
    point = b"\x04" + base64.urlsafe_b64decode(x) + base64.urlsafe_b64decode(y)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


@pytest.mark.parametrize("key", ["weak", "curve", "published", "ed25519"])
def test_keys_that_are_not_good_enough_are_refused(tmp_path: Path, key: str) -> None:
    public = _weak(key)
    for name, encoding in (("key.pem", Encoding.PEM), ("key.der", Encoding.DER)):
        file = tmp_path / name
        file.write_bytes(public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(AttestationError) as caught:
            read_anchors(file, "psa")
        assert caught.value.code == "attestation.key"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("key.pem", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ("key.pem", PEM[:-20]),
        ("key.pem", PEM + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("key.der", SPKI + b"\x00"),
        ("key.der", b"\x30\x00"),
        ("key.cbor", b"\xa0"),
        ("key.jwk", json.dumps(JWK | {"d": "AA"}).encode()),
        ("key.jwk", json.dumps(JWK | {"x": "AA"}).encode()),
        ("key.jwk", json.dumps({"kty": "RSA"}).encode()),
        ("key.jwk", b"{"),
        ("key.txt", PEM),
        ("key.pem", b""),
        ("a.toml", b"[[anchor]]\nname = 'x'\n"),
        ("a.toml", b"[[anchor]]\nname = 'x'\nspki = 'zz'\n"),
        ("a.toml", b"[[anchor]]\nname = 'x'\nsecret = '00'\n"),
        ("a.toml", b"[[anchor]]\nname = 'x'\nfile = '../key.pem'\n"),
        ("a.toml", b"[[anchor]]\nname = 'x'\nfile = 'none.pem'\n"),
        ("a.toml", b"[[anchor]]\nname = 'x'\nother = ''\n"),
        ("a.toml", f"[[anchor]]\nname = 'x'\nspki = '{SPKI.hex()}'\nids = {{a = 1}}".encode()),
        ("a.toml", b"other = 1"),
        ("a.toml", b"anchor = ["),
    ],
)
def test_what_is_no_anchor_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AttestationError):
        read_anchors(tmp_path, "psa")


def test_a_file_is_of_a_format(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(PEM)
    with pytest.raises(AttestationError, match="format"):
        read_anchors(tmp_path)
    with pytest.raises(AttestationError):
        read_anchors(tmp_path / "none.pem", "psa")
    (tmp_path / "Not A Format").mkdir()
    with pytest.raises(AttestationError, match="named as a format"):
        read_anchors(tmp_path)


def test_a_secret_is_read_for_appraisals_offline(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f"[[anchor]]\nname = 'mac'\nsecret = '{'ab' * 32}'\n")
    (anchor,) = read_anchors(tmp_path / "a.toml", "psa")
    assert anchor.spki == b"\xab" * 32
    with pytest.raises(AttestationError, match="symmetric"):
        bundle_anchors([anchor])


def test_roots_of_manufacturers(tmp_path: Path) -> None:
    roots = json.loads(vectors("attestation/android-key-attestation/roots.json").read_text())
    (tmp_path / "google.pem").write_text("\n".join(roots))
    found = read_anchors(tmp_path / "google.pem", "android-key")
    assert len(found) == len(roots)
    apple = vectors("attestation/app-attest/Apple_App_Attestation_Root_CA.pem")
    (anchor,) = read_anchors(apple, "app-attest")
    assert anchor.certificate
    bundle_anchors([*found, anchor])
