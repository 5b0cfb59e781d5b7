"""Resolution in the standard's terms: options, errors, DID URLs, files, caches, pins."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.did import Resolution, Resolver, did_key, logged
from depin_id.did.cache import Cache
from depin_id.did.contents import check_document, method_key
from depin_id.did.dereference import select, split_url
from depin_id.did.fetch import Fetcher
from depin_id.did.folder import DidFolder
from depin_id.did.jwk import did_jwk, public_jwk
from depin_id.did.multikey import encode_multikey
from depin_id.did.resolution import MEDIA_TYPES, PROBLEMS
from depin_id.did.source import FileSource
from depin_id.did.web import did_web_url
from depin_id.did.webvh import Pins, create, document_template, rotate, verify_log
from depin_id.errors import ConfigError, DepinError, DIDError
from depin_id.keys import SoftwareSigner
from tests.did.webserver import answer, redirect, serve
from tests.paths import vectors

NOW = 1_790_000_000_000
DAY = 86_400_000
KEY = SoftwareSigner.generate().public_key
WEB = "did:web:example.com"


def document(did: str, **more: Any) -> dict[str, Any]:
    """A document as others write it: relative ids, a JWK, a key that is not used here."""
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "verificationMethod": [
            {"id": "#a", "type": "Multikey", "controller": did,
             "publicKeyMultibase": encode_multikey(KEY)},
            {"id": f"{did}#b", "type": "JsonWebKey", "controller": did,
             "publicKeyJwk": public_jwk(KEY)},
            {"id": f"{did}#x", "type": "Multikey", "controller": did,
             "publicKeyMultibase": "z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"},
        ],
        "assertionMethod": ["#a", f"{did}#b"],
        "authentication": [{"id": "#c", "type": "Multikey", "controller": did,
                            "publicKeyMultibase": encode_multikey(KEY)}],
        "keyAgreement": [f"{did}#x"],
        "service": [
            {"id": "#files", "type": "Files", "serviceEndpoint": "https://example.com/f/"},
            {"id": f"{did}#map", "type": ["Files", "Map"], "serviceEndpoint": {"a": "b"}},
        ],
    } | more  # fmt: skip


def web(found: Any, did: str = WEB) -> Resolver:
    data = found if isinstance(found, bytes) else json.dumps(found).encode()
    return Resolver(files={did: {"did.json": data}})


class Log:
    """A did:webvh of two versions, a day apart."""

    def __init__(self, place: str = "example.com") -> None:
        self.update, self.first, self.second = (SoftwareSigner.generate() for _ in range(3))
        start = document_template(place, {"k1": self.first.public_key})
        self.one = create(place, self.update, now_ms=NOW, document=start)
        self.history = verify_log(self.one, now_ms=NOW)
        self.did = self.history.did
        after = document_template(place, {"k2": self.second.public_key})
        text = json.dumps(after).replace("{SCID}", self.history.scid)
        self.two = self.one + rotate(
            self.history, self.update, now_ms=NOW + DAY, document=json.loads(text)
        )


LOG = Log()


def test_errors_are_those_of_the_standard() -> None:
    resolver = Resolver()
    assert resolver.methods >= {"key", "jwk", "web", "webvh"}
    key = did_key(KEY)
    cases: list[tuple[Resolution, str, str]] = [
        (resolver.resolve("nonsense"), "invalidDid", "INVALID_DID"),
        (resolver.resolve(f"{key}#x"), "invalidDid", "INVALID_DID"),
        (resolver.resolve("did:other:a"), "methodNotSupported", "METHOD_NOT_SUPPORTED"),
        (resolver.resolve(WEB), "notFound", "NOT_FOUND"),
        (resolver.resolve(LOG.did), "notFound", "NOT_FOUND"),
        (resolver.resolve(key, version_id="1"), "notFound", "NOT_FOUND"),
        (
            resolver.resolve(key, accept="text/html"),
            "representationNotSupported",
            "REPRESENTATION_NOT_SUPPORTED",
        ),
        (resolver.resolve(key, version_time="yesterday"), "invalidOptions", "INVALID_OPTIONS"),
        (resolver.resolve(key, version_id="é"), "invalidOptions", "INVALID_OPTIONS"),
        (
            resolver.resolve(key, version_id="1", version_time=1),
            "invalidOptions",
            "INVALID_OPTIONS",
        ),
        (resolver.resolve(WEB, version_time=1), "featureNotSupported", "FEATURE_NOT_SUPPORTED"),
        (
            web(document("did:web:example.org")).resolve(WEB),
            "invalidDidDocument",
            "INVALID_DID_DOC",
        ),
    ]
    for found, code, name in cases:
        assert found.error == code and found.document is None
        written = found.to_json()
        assert written["didDocument"] is None and written["didDocumentMetadata"] == {}
        error = written["didResolutionMetadata"]["error"]
        assert error["type"].startswith("https://www.w3.org/ns/did#" + name)
        assert error["title"] and error["detail"] and "contentType" not in error
    assert all(address.startswith("https://w") and title for address, title in PROBLEMS.values())


def test_a_document_comes_in_the_form_that_is_asked_for() -> None:
    key = did_key(KEY)
    for kind in MEDIA_TYPES:
        found = Resolver().resolve(key, accept=kind, version_time="2020-12-20T19:17:47Z")
        assert found.to_json()["didResolutionMetadata"] == {"contentType": kind}
    assert Resolver().resolve(key).resolution_metadata == {"contentType": "application/did"}


@pytest.mark.parametrize(
    "did, url",
    [
        ("did:web:example.com", "https://example.com/.well-known/did.json"),
        ("did:web:example.com:user:alice", "https://example.com/user/alice/did.json"),
        ("did:web:example.com%3A3000:user", "https://example.com:3000/user/did.json"),
    ],
)
def test_where_a_did_web_lies(did: str, url: str) -> None:
    assert did_web_url(did) == url


@pytest.mark.parametrize(
    "rest",
    ["127.0.0.1", "localhost", "example.com%3a3000", "example.com%3A", "example.com%3A0",
     "ex%61mple.net", "example.com%2Fpath", "example.com%2e", "EXAMPLE.com", "example.com:..",
     "example.com:a:.:b", "example.com::a", "example.com:%2e%2e", "example.com:a%2Fb", "0x7f.1",
     "user%40example.net", "example.com%3A3000%3A1", "example", "%3A3000"],
)  # fmt: skip
def test_did_webs_that_lead_elsewhere_are_refused(rest: str) -> None:
    assert Resolver(files={}).resolve(f"did:web:{rest}").error == "invalidDid"


def test_a_document_from_outside_is_of_that_did_and_in_form() -> None:
    good = document(WEB)
    kept = web(good)
    got = kept.resolve(WEB).document
    assert got == good
    got["verificationMethod"].clear()
    assert kept.resolve(WEB).document == good
    first, jwk = good["verificationMethod"][:2]
    identity = "z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"
    bad: list[tuple[dict[str, Any], str]] = [
        ({"id": "did:web:example.org"}, "did.document"),
        ({"verificationMethod": {}}, "did.document"),
        ({"verificationMethod": [first] * 257}, "did.document"),
        ({"verificationMethod": [first, first]}, "did.document"),
        ({"verificationMethod": ["#a"]}, "did.document"),
        ({"verificationMethod": [first | {"id": 5}]}, "did.document"),
        ({"verificationMethod": [first | {"id": WEB}]}, "did.document"),
        ({"verificationMethod": [first | {"id": "https://example.com/#a"}]}, "did.document"),
        ({"verificationMethod": [first | {"controller": None}]}, "did.document"),
        ({"verificationMethod": [first | {"type": None}]}, "did.document"),
        ({"verificationMethod": [first | {"publicKeyMultibase": identity}]}, "key.not_admissible"),
        (
            {"authentication": [first | {"id": "#d", "publicKeyMultibase": identity}]},
            "key.not_admissible",
        ),
        ({"verificationMethod": [first | {"publicKeyMultibase": "z6Mk"}]}, "did.malformed"),
        ({"verificationMethod": [first | jwk]}, "did.verification_method"),
        ({"verificationMethod": [first | {"secretKeyMultibase": "z"}]}, "did.verification_method"),
        (
            {"verificationMethod": [jwk | {"publicKeyJwk": jwk["publicKeyJwk"] | {"d": "x"}}]},
            "did.verification_method",
        ),
        (
            {"verificationMethod": [jwk | {"publicKeyJwk": jwk["publicKeyJwk"] | {"x": "AA"}}]},
            "did.verification_method",
        ),
        ({"assertionMethod": [5]}, "did.document"),
        ({"assertionMethod": "#a"}, "did.document"),
        ({"service": [{"id": "#s"}]}, "did.document"),
        ({"service": [{"serviceEndpoint": "x"}]}, "did.document"),
    ]
    for change, code in bad:
        found = web(good | change).resolve(WEB)
        assert found.document is None and found.resolution_metadata["code"] == code, change
    for data in (b"", b"[]", b"{", b'{"id":"did:web:example.com","id":"did:web:example.com"}',
                 b'{"id":"did:web:example.com","a":NaN}', b"\xff", b"[" * 9000):  # fmt: skip
        assert web(data).resolve(WEB).error == "invalidDidDocument"


def test_did_urls_name_methods_and_services() -> None:
    resolver = web(document(WEB))

    def error(url: str, **options: Any) -> str | None:
        return resolver.dereference(url, **options).error

    def content(url: str, **options: Any) -> Any:
        found = resolver.dereference(url, **options)
        assert found.error is None
        assert found.to_json()["content"] == found.content
        return found.content

    assert content(WEB)["id"] == WEB
    assert content(f"{WEB}#a")["id"] == "#a"
    assert content(f"{WEB}#b", relationship="assertionMethod")["id"] == f"{WEB}#b"
    assert content(f"{WEB}#c", relationship="authentication")["id"] == "#c"
    assert content(f"{WEB}#files")["type"] == "Files"
    assert [item["id"] for item in content(f"{WEB}?service=files")["service"]] == ["#files"]
    assert len(content(f"{WEB}?serviceType=Files")["service"]) == 2
    assert content(f"{WEB}?service=files&relativeRef=a%2Fb%3Fc=d") == [
        "https://example.com/f/a/b?c=d"
    ]
    assert content(f"{WEB}?service=files&relativeRef=/r.pdf") == ["https://example.com/r.pdf"]
    assert error(f"{WEB}#none") == "notFound"
    assert error(f"{WEB}#A") == "notFound"
    assert error(f"{WEB}/path") == error(f"{WEB}?hl=x") == error(f"{WEB}?service=no") == "notFound"
    assert error(f"{WEB}?service=map&relativeRef=a") == "notFound"
    assert error(f"{WEB}?service=files#a") == "notFound"
    bad = "invalidDidUrl"
    assert error(f"{WEB}?relativeRef=a") == error(f"{WEB}?service=files&service=files") == bad
    assert error(f"{WEB}?a=%ff") == error("x") == error(f"{WEB}#a#b") == error(f"{WEB}?=a") == bad
    assert error(WEB + "?" + "&".join(f"p{number}=1" for number in range(17))) == bad
    for out in ("//example.org/", "https://example.org", "%5C%5Cexample.net", "http:a", "a b"):
        assert error(f"{WEB}?service=files&relativeRef={out.replace(' ', '%20')}") == bad
    wrong = "invalidRelationshipForVerificationMethod"
    assert error(f"{WEB}#a", relationship="authentication") == wrong
    assert error(f"{WEB}#x", relationship="assertionMethod") == wrong
    assert error(f"{WEB}#files", relationship="assertionMethod") == "invalidVerificationMethod"
    assert error(WEB, relationship="assertionMethod") == "invalidVerificationMethod"
    assert error(f"{WEB}#a", relationship="service") == "invalidOptions"
    assert resolver.key(f"{WEB}#a") == resolver.key(f"{WEB}#b") == KEY
    assert resolver.key(f"{did_jwk(KEY)}#0", version_time=NOW) == KEY
    for url, relationship in ((f"{WEB}#x", "keyAgreement"), (f"{WEB}#files", "assertionMethod")):
        with pytest.raises(DIDError):
            resolver.key(url, relationship=relationship)


def test_versions_of_a_history() -> None:
    resolver = Resolver(files={LOG.did: {"did.jsonl": LOG.two}}, now_ms=lambda: NOW + 2 * DAY)
    last = resolver.resolve(LOG.did)
    names = [version.version_id for version in verify_log(LOG.two, now_ms=NOW + DAY).versions]
    assert last.document_metadata["versionId"] == names[1]
    assert last.document_metadata["created"] == "2026-09-21T14:13:20Z"
    assert last.document_metadata["updated"] == "2026-09-22T14:13:20Z"
    assert "nextVersionId" not in last.document_metadata and not last.deactivated
    first = resolver.resolve(LOG.did, version_id=names[0])
    assert first.document_metadata["nextVersionId"] == names[1]
    assert first.document_metadata["nextUpdate"] == "2026-09-22T14:13:20Z"
    assert first.document_metadata["updated"] == "2026-09-21T14:13:20Z"
    assert resolver.resolve(LOG.did, version_number=1) == first
    assert resolver.resolve(LOG.did, version_time=NOW + DAY - 1) == first
    assert resolver.resolve(LOG.did, version_time="2026-09-22T16:13:20+02:00") == last
    assert resolver.resolve(LOG.did, version_time=NOW - 1).error == "notFound"
    assert resolver.resolve(LOG.did, version_id="9-x").error == "notFound"
    for query in (f"versionId={names[0]}", "versionNumber=1", "versionTime=2026-09-21T15:00:00Z"):
        assert resolver.dereference(f"{LOG.did}?{query}").content == first.document
        assert resolver.dereference(f"{LOG.did}?{query}#k1").error is None
        assert resolver.dereference(f"{LOG.did}?{query}#k2").error == "notFound"
    for query in ("versionNumber=0", "versionTime=now", f"versionId={names[0]}&versionNumber=1"):
        assert resolver.dereference(f"{LOG.did}?{query}").error == "invalidOptions"
    both = resolver.dereference(f"{LOG.did}?versionNumber=1", version_number=1)
    assert both.error == "invalidOptions"
    assert resolver.key(f"{LOG.did}#k1", version_time=NOW) == LOG.first.public_key
    assert resolver.key(f"{LOG.did}#k2") == LOG.second.public_key
    with pytest.raises(DIDError) as gone:
        resolver.key(f"{LOG.did}#k1")
    assert gone.value.code == "did.verification_method"


def test_a_history_is_kept_no_longer_than_it_says() -> None:
    line = create("example.com", LOG.update, now_ms=NOW, ttl=60)
    did = verify_log(line, now_ms=NOW).did
    at, files = [0], {did: {"did.jsonl": line}}
    resolver = Resolver(files=files, clock=lambda: at[0], now_ms=lambda: NOW)
    assert resolver.history(did).did == did
    files.clear()
    at[0] = 59_999
    assert resolver.history(did).head == resolver.history(did).head
    assert resolver.resolve(did).document_metadata["ttl"] == "60"
    at[0] = 60_000
    with pytest.raises(DIDError) as gone:
        resolver.history(did)
    assert gone.value.code == "did.not_found"
    with pytest.raises(DIDError) as none:
        resolver.history(WEB)
    assert none.value.code == "did.feature_not_supported"


def test_keys_of_a_deactivated_did_are_of_its_past_only() -> None:
    from depin_id.did.webvh import deactivate

    end = LOG.one + deactivate(LOG.history, LOG.update, now_ms=NOW + DAY)
    resolver = Resolver(files={LOG.did: {"did.jsonl": end}}, now_ms=lambda: NOW + DAY)
    found = resolver.resolve(LOG.did)
    assert found.error is None and found.deactivated
    with pytest.raises(DIDError) as refused:
        resolver.key(f"{LOG.did}#k1")
    assert refused.value.code == "did.relationship"
    with pytest.raises(DIDError):
        resolver.key(f"{LOG.did}#k1", version_time=NOW + DAY)
    assert resolver.key(f"{LOG.did}#k1", version_time=NOW) == LOG.first.public_key


def test_a_log_that_does_not_go_on_from_what_was_seen_is_refused() -> None:
    files = {LOG.did: {"did.jsonl": LOG.two}}
    pins = Pins()
    at = [0]
    options: dict[str, Any] = {"pins": pins, "now_ms": lambda: NOW + DAY, "clock": lambda: at[0]}
    resolver = Resolver(files=files, **options)
    assert resolver.resolve(LOG.did).error is None
    files[LOG.did] = {"did.jsonl": LOG.one}
    assert resolver.resolve(LOG.did).error is None  # kept
    for again in (resolver, Resolver(files=files, **options)):
        found = again.resolve(LOG.did, no_cache=True)
        assert found.resolution_metadata["code"] == "did.log_rolled_back"
    after = json.loads(json.dumps(dict(LOG.history.last.document)))
    other = LOG.one + rotate(LOG.history, LOG.update, now_ms=NOW + DAY, document=after)
    files[LOG.did] = {"did.jsonl": other}
    found = Resolver(files=files, **options).resolve(LOG.did)
    assert found.resolution_metadata["code"] == "did.log_forked"
    # A cached history that is older than the pins is not used either.
    old = Resolver(files={LOG.did: {"did.jsonl": LOG.one}}, now_ms=lambda: NOW + DAY)
    assert old.resolve(LOG.did).error is None


def test_files_of_a_folder(tmp_path: Path) -> None:
    owner = tmp_path / "any name"
    owner.mkdir()
    (owner / "did.jsonl").write_bytes(LOG.two)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "did.json").write_text(json.dumps(document(WEB)))
    DidFolder.create(tmp_path / "key")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "did.jsonl").write_bytes(b"\xff{}")
    (tmp_path / "note.txt").write_text("x")
    resolver = Resolver(dids=tmp_path, now_ms=lambda: NOW + DAY)
    assert resolver.resolve(LOG.did).document_metadata["versionNumber"] == 2
    assert resolver.resolve(WEB).error is None
    assert resolver.resolve("did:web:example.org").error == "notFound"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "did.json").write_text(json.dumps(document("did:web:example.net")))
    assert resolver.resolve("did:web:example.net").error is None
    at = [0.0]
    late = FileSource(tmp_path, clock=lambda: at[0])
    (tmp_path / "empty" / "did.json").write_text(json.dumps(document("did:web:example.info")))
    at = [0.5]
    assert late.read("did:web:example.info", "did.json", "") is None
    at = [1.5]
    assert late.read("did:web:example.info", "did.json", "") is not None
    (tmp_path / "twice").mkdir()
    (tmp_path / "twice" / "did.json").write_text(json.dumps(document(WEB)))
    with pytest.raises(ConfigError) as caught:
        FileSource(tmp_path)
    assert caught.value.code == "config.dids"
    with pytest.raises(ConfigError):
        FileSource(tmp_path / "none")
    assert resolver.resolve(WEB, no_cache=True).error == "internalError"


def test_a_log_is_fetched_with_its_witness_proofs_from_one_place() -> None:
    pages = {"/.well-known/did.jsonl": answer(LOG.two, kind="text/jsonl"),
             "/.well-known/did.json": redirect("/elsewhere.json"),
             "/elsewhere.json": answer(json.dumps(document(WEB)).encode())}  # fmt: skip
    with serve(pages) as served:
        resolver = Resolver(fetcher=served.fetcher(), now_ms=lambda: NOW + DAY)
        assert resolver.resolve(LOG.did).error is None
        assert resolver.resolve(LOG.did).error is None
        assert len(served.requests) == 1
        assert resolver.resolve(WEB).error is None
        assert resolver.resolve("did:web:example.com:none").error == "notFound"
        off = Resolver(fetcher=Fetcher(), now_ms=lambda: NOW + DAY)
        assert off.resolve(LOG.did).resolution_metadata["code"] == "fetch.off"


SUITE_TAKEN, SUITE_REFUSED = 36, 11
# The suite contradicts itself about these: see the tests of did:webvh.
DISPUTED = {"witness-update/java", "witness-update/python"}
SUITE_NOW = 1_793_000_000_000


def _suite() -> list[tuple[str, Path, Any]]:
    root = vectors("didwebvh-test-suite/vectors")
    found = sorted(root.glob("*/*/resolutionResult.json"))
    return [(file.parts[-3], file.parent, json.loads(file.read_bytes())) for file in found]


def test_the_method_s_suite_through_the_resolver() -> None:
    taken = refused = 0
    for name, folder, expected in _suite():
        if f"{name}/{folder.name}" in DISPUTED:
            continue
        files = {
            file: (folder / file).read_bytes()
            for file in ("did.jsonl", "did-witness.json")
            if (folder / file).exists()
        }
        script = (folder.parent / "script.yaml").read_text()
        dids = re.findall(r'did: "(did:webvh:[^"]+)"', script)
        if files["did.jsonl"]:
            last = json.loads(files["did.jsonl"].strip().split(b"\n")[-1])
            dids = [last["state"]["id"]]
        for did in dids:
            resolver = Resolver(files={did: files}, now_ms=lambda: SUITE_NOW, allow_published=True)
            found = resolver.resolve(did)
            if name.startswith("negative-"):
                # The suite says invalidProof of one; the standard knows no such error.
                assert found.error == "invalidDid" and found.document is None, folder
                refused += 1
                continue
            assert found.error is None and found.document is not None, (folder, found)
            metadata = expected["didDocumentMetadata"]
            for item in ("versionId", "created", "updated", "deactivated", "scid", "versionTime"):
                if item in metadata:
                    assert found.document_metadata[item] == metadata[item], (folder, item)
            without = found.document | {"service": []}
            assert without == expected["didDocument"] | {"service": []}, folder
            taken += 1
    assert (taken, refused) == (SUITE_TAKEN, SUITE_REFUSED)


def test_caches_are_bounded_in_number_and_age_and_keep_failures_for_less() -> None:
    now, asked = [0], [0]

    def load() -> int:
        asked[0] += 1
        if fail:
            raise DIDError("did.not_found", "no", hint="h")
        return asked[0]

    cache: Cache[int] = Cache(lambda: now[0], max_age_ms=100, max_failure_ms=10, max_entries=2)
    fail = False
    assert [cache.get("a", load), cache.get("a", load)] == [1, 1]
    assert cache.get("a", load, fresh=True) == 2
    now[0] = 99
    assert cache.get("a", load) == 2
    now[0] = 100
    assert cache.get("a", load) == 3
    fail = True
    for _ in range(2):
        with pytest.raises(DIDError) as caught:
            cache.get("b", load)
        assert (caught.value.code, caught.value.hint, asked[0]) == ("did.not_found", "h", 4)
    now[0] = 110
    fail = False
    assert cache.get("b", load) == 5
    assert cache.get("a", load) == 3 and cache.get("c", load) == 6 and len(cache) == 2
    assert cache.get("a", load) == 3 and cache.get("b", load) == 7
    cache.forget("a")
    assert cache.get("a", load) == 8
    none: Cache[int] = Cache(lambda: now[0], max_age_ms=0)
    assert none.get("a", load) == 9 and none.get("a", load) == 10 and not len(none)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["#a", WEB, "z6Mk", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "id type controller publicKeyMultibase publicKeyJwk kty crv x y service"
                " serviceEndpoint verificationMethod assertionMethod".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_whatever_is_published_is_a_document_or_an_error_of_ours(value: Any) -> None:
    changed = document(WEB) | value if isinstance(value, dict) else value
    for call in (lambda: check_document(changed, WEB), lambda: method_key(value)):
        try:
            call()
        except DepinError:
            continue
    resolver = web(changed)
    if isinstance(changed, dict):
        # Documents in a history come without the checks of documents from a web server.
        raw = {name: part for name, part in changed.items() if name != "id"} | {"id": WEB}
        for url in (f"{WEB}#a", f"{WEB}?service=x", f"{WEB}?serviceType=x&relativeRef=y"):
            for relationship in (None, "assertionMethod"):
                try:
                    select(*split_url(url), raw, relationship)
                except DepinError:
                    continue
    resolver.dereference(f"{WEB}#a", relationship="assertionMethod")
    resolver.dereference(f"{WEB}?serviceType=x&relativeRef=y")


def test_published_examples_of_did_jwk() -> None:
    """The did:jwk method's P-256 example (its examples/p256.json), member order and all."""
    did = (
        "did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVV"
        "M3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9"
    )
    found = Resolver().resolve(did)
    assert found.error is None and found.document is not None
    jwk = json.loads(base64.urlsafe_b64decode(did[8:] + "=" * (-len(did[8:]) % 4)))
    assert public_jwk(Resolver().key(f"{did}#0")) == jwk
    assert jwk["x"] == "acbIQiuMs3i8_uszEjJ2tpTtRM4EU3yz91PH6CdH2V0"
    assert found.document["assertionMethod"] == [f"{did}#0"]
    x25519 = (
        "did:jwk:eyJrdHkiOiJPS1AiLCJjcnYiOiJYMjU1MTkiLCJ1c2UiOiJlbmMiLCJ4IjoiM3A3YmZYdDl3YlRUVzJI"
        "QzdPUTFOei1EUThoYmVHZE5yZngtRkctSUswOCJ9"
    )
    assert Resolver().resolve(x25519).error == "unsupportedPublicKeyType"


