"""Chains of capabilities: what holds, and each refusal with a chain that breaks just it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.capability import (
    KIND,
    MAX_BYTES,
    Box,
    Capability,
    CapabilityVerifier,
    Operation,
    Selector,
    StatusReference,
    attenuate,
    issue,
    no_list,
    read_chain,
    uri_hash,
)
from depin_id.claims import Place
from depin_id.did.key import did_key
from depin_id.errors import DepinError
from depin_id.keys import SoftwareSigner
from tests.capability.world import (
    AGENT,
    ALL,
    BOX,
    DEVICE,
    GATEWAY,
    NETWORK,
    NOW,
    NOW_MS,
    OTHER,
    OTHER_DID,
    OWNER,
    OWNER_DID,
    ROOT,
    Said,
    forged,
    longer,
    owner_key,
    root,
    signer,
    verify,
)
from tests.status.world import NOW_MS as LIST_MS
from tests.status.world import URI, bitstring
from tests.status.world import store as status_store

SIGN, READ = Operation.SIGN_FOR, Operation.READ_DATA
INSIDE = Place(500, 500)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(DepinError) as caught:
        action()
    return caught.value.code


def permits(capability: Capability, **changes: Any) -> bool:
    usual: dict[str, Any] = {
        "operation": SIGN,
        "subject": DEVICE,
        "place": INSIDE,
        "at_ms": NOW_MS,
        "owner": OWNER_DID,
    }
    return capability.permits(**(usual | changes))


def test_one_block() -> None:
    data = root()
    found = verify(data)
    assert found.issuer == OWNER_DID and found.ids == (found.id,) and len(found.id) == 16
    assert found.audience_thumbprint == GATEWAY.public_key.thumbprint
    assert (found.max_count, found.rate_per_minute, found.burst) == (100, 60, 10)
    assert (found.not_before_ms, found.expires_ms) == ((NOW - 1000) * 1000, (NOW + 1000) * 1000)
    assert found.operations == {SIGN, READ} and found.depth == 2
    assert found.selector == ROOT.selector and found.region == (BOX,)
    assert permits(found)


def test_a_longer_chain_is_the_least_of_its_blocks() -> None:
    data = longer(root(), max_count=7, rate=(30, 10), expires=NOW + 500)
    found = verify(data)
    assert (found.max_count, found.rate_per_minute, found.burst) == (7, 30, 10)
    assert found.expires_ms == (NOW + 500) * 1000 and found.depth == 1
    assert found.audience == AGENT.public_key and found.issuer == OWNER_DID
    whole = verify(root())
    assert found.ids == (whole.id, found.id)
    assert [budget.max_count for budget in found.budgets] == [100, 7]
    assert [budget.id for budget in found.budgets] == list(found.ids)


def test_four_blocks_and_no_more() -> None:
    data = root(depth=3)
    for who, following in ((GATEWAY, AGENT), (AGENT, OTHER), (OTHER, AGENT)):
        data = attenuate(data, signer=who, network=NETWORK, audience=following.public_key)
    assert len(data) <= MAX_BYTES and len(verify(data).ids) == 4
    assert code_of(lambda: forged(data, AGENT)) == "capability.malformed"
    parts = cbor.decode(data)
    assert code_of(lambda: verify(cbor.encode([*parts, parts[-1]]))) == "capability.malformed"
    assert code_of(
        lambda: attenuate(data, signer=AGENT, network=NETWORK, audience=OTHER.public_key)
    ) == ("capability.wider_depth")


def test_keys_of_secure_elements() -> None:
    """An owner and a gateway with P-256, an agent with Ed25519."""
    owner, gateway = (SoftwareSigner("p256", signer(name).secret) for name in ("o", "g"))
    issuer = did_key(owner.public_key)
    grant = replace(ROOT, issuer=issuer, audience=gateway.public_key, selector=Selector.owned())
    data = attenuate(
        issue(grant, signer=owner, network=NETWORK),
        signer=gateway,
        network=NETWORK,
        audience=AGENT.public_key,
    )
    assert verify(data).issuer == issuer


WIDER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "selector": ({}, {"selector": Selector.owned()}),
    "selector, another device": ({}, {"selector": Selector.devices(OTHER_DID)}),
    "selector, the DID itself": ({}, {"selector": Selector.devices(OWNER_DID)}),
    "selector, a DID that begins alike": (
        {"selector": Selector.devices("did:web:example.com#*")},
        {"selector": Selector.devices("did:web:example.com:more#a")},
    ),
    "selector, any fragment": (
        {"selector": Selector.devices(f"{DEVICE}#a")},
        {"selector": Selector.devices(f"{DEVICE}#*")},
    ),
    "selector, models": (
        {"selector": Selector.models("noise-1")},
        {"selector": Selector.models("noise-1", "noise-2")},
    ),
    "selector, owner of models": (
        {"selector": Selector.models("noise-1")},
        {"selector": Selector.owned()},
    ),
    "operations": ({}, {"operations": ALL}),
    "count": ({}, {"max_count": 101}),
    "count, none": ({}, {"max_count": None}),
    "rate": ({}, {"rate": (61, 10)}),
    "rate, burst": ({}, {"rate": (60, 11)}),
    "rate, none": ({}, {"rate": None}),
    "region": ({}, {"region": (Box(0, 0, 1001, 1000),)}),
    "region, everywhere": ({}, {"region": ()}),
    "region, one more": ({}, {"region": (BOX, Box(5000, 5000, 6000, 6000))}),
    "region, over two": (
        {"region": (Box(0, 0, 10, 10), Box(0, 10, 10, 20))},
        {"region": (Box(0, 5, 10, 15),)},
    ),
    "not_before": ({}, {"not_before": NOW - 1001}),
    "not_before, none": ({}, {"not_before": None}),
    "expiry": ({}, {"expires": NOW + 1001}),
    "depth": ({}, {"depth": 2}),
    "depth, none left": ({"depth": 0}, {"depth": 0}),
}


@pytest.mark.parametrize("name", WIDER)
def test_a_delegate_does_not_widen(name: str) -> None:
    """Neither by the rules (attenuate refuses) nor by signing a block of its own."""
    before, wider = WIDER[name]
    data, code = root(**before), "capability.wider_" + name.split(",")[0]
    assert code_of(lambda: longer(data, **wider)) == code
    assert code_of(lambda: verify(forged(data, **wider))) == code


def test_what_is_as_wide_is_within() -> None:
    assert verify(forged(root())).depth == 1
    narrower = longer(root(), selector=Selector.devices(f"{OWNER_DID}#roof"), operations={READ})
    assert permits(verify(narrower), subject=f"{OWNER_DID}#roof", operation=READ, owner=None)
    assert not permits(verify(narrower))


def test_the_joints_of_a_chain() -> None:
    """Blocks of two chains of the same owner and gateway cannot be joined."""
    broad, narrow = root(max_count=None, rate=None), root(max_count=1)
    spliced = cbor.encode([cbor.decode(broad)[0], cbor.decode(longer(narrow))[1]])
    assert code_of(lambda: verify(spliced)) == "capability.parent"
    own = longer(root())
    middle_out = attenuate(own, signer=AGENT, network=NETWORK, audience=OTHER.public_key)
    parts = cbor.decode(middle_out)
    assert code_of(lambda: verify(cbor.encode([parts[0], parts[2]]))) == "capability.parent"
    assert code_of(lambda: verify(cbor.encode(parts[1:]))) == "capability.malformed"
    assert code_of(lambda: verify(cbor.encode([parts[0], parts[0]]))) == "capability.parent"


def test_who_signs() -> None:
    data = root()
    assert code_of(
        lambda: attenuate(data, signer=OTHER, network=NETWORK, audience=AGENT.public_key)
    ) == ("capability.signer")
    assert code_of(lambda: verify(forged(data, OTHER))) == "capability.signer"
    not_the_owner = issue(ROOT, signer=OTHER, network=NETWORK)
    assert code_of(lambda: verify(not_the_owner)) == "capability.signer"
    assert code_of(lambda: verify(data, owner_key=lambda _: OTHER.public_key)) == (
        "capability.signer"
    )
    # A key id that is the owner's does not make it the owner's signature.
    headers = {cose.HEADER_KID: OWNER.public_key.kid}
    block = cose.sign1(headers, ROOT.encode(), kind=KIND, network=NETWORK, signer=OTHER)
    assert code_of(lambda: verify(cbor.encode([block]))) == "signature.invalid"


def test_other_networks_and_other_objects() -> None:
    elsewhere = issue(ROOT, signer=OWNER, network=OTHER_DID)
    assert code_of(lambda: verify(elsewhere)) == "signature.invalid"
    assert code_of(lambda: verify(root(), network=OTHER_DID)) == "signature.invalid"
    headers = {cose.HEADER_KID: OWNER.public_key.kid}
    block = cose.sign1(headers, ROOT.encode(), kind="envelope", network=NETWORK, signer=OWNER)
    assert code_of(lambda: verify(cbor.encode([block]))) == "signature.invalid"


def test_a_changed_byte_anywhere() -> None:
    data = longer(root())
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(DepinError):
            verify(bytes(changed))


def test_time() -> None:
    data = root()
    assert code_of(lambda: verify(data, now_ms=(NOW - 1000) * 1000 - 1)) == "capability.not_yet"
    assert code_of(lambda: verify(data, now_ms=(NOW + 1000) * 1000)) == "capability.expired"
    found = verify(data)
    reasons = {
        found.refusal(SIGN, DEVICE, place=INSIDE, at_ms=at, owner=OWNER_DID)
        for at in (0, NOW_MS, (NOW + 1000) * 1000)
    }
    assert reasons == {"capability.not_yet", "", "capability.expired"}


def test_what_is_permitted() -> None:
    found = verify(root())
    assert permits(found, subject=f"{OWNER_DID}#kitchen", owner=None)
    refusals: dict[str, dict[str, Any]] = {
        "capability.operation": {"operation": Operation.ADMINISTER},
        "capability.region": {"place": Place(1001, 0)},
        "capability.device": {"subject": OTHER_DID},
    }
    for code, changes in refusals.items():
        usual: dict[str, Any] = {
            "operation": SIGN,
            "subject": DEVICE,
            "place": INSIDE,
            "at_ms": NOW_MS,
            "owner": OWNER_DID,
        }
        assert found.refusal(**(usual | changes)) == code
    assert not permits(found, place=None)
    assert permits(verify(root(region=())), place=None)
    assert permits(found, place=Place(0, 0)) and permits(found, place=Place(1000, 1000))


def test_nobody_grants_what_is_not_theirs() -> None:
    """A stranger signs a good capability for somebody else's device."""
    found = verify(root())
    assert not permits(found, owner=OTHER_DID)
    assert not permits(found, owner=None)
    owned = verify(root(selector=Selector.owned()))
    assert permits(owned) and not permits(owned, owner=OTHER_DID)
    assert permits(owned, subject=OWNER_DID, owner=None)
    models = verify(root(selector=Selector.models("noise-1")))
    assert permits(models, model="noise-1")
    assert not permits(models, model="noise-2") and not permits(models)
    assert not permits(models, model="noise-1", owner=OTHER_DID)
    # Devices named by a delegate under a parent of models: both blocks are asked.
    named = verify(
        longer(root(selector=Selector.models("noise-1")), selector=Selector.devices(DEVICE))
    )
    assert permits(named, model="noise-1") and not permits(named, model="noise-2")


