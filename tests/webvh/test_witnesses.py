"""Witnesses: thresholds, changes of the list, and proofs that do not count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depin_id.did.webvh import (
    add_witness_proof,
    create,
    may_need_witnesses,
    update,
    verify_log,
    verify_prefix,
    witness_proof,
    witness_rule,
)
from depin_id.did.webvh.parameters import WitnessRule
from depin_id.did.webvh.witnesses import approved, read_witness_file
from depin_id.errors import DIDError
from tests.webvh.author import DAY, PLACE, T, approve, entries, remade, signer

LATER = T + 100 * DAY


def rule(threshold: int, *names: str) -> WitnessRule:
    """So many of these."""
    return witness_rule(threshold, [signer(name).public_key for name in names])


def log_of(first: WitnessRule | None, *changes: dict[str, Any] | None) -> bytes:
    """A log with these changes of its witnesses; nobody has approved anything yet."""
    log = create(PLACE, signer("0"), now_ms=T, witness=first)
    for number, change in enumerate(changes, 1):
        history = _unwitnessed(log)
        given = {"witness": change} if change is not None else {}
        log += update(history, signer("0"), now_ms=T + number * DAY, parameters=given)
    return log


def _unwitnessed(log: bytes) -> Any:
    """What an author has: a log whose last entry waits for its proofs."""
    lines, file = log.splitlines(keepends=True), None
    for number, line in enumerate(lines):
        file = approve(file, line, number, "w1", "w2", "w3")
    return verify_log(log, witness=file, now_ms=LATER)


def refused(log: bytes, file: bytes | None) -> None:
    """For want of witnesses, and not for anything else."""
    with pytest.raises(DIDError) as error:
        verify_log(log, witness=file, now_ms=LATER)
    assert error.value.code == "did.webvh.witness"


def test_a_threshold_of_two_of_three() -> None:
    log = log_of(rule(2, "w1", "w2", "w3"), None)
    first, second = log.splitlines()
    assert may_need_witnesses(log)
    refused(log, None)
    refused(log, b"[]")
    one = approve(None, second, 1, "w1")
    refused(log, one)
    refused(log, approve(one, second, 1, "stranger"))
    refused(log, approve(one, second, 1, "w1"))
    refused(log, approve(one, first, 1, "w2"))
    refused(log, approve(one, first, 1, "w2", "w3"))
    # A proof of a later version approves those before it.
    assert len(verify_log(log, witness=approve(one, second, 1, "w3"), now_ms=LATER)) == 2


def test_the_same_witness_does_not_count_twice() -> None:
    log = log_of(rule(2, "w1", "w2"))
    version_id = json.loads(log)["versionId"]
    proofs = [witness_proof(version_id, signer("w1"), now_ms=T + n) for n in range(3)]
    file = json.dumps([{"versionId": version_id, "proof": proofs}] * 2).encode()
    refused(log, file)


def test_proofs_for_other_versions_do_not_count() -> None:
    log = log_of(rule(1, "w1"))
    version_id = json.loads(log)["versionId"]
    other = json.loads(log_of(rule(1, "w1"), None).splitlines()[1])["versionId"]
    proof = witness_proof(other, signer("w1"), now_ms=T)
    refused(log, json.dumps([{"versionId": other, "proof": [proof]}]).encode())
    refused(log, json.dumps([{"versionId": version_id, "proof": [proof]}]).encode())
    good = witness_proof(version_id, signer("w1"), now_ms=T)
    for change in (
        {"proofPurpose": "authentication"},
        {"proofValue": proof["proofValue"]},
        {"verificationMethod": proof["verificationMethod"].partition("#")[0]},
        {"created": "2020-01-01T00:00:00Z"},
        {"expires": "2020-01-01T00:00:00Z"},
        {"verificationMethod": None},
    ):
        refused(log, json.dumps([{"versionId": version_id, "proof": [good | change]}]).encode())
    # What does not verify is passed over, and keeps nobody from approving.
    mixed = [{"versionId": version_id, "proof": [proof, 1, None, {}, good]}]
    assert verify_log(log, witness=json.dumps(mixed).encode(), now_ms=LATER)
    single = [{"versionId": version_id, "proof": good}]
    assert verify_log(log, witness=json.dumps(single).encode(), now_ms=LATER)


def test_a_substituted_witness_needs_the_approval_of_the_old_ones() -> None:
    log = log_of(rule(1, "w1"), rule(1, "w2").to_json(), None)
    first, second, third = log.splitlines()
    only_new = approve(None, third, 2, "w2")
    refused(log, only_new)
    assert verify_prefix(log, witness=only_new, now_ms=LATER)[0] is None
    refused(log, approve(only_new, first, 2, "w1"))
    both = approve(only_new, second, 2, "w1")
    assert len(verify_log(log, witness=both, now_ms=LATER)) == 3
    refused(log, approve(None, second, 2, "w1"))
    history, error = verify_prefix(log, witness=approve(None, second, 2, "w1"), now_ms=LATER)
    assert history is not None and len(history) == 2
    assert error is not None and error.code == "did.webvh.witness"


def test_ending_it_needs_approval_and_beginning_it_too() -> None:
    ending = log_of(rule(1, "w1"), {}, None)
    first, second, _ = ending.splitlines()
    refused(ending, approve(None, first, 2, "w1"))
    assert verify_log(ending, witness=approve(None, second, 2, "w1"), now_ms=LATER)
    beginning = log_of(None, rule(1, "w1").to_json())
    refused(beginning, None)
    refused(beginning, approve(None, beginning.splitlines()[0], 1, "w1"))
    file = approve(None, beginning.splitlines()[1], 1, "w1")
    assert verify_log(beginning, witness=file, now_ms=LATER)
    assert not may_need_witnesses(log_of(None))


def test_a_hidden_parameter_is_found() -> None:
    """The name of the parameter as an escape: whoever looks at the text alone sees no witness."""
    log = log_of(rule(1, "w1")).replace(b'"witness":', b'"\\u0077itness":')
    assert not may_need_witnesses(log)
    refused(log, None)


def test_a_bare_multikey_names_the_same_witness() -> None:
    def bare(entry: dict[str, Any]) -> None:
        for witness in entry["parameters"]["witness"]["witnesses"]:
            witness["id"] = witness["id"].removeprefix("did:key:")

    log = remade(log_of(rule(1, "w1")), 1, bare, "0")
    assert verify_log(log, witness=approve(None, log, 0, "w1"), now_ms=LATER)

    def twice(entry: dict[str, Any]) -> None:
        one = entry["parameters"]["witness"]["witnesses"][0]["id"]
        entry["parameters"]["witness"]["witnesses"].append({"id": one.removeprefix("did:key:")})

    with pytest.raises(DIDError, match="did.webvh.parameters"):
        verify_log(remade(log, 1, twice, "0"), now_ms=LATER)


@pytest.mark.parametrize(
    "file",
    [b"", b"{}", b"[1]", b"[{}]", b'[{"versionId":1}]', b"[" * 100_000, b"\xff", b" " * (2 << 20),
     b'[{"versionId":"x","proof":[' + b"0," * 5000 + b"0]}]", b'[{"versionId":"","versionId":""}]'],
)  # fmt: skip
def test_files_that_are_none(file: bytes) -> None:
    refused(log_of(rule(1, "w1")), file)


def test_many_proofs_are_bounded() -> None:
    records = [{"versionId": "x", "proof": [0] * 600}] * 7
    with pytest.raises(DIDError, match="over 4096 proofs"):
        read_witness_file(json.dumps(records).encode())


def test_the_file_keeps_what_is_needed() -> None:
    log = log_of(rule(1, "w1", "w2"), None, None)
    lines, file = log.splitlines(), None
    for number, line in enumerate(lines):
        file = approve(file, line, number, "w1", "w2")
    assert file is not None
    kept = {one["versionId"]: len(one["proof"]) for one in json.loads(file)}
    ids = [one["versionId"] for one in entries(log)]
    # Of each witness the proof of the last published version, and that of the one to come.
    assert kept == {ids[1]: 2, ids[2]: 2}
    proof = witness_proof(ids[0], signer("w1"), now_ms=T)
    with pytest.raises(DIDError, match="did.webvh.proof"):
        add_witness_proof(file, ids[1], proof, published=3)
    with pytest.raises(DIDError, match="did.webvh.version_id"):
        witness_proof("1", signer("w1"), now_ms=T)


def test_how_far_approvals_reach() -> None:
    two, one, none = WitnessRule(2, ("a", "b", "c")), WitnessRule(1, ("c",)), WitnessRule()
    rules = [none, two, two, one, none, none]
    assert approved(rules, {}) == 1
    assert approved(rules, {"a": 3}) == 1
    assert approved(rules, {"a": 3, "b": 2}) == 2
    assert approved(rules, {"a": 3, "b": 3}) == 3
    assert approved(rules, {"a": 3, "b": 3, "c": 4}) == 6
    assert approved(rules, {"c": 4}, first=4) == 6
    assert approved(rules, {}, first=5) == 6
