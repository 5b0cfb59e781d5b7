"""Whoever holds lists: what they decide, and what they must not decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.credentials.status import StatusCheck, StatusStore
from depin_id.credentials.status.reference import StatusReference, uri_hash
from depin_id.errors import CredentialError, DepinError, StateError
from tests.status.world import (
    COUNT,
    DAY_MS,
    DID,
    NOW_MS,
    OTHER,
    URI,
    bitstring,
    entry,
    key_of,
    method,
    reference,
    store,
    token,
)


def code_of(held: StatusStore, data: bytes, issuer: str | None = None) -> str:
    with pytest.raises(DepinError) as caught:
        held.add(data, issuer=issuer)
    return caught.value.code


def test_valid_revoked_suspended() -> None:
    held: StatusCheck = store(bitstring({5: 1}))
    assert held.check(entry(4), now_ms=NOW_MS, issuer=DID).ok
    result = held.check(entry(5), now_ms=NOW_MS, issuer=DID)
    assert (result.state, result.code, result.value) == ("revoked", "status.revoked", 1)
    with pytest.raises(CredentialError) as caught:
        result.require()
    assert caught.value.code == "status.revoked"
    suspending = store(bitstring({5: 1}, purpose="suspension"))
    assert suspending.check(entry(5, "suspension"), now_ms=NOW_MS).state == "suspended"


def test_one_list_for_two_purposes() -> None:
    held = store(bitstring({5: 1}, purpose=["revocation", "suspension"]))
    assert held.check(entry(5), now_ms=NOW_MS).state == "revoked"
    assert held.check(entry(5, "suspension"), now_ms=NOW_MS).state == "suspended"


def test_what_is_not_decided() -> None:
    held = store(bitstring({5: 1}))
    cases = {
        "status.no_list": entry(5) | {"statusListCredential": "https://example.com/status/2"},
        "status.purpose": entry(5, "suspension"),
        "status.index": entry(COUNT),
        "status.entry": reference(5),
    }
    for code, asked in cases.items():
        result = held.check(asked, now_ms=NOW_MS)
        assert (result.state, result.code, result.ok, result.decided, result.value) == (
            "undecided",
            code,
            False,
            False,
            None,
        )
    assert store(token()).check(reference(1024), now_ms=NOW_MS).code == "status.index"
    assert store(token()).check(entry(1), now_ms=NOW_MS).code == "status.entry"
    assert held.check(None, now_ms=NOW_MS).code == "status.entry"  # type: ignore[arg-type]


def test_a_list_of_another_issuer_decides_nothing() -> None:
    """Somebody else signs a list of the same URL that revokes nothing."""
    theirs = store(bitstring(who=OTHER))
    result = theirs.check(entry(5), now_ms=NOW_MS, issuer=DID)
    assert (result.state, result.code) == ("undecided", "status.issuer")
    held = store(bitstring({5: 1}))
    assert code_of(held, bitstring(who=OTHER, now_ms=NOW_MS + 1000)) == "status.issuer"
    assert code_of(store(), bitstring(who=OTHER), DID) == "status.issuer"
    assert code_of(store(), token(who=OTHER), DID) == "status.issuer"
    assert held.check(entry(5), now_ms=NOW_MS, issuer=DID).state == "revoked"


def test_age_is_not_revocation() -> None:
    held = store(bitstring({5: 1}), max_age_ms=DAY_MS)
    assert held.check(entry(5), now_ms=NOW_MS + DAY_MS).state == "revoked"
    for index in (4, 5):
        result = held.check(entry(index), now_ms=NOW_MS + DAY_MS + 1)
        assert (result.state, result.code) == ("undecided", "status.stale")


def test_a_list_that_its_issuer_no_longer_stands_by() -> None:
    for data, asked in (
        (bitstring(valid_until_ms=NOW_MS + 60_000), entry(5)),
        (token(expires_ms=NOW_MS + 60_000), reference(5)),
    ):
        held = store(data)
        assert held.check(asked, now_ms=NOW_MS + 59_999).ok
        assert held.check(asked, now_ms=NOW_MS + 60_000).code == "status.stale"


def test_a_list_of_the_future_decides_nothing() -> None:
    for data, asked in ((bitstring(), entry(5)), (token(), reference(5))):
        held = store(data)
        assert held.check(asked, now_ms=NOW_MS - 300_000).ok
        assert held.check(asked, now_ms=NOW_MS - 300_001).code == "status.stale"


def test_a_list_of_the_same_second_takes_nothing_back() -> None:
    before, after = bitstring({5: 1}), bitstring({5: 1, 7: 1})
    held = store(before, after, after)
    for data in (before, bitstring({7: 1, 9: 1}), bitstring({5: 1, 7: 1}, count=2 * COUNT)):
        assert code_of(held, data) == "status.older"
    assert held.check(entry(7), now_ms=NOW_MS).state == "revoked"
    held.add(bitstring({5: 1}, now_ms=NOW_MS + 1000))
    assert held.check(entry(7), now_ms=NOW_MS + 1000).ok
    tokens = store(token({5: 1}))
    assert code_of(tokens, token({5: 2})) == code_of(tokens, token()) == "status.older"


def test_a_newer_list_replaces_and_an_older_does_not() -> None:
    """A list from before a revocation is good by itself: whoever holds a newer one refuses it."""
    old, new = bitstring(now_ms=NOW_MS - 1000), bitstring({5: 1})
    held = store(old, new)
    assert len(held) == 1
    assert held.check(entry(5), now_ms=NOW_MS).state == "revoked"
    assert code_of(held, old) == "status.older"
    assert held.check(entry(5), now_ms=NOW_MS).state == "revoked"


def test_a_store_is_bounded() -> None:
    held = store(bitstring(), max_lists=1)
    assert code_of(held, bitstring(uri="https://example.com/status/2")) == "status.many"
    held.add(bitstring({5: 1}, now_ms=NOW_MS + 1000))
    small = store(bitstring(), max_held=COUNT // 8)
    assert code_of(small, bitstring(uri="https://example.com/status/2")) == "status.many"
    small.add(bitstring({5: 1}, now_ms=NOW_MS + 1000))
    assert small.check(entry(5), now_ms=NOW_MS).state == "revoked"


def test_capabilities_name_a_list_by_its_hash() -> None:
    held = store(bitstring({5: 1}))
    named = StatusReference(uri_hash(URI), 5, DID)
    assert held.status_of(named, now_ms=NOW_MS).state == "revoked"
    assert held.revoked(now_ms=NOW_MS)(StatusReference(uri_hash(URI), 4, DID)).ok
    other = StatusReference(uri_hash(URI), 5, method(OTHER)[0])
    assert held.status_of(other, now_ms=NOW_MS).code == "status.issuer"
    unknown = StatusReference(bytes(16), 5, DID)
    assert held.status_of(unknown, now_ms=NOW_MS).code == "status.no_list"
    suspending = store(bitstring({5: 1}, purpose="suspension"))
    assert suspending.status_of(named, now_ms=NOW_MS).state == "suspended"
    assert store(token({5: 2})).status_of(named, now_ms=NOW_MS).state == "suspended"


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(bitstring({5: 1}))
    held = StatusStore(key_of=key_of)
    assert held.load(path).uri == URI and held[URI].issuer == DID
    with pytest.raises(StateError):
        held.load(tmp_path / "missing")
    with pytest.raises(CredentialError) as caught:
        held["https://example.com/none"]
    assert caught.value.code == "status.no_list"


def test_a_list_is_unpacked_once() -> None:
    held = store(bitstring({5: 1}))
    assert held[URI].entries() is held[URI].entries()