LIST = uri_hash("https://example.com/status/1")


def test_every_block_may_be_revoked_by_its_signer() -> None:
    data = root(status=StatusReference(LIST, 5))
    chain = longer(data, status=StatusReference(LIST, 6))
    said = Said("valid")
    verify(chain, revoked=said)
    assert said.asked == [
        StatusReference(LIST, 5, OWNER_DID),
        StatusReference(LIST, 6, did_key(GATEWAY.public_key)),
    ]
    assert code_of(lambda: verify(chain, revoked=Said("revoked"))) == "capability.revoked"
    assert code_of(lambda: verify(data, revoked=Said("suspended"))) == "capability.suspended"
    assert code_of(lambda: verify(data, revoked=no_list)) == "capability.undecided"
    fresh = status_store(bitstring(who=OWNER), max_age_ms=1000)
    at = LIST_MS + 1000
    named = root(status=StatusReference(uri_hash(URI), 5))
    verify(named, revoked=fresh.revoked(now_ms=at), now_ms=at)
    stale = fresh.revoked(now_ms=at + 1)
    assert code_of(lambda: verify(named, revoked=stale, now_ms=at)) == "capability.undecided"
    asked = Said("revoked")
    verify(root(), revoked=asked)
    assert not asked.asked
    # A parent's status is asked although the last block names none.
    assert code_of(lambda: verify(longer(data), revoked=Said("revoked"))) == "capability.revoked"


