"""Targets: signing for somebody else's subject, and statements about owners, as they arrive."""

from __future__ import annotations

from typing import Any

from depin_id import cbor
from depin_id.capability import Grant, Operation, Selector, issue
from depin_id.claims import Claims, parse_claims
from depin_id.did.key import did_key
from depin_id.envelope import parse_envelope
from depin_id.owners import Party, WalletBinding, WalletRequest
from depin_id.owners.payout import make_payout, read_payout
from depin_id.testing import key_from_seed
from tests.fuzz.target import target
from tests.fuzz.wire import NETWORK
from verify.checks.quota import Bucket
from verify.entries import Judged, decode_delta, encode_judged
from verify.identity.chains import read
from verify.identity.state import Spending, Use
from verify.world import Change

_OWNER = key_from_seed("fuzz", "owner")
_PARTY = Party.of_key(_OWNER)
_GATEWAY = NETWORK.gateway("delegate")
_CHAIN = issue(
    Grant(
        audience=_GATEWAY.key,
        selector=Selector.owned(),
        operations=frozenset((Operation.SIGN_FOR,)),
        expires=NETWORK.now + 1000,
        rate=(60, 10),
        issuer=_PARTY.did,
    ),
    signer=_OWNER,
    network=NETWORK.did,
)
_CLAIMS = Claims(sub=f"{did_key(_OWNER.public_key)}#lobby", cap=bytes(16), level="G0")
_ENVELOPE = _GATEWAY.next(claims=_CLAIMS)
_REQUEST = WalletRequest(
    "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
    _PARTY.did,
    NETWORK.did,
    bytes(16),
    NETWORK.now * 1000,
)
_PAYOUT = make_payout(WalletBinding.of(_REQUEST, bytes(64)), owner=_PARTY, network=NETWORK.did)


def _delta() -> bytes:
    change = Change(
        thumbprint=bytes(32),
        subject_did=_CLAIMS.sub or "",
        parent=_GATEWAY.did,
        subject=3,
        stream=2,
        epoch=1,
        n=0,
        id=bytes(32),
        prev=bytes(16),
        consumes=True,
        spent=Spending(bytes(16), (Use(bytes(16), 1, Bucket(9000, 1)), Use(b"\1" * 16, 7, None))),
    )
    verdict = ["accepted", "accepted", 100, "", "", "nobody", 1, False, False, 0]
    parts: list[Any] = [change, *verdict, (), (3,), None]
    return encode_judged(Judged(*parts))


def take_foreign(data: bytes) -> None:
    """A subject of somebody else's stands beside a capability, and only so, in any envelope."""
    claims = parse_envelope(data).claims
    if claims.sub is not None:
        assert claims.sub.startswith("did:") == (claims.cap is not None)
    if claims.to_map():
        assert parse_claims(claims.to_map()) == claims


def take_spent(data: bytes) -> None:
    """An entry that reads as one under a capability is written again as it was."""
    found = decode_delta(data, None, lambda _: "did:example:1#x")
    if isinstance(found, Judged) and found.change.spent is not None:
        assert len(data) > 1 and data[0] in (0x8F, 0x90)


def take_chain(data: bytes) -> None:
    """What the journal holds as a chain allows the same each time, and something."""
    found = read(data)
    assert read(data) is found and found.operations == found.operations
    assert found.ids[-1] == found.id and len(found.ids) == len(found.budgets)


def take_payout(data: bytes) -> None:
    """A statement that reads is the owner's, for the wallet that it names."""
    found = read_payout(data, network=NETWORK.did)
    assert found.owner == found.wallet.request.owner
    assert cbor.encode(found.wallet.to_list())


target("foreign-subject", take_foreign, [_ENVELOPE])
_ATTESTED = b"\x90" + _delta()[1:] + b"\x50" + bytes(16)
target("entry-under-capability", take_spent, [_delta(), _ATTESTED, _ATTESTED[:-17] + b"\xf6"])
target("held-chain", take_chain, [_CHAIN])
target("payout", take_payout, [_PAYOUT])
