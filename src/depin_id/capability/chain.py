"""Capability chains: signed blocks, each by the audience of the one before, the first by the owner.

The wire form is a deterministic CBOR array of byte strings, each a COSE_Sign1 under the domain
``capability`` of one network. A prefix of a chain is a chain: it is what its last audience holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple, NoReturn

from depin_id import cbor, cose
from depin_id.capability.grant import MAX_BLOCKS, Grant, check_within
from depin_id.capability.scope import Box, Operation, Selector, malformed
from depin_id.claims import Place
from depin_id.credentials.status.reference import StatusReference
from depin_id.credentials.status.result import StatusResult
from depin_id.did.key import did_key
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey, Signer

KIND: Final = "capability"
MAX_BYTES: Final = 2048
ID_BYTES: Final = 16
_HEADERS: Final = {cose.HEADER_ALG, cose.HEADER_KID}
_INHERITED: Final = {field.name for field in fields(Grant)} - {"issuer", "parent", "audience"}

OwnerKey = Callable[[str], PublicKey]
"""Gives the key that an issuer (a DID) signs capabilities with, or raises a DepinError."""
Revoked = Callable[[StatusReference], StatusResult]
"""Says what the status of a block is; ``StatusStore.status_of`` is one."""


class Block(NamedTuple):
    """A block as received.

    Attributes:
        grant: what it says. sign1: as received. digest: SHA-256 of its bytes, which its child
            names. id: of the chain that ends with it, 16 bytes.
    """

    grant: Grant
    sign1: cose.Sign1
    digest: bytes
    id: bytes


class Budget(NamedTuple):
    """What one block of a chain allows in all who use it: count the uses under every ``id``."""

    id: bytes
    max_count: int | None
    rate_per_minute: int | None
    burst: int | None


@dataclass(frozen=True, slots=True)
class Capability:
    """A verified chain: what all its blocks allow together.

    Attributes:
        id: the first 16 bytes of the SHA-256 of the whole chain. ids: those of each prefix, the
            first block's first, ``id`` last: a budget of a parent binds all its children.
        issuer: DID of the owner. audience: the key that may use it.
        operations: those that every block allows. selector: of the last block; every block's is
            asked by :meth:`permits`. region: of the last block; empty is everywhere.
        max_count, rate_per_minute, burst: the least of all blocks; None is no limit.
        not_before_ms, expires_ms: milliseconds since 1970.
        depth: how many blocks may still follow. budgets: of each block, for who counts.
    """

    id: bytes
    ids: tuple[bytes, ...]
    issuer: str
    audience: PublicKey
    operations: frozenset[Operation]
    selector: Selector
    region: tuple[Box, ...]
    max_count: int | None
    rate_per_minute: int | None
    burst: int | None
    not_before_ms: int
    expires_ms: int
    depth: int
    budgets: tuple[Budget, ...]
    grants: tuple[Grant, ...]

    @property
    def audience_thumbprint(self) -> bytes:
        """COSE key thumbprint of the audience, 32 bytes."""
        return self.audience.thumbprint

    def refusal(
        self,
        operation: Operation,
        subject: str,
        *,
        place: Place | None = None,
        at_ms: int,
        owner: str | None = None,
        model: str | None = None,
    ) -> str:
        """Why a use is not permitted, as a code; empty when it is.

        ``capability.not_yet``, ``capability.expired``, ``capability.operation``,
        ``capability.device``, ``capability.region``; arguments as for :meth:`permits`.
        """
        if at_ms < self.not_before_ms:
            return "capability.not_yet"
        if at_ms >= self.expires_ms:
            return "capability.expired"
        if operation not in self.operations:
            return "capability.operation"
        owned = owner == self.issuer or subject.partition("#")[0] == self.issuer
        if not owned:
            return "capability.device"
        for grant in self.grants:
            if not grant.selector.selects(subject, owned=owned, model=model):
                return "capability.device"
        return "" if self.covers(place) else "capability.region"

    def covers(self, place: Place | None) -> bool:
        """Whether a place is in the region of each block; None only where there is no region."""
        return all(not grant.region or _inside(place, grant.region) for grant in self.grants)

    def permits(
        self,
        operation: Operation,
        subject: str,
        *,
        place: Place | None = None,
        at_ms: int,
        owner: str | None = None,
        model: str | None = None,
    ) -> bool:
        """Whether the audience may do this now; counts and rates are the caller's to keep.

        Args:
            subject: DID or DID URL of the device.
            place: where the device is; None is refused when there is a region.
            at_ms: the verifier's own time, never the device's.
            owner: DID of the device's owner as the verifier knows it. Nobody grants what is not
                theirs: it has to be the issuer, unless the device's DID is itself the issuer's.
            model: the device's model, where a selector asks for one.
        """
        return not self.refusal(
            operation, subject, place=place, at_ms=at_ms, owner=owner, model=model
        )


def _inside(place: Place | None, region: tuple[Box, ...]) -> bool:
    return place is not None and any(box.contains(place) for box in region)


def _sign(grant: Grant, signer: Signer, network: str) -> bytes:
    headers = {cose.HEADER_KID: signer.public_key.kid}
    return cose.sign1(headers, grant.encode(), kind=KIND, network=network, signer=signer)


def _pack(blocks: list[bytes]) -> bytes:
    data = cbor.encode(blocks)
    if len(data) > MAX_BYTES:
        raise CredentialError(
            "capability.too_large",
            f"the chain has {len(data)} bytes, at most {MAX_BYTES} are taken",
            hint="name fewer devices or boxes",
        )
    return data


def issue(grant: Grant, *, signer: Signer, network: str) -> bytes:
    """A chain of one block, by the owner.

    Args:
        grant: with an ``issuer``, whose key is the signer's.
        network: DID of the network in which it is good.

    Raises:
        CredentialError: ``capability.malformed``, ``capability.too_large``.
    """
    if grant.issuer is None:
        malformed("the first block names its issuer")
    return _pack([_sign(grant, signer, network)])


def attenuate(
    data: bytes, *, signer: Signer, network: str, audience: PublicKey, **less: Any
) -> bytes:
    """The chain with one more block, by the audience of its last one; nobody has to be asked.

    Args:
        data: the chain as held. signer: its audience's. audience: who gets the longer chain.
        less: fields of :class:`Grant` that become narrower; the others stay as in the last block,
            but ``depth``, which is one less, and ``status``, which is none.

    Raises:
        CredentialError: ``capability.signer`` when the signer is not the audience,
            ``capability.wider_*``, ``capability.too_large``, ``capability.malformed``.
    """
    blocks = read_chain(data)
    last = blocks[-1]
    if signer.public_key != last.grant.audience:
        _wrong_signer("this key is not the audience of the capability")
    if not set(less) <= _INHERITED:
        malformed(f"there is no field {min(set(less) - _INHERITED)} to make narrower")
    changes = {"depth": max(last.grant.depth - 1, 0), "status": None} | less
    child = replace(last.grant, audience=audience, issuer=None, parent=last.digest, **changes)
    check_within(child, last.grant)
    parts = cbor.decode(data, max_bytes=MAX_BYTES)
    return _pack([*parts, _sign(child, signer, network)])


def _wrong_signer(what: str) -> NoReturn:
    raise CredentialError(
        "capability.signer", what, hint="each block is signed by the audience of the one before"
    )


def read_chain(data: bytes) -> tuple[Block, ...]:
    """The blocks of a chain, each found to be within the one before; signatures are not checked.

    Raises:
        CredentialError: ``capability.malformed``, ``capability.too_large``,
            ``capability.parent``, ``capability.wider_*``.
        EncodingError, EnvelopeError: it is no deterministic CBOR of COSE_Sign1.
        KeyRefused: a key is not admissible.
    """
    if len(data) > MAX_BYTES:
        raise CredentialError("capability.too_large", f"it has more than {MAX_BYTES} bytes")
    parts = cbor.decode(data, max_bytes=MAX_BYTES, max_depth=2)
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_BLOCKS:
        malformed(f"a chain is an array of 1 to {MAX_BLOCKS} blocks")
    blocks: list[Block] = []
    for number, part in enumerate(parts, 1):
        if not isinstance(part, bytes):
            malformed("a block is not a byte string")
        sign1 = cose.parse_sign1(part, max_bytes=MAX_BYTES)
        if set(sign1.headers) != _HEADERS:
            malformed("the protected header of a block is not exactly alg and kid")
        grant = Grant.decode(sign1.payload)
        if blocks:
            _check_follows(grant, blocks[-1])
        elif grant.issuer is None:
            malformed("the first block names no issuer")
        prefix = hashlib.sha256(cbor.encode(parts[:number])).digest()[:ID_BYTES]
        blocks.append(Block(grant, sign1, hashlib.sha256(part).digest(), prefix))
    return tuple(blocks)


def _check_follows(grant: Grant, before: Block) -> None:
    if grant.parent != before.digest:
        raise CredentialError(
            "capability.parent",
            "a block does not name the block before it: blocks of two chains were joined",
        )
    check_within(grant, before.grant)


def _verify_signatures(blocks: tuple[Block, ...], network: str, root: PublicKey) -> None:
    key = root
    for block in blocks:
        if block.sign1.headers[cose.HEADER_KID] != key.kid:
            _wrong_signer("a block is signed by another key than its parent names")
        block.sign1.verify(KIND, network, key)
        key = block.grant.audience


def _least(numbers: list[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def effective(blocks: tuple[Block, ...]) -> Capability:
    """What blocks allow together; neither signatures nor time are looked at."""
    grants = tuple(block.grant for block in blocks)
    last = grants[-1]
    budgets = tuple(
        Budget(block.id, block.grant.max_count, *(block.grant.rate or (None, None)))
        for block in blocks
    )
    return Capability(
        id=blocks[-1].id,
        ids=tuple(block.id for block in blocks),
        issuer=grants[0].issuer or "",
        audience=last.audience,
        operations=frozenset.intersection(*(grant.operations for grant in grants)),
        selector=last.selector,
        region=last.region,
        max_count=_least([budget.max_count for budget in budgets]),
        rate_per_minute=_least([budget.rate_per_minute for budget in budgets]),
        burst=_least([budget.burst for budget in budgets]),
        not_before_ms=max(grant.not_before or 0 for grant in grants) * 1000,
        expires_ms=min(grant.expires for grant in grants) * 1000,
        depth=last.depth,
        budgets=budgets,
        grants=grants,
    )


def check_now(capability: Capability, *, now_ms: int, revoked: Revoked) -> None:
    """Check what may change from one moment to the next: time and revocation of every block.

    Raises:
        CredentialError: ``capability.not_yet``, ``capability.expired``, ``capability.revoked``,
            ``capability.suspended``, ``capability.undecided`` (no list says anything).
    """
    if now_ms < capability.not_before_ms:
        raise CredentialError("capability.not_yet", "the capability is not valid yet")
    if now_ms >= capability.expires_ms:
        raise CredentialError(
            "capability.expired", "the capability has expired", hint="ask the owner for a new one"
        )
    signer = capability.issuer
    for grant in capability.grants:
        if grant.status is not None:
            _check_status(revoked(replace(grant.status, issuer=signer)))
        signer = did_key(grant.audience)


def _check_status(result: StatusResult) -> None:
    if not result.ok:
        raise CredentialError(
            f"capability.{result.state}", f"{result.code}: {result.message}", hint="ask the issuer"
        )


def verify_chain(
    data: bytes, *, network: str, owner_key: OwnerKey, now_ms: int, revoked: Revoked
) -> Capability:
    """Verify a chain: form, order, every signature, time and revocation.

    Args:
        data: as received. network: DID of the network in which it is used.
        owner_key: the key of an issuer, which the caller trusts for it.
        now_ms: the verifier's time, milliseconds since 1970.
        revoked: asked for every block that names a status list; see :func:`no_list` where there
            are none.

    Raises:
        CredentialError: as :func:`read_chain` and :func:`check_now`, and ``capability.signer``.
        SignatureInvalid: ``signature.invalid``, also in another network.
        EncodingError, EnvelopeError, KeyRefused, DIDError.
    """
    blocks = read_chain(data)
    capability = effective(blocks)
    _verify_signatures(blocks, network, owner_key(capability.issuer))
    check_now(capability, now_ms=now_ms, revoked=revoked)
    return capability


def no_list(reference: StatusReference) -> StatusResult:
    """For who has no status lists: a block that names one is undecided, and so is refused."""
    return StatusResult("undecided", "status.no_list", "there are no status lists here")