def test_sizes() -> None:
    names = [f"did:web:example.com:{'a' * 200}:{index}" for index in range(16)]
    many = {"selector": Selector.devices(*names)}
    assert code_of(lambda: root(**many)) == "capability.too_large"
    assert code_of(lambda: verify(bytes(MAX_BYTES + 1))) == "capability.too_large"
    assert len(root()) < 360


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x81\x01", cbor.encode([b"", b""]), cbor.encode({}), b"\x9f\xff"],
)
def test_what_is_no_chain(data: bytes) -> None:
    with pytest.raises(DepinError):
        verify(data)


def test_headers_are_exact() -> None:
    key = OWNER.public_key
    for headers in ({}, {cose.HEADER_KID: key.kid, 3: "application/cwt"}):
        block = cose.sign1(headers, ROOT.encode(), kind=KIND, network=NETWORK, signer=OWNER)
        assert code_of(partial(verify, cbor.encode([block]))) == "capability.malformed"


def test_what_is_not_attenuated() -> None:
    assert code_of(lambda: longer(root(), colour="red")) == "capability.malformed"
    assert code_of(lambda: longer(root(), issuer=OTHER_DID)) == "capability.malformed"
    child = read_chain(longer(root()))[1].grant
    assert code_of(lambda: issue(child, signer=GATEWAY, network=NETWORK)) == (
        "capability.malformed"
    )


