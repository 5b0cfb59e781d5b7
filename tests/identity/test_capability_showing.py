"""Showing a capability: proof of possession, the owner's key at that moment, and withdrawing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.ack import read_ack
from depin_id.capability import (
    KIND,
    Capability,
    Grant,
    Operation,
    Selector,
    StatusReference,
    issue,
    read_chain,
    uri_hash,
)
from depin_id.credentials.status import StatusList, issue_bitstring
from depin_id.did.key import did_key
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.statements import write_statement
from depin_id.testing import NOW
from tests.identity.delegated import (
    OTHER,
    OTHER_DID,
    OTHER_PARTY,
    OWNER,
    OWNER_DID,
    SIGN_FOR,
    SUBJECT,
    chain,
    claimed,
    done,
    longer,
    nonce_for,
    pack,
    shown,
    signer,
    sound,
)
from tests.identity.factory import Plant, refused
from verify.identity.authority import authorised

AGENT = signer("agent")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def _add(net: Plant, data: bytes, proof: bytes) -> dict[str, object]:
    return done(net, "capability", chain=data.hex(), proof=proof.hex())


def test_shown_with_proof_then_used(net: Plant) -> None:
    gateway = net.gateway()
    data = chain(net, gateway, max_count=5)
    answer = _add(net, data, shown(net, gateway.signer, data))
    cap = bytes.fromhex(str(answer["id"]))
    assert answer["holder"] == gateway.did and answer["changed"]
    assert net.codes(gateway, pack(gateway, cap)) == ["accepted"]
    assert not _add(net, data, shown(net, gateway.signer, data))["changed"]
    (listed,) = done(net, "capabilities")["capabilities"]
    assert (listed["used"], listed["standing"], listed["issuer"]) == (1, "good", OWNER_DID)
    sound(net)


def test_proof_of_possession_is_of_this_key_once_and_here(net: Plant) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    data, other = chain(net, one), chain(net, one, max_count=9)
    proof = shown(net, one.signer, data)
    refused("possession.capability", lambda: _add(net, other, proof))
    elsewhere = shown(net, one.signer, data, audience="did:example:elsewhere")
    refused("possession.audience", lambda: _add(net, data, elsewhere))
    refused(
        "possession.purpose", lambda: _add(net, data, shown(net, one.signer, data, "read-data"))
    )
    theirs = shown(net, one.signer, data, nonce=nonce_for(net, two.key))
    refused("possession.challenge", lambda: _add(net, data, theirs))
    _add(net, data, proof)
    replayed = shown(net, one.signer, other, nonce=_nonce_of(proof))
    refused("possession.replayed", lambda: _add(net, other, replayed))
    net.reopen()
    refused("possession.replayed", lambda: _add(net, other, replayed))
    late = shown(net, one.signer, other)
    net.advance(2000)
    refused("capability.expired", lambda: _add(net, other, late))
    patient = chain(net, one, expires=NOW + 10_000_000)
    late = shown(net, one.signer, patient)
    net.advance(2000)
    refused("possession.expired", lambda: _add(net, patient, late))
    assert len(net.fold.identity.capabilities) == 1
    sound(net)


def _nonce_of(proof: bytes) -> bytes:
    payload = cbor.decode(proof)
    value: bytes = cbor.decode(payload.value[2])[2]
    return value


def test_whose_capability_it_is(net: Plant) -> None:
    gateway, device = net.gateway(), net.device()
    stolen = chain(net, gateway, by=OTHER, issuer=OWNER_DID)
    refused("capability.signer", lambda: _add(net, stolen, shown(net, gateway.signer, stolen)))
    unknown = chain(net, gateway, issuer="did:webvh:Qmscid:example.com")
    refused("issuer.unknown", lambda: _add(net, unknown, shown(net, gateway.signer, unknown)))
    held = chain(net, device)
    refused("delegation.holder", lambda: _add(net, held, shown(net, device.signer, held)))
    nobody = issue(
        Grant(AGENT.public_key, Selector.owned(), SIGN_FOR, NOW + 9, issuer=OWNER_DID),
        signer=OWNER,
        network=net.did,
    )
    refused("delegation.holder", lambda: _add(net, nobody, shown(net, AGENT, nobody)))
    reading = chain(net, gateway, operations=frozenset((Operation.READ_DATA,)))
    refused("delegation.operation", lambda: _add(net, reading, shown(net, gateway.signer, reading)))
    foreign = issue(
        Grant(gateway.key, Selector.owned(), SIGN_FOR, NOW + 9, issuer=OWNER_DID),
        signer=OWNER,
        network=OTHER_DID,
    )
    refused("signature.invalid", lambda: _add(net, foreign, shown(net, gateway.signer, foreign)))
    assert not net.fold.identity.capabilities
    sound(net)


def test_the_owners_key_is_the_one_that_counts_now(net: Plant) -> None:
    did, gateway = "did:webvh:Qmscid:example.com", net.gateway()
    first, second = signer("first"), signer("second")
    ms = NOW * 1000
    net.history(
        did,
        (f"{did}#1", first.public_key, 0, ms + 5000),
        (f"{did}#2", second.public_key, ms + 5000, None),
    )
    old = chain(net, gateway, by=first, issuer=did)
    answer = _add(net, old, shown(net, gateway.signer, old))
    net.advance(10)
    late = chain(net, gateway, by=first, issuer=did, max_count=7)
    refused("issuer.key", lambda: _add(net, late, shown(net, gateway.signer, late)))
    fresh = chain(net, gateway, by=second, issuer=did)
    _add(net, fresh, shown(net, gateway.signer, fresh))
    # What was taken while its key counted goes on.
    cap = bytes.fromhex(str(answer["id"]))
    assert net.codes(gateway, pack(gateway, cap, f"{did}#lobby")) == ["accepted"]
    sound(net)


def test_a_delegate_cannot_widen_what_it_has(net: Plant) -> None:
    one, two = net.gateway("one"), net.gateway("two")
    data = chain(net, one, max_count=5, selector=Selector.devices(SUBJECT))
    wider: list[dict[str, Any]] = [
        {"max_count": 6},
        {"selector": Selector.owned()},
        {"expires": NOW + 9999},
    ]
    for less in wider:
        with pytest.raises(CredentialError):
            longer(net, data, one, two, **less)
    wide = _widened(net, data, one.signer, two.key)
    refused("capability.wider_count", lambda: _add(net, wide, b""))
    narrow = longer(net, data, one, two, max_count=2)
    _add(net, narrow, shown(net, two.signer, narrow))


def _widened(net: Plant, data: bytes, by: SoftwareSigner, audience: PublicKey) -> bytes:
    """What a delegate would make who does not keep to the rules: no limit of uses any more."""
    last = read_chain(data)[-1]
    grant = replace(
        last.grant, issuer=None, parent=last.digest, depth=1, audience=audience, max_count=None
    )
    headers = {cose.HEADER_KID: by.public_key.kid}
    block = cose.sign1(headers, grant.encode(), kind=KIND, network=net.did, signer=by)
    return cbor.encode([*cbor.decode(data), block])


def test_what_has_expired_is_forgotten_when_another_is_shown(net: Plant) -> None:
    gateway, other = net.gateway(), net.gateway("other")
    old, fresh = chain(net, gateway, expires=NOW + 5), chain(net, gateway, expires=NOW + 10**7)
    theirs = chain(net, other, expires=NOW + 5)
    for device, data in ((gateway, old), (other, theirs)):
        _add(net, data, shown(net, device.signer, data))
    net.advance(6 * 86_400)
    _add(net, fresh, shown(net, gateway.signer, fresh))
    assert len(net.fold.identity.capabilities) == 3
    net.advance(2 * 86_400)
    _add(net, more := chain(net, gateway, expires=NOW + 10**6), shown(net, gateway.signer, more))
    found = {data for _, data in net.fold.identity.capabilities.values()}
    assert found == {fresh, more, theirs}
    sound(net)


def test_withdrawn_by_the_operator_and_never_taken_again(net: Plant) -> None:
    gateway = net.gateway()
    data = chain(net, gateway)
    cap = str(_add(net, data, shown(net, gateway.signer, data))["id"])
    assert done(net, "capability-withdraw", id=cap, reason="sold")["changed"]
    assert not done(net, "capability-withdraw", id=cap)["changed"]
    assert net.codes(gateway, pack(gateway, bytes.fromhex(cap))) == ["capability.withdrawn"]
    refused("capability.withdrawn", lambda: _add(net, data, shown(net, gateway.signer, data)))
    child = longer(net, data, gateway, net.gateway("two"))
    refused("capability.withdrawn", lambda: _add(net, child, b""))
    assert done(net, "capabilities")["capabilities"][0]["standing"] == "capability.withdrawn"
    refused("admin.request", lambda: done(net, "capability-withdraw", id="00"))
    sound(net)


def test_withdrawn_by_a_status_list(net: Plant) -> None:
    gateway = net.gateway()
    url = "https://example.org/status/owner"
    data = chain(net, gateway, status=StatusReference(uri_hash(url), 7))
    refused("capability.undecided", lambda: _add(net, data, shown(net, gateway.signer, data)))
    net.status(_list(url), url)
    cap = bytes.fromhex(str(_add(net, data, shown(net, gateway.signer, data))["id"]))
    assert net.codes(gateway, pack(gateway, cap)) == ["accepted"]
    net.advance(60)
    net.status(_list(url, 7, at_s=NOW + 60), url)
    assert net.codes(gateway, pack(gateway, cap, at=NOW + 1)) == ["capability.withdrawn"]
    sound(net)


def test_a_status_list_that_is_too_old_decides_nothing(net: Plant) -> None:
    gateway = net.gateway()
    url = "https://example.org/status/owner"
    data = chain(net, gateway, status=StatusReference(uri_hash(url), 7), expires=NOW + 10**7)
    net.status(_list(url), url)
    cap = bytes.fromhex(str(_add(net, data, shown(net, gateway.signer, data))["id"]))
    net.advance(8 * 86_400)
    at = NOW + 8 * 86_400
    assert net.codes(gateway, pack(gateway, cap, at=at)) == ["capability.undecided"]
    sound(net)


def _list(url: str, *revoked: int, at_s: int = NOW) -> bytes:
    packed = bytearray(16_384)
    for index in revoked:
        packed[index // 8] |= 0x80 >> index % 8
    return issue_bitstring(
        StatusList(bytes(packed)),
        uri=url,
        purpose="revocation",
        issuer=OWNER_DID,
        signer=OWNER,
        verification_method=f"{OWNER_DID}#{OWNER_DID[8:]}",
        now_ms=at_s * 1000,
    )


def _agents(
    net: Plant, *operations: Operation, by: SoftwareSigner = OWNER, selector: Selector | None = None
) -> bytes:
    """The owner lets his agent do something with all that is his, or with what is selected."""
    grant = Grant(
        audience=AGENT.public_key,
        selector=selector or Selector.owned(),
        operations=frozenset(operations),
        expires=NOW + 1000,
        issuer=did_key(by.public_key),
    )
    return issue(grant, signer=by, network=net.did)


def test_an_agent_may_do_with_a_device_what_its_owner_lets_it(net: Plant) -> None:
    device = claimed(net)
    data = _agents(net, Operation.READ_DATA)

    def ask(operation: Operation, did: str = device.did, chain: bytes = data) -> Capability:
        proof = shown(net, AGENT, chain, operation.word)
        return authorised(
            net.fold, chain, proof, operation=operation, device=did, now=net.now_ms
        ).capability

    assert ask(Operation.READ_DATA).issuer == OWNER_DID
    refused("capability.operation", lambda: ask(Operation.CLAIM_REWARDS))
    theirs = claimed(net, "theirs", owner=OTHER_PARTY)
    refused("capability.device", lambda: ask(Operation.READ_DATA, theirs.did))
    foreign = _agents(net, Operation.READ_DATA, by=OTHER)
    refused("capability.device", lambda: ask(Operation.READ_DATA, chain=foreign))
    named = _agents(net, Operation.READ_DATA, by=OTHER, selector=Selector.devices(device.did))
    refused("capability.device", lambda: ask(Operation.READ_DATA, chain=named))
    models = _agents(net, Operation.READ_DATA, selector=Selector.models("Meter 3"))
    ask(Operation.READ_DATA, chain=models)
    others = _agents(net, Operation.READ_DATA, selector=Selector.models("Meter 4"))
    refused("capability.device", lambda: ask(Operation.READ_DATA, chain=others))
    wrong = shown(net, AGENT, data, "administer")
    refused(
        "possession.purpose",
        lambda: authorised(
            net.fold,
            data,
            wrong,
            operation=Operation.READ_DATA,
            device=device.did,
            now=net.now_ms,
        ),
    )


def test_a_gateway_shows_by_its_uplink_and_an_owners_agent_withdraws(net: Plant) -> None:
    gateway = net.gateway()
    data = chain(net, gateway)
    statement = write_statement("capability", data, shown(net, gateway.signer, data))
    downlinks = net.say(gateway, statement)
    assert net.result(gateway, downlinks, statement) == "accepted"
    (cap,) = net.fold.identity.capabilities
    alien = _agents(net, Operation.ADMINISTER, by=OTHER)
    proof = shown(net, AGENT, alien, f"withdraw {cap.hex()}")
    assert _said(net, write_statement("withdraw", alien, proof, cap)) == "delegation.issuer"
    weak = _agents(net, Operation.READ_DATA)
    proof = shown(net, AGENT, weak, f"withdraw {cap.hex()}")
    assert _said(net, write_statement("withdraw", weak, proof, cap)) == "delegation.operation"
    mine = _agents(net, Operation.ADMINISTER)
    other = shown(net, AGENT, mine, f"withdraw {bytes(16).hex()}")
    assert _said(net, write_statement("withdraw", mine, other, cap)) == "possession.purpose"
    proof = shown(net, AGENT, mine, f"withdraw {cap.hex()}")
    assert _said(net, write_statement("withdraw", mine, proof, cap)) == "accepted"
    assert net.codes(gateway, pack(gateway, cap)) == ["capability.withdrawn"]
    for odd in ((b"",), (b"", b""), (b"\x80", b""), (data,), (data, b"\x00")):
        assert _said(net, write_statement("capability", *odd), gateway.key) != "accepted"
    sound(net)


def _said(net: Plant, statement: bytes, by: PublicKey = AGENT.public_key) -> str:
    """What the one who asked is told; "" when nothing is."""
    codes: list[str] = []
    for downlink in net.ingest(net.message(by.kid.hex(), statement))[1]:
        ack = read_ack(downlink.data, card=net.card, recipient=by.thumbprint)
        codes += [item.code for item in ack.items]
    return codes[0] if codes else ""
