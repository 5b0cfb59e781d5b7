"""What earlier batches hold already: serials and keys are given once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from depin_id import strict_json
from depin_id.did.multikey import split_multikey
from depin_id.errors import ConfigError, DepinError, TransportError
from depin_id.factory.rows import Seen

_CERTIFICATES: Final = "certificates.jsonl"
_MAX_LINE: Final = 1 << 16


def remember(folders: Iterable[Path], seen: Seen) -> None:
    """Note serials and keys of the certificates of earlier batches.

    Raises:
        TransportError: ``file.missing``. ConfigError: ``factory.earlier``, a line is none.
    """
    for folder in folders:
        path = folder / _CERTIFICATES
        try:
            with open(path, "rb") as file:
                number = 0
                while line := file.readline(_MAX_LINE):
                    number += 1
                    _note(line, f"{path}, line {number}", seen)
        except OSError as error:
            raise TransportError("file.missing", f"{path}: {error.strerror or error}") from error


def _note(line: bytes, where: str, seen: Seen) -> None:
    try:
        value = strict_json.parse(line, max_bytes=_MAX_LINE)
        subject = value["credentialSubject"]
        _, raw = split_multikey(subject["key"])
        serial = subject["serial"].lower().encode()
    except (DepinError, KeyError, TypeError, AttributeError, ValueError):
        raise ConfigError(
            "factory.earlier", f"{where} is no birth certificate", hint="name a batch's folder"
        ) from None
    seen.first("serial", serial, 0)
    seen.first("key", raw, 0)
