"""One block of a capability chain: what it grants, and whether it stays within its parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.capability.scope import (
    MAX_BOXES,
    Box,
    Operation,
    Selector,
    malformed,
    operations_from_cbor,
    region_from_cbor,
)
from depin_id.claims import MAX_SECONDS, is_uint
from depin_id.credentials.status.reference import URI_HASH_BYTES, StatusReference
from depin_id.did.syntax import parse_did
from depin_id.errors import CredentialError, DIDError
from depin_id.keys import PublicKey

MAX_BLOCKS: Final = 4
MAX_ISSUER: Final = 256
MAX_COUNT: Final = (1 << 53) - 1
MAX_RATE: Final = 1_000_000
MAX_INDEX: Final = (1 << 32) - 1

ISSUER, AUDIENCE, SELECTOR, OPERATIONS, COUNT, RATE, REGION = 1, 2, 3, 4, 5, 6, 7
NOT_BEFORE, EXPIRES, DEPTH, STATUS, PARENT = 8, 9, 10, 11, 12
_REQUIRED: Final = frozenset((AUDIENCE, SELECTOR, OPERATIONS, EXPIRES, DEPTH))
_OPTIONAL: Final = frozenset((ISSUER, COUNT, RATE, REGION, NOT_BEFORE, STATUS, PARENT))


@dataclass(frozen=True, slots=True)
class Grant:
    """What one block grants. Times are whole seconds since 1970.

    Attributes:
        audience: the key that may use it, and may pass on less of it.
        selector, operations: which devices, and what may be done. expires: from then on no more.
        depth: how many further blocks may follow, 0 to 3.
        max_count: how many uses in all; None is no limit here.
        rate: uses a minute, and how many at once; None is no limit here.
        region: boxes, in one of which the device has to be; empty is everywhere.
        not_before: not earlier; None is no limit. status: where revocation is looked up.
        issuer: DID of the owner; the first block only. parent: SHA-256 of the block before, the
            others only.
    """

    audience: PublicKey
    selector: Selector
    operations: frozenset[Operation]
    expires: int
    depth: int = 0
    max_count: int | None = None
    rate: tuple[int, int] | None = None
    region: tuple[Box, ...] = ()
    not_before: int | None = None
    status: StatusReference | None = None
    issuer: str | None = None
    parent: bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.audience, PublicKey) or not isinstance(self.selector, Selector):
            malformed("the audience is no key, or the selector none")
        if not self.operations or not all(isinstance(one, Operation) for one in self.operations):
            malformed("no operation is granted, or one is unknown")
        if not is_uint(self.expires, MAX_SECONDS):
            malformed("the expiry is not whole seconds since 1970")
        if self.not_before is not None and not is_uint(self.not_before, self.expires):
            malformed("it begins after it ends, or the beginning is no whole second since 1970")
        if not is_uint(self.depth, MAX_BLOCKS - 1):
            malformed(f"the depth left is not 0 to {MAX_BLOCKS - 1}")
        if self.max_count is not None and not is_uint(self.max_count, MAX_COUNT):
            malformed("the count is not an integer below 2^53")
        self._check_rate()
        self._check_status()
        if len(self.region) > MAX_BOXES or not all(isinstance(box, Box) for box in self.region):
            malformed(f"the region is not at most {MAX_BOXES} boxes")
        if (self.issuer is None) == (self.parent is None):
            malformed("a block has either an issuer (the first) or a parent (the others)")
        if self.issuer is not None:
            self._check_issuer(self.issuer)
        elif type(self.parent) is not bytes or len(self.parent) != 32:
            malformed("the parent is not named by 32 bytes")

    def _check_rate(self) -> None:
        if self.rate is None:
            return
        if not isinstance(self.rate, tuple) or len(self.rate) != 2:
            malformed("the rate is not a number a minute and a burst")
        if not all(is_uint(number, MAX_RATE) and number for number in self.rate):
            malformed(f"rate and burst are not 1 to {MAX_RATE}")

    def _check_status(self) -> None:
        if self.status is None:
            return
        name, index = self.status.uri_hash, self.status.index
        if type(name) is not bytes or len(name) != URI_HASH_BYTES:
            malformed(f"the status list is not named by {URI_HASH_BYTES} bytes")
        if not is_uint(index, MAX_INDEX):
            malformed("the index in the status list is no integer of 32 bits")

    @staticmethod
    def _check_issuer(issuer: Any) -> None:
        if not isinstance(issuer, str) or len(issuer) > MAX_ISSUER:
            malformed(f"the issuer is not a DID of at most {MAX_ISSUER} characters")
        try:
            parse_did(issuer)
        except DIDError:
            malformed("the issuer is not a DID")

    def encode(self) -> bytes:
        """The block's payload: deterministic CBOR with integer keys."""
        status = self.status
        fields: dict[int, Any] = {
            ISSUER: self.issuer,
            AUDIENCE: self.audience.cose_key,
            SELECTOR: self.selector.to_cbor(),
            OPERATIONS: sorted(map(int, self.operations)),
            COUNT: self.max_count,
            RATE: None if self.rate is None else list(self.rate),
            REGION: [box.to_cbor() for box in self.region] or None,
            NOT_BEFORE: self.not_before,
            EXPIRES: self.expires,
            DEPTH: self.depth,
            STATUS: None if status is None else [status.uri_hash, status.index],
            PARENT: self.parent,
        }
        return cbor.encode({key: value for key, value in fields.items() if value is not None})

    @classmethod
    def decode(cls, data: bytes) -> Grant:
        """Read a payload.

        Raises:
            CredentialError: ``capability.malformed``. EncodingError: no deterministic CBOR.
            KeyRefused: the audience's key is not admissible.
        """
        fields = cbor.decode(data, max_depth=6)
        if not isinstance(fields, dict):
            malformed("a block is not a map")
        if not _REQUIRED <= set(fields) <= _REQUIRED | _OPTIONAL or None in fields.values():
            malformed("a block lacks a field, or has one that is not known here")
        audience, rate, status = fields[AUDIENCE], fields.get(RATE), fields.get(STATUS)
        if not isinstance(audience, bytes):
            malformed("the audience is not a COSE_Key in bytes")
        if status is not None and (not isinstance(status, list) or len(status) != 2):
            malformed("the status is not a list's hash and an index")
        if REGION in fields and fields[REGION] == []:
            malformed("the region is empty: leave it out for everywhere")
        return cls(
            audience=PublicKey.from_cose_key(audience),
            selector=Selector.from_cbor(fields[SELECTOR]),
            operations=operations_from_cbor(fields[OPERATIONS]),
            expires=fields[EXPIRES],
            depth=fields[DEPTH],
            max_count=fields.get(COUNT),
            rate=tuple(rate) if isinstance(rate, list) else rate,
            region=region_from_cbor(fields.get(REGION, [])),
            not_before=fields.get(NOT_BEFORE),
            status=None if status is None else StatusReference(*status),
            issuer=fields.get(ISSUER),
            parent=fields.get(PARENT),
        )


