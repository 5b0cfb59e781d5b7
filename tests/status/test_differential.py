"""Tokens of ours under PyPI ``cwt``, and tokens of ``cwt`` under ours, in its own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bench.peers import PEERS, PeerMissing, environment
from depin_id.credentials.status import read_token
from depin_id.credentials.status.bits import deflate
from depin_id.credentials.status.token import MEDIA_TYPE
from depin_id.errors import DepinError
from depin_id.keys import SoftwareSigner
from tests.status.world import ISSUER, NOW_MS, P256, URI, key_of, method, token

HERE = Path(__file__).parent
ALGORITHMS = {
    ("ed25519", False): -19,
    ("ed25519", True): -8,
    ("p256", False): -9,
    ("p256", True): -7,
}


def peer() -> Path:
    (found,) = [one for one in PEERS if one.package == "cwt"]
    try:
        python, version = environment(found)
    except PeerMissing as missing:
        pytest.skip(f"cwt: {missing}")
    assert version == "3.3.0"
    return python


def ask(python: Path, **request: Any) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-I", str(HERE / "cwt_peer.py")],
        input=json.dumps({"tokens": [], "make": []} | request),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pem(who: SoftwareSigner, *, secret: bool) -> str:
    """A key as PEM."""
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if who.public_key.curve == "ed25519":
        key = ed25519.Ed25519PrivateKey.from_private_bytes(who.secret)
    else:
        key = ec.derive_private_key(int.from_bytes(who.secret, "big"), ec.SECP256R1())
    if secret:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def names(who: SoftwareSigner, deprecated: bool, secret: bool) -> dict[str, Any]:
    words = {-19: "Ed25519", -8: "EdDSA", -9: "ESP256", -7: "ES256"}
    number = ALGORITHMS[who.public_key.curve, deprecated]
    return {
        "pem": pem(who, secret=secret),
        "kid": who.public_key.kid.hex(),
        "alg": words[number],
    }


CASES = [(who, old, size) for who in (ISSUER, P256) for old in (False, True) for size in (1, 2, 8)]


def test_they_verify_ours() -> None:
    python = peer()
    tokens = [
        token(
            {9: 1},
            who=who,
            size=size,
            expires_ms=NOW_MS + 1000,
            ttl_s=60,
            deprecated_algorithm=old,
        )
        for who, old, size in CASES
    ]
    requests = [
        names(who, old, False) | {"token": data.hex()}
        for (who, old, _), data in zip(CASES, tokens, strict=True)
    ]
    changed = bytearray(tokens[0])
    changed[-1] ^= 1
    requests.append(requests[0] | {"token": bytes(changed).hex()})
    *found, refused = ask(python, tokens=requests)["verified"]
    assert refused == {"error": "VerifyError"}
    for (who, _, size), data, claims in zip(CASES, tokens, found, strict=True):
        ours = read_token(data, key_of=key_of, issuer=method(who)[0])
        assert claims == {
            "type": MEDIA_TYPE,
            "sub": URI,
            "iat": NOW_MS // 1000,
            "exp": NOW_MS // 1000 + 1,
            "ttl": 60,
            "bits": size,
            "lst": deflate(ours.packed).hex(),
        }


def test_we_verify_theirs() -> None:
    python = peer()
    claims = {"sub": URI, "iat": NOW_MS // 1000, "exp": NOW_MS // 500, "ttl": 60}
    body = {"bits": 2, "lst": deflate(bytes((0xC9, 0x44, 0xF9))).hex()}
    requests = [names(who, old, True) | claims | body for who, old, _ in CASES]
    for (who, _, _), data in zip(CASES, ask(python, make=requests)["made"], strict=True):
        issuer = method(who)[0]
        found = read_token(bytes.fromhex(data), key_of=key_of, issuer=issuer)
        assert (found.uri, found.issuer, found.ttl_ms) == (URI, issuer, 60_000)
        assert list(found.entries().table) == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
        changed = bytearray(bytes.fromhex(data))
        changed[-1] ^= 1
        with pytest.raises(DepinError):
            read_token(bytes(changed), key_of=key_of, issuer=issuer)
