"""The CBOR forms of what materials hold, written and read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar, get_args

from depin_id.attestation.result import Assurance
from depin_id.claims import is_uint
from depin_id.errors import AttestationError
from verify.attestation.corim import CorimEntry
from verify.attestation.corim_sign import MAX_CORIM
from verify.attestation.materials import Anchor, Model, Reference, RevocationSnapshot
from verify.attestation.reference_files import ModelEntry, References
from verify.attestation.revocation_lists import MAX_ENTRIES, CrlEntry, ListEntry

VERSION: Final = 1
MAX_BUNDLE: Final = 1 << 23
MAX_ITEMS: Final = 4096
MAX_AGE_S: Final = 366 * 86_400
_MS: Final = 1 << 50
_FORMAT: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_KINDS: Final = get_args(Assurance)
Item = TypeVar("Item")


def anchor_form(anchor: Anchor) -> list[Any]:
    """An anchor as CBOR has it."""
    return [anchor.format, anchor.name, anchor.spki, anchor.certificate, dict(anchor.ids)]


def read_anchor(value: Any) -> Anchor:
    """An anchor from its form; its key is not looked at. Raises AttestationError."""
    format_name, name, spki, certificate, ids = _array(value, 5)
    _need(is_format(format_name) and is_name(name), "an anchor's format or name")
    _need(_is_bytes(spki, 1, 16_384) and _is_bytes(certificate, 0, 16_384), "an anchor's key")
    return Anchor(format_name, name, spki, certificate, _texts(ids))


def is_symmetric(anchor: Anchor) -> bool:
    """Whether its key is a secret, and no SubjectPublicKeyInfo (a SEQUENCE of two)."""
    return (
        anchor.ids.get("key") == "symmetric"
        or not anchor.spki.startswith(b"\x30")
        or len(anchor.spki) < 40
    )


def references_form(references: References) -> list[Any]:
    """Models and CoRIMs as CBOR has them."""
    corims = [[item.name, item.data, item.unsigned, item.anchors] for item in references.corims]
    return [VERSION, [_model_form(item) for item in references.models], corims]


def _model_form(entry: ModelEntry) -> list[Any]:
    model = entry.model
    return [
        model.name,
        sorted(model.formats),
        dict(model.match),
        [[item.name, sorted(item.digests), item.signer] for item in model.references],
        model.complete,
        dict(model.minimum),
        dict(model.settings),
        sorted(model.assurance),
        model.revocation,
        model.protects_key,
        model.max_age_s,
        entry.corim,
        dict(entry.environment),
    ]


def read_references(parts: list[Any]) -> References:
    """Models and CoRIMs from their form. Raises AttestationError ``attestation.bundle``."""
    models, corims = parts
    found = References(_each(models, _model), _each(corims, _corim))
    names = [entry.name for entry in found.corims]
    _need(len(set(names)) == len(names), "two CoRIMs of one name")
    for entry in found.models:
        _need(not entry.corim or entry.corim in names, f"model {entry.model.name}: its CoRIM")
    _need(bool(found.models or found.corims), "it is empty: models")
    return found


def _corim(value: Any) -> CorimEntry:
    name, data, unsigned, anchors = _array(value, 4)
    _need(is_name(name) and _is_bytes(data, 1, MAX_CORIM), "a CoRIM's name or data")
    _need(type(unsigned) is bool and (anchors == "" or is_format(anchors)), "a CoRIM's use")
    return CorimEntry(name, data, unsigned, anchors)


def _model(value: Any) -> ModelEntry:
    parts = _array(value, 13)
    name, formats, match, references, complete, minimum, settings = parts[:7]
    assurance, revocation, protects, age, corim, environment = parts[7:]
    _need(is_name(name), "a model's name")
    where = f"model {name[:60]}"
    _need(_all(formats, is_format) and len(formats) > 0, f"{where}: its formats")
    _need(_all(assurance, lambda item: item in _KINDS), f"{where}: its assurance")
    _need(revocation in ("required", "none"), f"{where}: revocation is required or none")
    _need(type(complete) is bool and type(protects) is bool, f"{where}: complete, protects_key")
    _need(is_uint(age, MAX_AGE_S) and age > 0, f"{where}: max_age_s is 1 to {MAX_AGE_S}")
    _need(isinstance(settings, dict) and all(map(is_name, settings)), f"{where}: its settings")
    _need(isinstance(minimum, dict) and len(minimum) <= 64, f"{where}: its minimum")
    for key, least in minimum.items():
        _need(is_name(key) and type(least) is int, f"{where}: a minimum is a number")
    _need(type(corim) is str and len(corim) <= 200, f"{where}: its CoRIM")
    model = Model(
        name,
        frozenset(formats),
        _texts(match),
        _each(references, _reference),
        complete,
        minimum,
        settings,
        frozenset(assurance),
        revocation,
        protects,
        age,
    )
    return ModelEntry(model, corim, _texts(environment))


def _reference(value: Any) -> Reference:
    name, digests, signer = _array(value, 3)
    _need(is_name(name), "the name of a reference")
    _need(_all(digests, lambda item: _is_bytes(item, 8, 64)), f"reference {name}: its digests")
    _need(len(digests) > 0, f"reference {name} has no digest")
    _need(_is_bytes(signer, 0, 64), f"reference {name}: its signer")
    return Reference(name, frozenset(digests), signer)


def list_form(item: ListEntry) -> list[Any]:
    """A list as CBOR has it."""
    if isinstance(item, CrlEntry):
        return ["crl", sorted(item.covers), item.data, list(item.issuers)]
    revoked = sorted([key, why] for key, why in item.revoked.items())
    return ["list", sorted(item.covers), revoked, item.taken, item.expires]


def read_list_form(value: Any) -> ListEntry:
    """A list from its form. Raises AttestationError ``attestation.bundle``."""
    if isinstance(value, list) and value[:1] == ["crl"]:
        _, covers, data, issuers = _array(value, 4)
        _need(_all(covers, is_format) and len(covers) > 0, "what a CRL covers")
        _need(_is_bytes(data, 1, MAX_BUNDLE), "a CRL's data")
        _need(_all(issuers, lambda item: _is_bytes(item, 1, 16_384)), "a CRL's issuers")
        return CrlEntry(data, tuple(issuers), frozenset(covers))
    kind, covers, revoked, taken, expires = _array(value, 5)
    _need(kind == "list", "a list of another kind")
    _need(_all(covers, is_name) and len(covers) > 0, "what a list covers")
    _need(is_uint(taken, _MS) and (expires is None or is_uint(expires, _MS)), "a list's times")
    _need(isinstance(revoked, list) and len(revoked) <= MAX_ENTRIES, "what is revoked")
    found: dict[str, str] = {}
    for row in revoked:
        identifier, why = _array(row, 2)
        _need(is_name(identifier) and type(why) is str and len(why) <= 200, "what is revoked")
        found[identifier] = why
    return RevocationSnapshot(frozenset(covers), found, taken, expires)


# --- small parts --------------------------------------------------------------------------------


def is_format(value: Any) -> bool:
    """Whether it can be the name of a format."""
    return type(value) is str and _FORMAT.fullmatch(value) is not None


def is_name(value: Any) -> bool:
    """Whether it is a text of 1 to 200 printable characters."""
    return type(value) is str and _NAME.fullmatch(value) is not None


def _is_bytes(value: Any, least: int, most: int) -> bool:
    return type(value) is bytes and least <= len(value) <= most


def _all(value: Any, good: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) <= MAX_ITEMS and all(map(good, value))


def _each(value: Any, read: Callable[[Any], Item]) -> tuple[Item, ...]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        refuse(f"no array of at most {MAX_ITEMS} where there should be one")
    return tuple(map(read, value))


def _texts(value: Any) -> Mapping[str, str]:
    good = isinstance(value, dict) and len(value) <= 64
    if not good or not all(is_name(key) and _is_text(item) for key, item in value.items()):
        refuse("names and values that are no short texts")
    return dict(value)


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= 512


def _array(value: Any, size: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != size:
        refuse(f"no array of {size} where there should be one")
    return value


def _need(good: bool, what: str) -> None:
    if not good:
        refuse(f"{what}: wrong or missing")


def refuse(what: str, *, hint: str = "") -> NoReturn:
    """Raise AttestationError ``attestation.bundle``."""
    raise AttestationError("attestation.bundle", f"materials: {what}", hint=hint)
