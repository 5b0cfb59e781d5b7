"""JSON as it was written: no duplicate keys, no NaN, numbers kept as text until they are used."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from depin_id.errors import ReadingError

MAX_BYTES = 65_536


class RawNumber(str):
    """A number's characters as they stood in the document."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ReadingError("input.json", "an object names a key twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ReadingError("input.json", f"{name} is not a JSON value")


def parse(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a document; numbers come as :class:`RawNumber`.

    Raises:
        ReadingError: ``input.too_large``, ``input.json``.
    """
    if len(data) > max_bytes:
        raise ReadingError("input.too_large", f"{len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_float=RawNumber,
            parse_int=RawNumber,
            parse_constant=_constant,
        )
    except RecursionError:
        raise ReadingError("input.json", "nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ReadingError("input.json", f"not JSON: {error}"[:200]) from None
