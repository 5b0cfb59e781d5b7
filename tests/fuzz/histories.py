"""Targets: did:webvh logs, witnesses' proofs, names, and pinned heads."""

from __future__ import annotations

from urllib.parse import urlsplit

from depin_id.did.webvh import (
    Pins,
    create,
    extend,
    log_url,
    may_need_witnesses,
    move,
    parse_location,
    parse_version_time,
    resource_url,
    update,
    verify_prefix,
    witness_rule,
    witness_url,
)
from depin_id.errors import DIDError
from tests.fuzz.target import target, text
from tests.fuzz.texts import FOLDER
from tests.webvh.author import DAY, T, approve, history_of, rotating, signer

NOW = T + 100 * DAY
_PRE_ROTATED = rotating(3)
_PORTABLE = create("example.com", signer("0"), now_ms=T, portable=True)
_PORTABLE += move(history_of(_PORTABLE), signer("0"), "example.org:a", now_ms=T + DAY)
_RULE = witness_rule(1, [signer("w1").public_key, signer("w2").public_key])
_WATCHED = create("example.com:w", signer("0"), now_ms=T, witness=_RULE)
_PROOFS = approve(None, _WATCHED, 0, "w1")
_HISTORY = history_of(_WATCHED, _PROOFS)
_WATCHED += update(_HISTORY, signer("0"), now_ms=T + DAY)
_PROOFS = approve(_PROOFS, _WATCHED.splitlines()[1], 1, "w2")
_MADE = {
    version.version_id
    for log in (_PRE_ROTATED, _PORTABLE, _WATCHED)
    for version in history_of(log, _PROOFS).versions
}
_DID = history_of(_PORTABLE).did


def take_log(data: bytes) -> None:
    """Nobody can make a version that no author signed, nor the other way to write what was."""
    history, error = verify_prefix(data, witness=_PROOFS, now_ms=NOW)
    assert history is not None or error is not None
    if history is not None:
        assert {version.version_id for version in history.versions} <= _MADE
        assert history.metadata() and history.last.resolved() and history.last.did_web()
        history.key_at(T)
        if error is None:
            assert extend(history, data, witness=_PROOFS, now_ms=NOW).head == history.head
            assert may_need_witnesses(data) or not any(history.rules)


def take_witness(data: bytes) -> None:
    """Whatever the file holds, the log is good or one of its versions wants approval."""
    history, error = verify_prefix(_WATCHED, witness=data, now_ms=NOW)
    assert (error is None) == (history is not None and len(history) == 2)
    assert error is None or error.code == "did.webvh.witness"


def take_place(data: bytes) -> None:
    """Addresses stay on the host that the DID names; paths stay below it; times are read."""
    word = text(data)
    try:
        parse_version_time(word)
    except DIDError:
        pass
    try:
        url = resource_url(_DID, {}, word)
        assert url.startswith(parse_location(_DID).base) or word == "/whois"
    except DIDError:
        pass
    parts = urlsplit(log_url(word))
    assert witness_url(word).startswith("https://") and parts.path.endswith("/did.jsonl")
    assert parts.hostname == parse_location(word).host and not parts.query + parts.fragment


def take_pins(data: bytes) -> None:
    """A file of pins."""
    path = FOLDER / "pins"
    path.write_bytes(data)
    Pins(path).accept(_HISTORY)


target("webvh-log", take_log, [_PRE_ROTATED, _PORTABLE, _WATCHED, _WATCHED.splitlines()[0]])
target("webvh-witness", take_witness, [_PROOFS, b"[]", b'[{"versionId":"1-Qm","proof":[]}]'])
target(
    "webvh-place",
    take_place,
    [
        _DID,
        f"did:webvh:{_HISTORY.scid}:example.com%3A3000:dids:issuer",
        f"did:webvh:{_HISTORY.scid}:jp納豆.例.jp:用户",
        f"did:webvh:{_HISTORY.scid}:127.0.0.1%3a8080:..:%2E%2E",
        "/whois",
        "/governance/issuers.json",
        "2026-11-21T14:00:00.123456Z",
    ],
)
_PIN = f"{_HISTORY.scid} {_HISTORY.last.version_id}\n"
target("webvh-pins", take_pins, [_PIN, _PIN * 2, ""])
