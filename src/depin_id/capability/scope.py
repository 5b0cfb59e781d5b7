"""What a capability is about: devices, operations, places; and when one such thing is in another.

Everything here is a plain value with one encoding. "Within" is decided by the values alone, offline
and without asking anybody; where it cannot be shown, the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal, NoReturn, get_args

from depin_id.claims import Place
from depin_id.did.syntax import parse_did_url
from depin_id.errors import CredentialError, DIDError, EnvelopeError

MAX_DEVICES: Final = 16
MAX_MODELS: Final = 8
MAX_BOXES: Final = 8
MAX_TEXT: Final = 256
"""Bound on a DID, a DID URL or the name of a model, in characters."""
ANY_FRAGMENT: Final = "#*"

SelectorKind = Literal["devices", "models", "owner"]
_KINDS: Final = get_args(SelectorKind)


def malformed(what: str) -> NoReturn:
    """Raise CredentialError ``capability.malformed``."""
    raise CredentialError(
        "capability.malformed", what, hint="docs/identity/capabilities.md has the CDDL"
    )


class Operation(IntEnum):
    """What the holder may do."""

    SIGN_FOR = 1
    READ_DATA = 2
    CLAIM_REWARDS = 3
    ADMINISTER = 4

    @property
    def word(self) -> str:
        """As the command line writes it: ``sign-for``."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def parse(cls, word: str) -> Operation:
        """The operation of a word. Raises CredentialError ``capability.malformed``."""
        for operation in cls:
            if operation.word == word:
                return operation
        malformed(f"{word[:40]!r} is no operation: {', '.join(one.word for one in cls)}")


def _check_device(text: Any) -> None:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        malformed(f"a device is not a DID or DID URL of at most {MAX_TEXT} characters")
    bare = text.removesuffix(ANY_FRAGMENT)
    try:
        url = parse_did_url(bare)
    except DIDError:
        malformed(f"{text[:60]!r} is no DID, DID URL, or DID with #* behind it")
    if url.path or url.query is not None or (bare != text and url.fragment is not None):
        malformed(f"{text[:60]!r} has a path, a query or two fragments")


def _check_model(text: Any) -> None:
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT or not text.isprintable():
        malformed(f"a model is not a printable text of 1 to {MAX_TEXT} characters")


def _ascending(items: Iterable[Any]) -> bool:
    listed = list(items)
    return all(a < b for a, b in zip(listed, listed[1:], strict=False))


@dataclass(frozen=True, slots=True)
class Selector:
    """Which devices.

    Attributes:
        kind: ``devices``: those named, each a DID, a DID URL, or ``<DID>#*`` for every DID URL of
            that DID; ``models``: every device of the issuer of one of these models; ``owner``:
            every device of the issuer.
        items: sorted, without repetition; empty for ``owner``.
    """

    kind: SelectorKind
    items: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not isinstance(self.items, tuple):
            malformed("the selector is of no known kind")
        bound = {"devices": MAX_DEVICES, "models": MAX_MODELS, "owner": 0}[self.kind]
        if not min(bound, 1) <= len(self.items) <= bound:
            malformed(f"a selector of {self.kind} has {min(bound, 1)} to {bound} items")
        check = _check_device if self.kind == "devices" else _check_model
        for item in self.items:
            check(item)
        if not _ascending(self.items):
            malformed("the items of the selector are not sorted, or one occurs twice")

    @classmethod
    def devices(cls, *items: str) -> Selector:
        """Those named; sorted here."""
        return cls("devices", tuple(sorted(set(items))))

    @classmethod
    def models(cls, *items: str) -> Selector:
        """All of the issuer's of these models; sorted here."""
        return cls("models", tuple(sorted(set(items))))

    @classmethod
    def owned(cls) -> Selector:
        """All of the issuer's."""
        return cls("owner")

    def to_cbor(self) -> list[Any]:
        """``[kind, items...]``: kind 0 devices, 1 models, 2 owner."""
        return [_KINDS.index(self.kind), *self.items]

    @classmethod
    def from_cbor(cls, value: Any) -> Selector:
        """Read :meth:`to_cbor`. Raises CredentialError ``capability.malformed``."""
        if not isinstance(value, list) or not value or type(value[0]) is not int:
            malformed("the selector is not an array that begins with its kind")
        if not 0 <= value[0] < len(_KINDS):
            malformed(f"there is no selector of kind {value[0]}")
        if not all(isinstance(item, str) for item in value[1:]):
            malformed("an item of the selector is not a text")
        return cls(_KINDS[value[0]], tuple(value[1:]))

    def within(self, parent: Selector) -> bool:
        """Whether everything selected here is selected by ``parent`` too.

        Devices named under a parent of models or of the owner count as within: each block of a
        chain is asked, so a name that is not the owner's is still refused by the parent.
        """
        if parent.kind == "owner":
            return True
        if parent.kind == "models":
            return self.kind == "devices" or (
                self.kind == "models" and set(self.items) <= set(parent.items)
            )
        return self.kind == "devices" and all(
            any(_covers(outer, inner) for outer in parent.items) for inner in self.items
        )

    def selects(self, subject: str, *, owned: bool, model: str | None) -> bool:
        """Whether a device is selected.

        Args:
            subject: its DID or DID URL. owned: whether it is the issuer's. model: its model.
        """
        if self.kind == "devices":
            return subject in self.items or any(_covers(item, subject) for item in self.items)
        return owned and (self.kind == "owner" or model in self.items)


def _covers(outer: str, inner: str) -> bool:
    if outer == inner:
        return True
    # "<DID>#*" takes any fragment, never the DID itself nor a DID that merely begins alike.
    head = outer[:-1]
    return outer.endswith(ANY_FRAGMENT) and inner.startswith(head) and len(inner) > len(head)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in units of 1e-7 degree (WGS 84), its edges included; never across 180 degrees.

    Two boxes make a region that crosses that meridian.
    """

    south: int
    west: int
    north: int
    east: int

    def __post_init__(self) -> None:
        try:
            Place(self.south, self.west)
            Place(self.north, self.east)
        except EnvelopeError:
            malformed("a corner of a box is no place in units of 1e-7 degree")
        if self.south > self.north or self.west > self.east:
            malformed("a box has its south above its north, or its west behind its east")

    def contains(self, place: Place) -> bool:
        """Whether a place is inside or on an edge."""
        return self.south <= place.lat_e7 <= self.north and self.west <= place.lon_e7 <= self.east

    def within(self, other: Box) -> bool:
        """Whether all of this box lies in another."""
        return (
            other.south <= self.south
            and self.north <= other.north
            and other.west <= self.west
            and self.east <= other.east
        )

    def to_cbor(self) -> list[int]:
        """``[south, west, north, east]``."""
        return [self.south, self.west, self.north, self.east]


def region_from_cbor(value: Any) -> tuple[Box, ...]:
    """Read a list of boxes. Raises CredentialError ``capability.malformed``."""
    if not isinstance(value, list) or not all(
        isinstance(box, list) and len(box) == 4 for box in value
    ):
        malformed("the region is not a list of boxes of four")
    return tuple(Box(*box) for box in value)


def operations_from_cbor(value: Any) -> frozenset[Operation]:
    """Read operations: ascending, none unknown. Raises CredentialError ``capability.malformed``."""
    if not isinstance(value, list) or not value or not all(type(one) is int for one in value):
        malformed("the operations are not a list of at least one integer")
    if not _ascending(value) or not set(value) <= set(Operation):
        malformed("the operations are not ascending, or one is unknown")
    return frozenset(map(Operation, value))