ENDED = ("2026-09-21T14:13:20Z", "2026-09-21T15:13:20+01:00", "2026-09-21T14:13:19.999Z")


@pytest.mark.parametrize("name", ["expires", "revoked"])
def test_a_method_ends_when_it_says_so(name: str) -> None:
    def key_at(end: Any, now: int, version_time: int | None = None) -> Any:
        method = {"id": "#a", "type": "Multikey", "controller": WEB, name: end,
                  "publicKeyMultibase": encode_multikey(KEY)}  # fmt: skip
        found = {"id": WEB, "verificationMethod": [method], "assertionMethod": ["#a"]}
        files = {WEB: {"did.json": json.dumps(found).encode()}}
        resolver = Resolver(files=files, now_ms=lambda: now)
        return resolver.key(f"{WEB}#a", version_time=version_time)

    for end in ENDED:
        assert key_at(end, NOW - 2) == KEY
        with pytest.raises(DIDError, match="has expired, or it was revoked"):
            key_at(end, NOW + DAY)
    wrong: list[Any] = ["never", None, 0, "2026-09-21", [ENDED[0]], "2026-09-21T14:13:20"]
    for end in wrong:
        with pytest.raises(DIDError, match="is no moment") as caught:
            key_at(end, 0)
        assert caught.value.code == "did.verification_method"


