"""Key history, extension of what was verified, and pinned heads."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.did import public_jwk
from depin_id.did.webvh import (
    History,
    Pins,
    create,
    document_template,
    extend,
    make_document,
    parse_version_time,
    resource_url,
    rotate,
    update,
    verify_log,
)
from depin_id.did.webvh import pins as pins_module
from depin_id.did.webvh import verify as verify_module
from depin_id.did.webvh.entry import make_entry
from depin_id.did.webvh.proofs import check_proof
from depin_id.did.webvh.times import format_time, milliseconds
from depin_id.errors import DepinError, DIDError, EncodingError, StateError
from depin_id.jcs import canonicalize
from depin_id.keys import SoftwareSigner
from tests.webvh.author import DAY, PLACE, T, approve, history_of, remade, rotating, signer

LOG = rotating(6, keep=2)
HISTORY = history_of(LOG)
LINES = LOG.splitlines(keepends=True)
LATER = T + 100 * DAY


def refused(code: str) -> Any:
    """The block raises this code."""
    return pytest.raises(DIDError, match=f"^{code}")


def test_which_key_was_active_when() -> None:
    def device(number: int) -> Any:
        return signer(f"device {number}").public_key

    assert HISTORY.key_at(T - 1) is None
    assert HISTORY.key_at(T) == signer("0").public_key
    assert HISTORY.key_at(T + DAY - 1) == signer("0").public_key
    assert HISTORY.key_at(T + DAY) == device(0)
    assert HISTORY.key_at(T + 2 * DAY) == HISTORY.key_at(T + 4 * DAY - 1) == device(1)
    assert HISTORY.key_at(T + 10**15, "authentication") == device(2)
    for look in (HISTORY.key_at, HISTORY.active_at):
        with refused("did.not_found"):
            look(T, "keyAgreement")
    held = HISTORY.intervals("authentication")
    assert [one.keys for one in held] == [one.keys for one in HISTORY.intervals()]
    assert [one.version_id for one in held] == [one.version_id for one in HISTORY.versions]
    active = HISTORY.active_at(T + 2 * DAY)
    assert active is not None and active.version_id == HISTORY.number(3).version_id
    assert (active.since_ms, active.until_ms) == (T + 2 * DAY, T + 3 * DAY)
    assert active.head[:2] == b"\x12\x20" and len(active.head) == 34
    last = HISTORY.active_at(LATER)
    assert last is not None and last.head == HISTORY.head_bytes and last.until_ms is None
    assert HISTORY.active_at(T - 1) is None
    assert HISTORY.was_active(device(0), T + DAY) and not HISTORY.was_active(device(0), T + 2 * DAY)


@given(st.integers(T - 2 * DAY, T + 8 * DAY))
def test_a_look_up_is_that_of_the_version(time: int) -> None:
    starts = [version.version_time_ms for version in HISTORY.versions]
    number = bisect.bisect_right(starts, time)
    if not number:
        with refused("did.not_found"):
            HISTORY.at(time)
        return
    version = HISTORY.at(time)
    assert version.number == number and HISTORY.version(version.version_id) is version
    assert HISTORY.key_at(time) == version.keys["assertionMethod"][0].key


def test_versions_that_are_not_there() -> None:
    for number in (0, -1, 7):
        with refused("did.not_found"):
            HISTORY.number(number)
    with refused("did.not_found"):
        HISTORY.version("1-invalid")


def test_keys_that_are_not_admissible_verify_nothing() -> None:
    did = HISTORY.did
    good = signer("device 0").public_key
    document = make_document(did, {"a": good})
    method = document["verificationMethod"][0]
    identity = "z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"
    small = {**method, "id": f"{did}#b", "publicKeyMultibase": identity}
    koblitz = "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
    chip = SoftwareSigner("p256", b"\x5a" * 31 + b"\x01").public_key
    jwk: dict[str, str] = {**public_jwk(chip), "kid": "x"}
    odd: list[Any] = [
        small,
        {**method, "id": f"{did}#c", "publicKeyMultibase": koblitz},
        {"id": "#jwk", "type": "JsonWebKey", "controller": did, "publicKeyJwk": jwk},
        {"id": "#secret", "type": "JsonWebKey", "publicKeyJwk": {**jwk, "d": "x"}},
        {**method, "id": "did:example:other#x"},
        1, {}, {"id": 1}, {**method, "id": f"{did}#twice"}, {**method, "id": f"{did}#twice"},
    ]  # fmt: skip
    document["verificationMethod"] += odd
    document["assertionMethod"] = [
        "#a", f"{did}#b", f"{did}#c", "#jwk", "#secret", "did:example:other#x", "#twice", 1, None,
        {**method, "id": "#inside"}, "#a", "#missing",
    ]  # fmt: skip
    log = create(PLACE, signer("0"), now_ms=T)
    history = history_of(log)
    text = json.dumps(document).replace(did, history.did)
    line = update(history, signer("0"), now_ms=T + DAY, document=json.loads(text))
    keys = history_of(log + line).last.keys
    names = [one.id.partition("#")[2] for one in keys["assertionMethod"]]
    assert names == ["a", "jwk", "inside"]
    assert keys["assertionMethod"][1].key == chip
    assert keys["assertionMethod"][0].key == good
    assert keys["capabilityInvocation"] == ()


def test_what_was_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = history_of(b"".join(LINES[:4]))
    calls: list[int] = []

    def counted(*args: Any, **more: Any) -> str:
        calls.append(1)
        return check_proof(*args, **more)

    monkeypatch.setattr(verify_module, "check_proof", counted)
    longer = extend(known, LOG, now_ms=LATER)
    assert len(calls) == 2
    assert longer.head == HISTORY.head and longer.versions[:4] == known.versions
    assert len(known) == 4, "what was given stays as it was"
    assert extend(longer, LOG, now_ms=LATER).head == longer.head and len(calls) == 2
    assert extend(longer, LOG[:-1], now_ms=LATER).head == longer.head and len(calls) == 2
    # The same entries in another spelling are verified again, and taken.
    spaced = LINES[0].replace(b'"versionId":', b'"versionId": ') + b"".join(LINES[1:])
    assert extend(known, spaced, now_ms=LATER).head == longer.head
    assert len(calls) == 2 + 6


def test_a_last_line_without_its_end_is_extended() -> None:
    known = verify_log(LINES[0][:-1], now_ms=LATER)
    assert len(extend(known, LOG, now_ms=LATER)) == 6
    with refused("did.webvh.log"):
        extend(known, LINES[0] + b"{}", now_ms=LATER)


def test_rolled_back_and_forked_logs() -> None:
    known = history_of(b"".join(LINES[:4]))
    with refused("did.log_rolled_back"):
        extend(known, b"".join(LINES[:3]), now_ms=LATER)
    fork = remade(LOG, 4, lambda e: e["state"].update(alsoKnownAs=["did:web:example.net"]), "3")
    with refused("did.log_forked"):
        extend(known, fork, now_ms=LATER)
    with refused("did.webvh.scid"):
        extend(known, create(PLACE, signer("other"), now_ms=T), now_ms=LATER)
    with refused("did.webvh.log"):
        extend(known, b"", now_ms=LATER)
    changed = LINES[4].replace(b"Multikey", b"multikey")
    with refused("did.webvh.entry_hash"):
        extend(known, b"".join(LINES[:4]) + changed, now_ms=LATER)


def test_pins_in_memory() -> None:
    pins = Pins()
    short, long = history_of(b"".join(LINES[:3])), HISTORY
    assert pins.get(long.scid) is None
    pins.accept(short)
    pins.accept(long)
    pin = pins.get(long.scid)
    assert pin is not None and (pin.number, pin.version_id) == (6, long.last.version_id)
    with refused("did.log_rolled_back"):
        pins.accept(short)
    fork = remade(LOG, 6, lambda e: e["state"].update(alsoKnownAs=["did:web:example.net"]), "5")
    with refused("did.log_forked"):
        pins.check(history_of(fork))
    assert pins.get(long.scid) == pin and len(pins) == 1


def test_pins_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    Pins(path).accept(HISTORY)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    again = Pins(path)
    with refused("did.log_rolled_back"):
        again.accept(history_of(LINES[0]))
    assert len(again) == 1
    for damaged in (b"x\n", b"\n", b"\xff\n", f"{HISTORY.scid} 7\n".encode(), b"a b c\n"):
        path.write_bytes(damaged)
        with pytest.raises(StateError, match=r"state\.damaged"):
            Pins(path)


def test_a_pin_that_a_crash_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    Pins(path).accept(history_of(LINES[0]))
    whole = path.read_bytes()
    for cut in range(1, len(whole), 9):
        path.write_bytes(whole + whole.replace(b" 1-", b" 2-")[:cut])
        pins = Pins(path)
        pin = pins.get(HISTORY.scid)
        assert pin is not None and pin.number == 1
        pins.accept(HISTORY)
        again = Pins(path).get(HISTORY.scid)
        assert again is not None and again.number == 6


def test_the_file_of_pins_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins_module, "SPARE", 1)
    path = tmp_path / "pins"
    pins = Pins(path)
    for count in range(1, 7):
        pins.accept(history_of(b"".join(LINES[:count])))
        assert path.read_bytes().count(b"\n") <= 3
    again = Pins(path).get(HISTORY.scid)
    assert again is not None and again.number == 6


def test_pins_of_several_threads(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins.json")
    histories = [history_of(b"".join(LINES[: n + 1])) for n in range(6)]

    def accept(history: History) -> None:
        try:
            pins.accept(history)
        except DIDError as error:
            assert error.code == "did.log_rolled_back"

    threads = [threading.Thread(target=accept, args=(history,)) for history in histories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pin, kept = pins.get(HISTORY.scid), Pins(tmp_path / "pins.json").get(HISTORY.scid)
    assert pin is not None and pin.number == 6 and pin == kept


def test_witnesses_of_new_entries_only() -> None:
    from depin_id.did.webvh import witness_rule

    rule = witness_rule(1, [signer("w1").public_key])
    log = create(PLACE, signer("0"), now_ms=T, witness=rule)
    file = approve(None, log, 0, "w1")
    history = verify_log(log, witness=file, now_ms=LATER)
    line = update(history, signer("0"), now_ms=T + DAY)
    with refused("did.webvh.witness"):
        extend(history, log + line, witness=file, now_ms=LATER)
    assert len(extend(history, log + line, witness=approve(file, line, 1, "w1"), now_ms=LATER)) == 2
    assert extend(history, log, now_ms=LATER).head == history.head


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text() | st.floats(-1, 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5), st.dictionaries(st.text(), _JSON, max_size=5))
def test_an_entry_is_written_canonically_by_hand(state: Any, parameters: Any) -> None:
    value = {
        "versionId": "7-Qm" + "1" * 44,
        "versionTime": "2026-11-21T14:00:00Z",
        "parameters": parameters,
        "state": state,
    }
    try:
        expected = canonicalize(value)
    except EncodingError:
        with refused("did.webvh.log"):
            make_entry(value | {"proof": []})
        return
    entry = make_entry(value | {"proof": []})
    assert entry.canonical(entry.version_id) == expected


@given(st.integers(0, 253_402_300_799_999))
def test_times_are_read_as_they_are_written(ms: int) -> None:
    assert milliseconds(parse_version_time(format_time(ms))) == ms


def test_a_version_holds_from_its_time_on() -> None:
    assert milliseconds(parse_version_time("1970-01-01T00:00:00.0000001Z")) == 1
    log = create(PLACE, signer("0"), now_ms=T)
    rotated = rotate(
        history_of(log), signer("0"), now_ms=T + 1, update_keys=[signer("1").public_key]
    )
    assert history_of(log + rotated).at(T).number == 1
    assert history_of(log + rotated).at(T + 1).number == 2


@given(st.lists(st.sampled_from(["update", "rotate", "announce", "end"]), max_size=6))
def test_whatever_is_authored_is_verified(steps: list[str]) -> None:
    log, key, announced = create(PLACE, signer("p0"), now_ms=T), 0, False
    for number, step in enumerate(steps, 1):
        history, now = history_of(log), T + number * 1000
        following = signer(f"p{key + 1}")
        if step == "end" or (announced and step != "rotate"):
            by = following if announced else signer(f"p{key}")
            log += rotate(history, by, now_ms=now, next_keys=[])
            key, announced = key + announced, False
        elif step == "announce":
            log += rotate(history, signer(f"p{key}"), now_ms=now, next_keys=[following.public_key])
            announced = True
        elif announced:
            after = signer(f"p{key + 2}").public_key
            log += rotate(history, following, now_ms=now, next_keys=[after])
            key += 1
        elif step == "rotate":
            log += rotate(
                history, signer(f"p{key}"), now_ms=now, update_keys=[following.public_key]
            )
            key += 1
        else:
            log += update(history, signer(f"p{key}"), now_ms=now, parameters={"ttl": number})
    assert len(history_of(log)) == len(steps) + 1


@pytest.mark.parametrize("odd", [None, 1, [], {}, [[]], [{}], [{"id": []}], [{"id": {}}], ["", 1]])
def test_a_document_may_hold_anything_and_is_shown(odd: Any) -> None:
    for name in ("service", "alsoKnownAs", "verificationMethod", "assertionMethod", "@context"):
        document = document_template(PLACE, {"key-1": signer("d").public_key}) | {name: odd}
        history = history_of(create(PLACE, signer("u"), now_ms=T, document=document))
        shown = history.last.resolved()
        assert name == "service" or shown[name] == odd
        assert history.last.did_web()["alsoKnownAs"] == [history.did] or name == "alsoKnownAs"
        with contextlib.suppress(DepinError):
            resource_url(history.did, history.last.document, "/whois")
        assert history.key_at(T) is not None or "Method" in name