def _wider(field: str, what: str) -> NoReturn:
    raise CredentialError(
        f"capability.wider_{field}",
        what,
        hint="a block may only grant what the block before it grants, or less",
    )


def _exceeds(inner: int | None, outer: int | None) -> bool:
    """Whether a limit (None: none) allows more than another."""
    return outer is not None and (inner is None or inner > outer)


def check_within(child: Grant, parent: Grant) -> None:
    """Refuse a block that grants in any field more than the block before it.

    A field that is left out is without limit, and so is refused where the parent has a limit.

    Raises:
        CredentialError: ``capability.wider_selector``, ``_operations``, ``_count``, ``_rate``,
            ``_region``, ``_not_before``, ``_expiry`` or ``_depth``.
    """
    if not child.selector.within(parent.selector):
        _wider("selector", "it selects devices that its parent does not select")
    if not child.operations <= parent.operations:
        _wider("operations", "it allows an operation that its parent does not allow")
    if _exceeds(child.max_count, parent.max_count):
        _wider("count", f"it allows more uses than its parent's {parent.max_count}")
    for inner, outer in zip(child.rate or (None, None), parent.rate or (None, None), strict=True):
        if _exceeds(inner, outer):
            _wider("rate", f"its rate or burst is above its parent's {parent.rate}")
    if parent.region and not (
        child.region and all(any(b.within(o) for o in parent.region) for b in child.region)
    ):
        _wider("region", "one of its boxes lies in no box of its parent")
    if parent.not_before is not None and (child.not_before or 0) < parent.not_before:
        _wider("not_before", f"it begins before its parent, at {parent.not_before}")
    if child.expires > parent.expires:
        _wider("expiry", f"it ends after its parent, at {parent.expires}")
    if child.depth >= parent.depth:
        _wider("depth", f"its parent leaves {parent.depth} further blocks, this one counts")
