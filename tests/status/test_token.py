"""Token Status List as a CWT: the draft's example, what is issued, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from depin_id import cbor, cose
from depin_id.credentials.status import read_token
from depin_id.credentials.status.bits import deflate
from depin_id.credentials.status.token import MEDIA_TYPE, TokenEntry
from depin_id.errors import DepinError, SignatureInvalid
from tests.status.world import (
    DAY_MS,
    DID,
    ISSUER,
    METHOD,
    NOW_MS,
    OTHER,
    P256,
    URI,
    key_of,
    method,
    reference,
    store,
    token,
)

EXAMPLE = bytes.fromhex(
    "d2845820a2012610781a6170706c69636174696f6e2f7374617475736c6973742b63"
    "7774a1044231325850a502782168747470733a2f2f6578616d706c652e636f6d2f73"
    "74617475736c697374732f31061a648c5bea041a8898dfea19fffe19a8c019fffda2"
    "646269747301636c73744a78dadbb918000217015d584093fa4d01032b18c35e2fe1"
    "101b77fd6cc9440022caa4694450c4e4e9feab4e99d1fa6d9772ce2bf3a12e0323de"
    "d7c982c5e101a5e67f0cbc1e2b6f57ce99c279"
)
"""draft-ietf-oauth-status-list-21, section 5.2; the draft does not give the key."""
EXAMPLE_URI = "https://example.com/statuslists/1"


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(DepinError) as caught:
        action()
    return caught.value.code


def read(data: bytes, **changes: Any) -> Any:
    usual: dict[str, Any] = {"key_of": key_of, "issuer": DID}
    return read_token(data, **(usual | changes))


def test_the_example_of_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the signature, which fails under a key that is not the draft's."""
    asked = method(P256)[0]
    with pytest.raises(SignatureInvalid):
        read(EXAMPLE, issuer=asked)
    monkeypatch.setattr(
        "depin_id.credentials.status.token.verify_any_s", lambda key, message, signature: None
    )
    found = read(EXAMPLE, issuer=asked)
    assert (found.uri, found.kind, found.size) == (EXAMPLE_URI, "token", 1)
    assert found.issued_ms == 1_686_920_170_000
    assert found.expires_ms == 2_291_720_170_000
    assert found.ttl_ms == 43_200_000
    assert list(found.entries().table) == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]


def test_a_reference_as_in_the_draft() -> None:
    """Section 6.3: the Status structure of the example of a referenced token."""
    status = cbor2.loads(
        bytes.fromhex(
            "a16b7374617475735f6c697374a2636964780063757269782168747470733a2f2f"
            "6578616d706c652e636f6d2f7374617475736c697374732f31"
        )
    )
    assert TokenEntry.parse(status) == TokenEntry(EXAMPLE_URI, 0)
    assert TokenEntry(EXAMPLE_URI, 0).to_json() == status


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("who", [ISSUER, P256])
@pytest.mark.parametrize("deprecated", [False, True])
def test_a_token_is_read_as_issued(size: int, who: Any, deprecated: bool) -> None:
    did, verification_method = method(who)
    data = token(
        {7: 1},
        who=who,
        size=size,
        issuer=did,
        verification_method=verification_method,
        expires_ms=NOW_MS + DAY_MS,
        ttl_s=60,
        deprecated_algorithm=deprecated,
    )
    found = read(data, issuer=did)
    assert (found.uri, found.issuer, found.size) == (URI, did, size)
    assert (found.issued_ms, found.expires_ms, found.ttl_ms) == (NOW_MS, NOW_MS + DAY_MS, 60_000)
    assert found.entries()[7] == 1 and sum(found.entries().table) == 1


