"""The enrolment document: what a device says of itself so that a network can take it in.

It holds nothing secret and proves nothing: the aggregator's operator decides whether to enrol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, get_args

from depin_id import strict_json
from depin_id.claims import Place
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.syntax import parse_did
from depin_id.errors import ConfigError, DepinError, EncodingError
from depin_id.keys import PublicKey

TYPE: Final = "depin-enrolment/1"
MAX_DID: Final = 512
MAX_TEXT: Final = 128
"""Bound on name, profile and owner, in characters."""
MAX_DOCUMENT: Final = 1 << 24
"""Bound on a text of enrolments, in characters (16 MiB: some 40,000 devices)."""

Role = Literal["device", "gateway"]

_REQUIRED = frozenset(("type", "did", "key"))
_FIELDS = _REQUIRED | {
    *("curve", "thumbprint", "name", "profile", "owner", "role", "lat", "lon"),
}
_DEGREES = re.compile(r"(-?)([0-9]{1,3})(?:\.([0-9]{1,7}))?")
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,128}")


def _wrong(what: str) -> NoReturn:
    raise ConfigError(
        "enrolment.malformed",
        what,
        hint="`depin-id device show DIR --json` writes a correct document",
    )


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value + " ").isprintable():
        _wrong(f"{field} is not a printable text of at most {MAX_TEXT} characters")


def format_degrees(value: int) -> str:
    """Units of 1e-7 degree as decimal text, exactly: ``-1234567`` is ``-0.1234567``."""
    whole, part = divmod(abs(value), 10_000_000)
    fraction = f"{part:07d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if fraction else ''}{fraction}"


def parse_degrees(text: Any) -> int:
    """Decimal degrees with at most seven places as units of 1e-7 degree.

    Raises:
        ConfigError: ``enrolment.malformed``.
    """
    match = _DEGREES.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        _wrong(f"{str(text)[:40]!r} is not degrees with at most seven decimals, as text")
    sign, whole, fraction = match.groups()
    value = int(whole) * 10_000_000 + int((fraction or "").ljust(7, "0"))
    return -value if sign else value


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device or gateway as a network takes it in.

    Attributes:
        did: the did:key of the key, or another DID that evidence binds to it.
        key: the admitted public key.
        name: for people, at most 128 printable characters.
        profile: name of the sensor profile, such as ``noise-class2@1``.
        owner: DID or account of whom the rewards go to.
        role: ``device`` or ``gateway``.
        place: where it stands, for what does not move.

    Raises:
        ConfigError: ``enrolment.malformed``, or ``enrolment.key_differs`` when the DID is not the
            key's.
    """

    did: str
    key: PublicKey
    name: str = ""
    profile: str = ""
    owner: str = ""
    role: Role = "device"
    place: Place | None = None

    def __post_init__(self) -> None:
        for field in ("name", "profile", "owner"):
            _check_text(field, getattr(self, field))
        if not isinstance(self.did, str) or len(self.did) > MAX_DID:
            _wrong(f"the DID is not a text of at most {MAX_DID} characters")
        parse_did(self.did)
        if self.role not in get_args(Role):
            _wrong(f"the role {str(self.role)[:40]!r} is neither device nor gateway")
        if self.is_did_key and self.did != did_key(self.key):
            raise ConfigError(
                "enrolment.key_differs",
                f"{str(self.did)[:80]} is not the did:key of the key beside it",
                hint="one of them was changed: get the document from the device again",
            )

    @property
    def is_did_key(self) -> bool:
        """Whether the DID is said to be the key's; any other is bound to it by evidence."""
        return self.did.startswith("did:key:")

    @classmethod
    def of(cls, key: PublicKey, **about: Any) -> Enrolment:
        """The enrolment of a key, its DID made from the key."""
        return cls(did_key(key), key, **about)

    def to_json(self) -> dict[str, Any]:
        """The document as a JSON-ready mapping; binary as hex, degrees as decimal text."""
        place = self.place
        return {
            "type": TYPE,
            "did": self.did,
            "key": self.key.cose_key.hex(),
            "curve": self.key.curve,
            "thumbprint": self.key.thumbprint.hex(),
            "name": self.name,
            "profile": self.profile,
            "owner": self.owner,
            "role": self.role,
            "lat": None if place is None else format_degrees(place.lat_e7),
            "lon": None if place is None else format_degrees(place.lon_e7),
        }

    def to_list(self) -> list[Any]:
        """The enrolment as an array for a CBOR entry; the DID follows from the key."""
        place = self.place
        where = None if place is None else [place.lat_e7, place.lon_e7]
        named = [] if self.is_did_key else [self.did]
        return [self.key.cose_key, self.name, self.profile, self.owner, self.role, where, *named]

    @classmethod
    def from_list(cls, value: Any) -> Enrolment:
        """Read what :meth:`to_list` gave.

        Raises:
            ConfigError: ``enrolment.malformed``. KeyRefused, EncodingError: the key.
        """
        if (
            not isinstance(value, list)
            or len(value) not in (6, 7)
            or not isinstance(value[0], bytes)
        ):
            _wrong("an enrolment is an array of six or seven that begins with a COSE_Key")
        key = PublicKey.from_cose_key(value[0])
        where = value[5]
        if where is not None and (not isinstance(where, list) or len(where) != 2):
            _wrong("the place is neither null nor two integers")
        place = None if where is None else _place(*where)
        did = value[6] if len(value) == 7 else did_key(key)
        return cls(
            did, key, name=value[1], profile=value[2], owner=value[3], role=value[4], place=place
        )

    @classmethod
    def from_json(cls, value: Any) -> Enrolment:
        """Read one document, strictly.

        Raises:
            ConfigError: ``enrolment.malformed`` or ``enrolment.key_differs``. KeyRefused,
                EncodingError, DIDError: the key or the DID.
        """
        if not isinstance(value, dict) or value.get("type") != TYPE:
            _wrong(f"it is not a JSON object of type {TYPE}")
        unknown, missing = set(value) - _FIELDS, _REQUIRED - set(value)
        if unknown or missing:
            _wrong(f"unknown fields {sorted(unknown)}, missing fields {sorted(missing)}"[:200])
        encoded = value["key"]
        if not isinstance(encoded, str) or _HEX.fullmatch(encoded) is None:
            _wrong("key is not a COSE_Key in lower-case hex")
        key = PublicKey.from_cose_key(bytes.fromhex(encoded))
        did = value["did"]
        if not isinstance(did, str) or (did.startswith("did:key:") and parse_did_key(did) != key):
            raise ConfigError("enrolment.key_differs", "the DID is not the did:key of the key")
        for field, own in (("curve", key.curve), ("thumbprint", key.thumbprint.hex())):
            if value.get(field, own) != own:
                raise ConfigError("enrolment.key_differs", f"{field} is not the key's")
        about = {
            field: value[field] for field in ("name", "profile", "owner", "role") if field in value
        }
        return cls(value["did"], key, place=_json_place(value), **about)


