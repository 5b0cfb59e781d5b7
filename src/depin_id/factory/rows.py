"""The lines of a production batch: CSV with a header, or JSON Lines; one device a line."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

from depin_id import strict_json
from depin_id.claims import Place
from depin_id.did.key import did_key
from depin_id.enrolment import Enrolment, Role, parse_degrees
from depin_id.errors import DepinError, TransportError
from depin_id.factory.faults import Faults
from depin_id.factory.keytext import KeyFault, parse_key
from depin_id.keys import PublicKey

MAX_LINE: Final = 4096
"""Bound on a line, in bytes."""
COLUMNS: Final = (
    "serial",
    "key",
    "curve",
    "model",
    "hardware_revision",
    "key_protection",
    "profile",
    "name",
    "owner",
    "role",
    "mac",
    "lat",
    "lon",
)
REQUIRED: Final = ("serial", "key")
Protection = Literal["software", "tee", "tpm", "secure-element"]
_PROTECTIONS: Final[dict[str, Protection]] = {
    "software": "software",
    "tee": "tee",
    "tpm": "tpm",
    "secure-element": "secure-element",
}
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")
_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}(?:@[0-9]{1,9})?")
_MAC: Final = re.compile(r"(?:[0-9a-fA-F]{2}([:-]?))(?:[0-9a-fA-F]{2}\1){4,6}[0-9a-fA-F]{2}")
_KNOWN: Final = frozenset(COLUMNS)


@dataclass(frozen=True)
class Defaults:
    """What is said of devices whose line does not say it; empty: the line has to."""

    model: str = ""
    hardware_revision: str = ""
    key_protection: str = ""
    profile: str = ""
    owner: str = ""
    role: str = "device"


@dataclass(frozen=True, slots=True)
class Row:
    """One device of a batch.

    Attributes:
        line: of the input, from 1.
        serial: 1 to 64 of A-Z a-z 0-9 . _ : + -, the first a letter or digit.
        enrolment: key, DID and what the network is told.
        model, hardware_revision, key_protection: for the birth certificate.
        mac: hardware address, 12 or 16 hexadecimal digits in lower case; may be empty.
    """

    line: int
    serial: str
    enrolment: Enrolment
    model: str
    hardware_revision: str
    key_protection: Protection
    mac: str


def _readline(source: BinaryIO, size: int) -> bytes:
    try:
        return source.readline(size)
    except OSError as error:
        raise TransportError(
            "file.failed", f"the list of devices: {error.strerror or error}"
        ) from error


def _lines(source: BinaryIO, faults: Faults) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without those that are blank or cannot be read."""
    number = 0
    while data := _readline(source, MAX_LINE + 1):
        number += 1
        if len(data) > MAX_LINE and not data.endswith(b"\n"):
            faults.add(number, "factory.line", f"the line is over {MAX_LINE} bytes")
            while (rest := _readline(source, 1 << 16)) and not rest.endswith(b"\n"):
                pass
            continue
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            text = data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            faults.add(number, "factory.line", "the line is not UTF-8")
            continue
        if text and not text.isspace():
            yield number, text


def _cells(text: str) -> list[str]:
    """The cells of one line; a quoted cell cannot go on in the next line."""
    try:
        found = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise _Line(f"not CSV: {error}") from None
    return [cell.strip() for cell in found]


class _Line(Exception):
    """A line that cannot be read; says why."""


def _header(text: str) -> list[str]:
    names = [name.lower() for name in _cells(text)]
    unknown = sorted(set(names) - _KNOWN)
    if unknown:
        raise _Line(f"there is no column {unknown[0][:40]!r}; there are {', '.join(COLUMNS)}")
    if len(set(names)) != len(names):
        raise _Line("a column is named twice")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise _Line(f"the column {missing[0]} is missing")
    return names


