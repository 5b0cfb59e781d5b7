"""From DIDs to addresses: the examples of the standard, and what must go nowhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.did.webvh import log_url, parse_location, resource_url, witness_url
from depin_id.errors import DIDError

SCID = "QmQiYG3nvN7emB3XFxk4PxE8z8w39vWZc8qAfRskN99BYt"
DID = f"did:webvh:{SCID}:"
SCHEME = "https://"


@pytest.mark.parametrize(
    ("place", "base"),
    [
        # did:webvh 1.0, "The DID to HTTPS Transformation"
        ("example.com", "example.com/.well-known/"),
        ("issuer.domain.example", "issuer.domain.example/.well-known/"),
        ("example.com:dids:issuer", "example.com/dids/issuer/"),
        ("example.com%3A3000:dids:issuer", "example.com:3000/dids/issuer/"),
        ("jp納豆.例.jp:用户", "xn--jp-cd2fp15c.xn--fsq.jp/%E7%94%A8%E6%88%B7/"),
        ("example.com%3A3000", "example.com:3000/.well-known/"),
        ("Example.COM", "example.com/.well-known/"),
        ("xn--fsq.example", "xn--fsq.example/.well-known/"),
        ("example.com:a%20b", ""),
        ("example.com:%E7%94%A8", "example.com/%E7%94%A8/"),
        ("example.com:did.jsonl:~x", "example.com/did.jsonl/~x/"),
    ],
)
def test_the_address_of_a_log(place: str, base: str) -> None:
    if not base:
        with pytest.raises(DIDError, match="did.webvh.did"):
            log_url(DID + place)
        return
    assert log_url(DID + place) == SCHEME + base + "did.jsonl"
    assert witness_url(DID + place) == SCHEME + base + "did-witness.json"


@pytest.mark.parametrize(
    "place",
    [
        "", ":", "example", "localhost", "example.com.", ".example.com", "example..com",
        "-a.example", "a-.example", "a_b.example", "a" * 64 + ".example", "a." * 127 + "example",
        "127.0.0.1", "1.2.3", "2130706433", "0x7f.1", "127.0.0.0x1", "example.1", "example.0x7f",
        "[::1]", "::1", "１２７.０.０.１", "a。1", "127.0.0.1%3A80",
        "user@example.com", "example.com/x", "example.com?x", "example.com#x", "example.com\\x",
        "example.com x", "example.com\n", "exam\u00adple.example%", "faß.example",
        "a\u200db.example", "☃.example", "ex%61mple.example", "%65xample.example",
        "example.com%2e", "example.com%2F", "example.com%3A", "example.com%3A0",
        "example.com%3A065", "example.com%3A65536",
        "example.com%3A80%3A80", "example.com%3a80", "example.com%3A８０", "example.com%3A-1",
        "example.com:", "example.com::a", "example.com:a:", "example.com:.", "example.com:..",
        "example.com:%2E", "example.com:%2e%2E", "example.com:a%2Fb", "example.com:a%2fb",
        "example.com:a%5Cb", "example.com:a\\b", "example.com:a/b", "example.com:a%00",
        "example.com:a%0A", "example.com:a%zz", "example.com:a%", "example.com:a%FF",
        "example.com:%61", "example.com:a?b", "example.com:a#b", "example.com:用%20",
        "example.com:用%E7%94%A8",
        "example.com:a%252e", "example.com:%E7%94", "example.com:" + "a" * 3000,
    ],
)  # fmt: skip
def test_places_that_are_refused(place: str) -> None:
    with pytest.raises(DIDError) as error:
        log_url(DID + place)
    assert error.value.code == "did.webvh.did"


@pytest.mark.parametrize(
    "did",
    [None, 1, "", "did:web:example.com", "did:webvh:", "did:webvh:example.com", "DID:WEBVH:x",
     f"did:webvh:{SCID}", f"did:webvh:{SCID[:-1]}:example.com", f"did:webvh:{SCID}x:example.com",
     "did:webvh:{SCID}:example.com", f" {DID}example.com", f"did:webvh:Qm{'0' * 44}:example.com"],
)  # fmt: skip
def test_what_is_no_did_webvh(did: object) -> None:
    with pytest.raises(DIDError) as error:
        log_url(did)  # type: ignore[arg-type]
    assert error.value.code == "did.webvh.did"


@given(st.text(st.sampled_from("ab1.:%-2E3Ae/\\例。\u200d０@#?"), max_size=24))
def test_whatever_is_taken_stays_on_its_host(place: str) -> None:
    try:
        url = log_url(DID + place)
    except DIDError as error:
        assert error.code == "did.webvh.did"
        return
    parts = urlsplit(url)
    assert url.isascii() and parts.scheme == "https" and parts.path.endswith("/did.jsonl")
    assert parts.hostname == parse_location(DID + place).host and "@" not in parts.netloc
    assert not {".", "..", ""} & set(parts.path.split("/")[1:])
    assert not parts.query and not parts.fragment


def test_files_and_whois_of_a_document() -> None:
    did = DID + "example.com:dids:issuer"
    plain = {"id": did}
    assert resource_url(did, plain, "/whois") == "https://example.com/dids/issuer/whois.vp"
    assert resource_url(did, plain, "/a/b.json") == "https://example.com/dids/issuer/a/b.json"
    assert resource_url(DID + "example.com", {}, "/a") == "https://example.com/a"
    own = {
        "service": [
            {"id": "#files", "type": "relativeRef", "serviceEndpoint": "https://example.net/f/"}
        ]
    }
    assert resource_url(did, own, "/a") == "https://example.net/f/a"
    for path in ("/../a", "/a/%2E%2e/b", "/a%2fb", "a", "/a\\b", "/./a", "", "/a?b", "/a b"):
        with pytest.raises(DIDError, match="did.webvh.did"):
            resource_url(did, plain, path)
    other = {"service": [{"id": f"{did}#whois", "serviceEndpoint": "ipfs://x"}]}
    with pytest.raises(DIDError, match="did.webvh.did"):
        resource_url(did, other, "/whois")


def test_the_did_web_beside_it() -> None:
    from depin_id.did.webvh import did_web_document

    did = DID + "example.com%3A3000:dids:issuer"
    web = "did:web:example.com%3A3000:dids:issuer"
    made = did_web_document(did, {"id": did, "alsoKnownAs": [web, "x"], "controller": did})
    assert made["id"] == made["controller"] == web
    assert made["alsoKnownAs"] == ["x", did]
    assert [service["id"] for service in made["service"]] == [f"{web}#files", f"{web}#whois"]
    assert made["service"][0]["serviceEndpoint"] == "https://example.com:3000/dids/issuer/"
