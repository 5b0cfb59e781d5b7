"""Chains of ownership: from the birth certificate, transfer by transfer, to the owner at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.credentials.models import BirthCertificate, Ownership
from depin_id.credentials.moments import parse_moment
from depin_id.credentials.verifying import Verified
from depin_id.errors import CredentialError

MAX_TRANSFERS: Final = 1024

ClaimCheck = Callable[[Verified, Verified], bool]
"""(birth certificate, first ownership): whether its issuer has claimed the device from the
manufacturer, by its claim code. Both are verified already, and fit together."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One link of a chain.

    Attributes:
        did: the owner.
        since_ms: from when on, milliseconds since 1970.
        digest: of the credential that says so, 32 bytes.
    """

    did: str
    since_ms: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Owners:
    """Everybody who owned a device, in order.

    Attributes:
        device: its DID.
        manufacturer: DID of who made it, and has it until the first transfer.
        links: one a transfer.
    """

    device: str
    manufacturer: str
    links: tuple[Owner, ...]

    def owner_at(self, at_ms: int) -> str | None:
        """The owner at a moment; None before the first transfer, when it is the maker's."""
        index = bisect_right([link.since_ms for link in self.links], at_ms)
        return self.links[index - 1].did if index else None


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def verify_chain(
    birth: Verified, transfers: Iterable[Verified], *, claimed: ClaimCheck | None = None
) -> Owners:
    """Put verified ownership credentials of one device together.

    Each names the credential before it by digest and is signed by the owner before; the first names
    the birth certificate and is signed by the manufacturer, or by whoever claimed the device. Every
    transfer that is known has to be given: one more can make a fork of what looked whole.

    Args:
        birth: the device's birth certificate, verified.
        transfers: its ownership credentials, each verified, in any order.
        claimed: decides whether a first owner that signed for himself may; without it nobody may.

    Raises:
        CredentialError: ``credential.type``, ``credential.subject`` (another device),
            ``ownership.forked`` (two transfers of one owner), ``ownership.gap`` (one that follows
            on nothing here), ``ownership.issuer`` (not signed by the owner before),
            ``ownership.claim``, ``ownership.time`` (it begins before the one before it),
            ``ownership.too_many``.
    """
    certificate = birth.credential
    if not isinstance(certificate, BirthCertificate) or birth.subject is None:
        _refuse("credential.type", "the chain does not begin with a birth certificate")
    following = _by_previous(birth.subject, transfers)
    links: list[Owner] = []
    digest, owner = birth.digest, birth.issuer
    since = parse_moment(certificate.valid_from)
    while (found := following.pop(digest, None)) is not None:
        for transfer, ownership in found.values():
            if transfer.issuer != owner:
                _check_claim(birth, transfer, ownership, claimed, is_first=not links)
        if len(found) > 1:
            _refuse(
                "ownership.forked",
                f"the device was transferred to {len(found)} owners at once",
                "nobody can say from these alone who owns it: those owners have to agree",
            )
        ((transfer, ownership),) = found.values()
        begins = parse_moment(ownership.valid_from)
        if begins < since:
            _refuse(
                "ownership.time",
                f"the transfer of {ownership.valid_from} begins before the one before it",
            )
        digest, owner, since = transfer.digest, ownership.credential_subject.owner, begins
        links.append(Owner(owner, since, digest))
    if following:
        _refuse(
            "ownership.gap",
            f"{len(following)} transfers follow on credentials that are not here",
            "give every transfer since the birth certificate",
        )
    return Owners(birth.subject, birth.issuer, tuple(links))


_Followers = dict[bytes, tuple[Verified, Ownership]]


def _by_previous(device: str, transfers: Iterable[Verified]) -> dict[bytes, _Followers]:
    """The transfers by what they follow on, then by digest: the same one twice counts once."""
    found: dict[bytes, _Followers] = {}
    for count, transfer in enumerate(transfers):
        if count >= MAX_TRANSFERS:
            _refuse("ownership.too_many", f"over {MAX_TRANSFERS} transfers of one device")
        ownership = transfer.credential
        if not isinstance(ownership, Ownership):
            _refuse("credential.type", f"a {type(ownership).TYPE} is no transfer")
        if transfer.subject != device:
            _refuse(
                "credential.subject", f"a transfer is of {str(transfer.subject)[:120]}, not of it"
            )
        previous = bytes.fromhex(ownership.credential_subject.previous)
        found.setdefault(previous, {})[transfer.digest] = (transfer, ownership)
    return found


def _check_claim(
    birth: Verified,
    transfer: Verified,
    ownership: Ownership,
    claimed: ClaimCheck | None,
    *,
    is_first: bool,
) -> None:
    if not is_first:
        _refuse("ownership.issuer", f"{transfer.issuer[:120]} is not the owner before")
    if transfer.issuer != ownership.credential_subject.owner:
        _refuse(
            "ownership.issuer",
            "the first transfer is signed neither by the manufacturer nor by the owner it names",
        )
    if claimed is None or not claimed(birth, transfer):
        _refuse(
            "ownership.claim",
            f"{transfer.issuer[:120]} says that the device is his, and has no claim to it",
            "the manufacturer signs the first transfer, or the claim code is shown",
        )