def _csv(lines: Iterable[tuple[int, str]], faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    names: list[str] | None = None
    for number, text in lines:
        try:
            if names is None:
                names = _header(text)
                continue
            cells = _cells(text)
            if len(cells) != len(names):
                raise _Line(f"{len(cells)} cells under {len(names)} columns")
        except _Line as error:
            faults.add(number, "factory.line" if names else "factory.header", str(error))
            if names is None:
                return
            continue
        yield number, dict(zip(names, cells, strict=True))


def _object(text: str) -> dict[str, str]:
    try:
        value = strict_json.parse(text, max_bytes=MAX_LINE)
    except DepinError as error:
        raise _Line(error.message) from None
    if not isinstance(value, dict):
        raise _Line("the line is not a JSON object")
    if not value.keys() <= _KNOWN:
        raise _Line(f"there is no field {min(value.keys() - _KNOWN)[:40]!r}")
    for name, item in value.items():
        if item is not None and type(item) is not str:
            raise _Line(f"{name} is not a text")
    return {name: (item or "").strip() for name, item in value.items()}


def _json(lines: Iterable[tuple[int, str]], faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    for number, text in lines:
        try:
            found = _object(text)
        except _Line as error:
            faults.add(number, "factory.line", str(error))
            continue
        yield number, found


def _with_first(
    first: tuple[int, str], rest: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


class _Field(Exception):
    """A field that is missing or malformed; says which and why."""


def _text(name: str, value: str) -> str:
    if not value:
        raise _Field(f"{name} is missing: give the column or a value for all")
    if len(value) > 128 or not value.isprintable():
        raise _Field(f"{name} is not a printable text of at most 128 characters")
    return value


def _serial(value: str) -> str:
    if _SERIAL.fullmatch(value) is None:
        raise _Field(
            f"the serial {value[:40]!r} is not 1 to 64 of A-Z a-z 0-9 . _ : + - (the first a "
            "letter or digit)"
        )
    return value


def _protection(value: str) -> Protection:
    found = _PROTECTIONS.get(value)
    if found is None:
        raise _Field(f"key_protection {value[:20]!r} is none of {', '.join(_PROTECTIONS)}")
    return found


def _role(value: str) -> Role:
    if value == "gateway":
        return "gateway"
    if value == "device":
        return "device"
    raise _Field(f"the role {value[:20]!r} is neither device nor gateway")


def _mac(value: str) -> str:
    if not value:
        return ""
    plain = re.sub("[:-]", "", value).lower()
    if _MAC.fullmatch(value) is None or len(plain) not in (12, 16):
        raise _Field(f"{value[:30]!r} is no hardware address of 6 or 8 bytes")
    return plain


def _profile(value: str) -> str:
    if value and _PROFILE.fullmatch(value) is None:
        raise _Field(f"{value[:40]!r} is not the name of a profile, such as noise@1")
    return value


def _place(lat: str, lon: str) -> Place | None:
    if not lat and not lon:
        return None
    try:
        return Place(parse_degrees(lat), parse_degrees(lon))
    except DepinError as error:
        raise _Field(f"the place: {error.message}") from None


class Seen:
    """What occurred before, by 8 bytes of its digest: 100 bytes or so for each.

    That two have the same is as good as impossible, and would only refuse a batch.
    """

    def __init__(self) -> None:
        self._lines: dict[str, dict[int, int]] = {}

    def first(self, what: str, value: bytes, line: int) -> int | None:
        """The line on which it occurred before (0: in an earlier batch); None the first time."""
        head = int.from_bytes(hashlib.sha256(value).digest()[:8], "big")
        found = self._lines.setdefault(what, {}).setdefault(head, line)
        return None if found == line else found


class _Reader:
    """Turns fields into rows; what is wrong with them goes to the faults, all of it."""

    def __init__(self, defaults: Defaults, faults: Faults, seen: Seen) -> None:
        self.defaults, self.faults, self.seen = vars(defaults), faults, seen

    def once(self, line: int, what: str, value: bytes, shown: str) -> bool:
        """Whether it occurs for the first time."""
        first = self.seen.first(what, value, line)
        if first is None:
            return True
        where = f"on line {first}" if first else "in an earlier batch"
        self.faults.add(line, f"factory.{what}_repeated", f"{shown} is {where} already")
        return False

    def row(self, line: int, fields: dict[str, str]) -> Row | None:
        """The row, or None when there is something wrong with it."""
        good = True

        def take(read: Any, *names: str) -> Any:
            nonlocal good
            try:
                return read(*(fields.get(name) or self.defaults.get(name, "") for name in names))
            except KeyFault as fault:
                self.faults.add(line, fault.code, str(fault))
            except _Field as fault:
                self.faults.add(line, "factory.field", str(fault))
            good = False
            return None

        serial = take(_serial, "serial")
        key: PublicKey | None = take(parse_key, "key", "curve")
        model = take(lambda value: _text("model", value), "model")
        revision = take(lambda value: _text("hardware_revision", value), "hardware_revision")
        protection = take(_protection, "key_protection")
        mac = take(_mac, "mac")
        about = {
            "name": fields.get("name", ""),
            "profile": take(_profile, "profile"),
            "owner": fields.get("owner") or self.defaults["owner"],
            "role": take(_role, "role"),
            "place": take(_place, "lat", "lon"),
        }
        for what, value, shown in (
            # People mix up capitals: two labels must differ in more.
            ("serial", (serial or "").lower().encode(), f"the serial {serial}"),
            ("key", b"" if key is None else key.raw, "this key"),
            ("mac", (mac or "").encode(), f"the hardware address {mac}"),
        ):
            if value and not self.once(line, what, value, shown):
                good = False
        if key is None or not good:
            return None
        try:
            enrolment = Enrolment(did_key(key), key, **about)
        except DepinError as error:
            self.faults.add(line, "factory.field", error.message)
            return None
        return Row(line, serial, enrolment, model, revision, protection, mac)


def read_rows(
    source: BinaryIO, *, defaults: Defaults, faults: Faults, seen: Seen | None = None
) -> Iterator[Row]:
    """The devices of a batch, one a line; JSON Lines when the first line begins with ``{``.

    Reads as it goes: a line is all that is in memory. Lines that are wrong are left out and noted.

    Args:
        source: bytes, UTF-8.
        defaults: for what a line does not say.
        faults: is told what is wrong.
        seen: what earlier batches hold already.
    """
    lines = _lines(source, faults)
    first = next(lines, None)
    if first is None:
        return
    every = _with_first(first, lines)
    read = _json if first[1].lstrip().startswith("{") else _csv
    reader = _Reader(defaults, faults, seen or Seen())
    for number, fields in read(every, faults):
        row = reader.row(number, fields)
        if row is not None:
            yield row
