"""DID and DID URL syntax (DID Core 1.0 sections 3.1 and 3.2), strictly as the ABNF says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.errors import DIDError

MAX_LENGTH: Final = 2048
"""The longest DID or DID URL taken, in characters; the standard names no bound."""

_IDCHAR = r"(?:[A-Za-z0-9._\-]|%[0-9A-Fa-f]{2})"
_PCHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@\-]|%[0-9A-Fa-f]{2})"
_DID = rf"did:([a-z0-9]+):((?:{_IDCHAR}*:)*{_IDCHAR}+)"
_DID_RE = re.compile(_DID, re.ASCII)
_URL_RE = re.compile(
    rf"({_DID})((?:/{_PCHAR}*)*)(?:\?((?:{_PCHAR}|[/?])*))?(?:#((?:{_PCHAR}|[/?])*))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Did:
    """A DID: ``did:<method>:<id>``. Make one with :func:`parse_did`."""

    method: str
    id: str

    def __str__(self) -> str:
        return f"did:{self.method}:{self.id}"


@dataclass(frozen=True, slots=True)
class DidUrl:
    """A DID URL. A part that is absent is None; the path is empty when absent."""

    did: Did
    path: str = ""
    query: str | None = None
    fragment: str | None = None

    def __str__(self) -> str:
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.did}{self.path}{query}{fragment}"


def _refuse(kind: str, text: object) -> NoReturn:
    shown = repr(text[:60]) if isinstance(text, str) else type(text).__name__
    raise DIDError(
        "did.malformed",
        f"{shown} is not a {kind}",
        hint=f"at most {MAX_LENGTH} characters, did:<method>:<id> (DID Core section 3)",
    )


def parse_did(text: str) -> Did:
    """A DID, without path, query or fragment (section 3.1).

    Raises:
        DIDError: ``did.malformed``.
    """
    if type(text) is not str or len(text) > MAX_LENGTH:
        _refuse("DID", text)
    match = _DID_RE.fullmatch(text)
    if match is None:
        _refuse("DID", text)
    return Did(match[1], match[2])


def parse_did_url(text: str) -> DidUrl:
    """A DID URL; a bare DID is one too (section 3.2).

    Raises:
        DIDError: ``did.malformed``.
    """
    if type(text) is not str or len(text) > MAX_LENGTH:
        _refuse("DID URL", text)
    match = _URL_RE.fullmatch(text)
    if match is None:
        _refuse("DID URL", text)
    return DidUrl(Did(match[2], match[3]), match[4], match[5], match[6])
