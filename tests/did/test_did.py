"""DIDs against the W3C vectors, and what must be refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import multibase, multicodec

from depin_id.did import (
    Did,
    DidUrl,
    Options,
    Resolution,
    Resolver,
    did_jwk,
    did_key,
    parse_did,
    parse_did_jwk,
    parse_did_key,
    parse_did_url,
)
from depin_id.did.multikey import encode_multikey, split_multikey
from depin_id.errors import ConfigError, DepinError, DIDError, KeyRefused
from depin_id.keys import Curve, PublicKey, admit
from tests.paths import vectors

IDENTITY_POINT = "did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"


def _vectors(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        vectors(f"did-method-key/test-vectors/{name}").read_text("utf-8")
    )
    return loaded


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _fresh() -> str:
    seed = nacl.signing.SigningKey.generate()
    return did_key(admit("ed25519", bytes(seed.verify_key)))


@given(
    raw=st.one_of(st.binary(min_size=32, max_size=33), st.binary(max_size=3).map(bytes(30).__add__))
)
def test_multikeys_are_those_of_the_library(raw: bytes) -> None:
    """The encoding is our own for its speed; whether a key is admissible is another matter."""
    curve: Curve = "ed25519" if len(raw) == 32 else "p256"
    codec = "ed25519-pub" if len(raw) == 32 else "p256-pub"
    text = encode_multikey(PublicKey(curve, raw))
    assert text == multibase.encode(multicodec.wrap(codec, raw), "base58btc")
    assert split_multikey(text) == (curve, raw)


def test_ed25519_vectors_are_reproduced() -> None:
    cases = _vectors("ed25519-x25519.json")
    assert len(cases) == 5
    for did, case in cases.items():
        raw = bytes(nacl.signing.SigningKey(bytes.fromhex(case["seed"])).verify_key)
        assert did_key(admit("ed25519", raw, allow_published=True)) == did
        assert parse_did_key(did, allow_published=True).raw == raw
        with pytest.raises(KeyRefused):
            parse_did_key(did)  # the private half is in the vector


def test_p256_vectors_are_reproduced_and_other_curves_refused_by_type() -> None:
    reproduced = 0
    for did, case in _vectors("nist-curves.json").items():
        jwk = case.get("verificationMethod", {}).get("publicKeyJwk")
        if not did.startswith("did:key:zDn"):
            with pytest.raises(DIDError) as caught:
                parse_did_key(did, allow_published=True)
            assert caught.value.code == "did.key_not_supported"
        elif jwk:
            point = b"\x04" + _unb64(jwk["x"]) + _unb64(jwk["y"])
            key = admit("p256", point, allow_published=True)
            assert did_key(key) == did
            assert parse_did_key(did, allow_published=True) == key
            assert parse_did_jwk(did_jwk(key), allow_published=True) == key
            reproduced += 1
    assert reproduced == 2


@pytest.mark.parametrize("name", ["bls12381.json", "rsa.json", "secp256k1.json", "x25519.json"])
def test_keys_of_other_types_are_a_typed_refusal(name: str) -> None:
    cases = _vectors(name)
    dids = [did for did in cases.get("didDocument", cases) if did.startswith("did:key:")]
    assert dids
    for did in dids:
        with pytest.raises(DIDError) as caught:
            parse_did_key(did, allow_published=True)
        assert caught.value.code == "did.key_not_supported"


def test_identity_point_is_refused() -> None:
    with pytest.raises(KeyRefused) as caught:
        parse_did_key(IDENTITY_POINT)
    assert caught.value.code == "key.not_admissible"
    assert Resolver().resolve(IDENTITY_POINT).error == "invalidPublicKey"


def test_other_spellings_of_a_key_are_refused() -> None:
    did = _fresh()
    wrapped = multibase.decode(did[8:])
    overlong = b"\xed\x81\x00" + wrapped[2:]
    spellings = [
        "did:key:" + multibase.encode(wrapped, "base64url"),
        "did:key:" + multibase.encode(wrapped, "base16"),
        "did:key:z1" + did[9:],
        "did:key:" + multibase.encode(overlong, "base58btc"),
        "did:key:" + multibase.encode(wrapped + b"\0", "base58btc"),
        "did:key:" + multibase.encode(wrapped[:-1], "base58btc"),
        did + "#" + did[8:],
        "DID" + did[3:],
        did + "\n",
        "did:key:z",
        "did:key:z0OIl",
        "did:key:z" + "2" * 2000,
    ]
    assert parse_did_key(did)
    for spelling in spellings:
        with pytest.raises(DepinError):
            parse_did_key(spelling)


def test_did_jwk_has_one_spelling() -> None:
    key = parse_did_key(_fresh())
    did = did_jwk(key)
    assert parse_did_jwk(did) == key
    jwk = json.loads(_unb64(did[8:]))
    others: list[Any] = [
        jwk | {"use": "sig"},
        {name: jwk[name] for name in reversed(jwk)},
        jwk | {"x": 5},
        jwk | {"crv": "X25519"},
        jwk | {"x": jwk["x"] + "="},
        {},
        [],
        "text",
        [[[[]]]],
    ]
    for other in others:
        text = json.dumps(other, separators=(",", ":")).encode()
        encoded = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        with pytest.raises(DepinError):
            parse_did_jwk(f"did:jwk:{encoded}")
    for broken in ("did:jwk:e", "did:jwk:" + "W1tb" * 100, "did:jwk:" + "W" * 2000, did + "A"):
        with pytest.raises(DepinError):
            parse_did_jwk(broken)


def test_resolution() -> None:
    did = _fresh()
    found = Resolver().resolve(did)
    assert found.error is None and found.document is not None
    method_id = f"{did}#{did[8:]}"
    assert found.document["verificationMethod"] == [
        {"id": method_id, "type": "Multikey", "controller": did, "publicKeyMultibase": did[8:]}
    ]
    assert found.document["assertionMethod"] == found.document["authentication"] == [method_id]
    assert "keyAgreement" not in found.document
    assert json.loads(json.dumps(found.document)) == found.document
    jwk = did_jwk(parse_did_key(did))
    document = Resolver().resolve(jwk).document
    assert document is not None and document["authentication"] == [f"{jwk}#0"]


def test_resolution_errors_are_codes_and_nothing_escapes() -> None:
    class Absent:
        name = "absent"

        def resolve(self, did: Did, options: Options) -> Resolution:
            raise DIDError("did.not_found", f"{did} is unknown")

    class Broken:
        name = "broken"

        def resolve(self, did: Did, options: Options) -> Resolution:
            raise ZeroDivisionError

    class Liar:
        name = "liar"

        def resolve(self, did: Did, options: Options) -> Resolution:
            return Resolution({"id": "did:liar:other"})

    resolver = Resolver([Absent(), Broken(), Liar()])
    assert resolver.resolve("did:absent:1").error == "notFound"
    assert resolver.resolve("did:broken:1").error == "internalError"
    assert resolver.resolve("did:liar:1").error == "notFound"
    assert resolver.resolve("did:key:z6Mk").error == "methodNotSupported"
    assert resolver.resolve("nonsense").error == "invalidDid"
    with pytest.raises(ConfigError):
        Resolver([Absent(), Absent()])


@pytest.mark.parametrize(
    "text",
    ["did:a:b", "did:web:example.com%3A8080:u", "did:x:::a", "did:9:A._-", "did:a:%00"],
)
def test_did_syntax_accepts(text: str) -> None:
    assert str(parse_did(text)) == text
    assert parse_did_url(text) == DidUrl(parse_did(text))


@pytest.mark.parametrize(
    "text",
    ["", "did", "did:", "did:a", "did:a:", "did:A:b", "did::b", "did:a:b:", "did:a:b/", "did:a:é",
     "did:a:%", "did:a:%4", "did:a:%zz", " did:a:b", "did:a:b\n", "did:a:b#f", "did:a:b?q",
     "did:a-b:c", "did:a:~", "Did:a:b", "did:a:" + "b" * 2048, None, 5, b"did:a:b"],
)  # fmt: skip
def test_did_syntax_refuses(text: Any) -> None:
    with pytest.raises(DIDError):
        parse_did(text)


def test_did_urls() -> None:
    url = parse_did_url("did:a:b/p/q?x=1&y=%20#frag/?")
    assert (url.path, url.query, url.fragment) == ("/p/q", "x=1&y=%20", "frag/?")
    assert parse_did_url("did:a:b?#") == DidUrl(parse_did("did:a:b"), "", "", "")
    for bad in ("did:a:b#a#b", "did:a:b/ ", "did:a:b?[", "did:a:b#\x00", "/x", "did:a:b\\x"):
        with pytest.raises(DIDError):
            parse_did_url(bad)


_PART = st.text(alphabet="ab09:/?#%._-~\n é", max_size=12)


@given(_PART)
def test_did_urls_round_trip_or_are_refused(rest: str) -> None:
    text = "did:a:b" + rest
    try:
        url = parse_did_url(text)
    except DIDError:
        return
    assert str(url) == text


@given(st.text(max_size=60))
def test_only_our_errors(text: str) -> None:
    for call in (parse_did_key, parse_did_jwk):
        for candidate in (text, "did:key:z" + text, "did:jwk:" + text):
            with pytest.raises(DepinError):
                call(candidate)
    assert Resolver().resolve(text).error is not None
