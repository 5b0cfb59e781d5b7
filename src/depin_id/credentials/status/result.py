"""What a status check says, and who can be asked: proved good, proved bad, or cannot be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from depin_id.errors import CredentialError

State = Literal["valid", "revoked", "suspended", "message", "undecided"]

CODES: Final[dict[str, str]] = {
    "revoked": "status.revoked",
    "suspended": "status.suspended",
}


@dataclass(frozen=True, slots=True)
class StatusResult:
    """The status of one entry.

    Attributes:
        state: ``valid``; ``revoked`` (for ever) or ``suspended`` (for now); ``message``, when the
            list informs and forbids nothing; ``undecided``, when no list answers.
        code: empty for ``valid`` and ``message``, else ``status.*``: ``status.revoked``,
            ``status.suspended``, and for ``undecided`` the reason: ``status.no_list``,
            ``status.stale``, ``status.index``, ``status.issuer``, ``status.purpose``,
            ``status.length``, ``status.entry``, ``status.value``.
        message: what that means, for people; for ``message`` the list's own words.
        value: the number in the list; None when undecided.
        uri: the list asked.
    """

    state: State
    code: str = ""
    message: str = ""
    value: int | None = None
    uri: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the object: ``valid`` or ``message``."""
        return self.state in ("valid", "message")

    @property
    def decided(self) -> bool:
        """Whether a list answered at all."""
        return self.state != "undecided"

    def require(self) -> None:
        """Raise CredentialError with this result's code unless :attr:`ok`."""
        if not self.ok:
            raise CredentialError(self.code, self.message, hint=HINTS.get(self.code, ""))


HINTS: Final = {
    "status.stale": "fetch the list again from its URL",
    "status.no_list": "fetch the list from its URL and add it",
    "status.revoked": "a revocation is for ever: a new one has to be issued",
    "status.suspended": "ask the issuer",
}


def undecided(code: str, message: str, uri: str = "") -> StatusResult:
    """A result that says why no list answers."""
    return StatusResult("undecided", code, message, None, uri)


class StatusCheck(Protocol):
    """Whoever can say what the status of an entry is."""

    def check(
        self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None
    ) -> StatusResult:
        """The status of one ``credentialStatus`` entry; never raises on what the entry holds.

        Args:
            entry: ``BitstringStatusListEntry``, or ``{"status_list": {"idx": .., "uri": ..}}``.
            now_ms: milliseconds since 1970.
            issuer: DID of whoever issued the object: the list has to be by the same, or by one
                whom the asked takes for it. None does not compare.
        """
        ...
