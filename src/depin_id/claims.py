"""The CWT claims that an envelope may carry in its protected header (RFC 9597, header 15)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from depin_id.errors import EnvelopeError

ISS, SUB, IAT, CTI, NONCE = 1, 2, 6, 7, 10
LINK, PLACE, LEVEL, CAP = -65537, -65538, -65539, -65540

_SUBJECT = re.compile(r"#[A-Za-z0-9._:-]{1,64}")
# A DID (DID Core section 3.1), and at most a fragment: no path, no query.
_FOREIGN = re.compile(
    r"did:[a-z0-9]{1,32}:(?:[A-Za-z0-9._:-]|%[0-9A-Fa-f]{2})*(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})"
    r"(?:#[A-Za-z0-9._:-]{1,64})?"
)
MAX_DID_URL = 256
CAP_BYTES = 16
GATEWAY_LEVELS = ("G0", "G1")
MAX_SECONDS = 1 << 40
"""Bound on every time and duration of the wire, in seconds."""


def _wrong(claim: str, should: str) -> NoReturn:
    raise EnvelopeError(
        "envelope.claims", f"the claim {claim} is not {should}", hint="see docs/protocol.md"
    )


def check_subject(subject: str) -> str:
    """Give back a subject ``#name`` or raise EnvelopeError ``envelope.claims``."""
    if _SUBJECT.fullmatch(subject) is None:
        _wrong("sub", "'#' and 1 to 64 of A-Z a-z 0-9 . _ : -")
    return subject


def check_foreign(subject: str) -> str:
    """Give back a whole DID or DID URL ``<DID>#name``, or raise EnvelopeError."""
    if len(subject) > MAX_DID_URL or _FOREIGN.fullmatch(subject) is None:
        _wrong("sub", f"a DID, at most with a fragment, of at most {MAX_DID_URL} characters")
    return subject


def is_uint(value: Any, bound: int = MAX_SECONDS) -> bool:
    """Whether a value is an integer (no bool) in ``[0, bound]``."""
    return type(value) is int and 0 <= value <= bound


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was: latitude and longitude in units of 1e-7 degree (WGS 84)."""

    lat_e7: int
    lon_e7: int

    def __post_init__(self) -> None:
        if type(self.lat_e7) is not int or abs(self.lat_e7) > 900_000_000:
            _wrong("place", "a latitude within +-90 degrees in units of 1e-7")
        if type(self.lon_e7) is not int or abs(self.lon_e7) > 1_800_000_000:
            _wrong("place", "a longitude within +-180 degrees in units of 1e-7")


@dataclass(frozen=True, slots=True)
class Link:
    """Radio quality at the gateway: RSSI in dBm, SNR in tenths of dB; None where unknown."""

    rssi_dbm: int | None = None
    snr_ddb: int | None = None

    def __post_init__(self) -> None:
        for value in (self.rssi_dbm, self.snr_ddb):
            if value is not None and (type(value) is not int or abs(value) > 10_000):
                _wrong("link", "two integers or nulls")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an envelope; every one is optional.

    Attributes:
        iss: DID of the signer, for an envelope that describes itself.
        sub: ``#name`` of a sensor that the signer signs for (its DID URL's fragment); with
            ``cap`` the whole DID, or DID URL, of a subject that is not its own.
        iat: seconds since 1970: when a gateway received, or a device with a clock sealed.
        cti: a sender's own identifier, 1 to 64 bytes.
        nonce: the newest downlink nonce the sender has seen, 8 to 32 bytes.
        link, place, level: what a gateway says of the source.
        cap: id of the capability under which it signs for that subject, 16 bytes.
    """

    iss: str | None = None
    sub: str | None = None
    iat: int | None = None
    cti: bytes | None = None
    nonce: bytes | None = None
    link: Link | None = None
    place: Place | None = None
    level: str | None = None
    cap: bytes | None = None

    def __post_init__(self) -> None:
        iss, sub = self.iss, self.sub
        if iss is not None and (
            type(iss) is not str or not iss.startswith("did:") or len(iss) > 256
        ):
            _wrong("iss", "a DID of at most 256 characters")
        if sub is not None:
            if type(sub) is not str:
                _wrong("sub", "a text")
            (check_subject if self.cap is None else check_foreign)(sub)
        if self.cap is not None:
            if type(self.cap) is not bytes or len(self.cap) != CAP_BYTES:
                _wrong("cap", f"{CAP_BYTES} bytes")
            if sub is None:
                _wrong("cap", "beside the subject that it is for")
        if self.iat is not None and not is_uint(self.iat):
            _wrong("iat", "whole seconds since 1970")
        for name, value, low, high in (("cti", self.cti, 1, 64), ("nonce", self.nonce, 8, 32)):
            if value is not None and (type(value) is not bytes or not low <= len(value) <= high):
                _wrong(name, f"{low} to {high} bytes")
        if self.level is not None and self.level not in GATEWAY_LEVELS:
            _wrong("level", "G0 or G1: higher levels never come from the wire")

    def to_map(self) -> dict[int, Any]:
        """The claims as the map of header 15, empty when there are none."""
        pairs = {
            ISS: self.iss,
            SUB: self.sub,
            IAT: self.iat,
            CTI: self.cti,
            NONCE: self.nonce,
            LINK: None if self.link is None else [self.link.rssi_dbm, self.link.snr_ddb],
            PLACE: None if self.place is None else [self.place.lat_e7, self.place.lon_e7],
            LEVEL: self.level,
            CAP: self.cap,
        }
        return {label: value for label, value in pairs.items() if value is not None}


_FIELDS = {ISS: "iss", SUB: "sub", IAT: "iat", CTI: "cti", NONCE: "nonce", LEVEL: "level"}
_FIELDS[CAP] = "cap"
NO_CLAIMS = Claims()


def parse_claims(value: Any) -> Claims:
    """Read the map of header 15.

    Raises:
        EnvelopeError: ``envelope.claims`` for an unknown, null or ill-formed claim, or an empty
            map (which has a shorter form: no header).
    """
    if not isinstance(value, dict) or not value:
        _wrong("set", "a map with at least one entry")
    fields: dict[str, Any] = {}
    for label, item in value.items():
        if item is None:
            _wrong(str(label), "anything but null")
        if label in _FIELDS:
            fields[_FIELDS[label]] = item
        elif label == LINK and isinstance(item, list) and len(item) == 2:
            fields["link"] = Link(*item)
        elif label == PLACE and isinstance(item, list) and len(item) == 2:
            fields["place"] = Place(*item)
        else:
            _wrong(str(label)[:40], "one of those an envelope may carry")
    return Claims(**fields)
