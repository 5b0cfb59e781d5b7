"""Targets: DID URLs, documents from web servers, options, and what servers answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

from depin_id.did import Resolver
from depin_id.did.cache import Cache
from depin_id.did.contents import check_document, method_key
from depin_id.did.dereference import split_url, url_options
from depin_id.did.fetch import read_answer
from depin_id.did.multikey import encode_multikey
from depin_id.did.resolution import PROBLEMS, Options
from depin_id.did.source import make_source
from depin_id.did.web import WebMethod, did_web_url
from depin_id.did.weburl import check_address, parse_web_url
from depin_id.errors import DepinError
from depin_id.strict_json import parse
from tests.fuzz.target import target, text
from tests.fuzz.wire import DEVICE, KEY

_DID = "did:web:example.com"
_METHOD = {
    "id": "#a",
    "type": "Multikey",
    "controller": _DID,
    "publicKeyMultibase": encode_multikey(KEY),
}
_DOCUMENT = {
    "id": _DID,
    "verificationMethod": [_METHOD],
    "assertionMethod": ["#a", _METHOD | {"id": "#b"}],
    "service": [{"id": "#f", "type": "F", "serviceEndpoint": "https://example.com/"}],
}
_RESOLVER = Resolver(files={_DID: {"did.json": json.dumps(_DOCUMENT).encode()}})


def each(*calls: Callable[[], object]) -> None:
    """Every call, whatever the ones before it said."""
    for call in calls:
        try:
            call()
        except DepinError as error:
            assert error.code and error.message


def take_url(data: bytes) -> None:
    """DID URLs: each is found, or the answer names an error of the standard."""
    word = text(data)

    def options() -> None:
        url, parameters = split_url(word)
        assert str(url) == word
        url_options(parameters, Options()).check()

    for found in (
        _RESOLVER.dereference(word),
        _RESOLVER.dereference(_DID + word, relationship="assertionMethod"),
    ):
        assert (found.content is None) == (found.error is not None)
        assert found.error is None or found.error in PROBLEMS
        assert found.to_json()
    resolved = _RESOLVER.resolve(word, version_time=word, version_id=None, accept=word)
    assert resolved.error in PROBLEMS and resolved.document is None
    each(options, lambda: did_web_url(word), lambda: check_address(word))


def take_document(data: bytes) -> None:
    """Documents that a web server gives for a DID."""
    source = make_source(files={_DID: {"did.json": data}})
    method = WebMethod(source, Cache(lambda: 0, max_age_ms=0))
    found = Resolver([method]).dereference(f"{_DID}#a")
    assert found.error is None or found.error in PROBLEMS
    value = parse(data)
    each(lambda: method_key(value), lambda: check_document(value, _DID))


def take_address(data: bytes) -> None:
    """Addresses: what is taken says the same when it is read again."""
    found = parse_web_url(text(data))
    assert parse_web_url(str(found)) == found
    assert "@" not in found.authority and "%" not in found.authority


def take_answer(data: bytes) -> None:
    """What a server answers to a request."""
    body, location = read_answer(io.BytesIO(data), types=("application/json",), max_bytes=100)
    assert (body is None) != (location is None)
    assert body is None or len(body) <= 100


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
target(
    "did-url",
    take_url,
    [
        f"{_DID}?service=f&relativeRef=%2Fa#x",
        f"{DEVICE.did}?versionTime=2026-11-21T14:00:00Z&versionId=1",
        "#a",
        "?versionNumber=1#b",
        "did:web:example.com%3A8443:a:b",
        "2001:db8::1%eth0",
    ],
)
target("did-document", take_document, [json.dumps(_DOCUMENT), json.dumps(_METHOD)])
target(
    "web-address",
    take_address,
    ["https://example.com:8443/a/did.jsonl?b=c", "https:" + "//0x7f.1/"],
)
target(
    "http-answer",
    take_answer,
    [
        _HEAD + b"Content-Length: 2\r\n\r\n{}",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nx",
    ],
)