def test_a_method_that_ends_by_itself_is_in_no_history() -> None:
    update, key = SoftwareSigner.generate(), SoftwareSigner.generate().public_key
    start = document_template("example.com", {"a": KEY, "b": key})
    start["verificationMethod"][0]["revoked"] = "2026-01-01T00:00:00Z"
    log = create("example.com", update, now_ms=NOW, document=start)
    history = verify_log(log, now_ms=NOW)
    assert history.key_at(NOW) == key and not history.was_active(KEY, NOW)
    resolver = Resolver(files={history.did: {"did.jsonl": log}}, now_ms=lambda: NOW)
    assert resolver.key(f"{history.did}#b") == key
    for moment in (None, NOW):
        with pytest.raises(DIDError, match="revoked"):
            resolver.key(f"{history.did}#a", version_time=moment)


def test_caches_are_bounded_in_weight() -> None:
    cache: Cache[bytes] = Cache(lambda: 0, max_weight=10, weigh=len)

    def kept() -> str:
        found: dict[str, Any] = {name: entry[1] for name, entry in cache._entries.items()}
        assert cache._weight == sum(map(len, found.values()))
        return "".join(sorted(found))

    for name in "abc":
        cache.get(name, lambda: bytes(4))
    assert kept() == "bc"
    cache.get("b", lambda: bytes(6), fresh=True)
    assert kept() == "bc"
    cache.get("d", lambda: bytes(1))
    assert kept() == "bd"
    cache.get("a", lambda: bytes(11))
    assert kept() == ""
    cache.get("c", lambda: bytes(10))
    cache.forget("c")
    cache.forget("c")
    assert kept() == "" and cache._weight == 0


