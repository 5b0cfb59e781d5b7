"""Owners, gateways and capabilities on top of :class:`tests.verify.net.Net`."""

from __future__ import annotations

import hashlib
from typing import Any

from depin_id.ack import read_challenge
from depin_id.capability import Grant, Operation, Selector, attenuate, issue, prove
from depin_id.claims import Claims, Place
from depin_id.did.key import did_key
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.owners import ClaimCode, Party, make_claim
from depin_id.testing import NOW, TestDevice
from tests.identity.factory import Plant
from tests.verify.net import Net, level, picture
from verify.admin import perform
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.identity.chains import read
from verify.identity.entries import CapabilityTaken


def signer(name: str) -> SoftwareSigner:
    """A key made of a name."""
    return SoftwareSigner("ed25519", hashlib.sha256(f"identity {name}".encode()).digest())


OWNER, OTHER = signer("owner"), signer("other")
OWNER_DID, OTHER_DID = did_key(OWNER.public_key), did_key(OTHER.public_key)
OWNER_PARTY, OTHER_PARTY = Party.of_key(OWNER), Party.of_key(OTHER)
SUBJECT = f"{OWNER_DID}#lobby"
SIGN_FOR = frozenset((Operation.SIGN_FOR,))


def chain(net: Net, gateway: TestDevice, *, by: SoftwareSigner = OWNER, **changes: Any) -> bytes:
    """A capability of one block: the owner lets a gateway sign for all that is his."""
    usual: dict[str, Any] = {
        "audience": gateway.key,
        "selector": Selector.owned(),
        "operations": SIGN_FOR,
        "expires": NOW + 1000,
        "depth": 2,
        "issuer": did_key(by.public_key),
    }
    return issue(Grant(**(usual | changes)), signer=by, network=net.did)


def longer(net: Net, data: bytes, by: TestDevice, to: TestDevice, **less: Any) -> bytes:
    """A gateway passes on to another."""
    return attenuate(data, signer=by.signer, network=net.did, audience=to.key, **less)


def ref_of(net: Net, did: str) -> bytes:
    """The reference of a subject."""
    return net.fold.state.subjects[net.fold.state.by_did[did]].ref


def taken(net: Net, holder: TestDevice, data: bytes) -> bytes:
    """Put a capability into the journal as if it had been shown; gives its id."""
    found = read(data)
    net.aggregator.administer(
        [CapabilityTaken(ref_of(net, holder.did), found.id, net.random(16), data)]
    )
    return found.id


def pack(
    gateway: TestDevice,
    cap: bytes,
    subject: str = SUBJECT,
    *,
    place: Place | None = None,
    at: float = NOW,
    **how: Any,
) -> bytes:
    """The gateway's next envelope for a subject under a capability."""
    claims = Claims(sub=subject, cap=cap, place=place, level="G0")
    return gateway.next([level(50, at)], claims=claims, **how)


def sound(net: Net) -> None:
    """Everything holds: the state is what the journal gives, restart, audit, public dataset."""
    assert picture(net.replayed()) == picture(net.fold)
    assert net.replayed().identity == net.fold.identity
    before = net.fold.identity.pack()
    net.reopen()
    assert net.fold.identity.pack() == before
    net.reopen(forget_snapshot=True)
    assert net.fold.identity.pack() == before
    net.aggregator.publish()
    report = audit(net.root)
    assert report.ok, report.to_json()
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete


# --- people who answer challenges -----------------------------------------------------------------


def nonce_for(net: Net, key: PublicKey) -> bytes:
    """The nonce of a challenge for a key, verified as its holder does."""
    answer = perform(net.aggregator, {"op": "challenge", "thumbprint": key.thumbprint.hex()})
    data = bytes.fromhex(answer["challenge"])
    return read_challenge(data, card=net.card, recipient=key.thumbprint).nonce


def shown(
    net: Net, by: SoftwareSigner, data: bytes, purpose: str = "capability", **how: Any
) -> bytes:
    """Proof that somebody holds a capability's key."""
    usual: dict[str, Any] = {
        "nonce": how.pop("nonce", None) or nonce_for(net, by.public_key),
        "audience": net.did,
        "purpose": purpose,
        "network": net.did,
    }
    return prove(data, by, **(usual | how))


def born(net: Plant, name: str = "device", **about: Any) -> tuple[TestDevice, ClaimCode]:
    """A device that was enrolled with a birth certificate, and its claim code."""
    device = net.make(name, **about)
    code = ClaimCode(hashlib.sha256(name.encode()).digest()[:16])
    body = net.maker.body(device.key, name)
    subject = body.credential_subject.model_copy(
        update={"claim_digest": code.digest(device.did).hex()}
    )
    certificate = net.maker.issue(body.model_copy(update={"credential_subject": subject}))
    net.admit(device, certificate)
    return device, code


def claim_of(
    net: Net, code: ClaimCode, device: str, owner: Party = OWNER_PARTY, **how: Any
) -> bytes:
    """A claim that answers a fresh challenge."""
    nonce = how.pop("nonce", None) or nonce_for(net, owner.signer.public_key)
    return make_claim(
        code, device=device, owner=owner, network=net.did, nonce=nonce, now=net.now_ms, **how
    )


def claimed(net: Plant, name: str = "device", owner: Party = OWNER_PARTY) -> TestDevice:
    """A device that somebody has claimed."""
    device, code = born(net, name)
    done(net, "claim", statement=claim_of(net, code, device.did, owner).hex())
    return device


def done(net: Net, op: str, **fields: Any) -> dict[str, Any]:
    """An operation, carried out."""
    return perform(net.aggregator, {"op": op, **fields})
