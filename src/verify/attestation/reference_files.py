"""Models and their reference values from TOML, and what a manufacturer's CoRIM adds to them.

The operator's TOML names the models and their rules. A model may take its reference values from a
CoRIM that the file names: the manufacturer says what is approved, the operator for which model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn, TypeVar

from depin_id.errors import AttestationError
from verify.attestation.corim import Corim, CorimEntry
from verify.attestation.materials import Model, Reference
from verify.attestation.toml_files import TomlFault, parse_toml

MAX_TOML: Final = 1 << 20
MAX_NESTING: Final = 6
Kind = TypeVar("Kind")
_MODEL: Final = {
    "name": str,
    "formats": list,
    "match": dict,
    "minimum": dict,
    "settings": dict,
    "assurance": list,
    "revocation": str,
    "protects_key": bool,
    "max_age_s": int,
    "complete": bool,
    "corim": str,
    "environment": dict,
    "reference": list,
}
_REFERENCE: Final = {"name": str, "digests": list, "signer": str}
_DESCRIPTIVE: Final = frozenset(("implementation", "vendor", "model"))
_CORIM: Final = {"name": str, "file": str, "unsigned": bool, "anchors": str}


@dataclass(frozen=True)
class ModelEntry:
    """A model as an operator wrote it.

    Attributes:
        model: without what a CoRIM adds. corim: name of the CoRIM it takes reference values from;
            empty for none. environment: what environments of that CoRIM have to be named.
    """

    model: Model
    corim: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """All models of a file, in the order in which they are tried, and the CoRIMs they name."""

    models: tuple[ModelEntry, ...]
    corims: tuple[CorimEntry, ...] = ()


def with_corim(entry: ModelEntry, corim: Corim | None) -> list[Model]:
    """The models that an entry stands for, with the values of its CoRIM.

    Each implementation that the CoRIM names becomes a model of its own, for evidence of that
    implementation only. Anything else that tells environments apart (a class, a layer) has to be
    named by the operator: values of different environments are never mixed.

    Args:
        corim: verified and valid; None when it is not: then no firmware is approved at all.
    """
    if not entry.corim:
        return [entry.model]
    grouped: dict[str, list[Reference]] = {}
    for ids, reference in () if corim is None else corim.values:
        implementation = ids.get("implementation", "")
        described = all(ids.get(key) == value for key, value in entry.environment.items())
        described &= set(ids) - _DESCRIPTIVE <= set(entry.environment)
        wanted = entry.model.match.get("implementation", implementation)
        if described and wanted == implementation and (implementation or entry.environment):
            grouped.setdefault(implementation, []).append(reference)
    if not grouped:
        return [replace(entry.model, references=())]
    return [
        replace(
            entry.model,
            match={**entry.model.match, **({"implementation": name} if name else {})},
            references=(*entry.model.references, *found),
        )
        for name, found in sorted(grouped.items())
    ]


def read_references_file(data: bytes, open_file: Callable[[str], bytes]) -> References:
    """Read TOML: ``[[model]]`` with ``[[model.reference]]``, and ``[[corim]]``.

    Args:
        open_file: gives the bytes of a file that the TOML names.

    Raises:
        AttestationError: ``attestation.file``.
    """
    if len(data) > MAX_TOML:
        _refuse(f"it is over {MAX_TOML} bytes")
    try:
        value = parse_toml(data)
    except TomlFault as error:
        _refuse(f"no TOML: {error}")
    _known(value, {"model": list, "corim": list}, "the file")
    models = tuple(_model(row) for row in value.get("model", []))
    corims = tuple(_corim(row, open_file) for row in value.get("corim", []))
    if not models and not corims:
        _refuse("it has no [[model]]")
    names = [entry.model.name for entry in models]
    if len(set(names)) != len(names):
        _refuse("two models have one name")
    return References(models, corims)


def _corim(row: Any, open_file: Callable[[str], bytes]) -> CorimEntry:
    _known(row, _CORIM, "a [[corim]]")
    _present(row, ("name", "file"), "a [[corim]]")
    data = open_file(row["file"])
    return CorimEntry(row["name"], data, row.get("unsigned", False), row.get("anchors", ""))


def _model(row: Any) -> ModelEntry:
    _known(row, _MODEL, "a [[model]]")
    _present(row, ("name", "formats"), "a [[model]]")
    where = f"model {row['name'][:60]!r}"
    if row.get("corim") and row.get("complete") is False:
        _refuse(f"{where}: with a CoRIM, every component has to be approved")
    settings = row.get("settings", {})
    _plain(settings, where, MAX_NESTING)
    model = Model(
        row["name"],
        frozenset(_strings(row["formats"], f"{where}: formats")),
        _table(row.get("match", {}), str, f"{where}: match"),
        tuple(_reference(item, where) for item in row.get("reference", [])),
        row.get("complete", True),
        _table(row.get("minimum", {}), int, f"{where}: minimum"),
        settings,
        frozenset(_strings(row.get("assurance", []), f"{where}: assurance")),
        row.get("revocation", "required"),
        row.get("protects_key", False),
        row.get("max_age_s", 86_400),
    )
    environment = _table(row.get("environment", {}), str, f"{where}: environment")
    return ModelEntry(model, row.get("corim", ""), environment)


def _reference(row: Any, where: str) -> Reference:
    _known(row, _REFERENCE, f"{where}: a reference")
    _present(row, ("name", "digests"), f"{where}: a reference")
    what = f"{where}: reference {row['name'][:60]!r}"
    digests = [_hexadecimal(item, what) for item in _strings(row["digests"], what)]
    if not digests:
        _refuse(f"{what} has no digest: it would approve nothing")
    return Reference(row["name"], frozenset(digests), _hexadecimal(row.get("signer", ""), what))


def _hexadecimal(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        _refuse(f"{what}: a digest is hexadecimal")


def _known(row: Any, kinds: Mapping[str, type], what: str) -> None:
    if not isinstance(row, dict):
        _refuse(f"{what} is a table")
    for key, value in row.items():
        if key not in kinds:
            _refuse(f"{what} has {key[:40]!r}, which is not known: {', '.join(kinds)} are")
        if type(value) is not kinds[key]:
            _refuse(f"{what}: {key} is of another type")


def _present(row: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in names:
        if not row.get(name):
            _refuse(f"{what} needs {name}")


def _strings(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        _refuse(f"{what}: a list of texts")
    return value


def _table(value: Mapping[str, Any], kind: type[Kind], what: str) -> dict[str, Kind]:
    if not all(type(item) is kind for item in value.values()):
        _refuse(f"{what}: each value is of type {kind.__name__}")
    return dict(value)


def _plain(value: Any, where: str, depth: int) -> None:
    if depth == 0:
        _refuse(f"{where}: settings are nested too deeply")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _plain(item, where, depth - 1)
    elif not isinstance(value, str | int):
        _refuse(f"{where}: settings are texts, whole numbers, truth values, lists and tables")
    elif type(value) is int and not -(1 << 63) <= value < 1 << 63:
        _refuse(f"{where}: a number that is too large")


def _refuse(what: str) -> NoReturn:
    raise AttestationError("attestation.file", f"reference values: {what}")
