"""What verification asks of others: who holds which key, and whether a credential was revoked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from depin_id.ecdsa import VerificationKey

KeyOf = Callable[[str, str, str | None], VerificationKey]
"""(verification method, issuer's DID, when the proof was made) gives the admitted key.

It raises a DepinError where there is none, or where the key is not one that the issuer makes
assertions with at that time.
"""


class StatusResult(Protocol):
    """What a status list says of one entry."""

    @property
    def state(self) -> str:
        """``valid``, ``revoked``, ``suspended``, ``message`` or ``undecided``."""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the credential."""

    @property
    def decided(self) -> bool:
        """Whether a list answered at all."""

    @property
    def message(self) -> str:
        """For people."""


class StatusCheck(Protocol):
    """Looks entries up in status lists."""

    def check(
        self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None
    ) -> StatusResult:
        """What the list says of a ``credentialStatus`` entry at a moment.

        Args:
            entry: as it stands in the credential.
            now_ms: milliseconds since 1970.
            issuer: DID that the list has to be by: the credential's own issuer. Somebody else's
                list of the same name decides nothing.

        Raises:
            DepinError: taken as undecided.
        """
        ...
