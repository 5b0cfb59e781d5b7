"""The lists that a verifier holds: each verified once when it comes in, then only looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from depin_id.credentials.status.bitstring import MIN_ENTRIES, BitstringEntry, read_bitstring
from depin_id.credentials.status.reference import StatusReference, uri_hash
from depin_id.credentials.status.result import StatusResult, undecided
from depin_id.credentials.status.signed import MAX_SIGNED, KeyOf, SignedList, refuse
from depin_id.credentials.status.token import INVALID, SUSPENDED, VALID, TokenEntry, read_token
from depin_id.durable import read_file
from depin_id.errors import CredentialError, StateError

DAY_MS: Final = 86_400_000
MAX_LISTS: Final = 4096
MAX_HELD: Final = 1 << 24
"""Bytes of all lists held, packed; unpacked they take up to eight times that for each size."""
_SIGN1: Final = b"\xd2"


class StatusStore:
    """Status lists by URL.

    Args:
        key_of: gives the admitted key of (verification method, issuer, created).
        max_age_ms: a list older than this decides nothing, whatever it says itself; an issuer's
            earlier end (``validUntil``, ``exp``) holds besides.
        max_lists: how many lists are held. max_held: how many bytes they may have, packed.
    """

    def __init__(
        self,
        *,
        key_of: KeyOf,
        max_age_ms: int = 7 * DAY_MS,
        max_lists: int = MAX_LISTS,
        max_held: int = MAX_HELD,
    ) -> None:
        self._key_of = key_of
        self._max_age = max_age_ms
        self._max_lists = max_lists
        self._max_held = max_held
        self._held = 0
        self._lists: dict[str, SignedList] = {}
        self._by_hash: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._lists)

    def __getitem__(self, uri: str) -> SignedList:
        """The list of a URL. Raises CredentialError ``status.no_list``."""
        found = self._lists.get(uri)
        if found is None:
            refuse("no_list", f"there is no list {uri[:200]}", "fetch it from its URL and add it")
        return found

    def add(self, data: bytes, *, issuer: str | None = None) -> SignedList:
        """Take in a list of either standard; it replaces an older one of the same URL.

        Args:
            data: JSON (Bitstring Status List) or CBOR (a Token Status List as a CWT).
            issuer: DID of whoever it has to be by.

        Raises:
            CredentialError: ``status.older``: a newer one of the same URL is held;
                ``status.issuer``: by another issuer than asked for, or than the one held;
                ``status.many``; and as :func:`read_bitstring` and :func:`read_token`.
            SignatureInvalid, EncodingError, KeyRefused, DIDError.
        """
        if data[:1] == _SIGN1:
            found = read_token(data, key_of=self._key_of, issuer=issuer)
        else:
            found = read_bitstring(data, key_of=self._key_of)
        if issuer is not None and found.issuer != issuer:
            refuse("issuer", f"the list is by {found.issuer[:120]}, not by {issuer[:120]}")
        held = self._lists.get(found.uri)
        if held is not None:
            _check_newer(found, held)
        elif len(self._lists) >= self._max_lists:
            refuse("many", f"there are {self._max_lists} lists already")
        size = self._held + len(found.packed) - (0 if held is None else len(held.packed))
        if size > self._max_held:
            refuse("many", f"the lists would have more than {self._max_held} bytes together")
        self._held = size
        self._lists[found.uri] = found
        self._by_hash[uri_hash(found.uri)] = found.uri
        return found

    def load(self, path: Path, *, issuer: str | None = None) -> SignedList:
        """Take in a list from a file; raises as :meth:`add`, and StateError."""
        data = read_file(path, max_bytes=MAX_SIGNED)
        if data is None:
            raise StateError("state.missing", f"there is no file {path}")
        return self.add(data, issuer=issuer)

    def check(
        self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None
    ) -> StatusResult:
        """The status of a ``credentialStatus`` entry; see :class:`StatusCheck`."""
        try:
            if isinstance(entry, Mapping) and "status_list" in entry:
                named = TokenEntry.parse(entry)
                return self._look_up(named.uri, now_ms, issuer, "token", _token(named.index))
            said = BitstringEntry.parse(entry)
        except CredentialError as error:
            return undecided("status.entry", error.message)
        return self._look_up(said.uri, now_ms, issuer, "bitstring", _bitstring(said))

    def status_of(self, reference: StatusReference, *, now_ms: int) -> StatusResult:
        """The status of a capability's block: revoked, or suspended, by the block's signer.

        A bitstring list has to be one for revocation or suspension, of one bit an entry.
        """
        uri = self._by_hash.get(reference.uri_hash)
        if uri is None:
            return undecided("status.no_list", "no list of that name is held")
        found = self._lists[uri]
        look: _Look = _token(reference.index)
        if found.kind == "bitstring":
            purpose = "suspension" if found.purposes == {"suspension"} else "revocation"
            look = _bitstring(BitstringEntry(uri, reference.index, purpose))
        return self._look_up(uri, now_ms, reference.issuer, found.kind, look)

    def revoked(self, *, now_ms: int) -> Callable[[StatusReference], StatusResult]:
        """What :func:`depin_id.capability.verify_chain` takes as ``revoked``, at a moment."""
        return lambda reference: self.status_of(reference, now_ms=now_ms)

    def _look_up(
        self, uri: str, now_ms: int, issuer: str | None, kind: str, look: _Look
    ) -> StatusResult:
        found = self._lists.get(uri)
        if found is None:
            return undecided("status.no_list", f"there is no list {uri[:200]}", uri)
        if found.kind != kind:
            return undecided("status.entry", f"the list is a {found.kind} list", uri)
        if issuer is not None and issuer != found.issuer:
            return undecided("status.issuer", f"the list is by {found.issuer[:120]}", uri)
        why = found.stale(now_ms=now_ms, max_age_ms=self._max_age)
        if why:
            return undecided("status.stale", why, uri)
        try:
            return look(found)
        except CredentialError as error:
            return undecided(error.code, error.message, uri)


_Look = Callable[[SignedList], StatusResult]


def _check_newer(found: SignedList, held: SignedList) -> None:
    if found.issuer != held.issuer:
        refuse("issuer", f"the list of this URL is by {held.issuer[:120]}")
    again = found.issued_ms == held.issued_ms
    if found.issued_ms < held.issued_ms or again and _takes_back(found, held):
        refuse("older", "a newer list of this URL is held", "what was revoked stays revoked")


def _takes_back(found: SignedList, held: SignedList) -> bool:
    """Whether something that is set in one list is not in another of the same second."""
    before, after = (int.from_bytes(one.packed, "big") for one in (held, found))
    return len(found.packed) != len(held.packed) or bool(before & ~after)


def _token(index: int) -> _Look:
    def look(found: SignedList) -> StatusResult:
        value = found.entries()[index]
        if value == VALID:
            return StatusResult("valid", value=value, uri=found.uri)
        if value == INVALID:
            return _bad("revoked", value, found.uri)
        if value == SUSPENDED:
            return _bad("suspended", value, found.uri)
        return undecided("status.value", f"the status {value} has no meaning here", found.uri)

    return look


def _bitstring(entry: BitstringEntry) -> _Look:
    def look(found: SignedList) -> StatusResult:
        if entry.purpose not in found.purposes:
            refuse("purpose", f"the list is not one for {entry.purpose[:40]!r}")
        entries = found.entries(entry.size)
        if len(entries) < MIN_ENTRIES:
            refuse("length", f"{len(entries)} entries of {entry.size} bits are too few")
        value = entries[entry.index]
        if value == 0:
            words = entry.messages[0] if entry.messages else ""
            return StatusResult("valid", "", words, value, found.uri)
        if entry.purpose == "revocation":
            return _bad("revoked", value, found.uri)
        if entry.purpose == "suspension":
            return _bad("suspended", value, found.uri)
        if entry.purpose in ("message", "refresh"):
            words = entry.messages[value] if entry.messages else entry.purpose
            return StatusResult("message", "", words, value, found.uri)
        return undecided("status.purpose", "its purpose has no meaning here", found.uri)

    return look


def _bad(state: Any, value: int, uri: str) -> StatusResult:
    return StatusResult(state, f"status.{state}", f"the list says that it is {state}", value, uri)
