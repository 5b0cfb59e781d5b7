"""A retired key, brought back by what its thief writes: another DID URL, an earlier date."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depin_id.commands.identity import list_keys
from depin_id.credentials.status import StatusList, StatusStore, issue_bitstring, issue_token
from depin_id.data_integrity import make_proof
from depin_id.did import Resolver
from depin_id.did.webvh import create, document_template, make_document, rotate
from depin_id.errors import CredentialError, DepinError, DIDError
from tests.webvh.author import DAY, PLACE, T, history_of, signer

OLD = signer("retired")
FIRST = create(
    PLACE, signer("u"), now_ms=T, document=document_template(PLACE, {"old": OLD.public_key})
)
HISTORY = history_of(FIRST)
DID = HISTORY.did
LOG = FIRST + rotate(
    HISTORY,
    signer("u"),
    now_ms=T + DAY,
    document=make_document(DID, {"new": signer("new").public_key}),
)
NOW = T + 2 * DAY
URI = "https://example.com/status/1"
RESOLVER = Resolver(files={DID: {"did.jsonl": LOG}}, now_ms=lambda: NOW)
BEFORE = (
    f"?versionId={HISTORY.last.version_id}",
    "?versionNumber=1",
    "?versionTime=2026-09-21T22:00:00Z",
)


def code_of(data: bytes) -> str:
    held = StatusStore(key_of=list_keys(RESOLVER))
    with pytest.raises(DepinError) as caught:
        held.add(data, issuer=DID)
    return caught.value.code


def bitstring(method: str, created: str | None) -> bytes:
    """A list by the retired key, its proof dated as it likes."""
    data = issue_bitstring(
        StatusList(bytes(1 << 14)),
        uri=URI,
        purpose="revocation",
        issuer=DID,
        signer=OLD,
        verification_method=f"{DID}#old",
        now_ms=T,
    )
    document: dict[str, Any] = json.loads(data)
    del document["proof"]
    proof = make_proof(
        document, OLD, verification_method=method, purpose="assertionMethod", created=created
    )
    return json.dumps(document | {"proof": proof}).encode()


def token(kid: str) -> bytes:
    """A token by the retired key, with any key id."""
    from depin_id import cbor, cose
    from depin_id.credentials.status.bits import deflate

    claims = {1: DID, 2: URI, 6: NOW // 1000, 65533: {"bits": 1, "lst": deflate(bytes(1 << 14))}}
    headers = {1: OLD.public_key.algorithm, 4: kid.encode(), 16: "application/statuslist+cwt"}
    protected, payload = cbor.encode(headers), cbor.encode(claims)
    signature = OLD.sign(cose.sig_structure(protected, b"", payload))
    return cose.assemble(protected, payload, signature)


@pytest.mark.parametrize("query", BEFORE)
def test_who_signs_does_not_say_which_version_of_his_keys_counts(query: str) -> None:
    method = f"{DID}{query}#old"
    # The version is there, and may be looked at.
    found = RESOLVER.dereference(method, relationship="assertionMethod")
    assert found.error is None
    with pytest.raises(DIDError, match="has a path or a query") as caught:
        RESOLVER.key(method)
    assert caught.value.code == "did.verification_method"
    assert RESOLVER.key(f"{DID}#old", version_time=T) == OLD.public_key
    for created in (None, "2026-09-21T22:00:00Z"):
        assert code_of(bitstring(method, created)) == "status.issuer"
    assert code_of(token(method)) == "status.issuer"
    with pytest.raises(CredentialError, match="is no key of the issuer"):
        issue_token(
            StatusList(bytes(8)),
            uri=URI,
            signer=OLD,
            now_ms=NOW,
            issuer=DID,
            verification_method=method,
        )


def test_a_retired_key_signs_no_list_whatever_date_it_has() -> None:
    for created in (None, "2026-09-21T22:00:00Z", "2026-09-22T10:00:00Z"):
        assert code_of(bitstring(f"{DID}#old", created)) == "did.verification_method"
    assert code_of(token(f"{DID}#old")) == "did.verification_method"


def test_good_versions_of_a_log_that_ends_badly_are_found_by_name() -> None:
    third = rotate(history_of(LOG), signer("u"), now_ms=T + 2 * DAY)
    served = {DID: {"did.jsonl": LOG + third.replace(b"assertionMethod", b"assertionNothing")}}
    resolver = Resolver(files=served, now_ms=lambda: T + 3 * DAY)
    second = history_of(LOG).last
    for _ in range(2):
        assert resolver.resolve(DID).resolution_metadata["code"] == "did.webvh.entry_hash"
        for options in ({"version_number": 1}, {"version_id": HISTORY.last.version_id}):
            found = resolver.resolve(DID, **options)
            assert found.document_metadata["nextVersionId"] == second.version_id
        assert resolver.resolve(DID, version_id=second.version_id).error is None
        # By time only where it is known until when the version held.
        assert resolver.resolve(DID, version_time=T).document_metadata["versionNumber"] == 1
        for wrong in ({"version_time": T + DAY}, {"version_number": 3}, {"version_id": "x"}):
            assert resolver.resolve(DID, **wrong).error == "invalidDid"
        assert resolver.key(f"{DID}#old", version_time=T) == OLD.public_key
        with pytest.raises(DIDError, match="entry_hash"):
            resolver.key(f"{DID}#new")
    # What was good stays: a log that goes on from it is taken, another is not.
    served[DID] = {"did.jsonl": FIRST}
    assert resolver.resolve(DID, no_cache=True).resolution_metadata["code"] == "did.log_rolled_back"
    assert resolver.resolve(DID, version_number=1, no_cache=True).error is not None
    served[DID] = {"did.jsonl": LOG + third}
    assert resolver.resolve(DID, no_cache=True).document_metadata["versionNumber"] == 3