def signed(
    claims: Any = None,
    headers: dict[Any, Any] | None = None,
    unprotected: Any = None,
    encode: Callable[[Any], bytes] = cbor.encode,
) -> bytes:
    """A token with a good signature that says something else."""
    usual = {1: DID, 2: URI, 6: NOW_MS // 1000, 65533: {"bits": 1, "lst": deflate(bytes(4))}}
    merged = usual | claims if isinstance(claims, dict) else claims
    if isinstance(merged, dict):
        merged = {name: value for name, value in merged.items() if value is not None}
    payload = encode(usual if claims is None else merged)
    named = {1: -19, 16: MEDIA_TYPE} | (headers or {})
    protected = cbor.encode({name: value for name, value in named.items() if value is not None})
    signature = ISSUER.sign(cose.sig_structure(protected, b"", payload))
    content = [protected, {} if unprotected is None else unprotected, payload, signature]
    return b"\xd2" + bytes(cbor2.dumps(content))


def test_the_frame_itself_is_good() -> None:
    assert read(signed()).uri == URI
    assert read(signed(unprotected={4: b"12"})).uri == URI
    assert read(signed({1: None})).issuer == DID
    assert read(signed({99: "more"})).uri == URI
    # Keys in another order than the deterministic one, as in the draft's own example.
    assert (
        read(signed({4: NOW_MS // 500}, encode=lambda value: bytes(cbor2.dumps(value)))).uri == URI
    )


LIST = {"bits": 1, "lst": deflate(bytes(4))}
WRONG: dict[str, tuple[str, Callable[[], bytes]]] = {
    "no tag": ("status.malformed", lambda: signed()[1:]),
    "a CWT tag": ("status.malformed", lambda: b"\xd8\x3d" + signed()),
    "something behind": ("status.malformed", lambda: signed() + b"\x00"),
    "no type": ("status.malformed", lambda: signed(headers={16: None})),
    "another type": ("status.malformed", lambda: signed(headers={16: "application/cwt"})),
    "critical": ("status.malformed", lambda: signed(headers={2: [9]})),
    "type unprotected": ("status.malformed", lambda: signed(unprotected={16: MEDIA_TYPE})),
    "a header twice": (
        "status.malformed",
        lambda: signed(headers={4: b"12"}, unprotected={4: b"12"}),
    ),
    "kid": ("status.malformed", lambda: signed(headers={4: "12"})),
    "kid of another": ("status.issuer", lambda: signed(headers={4: method(OTHER)[1].encode()})),
    "algorithm": ("key.algorithm", lambda: signed(headers={1: -7})),
    "a MAC": ("key.algorithm", lambda: signed(headers={1: 5})),
    "no algorithm": ("key.algorithm", lambda: signed(headers={1: None})),
    "claims": ("status.malformed", lambda: signed([])),
    "no sub": ("status.malformed", lambda: signed({2: None})),
    "sub": ("status.malformed", lambda: signed({2: b"x"})),
    "no iat": ("status.malformed", lambda: signed({6: None})),
    "iat": ("status.malformed", lambda: signed({6: -1})),
    "exp": ("status.malformed", lambda: signed({4: "x"})),
    "nbf": ("status.malformed", lambda: signed({5: "x"})),
    "ttl": ("status.malformed", lambda: signed({65534: 0})),
    "no list": ("status.malformed", lambda: signed({65533: None})),
    "bits": ("status.malformed", lambda: signed({65533: LIST | {"bits": 3}})),
    "bits true": ("status.malformed", lambda: signed({65533: LIST | {"bits": True}})),
    "lst": ("status.malformed", lambda: signed({65533: LIST | {"lst": "x"}})),
    "lst no zlib": ("status.malformed", lambda: signed({65533: LIST | {"lst": b"x"}})),
    "a bomb": (
        "status.too_large",
        lambda: signed({65533: LIST | {"lst": deflate(bytes(1 << 24))}}),
    ),
    "another issuer": ("status.issuer", lambda: signed({1: method(OTHER)[0]})),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_wrong(name: str) -> None:
    code, make = WRONG[name]
    assert code_of(lambda: read(make())) == code


def test_a_key_twice() -> None:
    """The payload says sub twice; a reader that takes the last would see another list."""
    payload = cbor.encode({2: URI, 6: 1})
    doubled = b"\xa3" + payload[1:] + b"\x02\x61x"
    protected = cbor.encode({1: -19, 16: MEDIA_TYPE})
    signature = ISSUER.sign(cose.sig_structure(protected, b"", doubled))
    data = b"\xd2" + bytes(cbor2.dumps([protected, {}, doubled, signature]))
    assert code_of(lambda: read(data)) == "status.malformed"


def test_signatures() -> None:
    changed = bytearray(token())
    changed[-1] ^= 1
    assert code_of(lambda: read(bytes(changed))) == "signature.invalid"
    assert code_of(lambda: read(token(), key_of=lambda *_: OTHER.public_key)) == (
        "signature.invalid"
    )
    # What is signed for the wire of a network is no status list, and the other way round.
    claims = {2: URI, 6: 1, 65533: LIST}
    headers: dict[int, Any] = {16: MEDIA_TYPE}
    ours = cose.sign1(headers, cbor.encode(claims), kind="envelope", network=DID, signer=ISSUER)
    assert code_of(lambda: read(ours)) == "signature.invalid"


def test_an_issuer_is_needed() -> None:
    assert code_of(lambda: read(signed({1: None}), issuer=None)) == "status.issuer"
    assert code_of(lambda: read(signed({1: "maker"}), issuer=None)) == "status.issuer"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("status.malformed", {"size": 3}),
        ("status.malformed", {"uri": ""}),
        ("status.malformed", {"ttl_s": 0}),
        ("status.malformed", {"now_ms": -1000}),
        ("status.issuer", {"verification_method": METHOD, "issuer": None}),
        ("status.issuer", {"verification_method": method(OTHER)[1]}),
    ],
)
def test_what_is_not_issued(code: str, changes: dict[str, Any]) -> None:
    assert code_of(lambda: token(**changes)) == code


@pytest.mark.parametrize(
    "entry",
    [
        {"status_list": None},
        {"status_list": {"uri": URI}},
        {"status_list": {"idx": -1, "uri": URI}},
        {"status_list": {"idx": True, "uri": URI}},
        {"status_list": {"idx": 1 << 40, "uri": URI}},
        {"status_list": {"idx": 1, "uri": 5}},
    ],
)
def test_references_that_are_none(entry: dict[str, Any]) -> None:
    assert code_of(lambda: TokenEntry.parse(entry)) == "status.entry"
    assert store(token()).check(entry, now_ms=NOW_MS).code == "status.entry"


def test_the_numbers_of_the_draft() -> None:
    """Section 7.1: 0 valid, 1 invalid, 2 suspended; the others are nobody's here."""
    held = store(token({1: 1, 2: 2, 3: 3}))
    states = [held.check(reference(index), now_ms=NOW_MS) for index in range(4)]
    assert [one.state for one in states] == ["valid", "revoked", "suspended", "undecided"]
    assert states[3].code == "status.value"
