"""Claims: the code's key and the owner's key, for one device at one network."""

from __future__ import annotations

from typing import Any

import pytest

from depin_id import cbor
from depin_id.cose import parse_sign1, sign1
from depin_id.errors import CredentialError, DepinError, DIDError, SignatureInvalid
from depin_id.keys import PublicKey
from depin_id.owners import ClaimCode, Party, make_claim, read_claim
from depin_id.owners.twofold import seal_inner, seal_outer
from tests.owners.people import CODE, NETWORK, NONCE, NOW, WALLETS, bind, party, signer

DEVICE = party("device").did
DIGEST = CODE.digest(DEVICE)
OTHER_NETWORK = party("another network").did


def claim(owner: Party | None = None, **change: Any) -> bytes:
    about: dict[str, Any] = {"device": DEVICE, "network": NETWORK, "nonce": NONCE, "now": NOW}
    code = change.pop("code", CODE)
    return make_claim(code, owner=owner or party("owner"), **{**about, **change})


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
@pytest.mark.parametrize("kind", [None, *WALLETS])
def test_a_claim_says_who_claims_what(curve: Any, kind: str | None) -> None:
    owner = party("owner", curve)
    wallet = None if kind is None else bind(WALLETS[kind], owner.did)
    found = read_claim(claim(owner, wallet=wallet), network=NETWORK)
    assert (found.device, found.owner, found.method) == (DEVICE, owner.did, owner.method)
    assert (found.nonce, found.time, found.owner_key) == (NONCE, NOW, owner.signer.public_key)
    assert found.opens(DIGEST) and not found.opens(bytes(32)) and len(found.id) == 32
    bound = found.verified_wallet()
    assert (None if bound is None else bound.account) == (
        None if kind is None else WALLETS[kind].account
    )


def test_the_secret_does_not_travel() -> None:
    assert CODE.secret not in claim() and CODE.signer.secret not in claim()


def test_who_overhears_a_claim_cannot_make_one() -> None:
    thief, inner = party("thief"), cbor.decode(parse_sign1(claim()).payload)[1]
    stolen = seal_outer(inner, kind="claim", network=NETWORK, party=thief)
    with pytest.raises(CredentialError, match="another owner signed"):
        read_claim(stolen, network=NETWORK)
    # The claim key is in it; without its secret nothing can be said under it.
    fields = {**cbor.decode(parse_sign1(inner).payload), 3: thief.did}
    forged = seal_inner(fields, kind="claim-code", network=NETWORK, signer=thief.signer)
    with pytest.raises(SignatureInvalid):
        read_claim(seal_outer(forged, kind="claim", network=NETWORK, party=thief), network=NETWORK)


def test_another_code_does_not_open_the_device() -> None:
    found = read_claim(claim(code=ClaimCode(bytes(16))), network=NETWORK)
    assert not found.opens(DIGEST)
    moved = read_claim(claim(device=party("another device").did), network=NETWORK)
    assert not moved.opens(DIGEST)


def test_a_claim_is_for_one_network() -> None:
    with pytest.raises(SignatureInvalid):
        read_claim(claim(), network=OTHER_NETWORK)
    # An inner part for another network inside an outer one for this.
    inner = cbor.decode(parse_sign1(claim(network=OTHER_NETWORK)).payload)[1]
    mixed = seal_outer(inner, kind="claim", network=NETWORK, party=party("owner"))
    with pytest.raises(SignatureInvalid):
        read_claim(mixed, network=NETWORK)


def test_a_wallet_of_another_owner_or_challenge_is_not_taken() -> None:
    wallet = WALLETS["solana"]
    for binding in (
        bind(wallet, party("other").did),
        bind(wallet, party("owner").did, nonce=bytes(16)),
        bind(wallet, party("owner").did, network=OTHER_NETWORK),
    ):
        with pytest.raises(CredentialError, match="statement.malformed"):
            claim(wallet=binding)
    # Somebody else's binding, put into a claim of one's own by hand.
    thief, victim = party("thief"), bind(wallet, party("owner").did)
    fields = {1: DEVICE, 2: CODE.signer.public_key.raw, 3: thief.did, 4: NONCE, 5: NOW}
    fields[6] = victim.to_list()
    inner = seal_inner(fields, kind="claim-code", network=NETWORK, signer=CODE.signer)
    found = read_claim(
        seal_outer(inner, kind="claim", network=NETWORK, party=thief), network=NETWORK
    )
    with pytest.raises(SignatureInvalid):
        found.verified_wallet()


def test_the_owners_key_is_the_one_that_the_caller_finds() -> None:
    owner = Party("did:webvh:abc:example.com#key-1", signer("owner"))
    data = claim(owner)
    with pytest.raises(DIDError):
        read_claim(data, network=NETWORK)

    def found(method: str) -> PublicKey:
        assert method == owner.method
        return signer("owner").public_key

    assert read_claim(data, network=NETWORK, key_of=found).owner == "did:webvh:abc:example.com"
    with pytest.raises(SignatureInvalid):
        read_claim(data, network=NETWORK, key_of=lambda _: signer("newer").public_key)
    with pytest.raises(CredentialError, match="party.key_differs"):
        claim(Party(party("owner").method, signer("thief")))


@pytest.mark.parametrize("method", ["did:key:abc", "did:key:abc#", "did:key:abc/x#y", "nobody#1"])
def test_a_method_names_one_key(method: str) -> None:
    with pytest.raises(DIDError):
        claim(Party(method, signer("owner")))


@pytest.mark.parametrize(
    "change",
    [
        {1: None},
        {1: 5},
        {1: "x"},
        {2: bytes(32)},
        {2: b""},
        {3: "did:key:other"},
        {4: b"short"},
        {4: "text"},
        {5: -1},
        {5: True},
        {5: 1 << 60},
        {6: []},
        {6: [1, 2, 3, 4]},
        {7: 1},
        {"x": 1},
    ],
    ids=str,
)
def test_fields_that_are_none_of_a_claim(change: dict[Any, Any]) -> None:
    owner = party("owner")
    fields: dict[Any, Any] = {1: DEVICE, 2: CODE.signer.public_key.raw, 3: owner.did}
    fields |= {4: NONCE, 5: NOW} | change
    inner = seal_inner(fields, kind="claim-code", network=NETWORK, signer=CODE.signer)
    with pytest.raises(DepinError):
        read_claim(seal_outer(inner, kind="claim", network=NETWORK, party=owner), network=NETWORK)


def test_a_header_with_more_than_the_algorithm_is_refused() -> None:
    owner = party("owner")
    sign = parse_sign1(claim())
    wide = sign1({4: b"kid"}, sign.payload, kind="claim", network=NETWORK, signer=owner.signer)
    inner = parse_sign1(cbor.decode(sign.payload)[1])
    wide_inner = sign1(
        {4: b"kid"}, inner.payload, kind="claim-code", network=NETWORK, signer=CODE.signer
    )
    deep = seal_outer(wide_inner, kind="claim", network=NETWORK, party=owner)
    for data in (wide, deep):
        with pytest.raises(CredentialError, match="header"):
            read_claim(data, network=NETWORK)


def test_bytes_that_are_no_claim() -> None:
    data = claim()
    for wrong in (b"", data[:-1], data + b"\0", bytes(20_000), b"\xd2\x84\x40\xa0\x40\x40"):
        with pytest.raises(DepinError):
            read_claim(wrong, network=NETWORK)
    for at in range(0, len(data), 7):
        with pytest.raises(DepinError):
            read_claim(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], network=NETWORK)