def test_verdicts_are_kept_and_time_goes_on() -> None:
    keys = {OWNER_DID: OWNER.public_key}
    asked: list[str] = []

    def key_of(issuer: str) -> Any:
        asked.append(issuer)
        return keys[issuer]

    said = Said("valid")
    verifier = CapabilityVerifier(network=NETWORK, owner_key=key_of, revoked=said, cached=2)
    data = root(status=StatusReference(LIST, 5))
    first = verifier.verify(data, now_ms=NOW_MS)
    assert verifier.verify(data, now_ms=NOW_MS) is first and len(said.asked) == 2
    said.state = "revoked"
    assert code_of(lambda: verifier.verify(data, now_ms=NOW_MS)) == "capability.revoked"
    said.state = "valid"
    late = (NOW + 1000) * 1000
    assert code_of(lambda: verifier.verify(data, now_ms=late)) == "capability.expired"
    # The owner's key was rotated: the verdict made with the old one is good no more.
    keys[OWNER_DID] = OTHER.public_key
    assert code_of(lambda: verifier.verify(data, now_ms=NOW_MS)) == "capability.signer"
    assert len(verifier) == 0
    keys[OWNER_DID] = OWNER.public_key
    for count in (1, 2, 3):
        verifier.verify(root(max_count=count), now_ms=NOW_MS)
    assert len(verifier) == 2
    assert code_of(lambda: verifier.verify(bytes(9999), now_ms=NOW_MS)) == "capability.too_large"
    with pytest.raises(DepinError):
        verifier.verify(b"\x80", now_ms=NOW_MS)
    assert len(verifier) == 2 and owner_key(OWNER_DID) == OWNER.public_key
