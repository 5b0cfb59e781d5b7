"""What somebody may try with a log: each change breaks one check, and that check names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh import (
    create,
    deactivate,
    extend,
    log_url,
    make_document,
    move,
    rotate,
    update,
    verify_log,
    verify_prefix,
)
from depin_id.did.webvh import verify as verify_module
from depin_id.did.webvh.entry import MAX_ENTRIES, MAX_LOG
from depin_id.did.webvh.parameters import METHOD
from depin_id.errors import DIDError
from depin_id.keys import SoftwareSigner
from tests.webvh.author import (
    DAY,
    PLACE,
    T,
    entries,
    history_of,
    joined,
    remade,
    rotating,
    signed,
    signer,
)

ROTATING = rotating(4)
PLAIN = create(PLACE, signer("0"), now_ms=T)
PLAIN += rotate(
    history_of(PLAIN), signer("0"), now_ms=T + DAY, update_keys=[signer("1").public_key]
)
PLAIN += update(history_of(PLAIN), signer("1"), now_ms=T + 2 * DAY, parameters={"ttl": 60})


def refused(log: bytes, code: str, **more: Any) -> None:
    """The log is refused for this reason."""
    with pytest.raises(DIDError) as error:
        verify_log(log, **{"now_ms": T + 100 * DAY, **more})
    assert error.value.code == f"did.webvh.{code}", error.value
    assert error.value.hint and error.value.message


def edited(log: bytes, number: int, change: Callable[[Any], Any]) -> bytes:
    """A log with one entry changed and nothing made again."""
    found = entries(log)
    change(found[number - 1])
    return joined(found)


def _set(name: str, value: Any, entry: Any) -> None:
    entry[name] = value


def _drop(name: str, entry: Any) -> None:
    del entry["parameters"][name]


def test_the_logs_are_good() -> None:
    assert len(history_of(ROTATING)) == 4
    assert len(history_of(PLAIN)) == 3


@pytest.mark.parametrize("log", [ROTATING, PLAIN])
def test_entries_reordered_dropped_doubled_or_of_another_log(log: bytes) -> None:
    lines = log.splitlines(keepends=True)
    refused(lines[0] + lines[2] + lines[1], "version_id")
    refused(b"".join(lines[1:]), "version_id")
    refused(lines[0] + lines[2], "version_id")
    refused(lines[0] + lines[1] + lines[1], "version_id")
    other = create(PLACE, signer("other"), now_ms=T)
    refused(other + lines[1], "entry_hash")
    refused(log, "did", did=history_of(other).did)


def test_a_number_that_hides_a_gap() -> None:
    renumbered = edited(PLAIN, 3, lambda e: e.update(versionId="2" + e["versionId"][1:]))
    refused(renumbered, "version_id")
    for odd in ("3", "03-" + "Qm" + "1" * 44, "3-Qm", "3-" + "1" * 46, "٣-Qm" + "1" * 44, 3, None):
        refused(edited(PLAIN, 3, partial(_set, "versionId", odd)), "version_id")


def test_two_first_entries_of_one_scid() -> None:
    """A placeholder that stays where the SCID should stand makes the same SCID."""
    found = entries(PLAIN)[0]
    method = found["state"]["verificationMethod"][0]
    method["controller"] = method["controller"].replace(found["parameters"]["scid"], "{SCID}")
    refused(joined([found]), "scid")


def test_a_document_changed_afterwards() -> None:
    def change(entry: Any) -> None:
        entry["state"]["alsoKnownAs"] = ["did:web:example.net"]

    refused(edited(PLAIN, 1, change), "scid")
    refused(edited(PLAIN, 2, change), "entry_hash")
    refused(edited(PLAIN, 3, change), "entry_hash")


def test_proofs_removed_replaced_or_of_another_entry() -> None:
    refused(edited(PLAIN, 3, lambda e: e.pop("proof")), "proof")
    refused(edited(PLAIN, 3, lambda e: e.update(proof=[])), "proof")
    refused(edited(PLAIN, 3, lambda e: e.update(proof=None)), "proof")
    refused(edited(PLAIN, 3, lambda e: e.update(proof=e["proof"] * 17)), "proof")
    other = entries(PLAIN)[1]["proof"]
    refused(edited(PLAIN, 3, lambda e: e.update(proof=other)), "proof")
    second = signed(entries(PLAIN)[2], "1", "stranger")["proof"]
    refused(edited(PLAIN, 3, lambda e: e.update(proof=second)), "not_authorised")

    def field(name: str, value: Any) -> None:
        refused(edited(PLAIN, 3, lambda e: e["proof"][0].update({name: value})), "proof")

    field("proofPurpose", "authentication")
    field("cryptosuite", "ecdsa-jcs-2019")
    field("cryptosuite", "eddsa-rdfc-2022")
    field("type", "Ed25519Signature2020")
    field("created", "2020-01-01T00:00:00Z")
    field("expires", "2020-01-01T00:00:00Z")
    field("@context", "https://www.w3.org/ns/credentials/v2")
    field("proofValue", "z" + "1" * 64)
    field("verificationMethod", "did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj")
    method = entries(PLAIN)[2]["proof"][0]["verificationMethod"]
    field("verificationMethod", method.replace("#", "#z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7q"))
    field("verificationMethod", method.replace("did:key:", "did:key:did:key:"))


def test_proofs_that_verify_and_say_the_wrong_thing() -> None:
    head, last = entries(PLAIN)[:2], entries(PLAIN)[2]
    key = last["proof"][0]["verificationMethod"].partition("#")[2]
    history_of(joined([*head, signed(last, "1", expires="2026-12-01T00:00:00Z", nonce="x")]))
    wrong: list[dict[str, Any]] = [
        {"proofPurpose": "authentication"},
        {"@context": "https://www.w3.org/ns/credentials/v2"},
        {"expires": last["versionTime"]},
        {"expires": "never"},
        {"created": "yesterday"},
        {"verificationMethod": f"did:key:{key}"},
        {"verificationMethod": f"#{key}"},
        {"verificationMethod": f"{key}#{key}"},
        {"verificationMethod": f"did:web:example.com#{key}"},
        {"cryptosuite": "ecdsa-jcs-2019"},
    ]
    for options in wrong:
        refused(joined([*head, signed(last, "1", **options)]), "proof")


def test_an_inadmissible_key_signs_nothing() -> None:
    """The identity point of Ed25519, with which one signature fits every message."""
    key = "z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"
    refused(
        edited(PLAIN, 3, lambda e: e["proof"][0].update(verificationMethod=f"did:key:{key}#{key}")),
        "key",
    )
    refused(remade(PLAIN, 2, lambda e: e["parameters"].update(updateKeys=[key]), "0"), "key")
    chip = encode_multikey(SoftwareSigner("p256", b"\x5a" * 31 + b"\x01").public_key)
    refused(remade(PLAIN, 2, lambda e: e["parameters"].update(updateKeys=[chip]), "0"), "key")
    published = encode_multikey(
        SoftwareSigner("ed25519", bytes(31) + b"\x01", allow_published=True).public_key
    )
    refused(remade(PLAIN, 2, lambda e: e["parameters"].update(updateKeys=[published]), "0"), "key")


def test_keys_that_may_not_sign_any_more_or_not_yet() -> None:
    def same(entry: dict[str, Any]) -> None:
        del entry

    history_of(remade(PLAIN, 3, same, "1"))
    refused(remade(PLAIN, 3, same, "0"), "not_authorised")
    refused(remade(PLAIN, 3, same, "stranger"), "not_authorised")
    # Without pre-rotation the keys of an entry sign the next one, not it.
    refused(remade(PLAIN, 2, same, "1"), "not_authorised")
    refused(remade(PLAIN, 1, same, "stranger"), "not_authorised")


def test_pre_rotation_holds_off_a_stolen_key() -> None:
    stolen = signer("thief").public_key

    def take_over(entry: dict[str, Any]) -> None:
        entry["parameters"]["updateKeys"] = [encode_multikey(stolen)]

    refused(remade(ROTATING, 3, take_over, "thief"), "pre_rotation")
    refused(remade(ROTATING, 3, take_over, "1"), "pre_rotation")
    for name in ("updateKeys", "nextKeyHashes"):
        refused(remade(ROTATING, 3, partial(_drop, name), "2"), "pre_rotation")
    refused(remade(ROTATING, 3, lambda e: e.update(parameters={}), "2"), "pre_rotation")
    refused(
        remade(ROTATING, 3, lambda e: e["parameters"].update(updateKeys=[]), "2"), "pre_rotation"
    )
    refused(remade(ROTATING, 3, lambda e: None, "1"), "not_authorised")


def test_times() -> None:
    def at(text: Any) -> Callable[[dict[str, Any]], None]:
        return lambda entry: entry.update(versionTime=text)

    before = entries(PLAIN)[1]["versionTime"]
    refused(remade(PLAIN, 3, at(before), "1"), "version_time")
    refused(remade(PLAIN, 3, at("2020-01-01T00:00:00Z"), "1"), "version_time")
    refused(remade(PLAIN, 3, at("9999-06-15T00:00:00Z"), "1"), "version_time")
    refused(PLAIN, "version_time", now_ms=T + DAY)
    assert len(verify_log(PLAIN, now_ms=T + 2 * DAY)) == 3
    for odd in (
        "2026-13-01T00:00:00Z",
        "2026-09-30",
        "2026-09-30T00:00:00",
        1,
        None,
        "",
        "2026-09-30T00:00:00+01:00",
        "2026-09-30T00:00:00Z\n",
        "２026-09-30T00:00:00Z",
    ):
        refused(edited(PLAIN, 3, at(odd)), "version_time")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "did:webvh:0.5"}, "method_version"),
        ({"method": "did:webvh:1.1"}, "method_version"),
        ({"method": None}, "method_version"),
        ({"scid": "Qm" + "1" * 44}, "parameters"),
        ({"unknown": 1}, "parameters"),
        ({"portable": True}, "parameters"),
        ({"portable": "yes"}, "parameters"),
        ({"deactivated": 1}, "parameters"),
        ({"ttl": -1}, "parameters"),
        ({"ttl": True}, "parameters"),
        ({"ttl": 1 << 32}, "parameters"),
        ({"updateKeys": "z6Mk"}, "parameters"),
        ({"updateKeys": ["x", "x"]}, "parameters"),
        ({"updateKeys": ["x"]}, "key"),
        ({"nextKeyHashes": [1]}, "parameters"),
        ({"watchers": ["a"] * 300}, "parameters"),
        ({"watchers": ["example"]}, "parameters"),
        ({"witness": {"threshold": 1}}, "parameters"),
        ({"witness": {"threshold": 1, "witnesses": []}}, "parameters"),
        ({"witness": {"threshold": 2, "witnesses": [{"id": "did:key:z"}]}}, "parameters"),
        ({"witness": {"threshold": 1, "witnesses": [{"id": "did:web:example.com"}]}}, "key"),
        ({"witness": []}, "parameters"),
    ],
)  # fmt: skip
def test_parameters(change: dict[str, Any], code: str) -> None:
    refused(remade(PLAIN, 3, lambda e: e["parameters"].update(change), "1"), code)


def test_parameters_of_the_first_entry() -> None:
    first = entries(PLAIN)[0]
    for name in ("method", "updateKeys", "scid"):
        refused(edited(PLAIN, 1, partial(_drop, name)), "parameters")
    refused(edited(PLAIN, 1, lambda e: e["parameters"].update(updateKeys=[])), "parameters")
    refused(edited(PLAIN, 1, lambda e: e["parameters"].update(scid="Qm")), "scid")
    assert first["parameters"]["method"] == METHOD


def test_null_is_taken_for_the_default() -> None:
    changes = {"nextKeyHashes": None, "watchers": None, "witness": None, "ttl": None}
    history = history_of(remade(PLAIN, 3, lambda e: e.update(parameters=changes), "1"))
    assert history.last.parameters.ttl == 3600


def test_documents_with_another_name() -> None:
    def named(name: Any, known: list[str] | None = None) -> Callable[[dict[str, Any]], None]:
        def change(entry: dict[str, Any]) -> None:
            entry["state"]["id"] = name
            if known is not None:
                entry["state"]["alsoKnownAs"] = known

        return change

    did = history_of(PLAIN).did
    scid = did.split(":")[2]
    refused(remade(PLAIN, 3, named(did.replace("example.com", "example.net")), "1"), "portable")
    refused(remade(PLAIN, 3, named("did:web:example.com"), "1"), "did")
    refused(remade(PLAIN, 3, named(None), "1"), "did")
    refused(remade(PLAIN, 3, named([did]), "1"), "did")
    refused(remade(PLAIN, 3, lambda e: e["state"].pop("id"), "1"), "did")
    refused(edited(PLAIN, 3, lambda e: e.update(state=[])), "log")
    portable = create("example.com", signer("0"), now_ms=T, portable=True)
    moved = move(history_of(portable), signer("0"), "example.org:x", now_ms=T + DAY)
    history = history_of(portable + moved)
    old, new = history.versions[0].did, history.did
    assert new.endswith(":example.org:x") and old in history.last.document["alsoKnownAs"]
    assert history_of(portable + moved).versions[1].keys["assertionMethod"][0].id == f"{new}#key-1"
    assert len(verify_log(portable + moved, did=old, now_ms=T + DAY)) == 2
    both = portable + moved
    refused(remade(both, 2, lambda e: e["state"].pop("alsoKnownAs"), "0"), "portable")
    refused(remade(both, 2, lambda e: e["parameters"].update(portable=False), "0"), "portable")
    other = new.replace(history.scid, "Qm" + "1" * 44)
    refused(remade(both, 2, named(other, [old]), "0"), "did")
    refused(remade(both, 2, named(new.replace("example.org", "127.0.0.1")), "0"), "did")
    assert scid != history.scid


def test_nothing_follows_a_deactivation() -> None:
    ended = PLAIN + deactivate(history_of(PLAIN), signer("1"), now_ms=T + 3 * DAY)
    history = history_of(ended)
    assert history.deactivated and history.metadata()["deactivated"] is True
    assert history.key_at(T + 2 * DAY) is not None and history.key_at(T + 3 * DAY) is None
    with pytest.raises(DIDError, match="did.webvh.deactivated"):
        update(history, signer("1"), now_ms=T + 4 * DAY)
    line = entries(PLAIN)[2] | {"versionId": "5-Qm" + "1" * 44}
    refused(ended + joined([line]), "deactivated")
    refused(ended + joined([line | {"versionId": "6-Qm" + "1" * 44}]), "version_id")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1" * 5000,
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"versionId":1,"versionId":1}',
        b'{"versionTime":NaN}',
        b'{"a":1e999}',
        b'{"a":9007199254740993}',
        b'{"a":"\\ud800"}',
    ],
)  # fmt: skip
def test_lines_that_are_no_entries(line: bytes) -> None:
    refused(line + b"\n", "log")
    refused(PLAIN + line + b"\n", "log")


def test_names_twice_and_numbers_that_are_none_inside_an_entry() -> None:
    last = PLAIN.splitlines()[-1]
    head = PLAIN[: -len(last) - 1]
    refused(head + last.replace(b'"ttl":60', b'"ttl":60,"ttl":61'), "log")
    refused(head + last.replace(b'"ttl":60', b'"ttl":NaN'), "log")
    refused(head + last.replace(b'"ttl":60', b'"ttl":60.5'), "parameters")
    refused(head + last[:-1] + b',"more":1}', "log")
    refused(b"", "log")


def test_a_blank_line_is_no_entry_and_a_last_line_needs_no_end() -> None:
    refused(PLAIN.replace(b"\n", b"\n\n"), "log")
    assert len(verify_log(PLAIN[:-1], now_ms=T + 9 * DAY)) == 3
    assert len(verify_log(PLAIN.replace(b"\n", b"\r\n"), now_ms=T + 9 * DAY)) == 3


def test_a_million_lines_are_bounded() -> None:
    refused(b"{}\n" * 1_000_000, "too_large")
    refused(b"\n" * (MAX_ENTRIES + 1), "too_large")
    refused(b" " * (MAX_LOG + 1), "too_large")
    line = b'{"a":"' + b"a" * (1 << 20) + b'"}'
    refused(line, "log")


def test_many_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "MAX_KEYS", 3)
    assert len(history_of(ROTATING[: ROTATING.rindex(b"\n", 0, -1) + 1])) == 3
    refused(ROTATING, "too_large")


def test_what_is_no_bytes_is_refused() -> None:
    for value in (None, "text", 1, bytearray(b"{}")):
        refused(value, "log")  # type: ignore[arg-type]


def test_good_versions_before_a_bad_one() -> None:
    history, error = verify_prefix(edited(PLAIN, 3, lambda e: e.pop("proof")), now_ms=T + 9 * DAY)
    assert history is not None and len(history) == 2
    assert error is not None and error.code == "did.webvh.proof"
    assert len(extend(history, PLAIN, now_ms=T + 9 * DAY)) == 3
    assert verify_prefix(b"{}", now_ms=T)[0] is None
    whole, none = verify_prefix(PLAIN, now_ms=T + 9 * DAY)
    assert whole is not None and len(whole) == 3 and none is None


def test_authors_cannot_make_what_would_be_refused() -> None:
    history = history_of(PLAIN)
    cases: list[tuple[str, Callable[[], bytes]]] = [
        ("not_authorised", lambda: update(history, signer("0"), now_ms=T + 9 * DAY)),
        ("version_time", lambda: update(history, signer("1"), now_ms=T)),
        ("portable", lambda: move(history, signer("1"), "example.org", now_ms=T + 9 * DAY)),
        ("did", lambda: create("127.0.0.1", signer("0"), now_ms=T)),
        ("did", lambda: create("例.example", signer("0"), now_ms=T)),
        ("did", lambda: create("example.com", signer("0"), now_ms=T, document={"id": "x"})),
        ("version_time", lambda: create("example.com", signer("0"), now_ms=-1)),
        ("parameters", lambda: create("example.com", signer("0"), now_ms=T, ttl=-1)),
        ("log", lambda: update(history, signer("1"), now_ms=T + 9 * DAY, document={"id": 1j})),
    ]
    for code, make in cases:
        with pytest.raises(DIDError) as error:
            make()
        assert error.value.code == f"did.webvh.{code}"
    rotated = history_of(ROTATING)
    with pytest.raises(DIDError, match="pre_rotation"):
        rotate(rotated, signer("4"), now_ms=T + 9 * DAY)
    with pytest.raises(DIDError, match="pre_rotation"):
        rotate(rotated, signer("thief"), now_ms=T + 9 * DAY, next_keys=[])
    ended = ROTATING + deactivate(rotated, signer("4"), now_ms=T + 9 * DAY)
    assert history_of(ended).deactivated


def test_the_scid_may_stand_in_the_path() -> None:
    log = create("example.com:{SCID}:x", signer("0"), now_ms=T)
    history = history_of(log)
    assert log_url(history.did) == f"https://example.com/{history.scid}/x/did.jsonl"
    keys = {"k": signer("0").public_key}
    assert "{SCID}" not in json.dumps(entries(log))
    assert make_document("did:example:x", keys)["authentication"] == ["did:example:x#k"]