def test_histories_are_kept_up_to_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [Log(f"example{number}.com") for number in range(4)]
    files = {log.did: {"did.jsonl": log.two} for log in logs}
    monkeypatch.setattr(logged, "MAX_KNOWN_BYTES", 2 * len(logs[0].two) + 100)
    resolver = Resolver(files=files, now_ms=lambda: NOW + 2 * DAY, max_age_ms=0)
    for log in [*logs, *logs]:
        assert resolver.resolve(log.did).document_metadata["versionNumber"] == 2
    method = resolver.method("webvh")
    assert isinstance(method, logged.WebvhMethod)
    assert len(method._known) == len(method._sizes) == 2


@pytest.mark.parametrize("kind", [["Multikey"], {"Multikey": 1}, None, 1, True, {}])
def test_a_method_of_any_type_is_no_way_out(kind: Any) -> None:
    start = document_template("example.com", {"a": KEY})
    start["verificationMethod"][0]["type"] = kind
    log = create("example.com", SoftwareSigner.generate(), now_ms=NOW, document=start)
    history = verify_log(log, now_ms=NOW)
    assert history.key_at(NOW) is None
    resolver = Resolver(files={history.did: {"did.jsonl": log}}, now_ms=lambda: NOW)
    with pytest.raises(DIDError) as caught:
        resolver.key(f"{history.did}#a")
    assert caught.value.code == "did.key_not_supported"