def _place(lat_e7: Any, lon_e7: Any) -> Place:
    try:
        return Place(lat_e7, lon_e7)
    except DepinError as error:
        _wrong(error.message)


def _json_place(value: dict[str, Any]) -> Place | None:
    lat, lon = value.get("lat"), value.get("lon")
    if lat is None and lon is None:
        return None
    return _place(parse_degrees(lat), parse_degrees(lon))


def _load(text: str) -> Any:
    try:
        return strict_json.parse(text, max_bytes=MAX_DOCUMENT)
    except EncodingError as error:
        _wrong(error.message)


def _documents(text: str) -> Iterator[tuple[int, str]]:
    """Each document with its line: JSON Lines when the first line is a whole object."""
    lines = text.removeprefix("\ufeff").split("\n")
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if filled and not filled[0][1].rstrip().endswith("}"):
        yield filled[0][0], "\n".join(lines)
        return
    yield from filled


def read_enrolments(text: str) -> Iterator[Enrolment]:
    """Read enrolment documents: one JSON document over any number of lines, or one a line (JSONL).

    Strict: fields that are unknown or occur twice are refused.

    Yields:
        The enrolments in the order of the text.

    Raises:
        DepinError: what was wrong, with the line it begins on. ``enrolment.malformed``,
            ``enrolment.key_differs``, ``enrolment.empty``, or the codes of keys and DIDs.
    """
    if len(text) > MAX_DOCUMENT:
        raise ConfigError(
            "enrolment.malformed", "the text is over 16 MiB", hint="split it into several files"
        )
    empty = True
    for line, document in _documents(text):
        empty = False
        try:
            yield Enrolment.from_json(_load(document))
        except DepinError as error:
            raise type(error)(
                error.code, f"line {line}: {error.message}", hint=error.hint
            ) from error
    if empty:
        raise ConfigError("enrolment.empty", "the text holds no enrolment")
