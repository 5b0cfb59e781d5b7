"""Bundles, challenges, card, log and receipts over HTTP, with a real aggregator behind them."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from depin_id.ack import challenge_nonce, read_challenge
from depin_id.envelope import parse_envelope
from tests.http.support import (
    Running,
    Site,
    acks_of,
    code_of,
    device_of,
    ended,
    levels,
    make_site,
    raw,
    running,
    wait_for,
)
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.control import perform_on
from verify.log import Checkpoint, NoteKey, leaf_hash
from verify.log.layout import decode_bundle
from verify.log.note import verify_checkpoint
from verify.receipt import check_receipt


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"), 6)


@pytest.fixture(scope="module")
def at(site: Site) -> Iterator[Running]:
    with running(site) as made:
        yield made


def _checkpoint(at: Running, size: int) -> Checkpoint:
    """The published checkpoint, once it covers so many entries."""
    card = at.site.card
    key = NoteKey(card.log_origin, card.log_key.raw)

    def read() -> Checkpoint | None:
        answer = at.get("/log/checkpoint")
        if answer.status_code != 200:
            return None
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        found = verify_checkpoint(answer.content, [key], origin=card.log_origin)
        return found if found.size >= size else None

    return wait_for(read, "a checkpoint")  # type: ignore[no-any-return]


def test_a_bundle_is_answered_with_the_signed_acknowledgement(at: Running) -> None:
    device = at.site.devices[0]
    envelopes = [device.next(levels(2, 2 * n)) for n in range(3)]
    (ack,) = at.acks(device, *envelopes)
    assert [item.code for item in ack.items] == ["accepted"] * 3
    assert [item.id for item in ack.items] == [
        parse_envelope(raw).verify(at.site.card.network, device.key) for raw in envelopes
    ]
    # The same again: the same entries, a higher number, and nothing counted twice.
    (again,) = at.acks(device, *envelopes)
    assert again.items == ack.items and again.number > ack.number


def test_each_request_hears_of_what_it_brought_and_of_nothing_else(at: Running) -> None:
    one, other = at.site.devices[1:3]
    mine = [one.next(levels(1, n)) for n in range(8)]
    theirs = [other.next(levels(1, n)) for n in range(8)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = [
            pool.submit(at.acks, device, envelope)
            for device, envelopes in ((one, mine), (other, theirs))
            for envelope in envelopes
        ]
        found = [answer.result() for answer in answers]
    assert all(len(acks) == 1 and len(acks[0].items) == 1 for acks in found)
    assert len({acks[0].items[0].id for acks in found}) == 16
    # A bundle of two signers has an acknowledgement for each.
    response = at.post(mine[0], theirs[0])
    assert response.status_code == 200
    with pytest.raises(Exception, match="foreign"):
        acks_of(response.content, at.site.card, one.key.thumbprint)


def test_what_cannot_be_authenticated_has_its_code(at: Running) -> None:
    device, stranger = at.site.devices[0], device_of(at.site.card, "stranger")
    changed = bytearray(device.next(levels(1)))
    changed[-1] ^= 1
    for body, status, code in (
        (stranger.next(levels(1)), 403, "device.unknown"),
        (bytes(changed), 422, "signature.invalid"),
        (b"\x00", 422, "envelope.malformed"),
        (b"\xff" * 40, 422, "encoding.malformed"),
        (b"\x9f" * 1000, 422, "encoding.malformed"),
    ):
        response = at.post(body)
        assert response.status_code == status, response.text
        assert code_of(response) in {code, "encoding.not_deterministic", "encoding.too_deep"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", "/v1/bundles", {}, b"x", 415, "http.media_type"),
        ("POST", "/v1/bundles", {"content-type": "text/plain"}, b"x", 415, "http.media_type"),
        ("POST", "/v1/bundles", {"content-type": "application/cbor-seq"}, b"", 400, "http.empty"),
        ("GET", "/v1/bundles", {}, b"", 405, "http.method"),
        ("DELETE", "/log/checkpoint", {}, b"", 405, "http.method"),
        ("GET", "/", {}, b"", 404, "http.not_found"),
        ("GET", "/v1/bundles/", {}, b"", 404, "http.not_found"),
        ("GET", "/metrics", {}, b"", 404, "http.not_found"),
        ("GET", "/v1/challenge", {}, b"", 400, "http.query"),
        ("GET", "/v1/challenge?did=did:web:x", {}, b"", 400, "http.query"),
        ("GET", "/v1/challenge?did=" + "z" * 4000, {}, b"", 400, "http.query"),
        ("GET", "/v1/challenge?thumbprint=" + "A" * 64, {}, b"", 400, "http.query"),
        ("GET", "/v1/receipts/1", {}, b"", 400, "http.query"),
        ("GET", "/v1/receipts/x?id=" + "0" * 64, {}, b"", 404, "receipt.none"),
        ("GET", "/v1/receipts/" + "9" * 5000 + "?id=" + "0" * 64, {}, b"", 404, "receipt.none"),
        ("GET", "/v1/receipts/0?id=" + "0" * 64, {}, b"", 404, "receipt.none"),
        ("GET", "/log/tile/0/999", {}, b"", 404, "log.no_tile"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_a_code(
    at: Running,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    code: str,
) -> None:
    response = httpx2.request(method, at.url + path, headers=headers, content=body, timeout=60)
    assert response.status_code == status, response.text
    assert code_of(response) == code


def test_a_challenge_is_fresh_signed_and_for_one_key(at: Running) -> None:
    device, card = at.site.devices[0], at.site.card
    wait_for(lambda: at.get(f"/v1/challenge?did={device.did}").status_code == 200, "a beacon")
    response = at.get(f"/v1/challenge?did={device.did}")
    assert response.headers["content-type"] == 'application/cose; cose-type="cose-sign1"'
    assert response.headers["cache-control"] == "no-store"
    found = read_challenge(response.content, card=card, recipient=device.key.thumbprint)
    assert 0 < found.expires - time.time() <= 600
    size = int.from_bytes(found.nonce[:8], "big")
    assert 0 < size <= _checkpoint(at, 1).size
    by_key = at.get(f"/v1/challenge?thumbprint={device.key.thumbprint.hex()}")
    again = read_challenge(by_key.content, card=card, recipient=device.key.thumbprint)
    other = at.site.devices[1].key.thumbprint
    with pytest.raises(Exception, match="foreign"):
        read_challenge(response.content, card=card, recipient=other)
    assert len(again.nonce) == 16 and challenge_nonce(size, bytes(32), other) != found.nonce


def test_the_card_is_the_one_in_force(at: Running) -> None:
    response = at.get("/v1/card")
    assert response.content == (at.site.root / "public" / "card.cbor").read_bytes()
    assert response.headers["etag"] == f'"{at.site.card.number}"'


def test_the_checkpoint_of_the_witnesses_is_there_when_they_have_cosigned(at: Running) -> None:
    newest = at.get("/log/checkpoint").content if _checkpoint(at, 1) else b""
    answer = at.get("/log/checkpoint.witnessed")
    assert (answer.status_code, code_of(answer)) == (404, "log.unpublished")
    file = at.site.root / "public" / "log" / "checkpoint.witnessed"
    file.write_bytes(newest)
    try:
        assert at.get("/log/checkpoint.witnessed").content == newest
    finally:
        file.unlink()


def test_tiles_lead_from_the_checkpoint_to_the_leaf(at: Running) -> None:
    device = at.site.devices[3]
    (ack,) = at.acks(device, device.next(levels(1)))
    item = ack.items[0]
    assert item.index is not None and item.leaf is not None
    size = _checkpoint(at, item.index + 1).size
    bundle, place = divmod(item.index, 256)
    partial = f".p/{size % 256}" if bundle == size // 256 else ""
    response = at.get(f"/log/tile/entries/{bundle:03d}{partial}")
    assert response.status_code == 200 and "immutable" in response.headers["cache-control"]
    leaves = decode_bundle(response.content, size % 256 if partial else 256)
    assert leaf_hash(leaves[place]) == item.leaf
    hashes = at.get(f"/log/tile/0/{bundle:03d}{partial}").content
    assert hashes[32 * place : 32 * place + 32] == item.leaf
    # A width that was never stored on its own is the head of one that was: the log only grows.
    assert at.get("/log/tile/0/000.p/1").content == at.get(f"/log/tile/0/000{partial}").content[:32]


@pytest.mark.parametrize(
    "path",
    [
        "tile/../checkpoint",
        "tile/%2e%2e/%2e%2e/%2e%2e/network/root.key",
        "tile/..%2f..%2f..%2fpolicy.toml",
        "tile/0/..%2f000",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/007",
        "tile/64/000",
        "tile/entries/000/",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile//0/000",
        "tile/0/000%00",
        "tile/0/\u0660\u0660\u0660",
    ],
)
def test_no_path_leads_out_of_the_log(at: Running, path: str) -> None:
    with raw(at.port) as sock:
        sock.sendall(f"GET /log/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        head = ended(sock)
    assert head.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), head[:200]


def test_a_receipt_is_for_who_knows_the_id(at: Running) -> None:
    one, other = at.site.devices[4:6]
    (mine,) = at.acks(one, one.next(levels(3)))
    (theirs,) = at.acks(other, other.next(levels(3, 3)))
    item = mine.items[0]
    path = f"/v1/receipts/{item.index}"
    first = at.get(path, params={"id": item.id.hex()})
    if first.status_code == 404:
        assert code_of(first) == "receipt.unpublished" and int(first.headers["retry-after"]) > 0
    _checkpoint(at, (item.index or 0) + 1)
    response = at.get(path, params={"id": item.id.hex()})
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    checked = check_receipt(response.content, network=at.site.card.network)
    assert checked.index == item.index and checked.did == one.did
    for wrong in (theirs.items[0].id.hex(), "0" * 64):
        assert code_of(at.get(path, params={"id": wrong})) == "receipt.none"


def test_metrics_and_health_are_elsewhere_and_true(at: Running) -> None:
    device = at.site.devices[0]
    envelope = device.next(levels(1, 40))
    at.acks(device, envelope)
    at.acks(device, envelope)
    text = at.measured()
    for line in (
        'depin_envelopes_total{code="",outcome="accepted"}',
        'depin_envelopes_total{code="",outcome="duplicate"}',
        'depin_messages_total{transport="http"}',
        'depin_http_requests_total{route="bundles",status="200"}',
        'depin_inbox_messages{transport="http"} 0.0',
        "depin_commit_seconds_bucket",
        "depin_acknowledgement_seconds_count",
        "depin_journal_bytes",
        "process_resident_memory_bytes",
    ):
        assert line in text, line
    assert device.did not in text and device.key.kid.hex() not in text
    for path in ("/livez", "/readyz"):
        health = httpx2.get(at.metrics + path, timeout=60)
        assert health.status_code == 200 and health.json()["ok"], health.text
    assert httpx2.get(f"{at.metrics}/v1/card", timeout=60).status_code == 404


def test_after_all_of_it_the_audit_passes_and_no_address_is_kept(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    device, stranger = site.devices[0], device_of(site.card, "stranger")
    with running(site) as at:
        at.acks(device, *[device.next(levels(1, n)) for n in range(5)])
        assert at.post(stranger.next(levels(1))).status_code == 403
        assert at.post(b"garbage").status_code == 422
    assert audit(site.root).ok
    with Aggregator(site.root) as aggregator:
        assert aggregator.fold.tally.verdicts == {"accepted": 5}
        assert aggregator.quarantine.kids()
        deltas = [entry.delta for entry in aggregator.journal.entries()]
    assert not any(b"127.0.0.1" in delta for delta in deltas)
    assert any(b"http:" in delta for delta in deltas)


def test_a_receipt_of_who_was_forgotten_opens_nothing(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    device = site.devices[0]
    with running(site) as at:
        (ack,) = at.acks(device, device.next(levels(2)))
        item = ack.items[0]
        _checkpoint(at, (item.index or 0) + 1)
        path, asked = f"/v1/receipts/{item.index}", {"id": item.id.hex()}
        opened = check_receipt(at.get(path, params=asked).content, network=site.card.network)
        assert opened.records is not None and not opened.closed
        perform_on(site.root, {"op": "erase", "did": device.did})
        # Whoever still knows the id gets what is left: the leaf.
        answer = at.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        assert check_receipt(answer.content, network=site.card.network).closed
