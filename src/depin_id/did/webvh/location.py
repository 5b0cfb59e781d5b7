"""A did:webvh as a name, and where its files lie: did:webvh 1.0, "The DID to HTTPS Transformation".

A pure function of the DID. It refuses what makes a fetcher go elsewhere than the reader of the DID
thinks: addresses in any spelling, percent-encoded hosts, ``..``, and second spellings of one place.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from depin_id.did.webvh.refusal import refuse

PREFIX: Final = "did:webvh:"
PLACEHOLDER: Final = "{SCID}"
MAX_LENGTH: Final = 2048
SCID: Final = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}", re.ASCII)
"""base58btc of a SHA-256 multihash."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_SEGMENT_SAFE: Final = "!$&'()*+,;=@"
_DEVIANT: Final = "\u00df\u03c2\u200c\u200d"
"""Characters that IDNA 2003 and 2008 write differently: one name, two hosts."""


@dataclass(frozen=True, slots=True)
class Location:
    """A did:webvh taken apart.

    Attributes:
        scid: the self-certifying identifier. host: lower case, internationalized labels as
            ``xn--``. port: None for 443. path: percent-encoded segments.
    """

    did: str
    scid: str
    host: str
    port: int | None
    path: tuple[str, ...]

    @property
    def base(self) -> str:
        """``https://host[:port]/path/``: where the files of a DID lie, without ``.well-known``."""
        port = "" if self.port is None else f":{self.port}"
        return f"https://{self.host}{port}/" + "".join(f"{segment}/" for segment in self.path)

    def file(self, name: str) -> str:
        """Address of ``did.jsonl`` or ``did-witness.json``."""
        return self.base + ("" if self.path else ".well-known/") + name

    @property
    def did_web(self) -> str:
        """The did:web of the same place."""
        return "did:web:" + self.did.split(":", 3)[3]


def _label(label: str) -> str:
    """One label of a host as DNS has it."""
    if not label.isascii():
        if any(character in _DEVIANT for character in label):
            refuse("did", "the host has a character that two versions of IDNA write differently")
        try:
            label = label.encode("idna").decode("ascii")
            shown = label.encode("ascii").decode("idna")
        except UnicodeError:
            refuse("did", "the host is not an internationalized domain name")
        # IDNA 2008 (RFC 5892) allows letters, marks and digits; the codec is of 2003.
        if any(
            unicodedata.category(character)[0] not in "LMN-"
            for character in shown
            if character != "-"
        ):
            refuse("did", "the host has a character that domain names do not have")
    label = label.lower()
    if not _LABEL.fullmatch(label):
        refuse("did", "the host is not a domain name")
    return label


def _host(text: str) -> str:
    if "%" in text:
        refuse("did", "the host is percent-encoded; only %3A before a port is")
    if len(text) > 253:
        refuse("did", "the host is longer than a domain name can be")
    labels = [_label(label) for label in text.split(".")]
    # What readers of addresses take for one: 127.0.0.1, 2130706433, 127.1, 0x7f.1, 1.2.3.4.5
    if _NUMBER.fullmatch(labels[-1]):
        refuse("did", "the host is an address; a did:webvh has a domain name")
    host = ".".join(labels)
    if len(labels) < 2 or len(host) > 253:
        refuse("did", "the host is not a fully qualified domain name")
    return host


def _segment(text: str) -> str:
    """One segment of the path, percent-encoded in its one spelling."""
    try:
        plain = unquote(text, errors="strict")
        encoded = quote(plain, safe=_SEGMENT_SAFE)
    except UnicodeError:
        refuse("did", "a segment of the path is not UTF-8")
    if text.isascii() and encoded != text:
        refuse("did", "a segment of the path is not in its one percent-encoded spelling")
    if not text.isascii() and "%" in text:
        refuse("did", "a segment of the path is percent-encoded in part")
    if plain in ("", ".", ".."):
        refuse("did", "the path has an empty segment, or one of dots")
    if any(c in "/\\%:?#" or unicodedata.category(c)[0] in "CZ" for c in plain):
        refuse("did", "a segment of the path holds a separator or a control character")
    return encoded


def _place(did: str, scid: str, place: str) -> Location:
    domain, *path = place.split(":")
    domain, encoded, port = domain.partition("%3A")
    number = None
    if encoded:
        if not _PORT.fullmatch(port) or int(port) > 65_535:
            refuse("did", "the port is not a number from 1 to 65535")
        number = int(port)
    host = _host(domain)
    return Location(did, scid, host, number, tuple(_segment(segment) for segment in path))


def parse_location(did: str) -> Location:
    """Take a did:webvh apart.

    Raises:
        DIDError: ``did.webvh.did``: not a did:webvh, or its place is refused.
    """
    if type(did) is not str or len(did) > MAX_LENGTH or not did.startswith(PREFIX):
        refuse("did", f"{str(did)[:60]!r} is not a did:webvh")
    return _parsed(did)


@lru_cache(maxsize=1024)
def _parsed(did: str) -> Location:
    scid, _, place = did[len(PREFIX) :].partition(":")
    if not SCID.fullmatch(scid):
        refuse("did", "the SCID is not base58btc of a SHA-256 multihash")
    return _place(did, scid, place)


def parse_place(place: str) -> Location:
    """The location of a DID that is to be made: what stands behind the SCID.

    Args:
        place: ``example.com``, ``example.com%3A3000:dids:issuer``; ``{SCID}`` may stand in a
            segment of the path.

    Raises:
        DIDError: ``did.webvh.did``.
    """
    if type(place) is not str or len(place) > MAX_LENGTH // 2:
        refuse("did", "the place of the DID is not a text, or is too long")
    if not place.isascii():
        refuse("did", "a DID is ASCII: write the host as xn--, the path percent-encoded")
    _place("", "", place.replace(PLACEHOLDER, "QmSCID"))
    return Location(PREFIX + PLACEHOLDER + ":" + place, PLACEHOLDER, "", None, ())


def log_url(did: str) -> str:
    """Address of the log: ``https://example.com/.well-known/did.jsonl``.

    Raises:
        DIDError: ``did.webvh.did``.
    """
    return parse_location(did).file("did.jsonl")


def witness_url(did: str) -> str:
    """Address of the witnesses' proofs, ``did-witness.json`` beside the log.

    Raises:
        DIDError: ``did.webvh.did``.
    """
    return parse_location(did).file("did-witness.json")
