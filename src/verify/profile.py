"""Measurement profiles: what a kind of sensor reports, and what is possible at all.

A profile is a TOML file. Its content decides verdicts, so it has a digest that the policy names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    InstanceOf,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic import Field as Bounds

from depin_id import cbor
from depin_id.errors import ConfigError, EncodingError
from depin_id.senml import MAX_RECORDS, Decimal64, require_unit
from verify.toml_text import invalid, read_toml

Kind = Literal["number", "text", "bool"]
Location = Literal["none", "registered", "records"]

LAT, LON, ACCURACY, FIX_AGE = "lat", "lon", "accuracy", "fix-age"
POSITION_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {LAT: "lat", LON: "lon", ACCURACY: "m", FIX_AGE: "s"}
)
"""The names and units of the records that carry a position (units of RFC 8428 section 12.1)."""

MAX_FIELDS: Final = 256
_CODE: Final = "profile.invalid"
_FORMAT: Final = "depin/profile/1"
_EXPONENTS: Final = range(-18, 19)
_ANY: Final = (-(1 << 64), 1 << 64)


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of record of a profile.

    Attributes:
        name: the record's name, relative to the subject.
        unit: the unit it must have, "" for none.
        minimum, maximum: the physically possible range, both ends included; None is no bound.
        required: every pack must have at least one record of this name.
        kind: number, text or bool.
        context: it describes another record (a position, an accuracy) and is no measurement.
        mantissas: for each exponent from -18 to 18, the least and greatest possible mantissa.
    """

    name: str
    unit: str
    minimum: Decimal64 | None = None
    maximum: Decimal64 | None = None
    required: bool = False
    kind: Kind = "number"
    context: bool = False
    mantissas: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = self.minimum, self.maximum
        pairs = tuple(
            (
                _ANY[0] if low is None else -_floor(-low.mantissa, low.exponent - exponent),
                _ANY[1] if high is None else _floor(high.mantissa, high.exponent - exponent),
            )
            for exponent in _EXPONENTS
        )
        object.__setattr__(self, "mantissas", pairs)

    def to_list(self) -> list[Any]:
        """The field as it is digested: numbers as [exponent, mantissa]."""
        bounds = [
            None if bound is None else [bound.exponent, bound.mantissa]
            for bound in (self.minimum, self.maximum)
        ]
        return [self.name, self.unit, *bounds, self.required, self.kind, self.context]

    @classmethod
    def from_list(cls, value: Any) -> Field:
        """Read back what :meth:`to_list` gave; raises ValueError or TypeError."""
        name, unit, low, high, *rest = value
        bounds = [None if pair is None else Decimal64(pair[1], pair[0]) for pair in (low, high)]
        return cls(name, unit, bounds[0], bounds[1], *rest)


