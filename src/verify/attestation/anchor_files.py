"""Trust anchors from files: certificates, bare keys, and registries of keyed devices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

from depin_id.durable import read_file
from depin_id.errors import AttestationError
from verify.attestation.anchor_keys import (
    MAX_KEY_FILE,
    Key,
    admit_spki,
    check_certificate,
    read_keys,
    read_pem_key,
)
from verify.attestation.bundle_forms import is_format, is_name
from verify.attestation.materials import Anchor
from verify.attestation.toml_files import TomlFault, parse_toml

MAX_FILES: Final = 1000
MAX_ANCHORS: Final = 4096
MIN_SECRET: Final = 16
_SUFFIXES: Final = frozenset((".pem", ".crt", ".cer", ".der", ".jwk", ".json", ".cbor", ".key"))
_ROW: Final = {"name", "format", "key", "spki", "certificate", "file", "secret", "ids"}
_SOURCES: Final = ("key", "spki", "certificate", "file", "secret")


def read_anchors(path: Path, format_name: str = "") -> list[Anchor]:
    """Read anchors from a file or a folder.

    A folder has a folder for each format (``android-key/root.pem``), unless a format is given: then
    its files are that format's. A file ``*.toml`` is a registry; its rows may name a format
    themselves. Every file has to be one that can be read: nothing is passed over but hidden files.

    Args:
        format_name: of all anchors that do not say theirs.

    Raises:
        AttestationError: ``attestation.file``, ``attestation.key``.
        StateError: a file cannot be read, or is too large.
    """
    found: list[Anchor] = []
    for file, name in _files(path, format_name):
        found += _read(file, name)
    if len(found) > MAX_ANCHORS:
        _refuse(f"{path} has over {MAX_ANCHORS} keys")
    if not found:
        _refuse(f"{path} has no key or certificate")
    return _distinct(found)


def read_registry(data: bytes, format_name: str, folder: Path) -> list[Anchor]:
    """Read a registry: ``[[anchor]]`` with name, a key, and ids to find it by.

    The key is one of ``key`` (PEM), ``spki`` (hexadecimal), ``certificate`` (PEM), ``file`` (beside
    it), ``secret`` (hexadecimal, of a Mac0: for appraisals offline only).

    Raises AttestationError ``attestation.file``, ``attestation.key``.
    """
    try:
        value = parse_toml(data)
    except TomlFault as error:
        _refuse(f"no TOML: {error}")
    rows = value.get("anchor")
    if set(value) != {"anchor"} or not isinstance(rows, list) or len(rows) > MAX_ANCHORS:
        _refuse("a registry has [[anchor]] and nothing else")
    return [_row(row, format_name, folder) for row in rows]


def _files(path: Path, format_name: str) -> Iterable[tuple[Path, str]]:
    if not path.is_dir():
        return [(path, format_name)]
    found: list[tuple[Path, str]] = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not format_name:
            if not is_format(entry.name):
                _refuse(f"the folder {entry.name[:40]!r} is not named as a format")
            found += [
                (item, entry.name)
                for item in sorted(entry.iterdir())
                if not item.name.startswith(".")
            ]
        else:
            found.append((entry, format_name))
    if len(found) > MAX_FILES:
        _refuse(f"{path} has over {MAX_FILES} files")
    return found


def _read(file: Path, format_name: str) -> list[Anchor]:
    if file.is_dir():
        _refuse(f"{file} is a folder in the folder of a format")
    data = read_file(file, max_bytes=MAX_KEY_FILE)
    if data is None:
        _refuse(f"there is no file {file}")
    if file.suffix == ".toml":
        return read_registry(data, format_name, file.parent)
    if not is_format(format_name):
        _refuse(f"{file} is of no format", hint="name it with --format, or by its folder")
    if file.suffix not in _SUFFIXES:
        _refuse(f"{file} is not named as a key or certificate: {', '.join(sorted(_SUFFIXES))}")
    keys = _keys(data, str(file))
    many = len(keys) > 1
    return [
        Anchor(format_name, f"{file.stem} {number}" if many else file.stem, spki, certificate)
        for number, (spki, certificate) in enumerate(keys, 1)
    ]


def _keys(data: bytes, where: str) -> list[Key]:
    try:
        return read_keys(data)
    except AttestationError as error:
        raise AttestationError(error.code, f"{where}: {error.message}", hint=error.hint) from error


def _row(row: Any, format_name: str, folder: Path) -> Anchor:
    if not isinstance(row, dict) or not set(row) <= _ROW:
        _refuse(f"an [[anchor]] has only {', '.join(sorted(_ROW))}")
    texts: dict[str, str] = {key: value for key, value in row.items() if key != "ids"}
    if not all(isinstance(value, str) for value in texts.values()):
        _refuse("everything of an [[anchor]] but its ids is text")
    name = texts.get("name", "")
    if not is_name(name):
        _refuse("an [[anchor]] has a name")
    named = texts.get("format", format_name)
    if not is_format(named):
        _refuse(f"anchor {name}: of no format", hint="name it with 'format', or by its folder")
    ids = row.get("ids", {})
    if not isinstance(ids, dict) or not all(
        is_name(key) and isinstance(value, str) and len(value) <= 512 for key, value in ids.items()
    ):
        _refuse(f"anchor {name}: ids are texts; bytes are written as lower-case hexadecimal")
    if "key" in ids:
        # It would make a secret of a key that everybody knows.
        _refuse(f"anchor {name}: 'key' is no id; a common key is written as 'secret'")
    given = [source for source in _SOURCES if source in row]
    if len(given) != 1:
        _refuse(f"anchor {name}: exactly one of {', '.join(_SOURCES)}")
    spki, certificate = _row_key(given[0], texts[given[0]], name, folder)
    if given[0] == "secret":
        ids = ids | {"key": "symmetric"}
    return Anchor(named, name, spki, certificate, ids)


def _row_key(source: str, value: str, name: str, folder: Path) -> Key:
    if source == "key":
        return read_pem_key(value.encode())
    if source == "certificate":
        spki, certificate = read_pem_key(value.encode())
        return check_certificate(certificate) or spki, certificate
    if source == "file":
        if Path(value).name != value or not is_name(value):
            _refuse(f"anchor {name}: a file beside the registry, without a path")
        data = read_file(folder / value, max_bytes=MAX_KEY_FILE)
        keys = [] if data is None else _keys(data, value)
        if len(keys) != 1:
            _refuse(f"anchor {name}: {value} is missing, or has more than one key")
        return keys[0]
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        _refuse(f"anchor {name}: {source} is hexadecimal")
    if source == "spki":
        return admit_spki(raw), b""
    if len(raw) < MIN_SECRET:
        _refuse(f"anchor {name}: a secret has at least {MIN_SECRET} bytes")
    return raw, b""


def _distinct(found: list[Anchor]) -> list[Anchor]:
    """One of each: two files may hold the same root."""
    return list({anchor.digest: anchor for anchor in reversed(found)}.values())[::-1]


def _refuse(what: str, *, hint: str = "") -> NoReturn:
    raise AttestationError("attestation.file", f"trust anchors: {what}", hint=hint)
