"""An owner, a gateway and an agent, with keys that are always the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from depin_id import cbor, cose
from depin_id.capability import (
    KIND,
    Box,
    Capability,
    Grant,
    Operation,
    Selector,
    StatusReference,
    attenuate,
    issue,
    no_list,
    read_chain,
    verify_chain,
)
from depin_id.credentials.status.result import State, StatusResult
from depin_id.did.key import did_key, parse_did_key
from depin_id.keys import PublicKey, SoftwareSigner


def signer(name: str) -> SoftwareSigner:
    """A key made of a name."""
    return SoftwareSigner("ed25519", hashlib.sha256(f"capability {name}".encode()).digest())


OWNER, GATEWAY, AGENT, OTHER = map(signer, ("owner", "gateway", "agent", "other"))
OWNER_DID, OTHER_DID = did_key(OWNER.public_key), did_key(OTHER.public_key)
DEVICE = did_key(signer("device").public_key)
NETWORK = did_key(signer("network").public_key)
NOW = 1_795_000_000
NOW_MS = NOW * 1000
BOX = Box(0, 0, 1000, 1000)
ALL = frozenset(Operation)

ROOT = Grant(
    audience=GATEWAY.public_key,
    selector=Selector.devices(DEVICE, f"{OWNER_DID}#*"),
    operations=frozenset((Operation.SIGN_FOR, Operation.READ_DATA)),
    expires=NOW + 1000,
    depth=2,
    max_count=100,
    rate=(60, 10),
    region=(BOX,),
    not_before=NOW - 1000,
    issuer=OWNER_DID,
)


def root(**changes: Any) -> bytes:
    """A chain of one block: the usual one, changed."""
    return issue(replace(ROOT, **changes), signer=OWNER, network=NETWORK)


def longer(data: bytes, **less: Any) -> bytes:
    """The gateway passes on to the agent."""
    return attenuate(data, signer=GATEWAY, network=NETWORK, audience=AGENT.public_key, **less)


def forged(data: bytes, by: SoftwareSigner = GATEWAY, **changes: Any) -> bytes:
    """What a delegate would make who does not keep to the rules: a signed block, anything in it."""
    blocks = read_chain(data)
    changed: dict[str, Any] = {
        "issuer": None,
        "parent": blocks[-1].digest,
        "audience": AGENT.public_key,
        "depth": blocks[-1].grant.depth - 1,
        "status": None,
    }
    changed |= changes
    grant = replace(blocks[-1].grant, **changed)
    headers = {cose.HEADER_KID: by.public_key.kid}
    block = cose.sign1(headers, grant.encode(), kind=KIND, network=NETWORK, signer=by)
    return cbor.encode([*cbor.decode(data), block])


def owner_key(issuer: str) -> PublicKey:
    """The key of an issuer, here always a did:key."""
    return parse_did_key(issuer)


def verify(data: bytes, **changes: Any) -> Capability:
    """Verify as the network's aggregator does."""
    usual: dict[str, Any] = {
        "network": NETWORK,
        "owner_key": owner_key,
        "now_ms": NOW_MS,
        "revoked": no_list,
    }
    return verify_chain(data, **(usual | changes))


class Said:
    """A status list that says one thing, and notes what it was asked."""

    def __init__(self, state: State) -> None:
        self.state: State = state
        self.asked: list[StatusReference] = []

    def __call__(self, reference: StatusReference) -> StatusResult:
        self.asked.append(reference)
        code = "" if self.state == "valid" else f"status.{self.state}"
        return StatusResult(self.state, code, "said the list")
