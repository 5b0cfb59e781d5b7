"""Entries of the journal about attestation: materials, results, and what is disavowed of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Final

MATERIAL, RESULT, DISAVOWED = range(22, 25)
ID_BYTES: Final = 16
"""How readings name a result: so many of the first bytes of its SHA-256."""


@dataclass(frozen=True, slots=True)
class MaterialTaken:
    """What evidence is judged by from here on.

    Attributes:
        what: ``anchors``, ``references`` or ``revocations``. name: the operator's, of this part.
        data: a bundle (:mod:`verify.attestation.bundles`); empty when the part is taken away.
    """

    KIND: ClassVar[int] = MATERIAL
    what: str
    name: str
    data: bytes

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.what, self.name, self.data]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.what, self.name, hashlib.sha256(self.data).digest()]


@dataclass(frozen=True, slots=True)
class ResultTaken:
    """A result of verified evidence; sealed under the device's own key, for it names its hardware.

    Attributes:
        ref: the device's reference. digest: SHA-256 of the result, 32 bytes.
        nonce: of the challenge that was answered: good once.
        boot: the device's epoch. level: ``D1`` to ``D3``. not_after: ms since 1970.
        shared: whether its hardware is one device's alone and another device had shown it: this
            stays when that one is erased, or flags of others would change with it.
        private: CBOR [result, message as it came, opened credential or None, counters].
    """

    KIND: ClassVar[int] = RESULT
    ref: bytes
    digest: bytes
    nonce: bytes
    boot: int
    level: str
    not_after: int
    shared: bool
    private: bytes | None

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [
            *(self.ref, self.digest, self.nonce, self.boot, self.level, self.not_after),
            self.shared,
        ]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.digest, self.level]


@dataclass(frozen=True, slots=True)
class Disavowed:
    """Results that stand on what has been revoked: their readings count no more.

    Attributes:
        ref: of the device. ids: of its results, 16 bytes each. since: receipt time of the first
            reading that counts no more, ms since 1970. reason: for people.
    """

    KIND: ClassVar[int] = DISAVOWED
    ref: bytes
    ids: tuple[bytes, ...]
    since: int
    reason: str

    def delta(self) -> list[Any]:
        """What stands in the journal after the kind."""
        return [self.ref, list(self.ids), self.since, self.reason]

    def public(self) -> list[Any]:
        """What stands in the log."""
        return [self.ref, self.since]
