"""A verified history: every version of a DID, and which key was active at which time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final

from depin_id import base58
from depin_id.did.webvh.documents import (
    RELATIONSHIPS,
    MethodKey,
    did_web_document,
    document_keys,
    with_services,
)
from depin_id.did.webvh.parameters import Parameters, WitnessRule
from depin_id.errors import DIDError
from depin_id.keys import PublicKey

ASSERTION: Final = "assertionMethod"


class _Unread(Enum):
    """A version whose keys nobody asked for."""

    YET = 0


_YET: Final = _Unread.YET


@dataclass(frozen=True)
class Version:
    """One verified version of a DID.

    Attributes:
        version_id: ``<number>-<entry hash>``. version_time: as written. version_time_ms: the first
            whole millisecond since 1970 at which it holds.
        did: its name in this version. document: its ``state``, not to be changed; see
            :meth:`resolved`. parameters: in force after it.
    """

    version_id: str
    number: int
    version_time: str
    version_time_ms: int
    did: str
    document: Mapping[str, Any] = field(repr=False)
    parameters: Parameters = field(repr=False)
    allow_published: bool = field(repr=False, default=False)

    @property
    def entry_hash(self) -> str:
        """base58btc of the SHA-256 multihash of the entry."""
        return self.version_id.partition("-")[2]

    @cached_property
    def keys(self) -> dict[str, tuple[MethodKey, ...]]:
        """Admitted keys by relationship: assertionMethod, authentication, capabilityInvocation,
        capabilityDelegation. None are active in a deactivated DID."""
        if self.parameters.deactivated:
            return dict.fromkeys(RELATIONSHIPS, ())
        return document_keys(self.did, self.document, allow_published=self.allow_published)

    def resolved(self) -> dict[str, Any]:
        """The document as resolvers give it: a copy with the implicit services."""
        return with_services(self.did, self.document)

    def did_web(self) -> dict[str, Any]:
        """The document of the did:web beside it, to publish as ``did.json``."""
        return did_web_document(self.did, self.document)


@dataclass(frozen=True, slots=True)
class Active:
    """What holds from one version to the next.

    Attributes:
        since_ms, until_ms: from, and up to without it; None for ever. keys: of one relationship.
    """

    version_id: str
    since_ms: int
    until_ms: int | None
    keys: tuple[PublicKey, ...]

    @property
    def head(self) -> bytes:
        """The entry hash, 34 bytes of multihash."""
        return base58.decode(self.version_id.partition("-")[2])


class History:
    """All versions of a DID, verified. Made by :func:`~depin_id.did.webvh.verify_log`.

    Attributes:
        scid: the self-certifying identifier. versions: from number 1 on.
    """

    def __init__(
        self,
        versions: tuple[Version, ...],
        rules: tuple[WitnessRule, ...],
        times: tuple[int, ...],
        prefix: tuple[int, bytes],
    ) -> None:
        self.scid = versions[0].parameters.scid
        self.versions = versions
        self.rules, self.times, self.prefix = rules, times, prefix
        self._starts = tuple(version.version_time_ms for version in versions)
        # By relationship, with a place before the first version: a look-up is one bisection and
        # one subscript. Keys are admitted when their version is first asked for.
        places = len(versions)
        self._active: dict[str, list[Active | None]] = {
            name: [None] * (places + 1) for name in RELATIONSHIPS
        }
        self._first: dict[str, list[PublicKey | _Unread | None]] = {
            name: [None, *[_YET] * places] for name in RELATIONSHIPS
        }

    def __len__(self) -> int:
        return len(self.versions)

    @property
    def last(self) -> Version:
        """The newest version."""
        return self.versions[-1]

    @property
    def did(self) -> str:
        """Its name in the newest version."""
        return self.last.did

    @property
    def head(self) -> str:
        """The entry hash of the newest version, base58btc."""
        return self.last.entry_hash

    @cached_property
    def head_bytes(self) -> bytes:
        """The same as 34 bytes of multihash."""
        return base58.decode(self.head)

    @property
    def deactivated(self) -> bool:
        """Whether the DID was given up."""
        return self.last.parameters.deactivated

    @cached_property
    def _by_id(self) -> dict[str, Version]:
        return {version.version_id: version for version in self.versions}

    def at(self, time_ms: int) -> Version:
        """The version that held at a time, in milliseconds since 1970.

        Raises:
            DIDError: ``did.not_found``: the DID did not exist yet.
        """
        position = bisect_right(self._starts, time_ms)
        if not position:
            raise DIDError("did.not_found", "the DID had no version at that time")
        return self.versions[position - 1]

    def version(self, version_id: str) -> Version:
        """The version of a ``versionId``. Raises DIDError ``did.not_found``."""
        found = self._by_id.get(version_id)
        if found is None:
            raise DIDError("did.not_found", "the DID has no version of that versionId")
        return found

    def number(self, number: int) -> Version:
        """The version of a number, from 1 on. Raises DIDError ``did.not_found``."""
        if not 1 <= number <= len(self.versions):
            raise DIDError("did.not_found", f"the DID has versions 1 to {len(self.versions)}")
        return self.versions[number - 1]

    def _holds(self, number: int, relationship: str) -> Active:
        """What holds from the version of a number on; read once."""
        row = self._active.get(relationship)
        if row is None:
            raise DIDError("did.not_found", f"{relationship[:40]!r} signs nothing")
        found = row[number]
        if found is None:
            version = self.versions[number - 1]
            found = row[number] = Active(
                version.version_id,
                version.version_time_ms,
                self._starts[number] if number < len(self._starts) else None,
                tuple(one.key for one in version.keys[relationship]),
            )
        return found

    def intervals(self, relationship: str = ASSERTION) -> tuple[Active, ...]:
        """What held when, one for each version. Raises as :meth:`key_at`."""
        numbers = range(1, len(self.versions) + 1)
        return tuple(self._holds(number, relationship) for number in numbers)

    def key_at(self, time_ms: int, relationship: str = ASSERTION) -> PublicKey | None:
        """The first key of a relationship that was active at a time; None when there was none.

        Args:
            relationship: assertionMethod, authentication, capabilityInvocation or
                capabilityDelegation.

        Raises:
            DIDError: ``did.not_found``: another relationship.
        """
        number = bisect_right(self._starts, time_ms)
        try:
            found = self._first[relationship][number]
        except KeyError:
            raise DIDError("did.not_found", f"{relationship[:40]!r} signs nothing") from None
        if found is _YET:
            keys = self._holds(number, relationship).keys
            found = self._first[relationship][number] = keys[0] if keys else None
        return found

    def active_at(self, time_ms: int, relationship: str = ASSERTION) -> Active | None:
        """All keys of a relationship at a time, with version and head; None before the first.

        Raises as :meth:`key_at`.
        """
        number = bisect_right(self._starts, time_ms)
        return self._holds(number, relationship) if number else None

    def was_active(self, key: PublicKey, time_ms: int, relationship: str = ASSERTION) -> bool:
        """Whether a key was one of those active at a time."""
        active = self.active_at(time_ms, relationship)
        return active is not None and key in active.keys

    def metadata(self, version: Version | None = None) -> dict[str, Any]:
        """DID document metadata (section "Read (Resolve)") of a version, or of the newest."""
        version = version or self.last
        rule = self.last.parameters.witness.to_json()
        if rule:
            rule["threshold"] = str(rule["threshold"])
        return {
            "versionId": version.version_id,
            "versionNumber": version.number,
            "versionTime": version.version_time,
            "created": self.versions[0].version_time,
            "updated": self.last.version_time,
            "scid": self.scid,
            "portable": version.parameters.portable,
            "deactivated": self.deactivated,
            "ttl": str(self.last.parameters.ttl),
            "witness": rule,
            "watchers": list(self.last.parameters.watchers),
        }