def _floor(mantissa: int, shift: int) -> int:
    """``mantissa * 10**shift`` rounded down."""
    return int(mantissa * 10**shift if shift >= 0 else mantissa // 10**-shift)


@dataclass(frozen=True)
class Profile:
    """What a kind of sensor reports.

    Attributes:
        name, version: what a device's enrolment names; a changed range is a new version.
        fields: the records it may have, by name.
        open_names: take records of other names too, unchecked; else ``record.unknown_name``.
        slot_ms: length of a time slot, which is filled once for each name; 0 is no slots.
        period_ms: usual time between readings: sixteen of them are a window of the content check.
        location: ``none``; ``registered`` where the device was enrolled; ``records`` of the pack.
        max_speed_mm_s: no thing of this kind moves faster.
        max_fix_age_ms: how much older than the measurement its position may be.
        max_accuracy_mm: the greatest error a position may state, None is no bound.
        max_records: the most records of a pack.
    """

    name: str
    version: int
    fields: Mapping[str, Field]
    open_names: bool = False
    slot_ms: int = 0
    period_ms: int = 0
    location: Location = "none"
    max_speed_mm_s: int = 0
    max_fix_age_ms: int = 0
    max_accuracy_mm: int | None = None
    max_records: int = MAX_RECORDS

    @cached_property
    def required(self) -> frozenset[str]:
        """The names every pack must have."""
        return frozenset(name for name, field in self.fields.items() if field.required)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything that can change a verdict, 32 bytes."""
        return hashlib.sha256(cbor.encode(self.to_list())).digest()

    def to_list(self) -> list[Any]:
        """The whole profile, as it is digested and logged."""
        return [
            _FORMAT,
            self.name,
            self.version,
            [self.fields[name].to_list() for name in sorted(self.fields)],
            self.open_names,
            self.slot_ms,
            self.period_ms,
            self.location,
            self.max_speed_mm_s,
            self.max_fix_age_ms,
            self.max_accuracy_mm,
            self.max_records,
        ]

    @classmethod
    def from_list(cls, value: Any) -> Profile:
        """Read back what :meth:`to_list` gave. Raises ConfigError ``profile.invalid``."""
        try:
            mark, name, version, fields, *rest = value
            if mark != _FORMAT:
                raise ValueError("unknown format")
            read = [Field.from_list(item) for item in fields]
            profile = cls(name, version, MappingProxyType({f.name: f for f in read}), *rest)
            if profile.to_list() == list(value):
                return profile
        except (ValueError, TypeError) as error:
            raise ConfigError(_CODE, f"a logged profile cannot be read: {error}") from None
        raise ConfigError(_CODE, "a logged profile is not written as this version writes it")


# --- the file -------------------------------------------------------------------------------------

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _exact(value: object) -> object:
    if type(value) is int:
        return Decimal64.from_int(value) if abs(value) < 1 << 63 else value
    if isinstance(value, str):
        try:
            return Decimal64.from_text(value)
        except EncodingError as error:
            raise ValueError(error.message) from None
    return value


_Number = Annotated[InstanceOf[Decimal64], BeforeValidator(_exact)]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9\-:./_]{0,127}$")]
_ProfileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
_Milliseconds = Annotated[int, Bounds(ge=0, le=86_400_000)]


class _FieldFile(BaseModel):
    model_config = _STRICT

    unit: str = ""
    minimum: _Number | None = None
    maximum: _Number | None = None
    required: bool = False
    kind: Kind = "number"
    context: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unit:
            try:
                require_unit(self.unit)
            except EncodingError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None
        low, high = self.minimum, self.maximum
        if self.kind != "number" and (low is not None or high is not None):
            raise ValueError(f"a {self.kind} has no minimum and no maximum")
        if low is not None and high is not None and high < low:
            raise ValueError(f"minimum {low} is above maximum {high}")
        if self.context and self.required:
            raise ValueError("context cannot be required: it is missed at the reading it is for")
        return self


class _ProfileFile(BaseModel):
    model_config = _STRICT

    name: _ProfileName
    version: Annotated[int, Bounds(ge=1, le=65_535)]
    fields: Annotated[dict[_Name, _FieldFile], Bounds(max_length=MAX_FIELDS)]
    open_names: bool = False
    slot_ms: _Milliseconds = 0
    period_ms: _Milliseconds | None = None
    location: Location = "none"
    max_speed_mm_s: Annotated[int, Bounds(ge=0, le=10**9)] = 0
    max_fix_age_ms: _Milliseconds = 0
    max_accuracy_mm: Annotated[int, Bounds(ge=1, le=10**9)] | None = None
    max_records: Annotated[int, Bounds(ge=1, le=MAX_RECORDS)] = MAX_RECORDS

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.fields and not self.open_names:
            raise ValueError("no field is named and open_names is false: nothing could pass")
        if self.location == "records":
            self._check_position()
        elif any(field.context for field in self.fields.values()):
            raise ValueError('context has a meaning only with location = "records"')
        return self

    def _check_position(self) -> None:
        for name, unit in POSITION_UNITS.items():
            field = self.fields.get(name)
            if field is None and name in (LAT, LON):
                raise ValueError(f'location = "records" needs a field {name}')
            if field is not None and (field.unit != unit or field.kind != "number"):
                raise ValueError(f"the field {name} carries the position: a number in {unit}")
        if self.max_speed_mm_s == 0 or self.max_fix_age_ms == 0:
            raise ValueError('location = "records" needs max_speed_mm_s and max_fix_age_ms')

    def to_profile(self) -> Profile:
        fields = {
            name: Field(name, f.unit, f.minimum, f.maximum, f.required, f.kind, f.context)
            for name, f in self.fields.items()
        }
        return Profile(
            name=self.name,
            version=self.version,
            fields=MappingProxyType(fields),
            open_names=self.open_names,
            slot_ms=self.slot_ms,
            period_ms=self.slot_ms if self.period_ms is None else self.period_ms,
            location=self.location,
            max_speed_mm_s=self.max_speed_mm_s,
            max_fix_age_ms=self.max_fix_age_ms,
            max_accuracy_mm=self.max_accuracy_mm,
            max_records=self.max_records,
        )


def parse_profile(text: str, *, source: str = "the profile") -> Profile:
    """Read one profile.

    Args:
        text: TOML.
        source: the file's name, for messages.

    Raises:
        ConfigError: ``profile.invalid``, naming file, line and field.
    """
    content = read_toml(text, source=source, code=_CODE)
    try:
        return _ProfileFile.model_validate(content).to_profile()
    except ValidationError as error:
        raise invalid(error, text, source=source, code=_CODE) from None


def load_profiles(directory: Path | None = None) -> Mapping[str, Profile]:
    """The profiles that come with the aggregator, and those of a folder.

    Args:
        directory: a folder of ``*.toml`` files, one profile each, or None. A file may replace a
            built-in profile by its name.

    Returns:
        Profiles by name, in alphabetical order.

    Raises:
        ConfigError: ``profile.invalid``: a file cannot be read or is wrong, two files of the
            folder have the same name, or there is no such folder.
    """
    built_in = resources.files("verify") / "profiles"
    found = _collect(
        (entry.name, entry.read_text("utf-8"))
        for entry in built_in.iterdir()
        if entry.name.endswith(".toml")
    )
    if directory is not None:
        found |= _collect((str(path), _read(path)) for path in _files(directory))
    return MappingProxyType(dict(sorted(found.items())))


def find_profile(profiles: Mapping[str, Profile], named: str) -> Profile | None:
    """The profile that an enrolment names: ``noise``, or ``noise@1`` for exactly that version."""
    name, at, version = named.partition("@")
    profile = profiles.get(name)
    if profile is None or (at and version != str(profile.version)):
        return None
    return profile


def _collect(files: Iterable[tuple[str, str]]) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    for source, text in files:
        profile = parse_profile(text, source=source)
        if profile.name in found:
            raise ConfigError(
                _CODE,
                f"{source}: another file has a profile {profile.name!r} too",
                hint="give each profile a name of its own",
            )
        found[profile.name] = profile
    return found


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise ConfigError(_CODE, f"{directory} is no folder", hint="name a folder of *.toml files")
    return sorted(directory.glob("*.toml"))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            _CODE, f"{path} cannot be read: {error}", hint="it must be a file of UTF-8 text"
        ) from None
