"""A signed list that was read and verified, of either standard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from depin_id.credentials.status.bits import Order, StatusList
from depin_id.did.syntax import parse_did_url
from depin_id.ecdsa import VerificationKey
from depin_id.errors import CredentialError, DIDError

Kind = Literal["bitstring", "token"]
KeyOf = Callable[[str, str, str | None], VerificationKey]
"""(verification method, issuer's DID, when it was signed or None) gives the admitted key.

The same that credentials are verified with; it raises a DepinError where there is none.
"""

MAX_SIGNED: Final = 4 << 20
"""Bound on a signed list, in bytes."""
MAX_URI: Final = 2048
SKEW_MS: Final = 300_000
"""How far in the future a list may be dated: clocks differ."""


def refuse(code: str, what: str, hint: str = "") -> NoReturn:
    """Raise CredentialError ``status.<code>``."""
    raise CredentialError(f"status.{code}", what, hint=hint)


def check_uri(uri: object) -> str:
    """The URL of a list. Raises CredentialError ``status.malformed``."""
    if not isinstance(uri, str) or not 0 < len(uri) <= MAX_URI or not uri.isprintable():
        refuse("malformed", f"the URL of the list is not a text of 1 to {MAX_URI} characters")
    if ":" not in uri or " " in uri:
        refuse("malformed", f"{uri[:80]!r} is no URL")
    return uri


def check_method(method: str, issuer: str) -> None:
    """Refuse a verification method that is not one of the issuer's DID, as it is now.

    One with a query could name an old version of the DID's document, and a retired key in it.
    """
    try:
        url = parse_did_url(method)
        owner = "" if url.path or url.query is not None else str(url.did)
    except DIDError:
        owner = ""
    if owner != issuer:
        refuse("issuer", f"{method[:120]} is no key of the issuer {issuer[:120]}")


@dataclass(frozen=True, slots=True)
class SignedList:
    """A list whose signature holds.

    Attributes:
        kind: ``bitstring`` or ``token``.
        uri: the URL by which entries name it. issuer: DID of whoever signed it.
        purposes: of a bitstring list; empty for a token list, whose numbers say it themselves.
        issued_ms: when it was signed. starts_ms: from when on it holds, mostly the same.
        expires_ms: when its issuer no longer stands by it.
        ttl_ms: after how long its issuer wants it fetched again.
        packed: the bytes, decompressed. size: bits of an entry; 0 where the entry says it.
    """

    kind: Kind
    uri: str
    issuer: str
    purposes: frozenset[str]
    issued_ms: int
    starts_ms: int
    expires_ms: int | None
    ttl_ms: int | None
    packed: bytes = field(repr=False)
    size: int
    _unpacked: dict[int, StatusList] = field(default_factory=dict, repr=False, compare=False)

    def entries(self, size: int = 1) -> StatusList:
        """The entries, unpacked once for each size.

        Args:
            size: bits of an entry; a token list has one size of its own, whatever is asked.

        Raises:
            CredentialError: ``status.malformed``, no such size.
        """
        size = self.size or size
        found = self._unpacked.get(size)
        if found is None:
            order: Order = "left" if self.kind == "bitstring" else "right"
            found = self._unpacked[size] = StatusList(self.packed, size, order)
        return found

    def stale(self, *, now_ms: int, max_age_ms: int) -> str:
        """Why the list is too old to decide anything, or not of its time yet; empty when it is."""
        if max(self.issued_ms, self.starts_ms) > now_ms + SKEW_MS:
            return "the list is dated in the future"
        if self.expires_ms is not None and now_ms >= self.expires_ms:
            return "the list has expired"
        if now_ms - self.issued_ms > max_age_ms:
            return f"the list is older than {max_age_ms // 1000} seconds"
        return ""
