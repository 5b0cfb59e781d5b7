"""JSON as it was written: no duplicate keys, no NaN, numbers kept as text until they are used."""

from __future__ import annotations

from typing import Any

from depin_id import strict_json
from depin_id.errors import EncodingError, ReadingError

MAX_BYTES = 65_536


class RawNumber(str):
    """A number's characters as they stood in the document."""

    __slots__ = ()


def parse(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a document; numbers come as :class:`RawNumber`.

    Raises:
        ReadingError: ``input.too_large``, ``input.json``.
    """
    try:
        return strict_json.parse(data, max_bytes=max_bytes, integer=RawNumber, real=RawNumber)
    except EncodingError as error:
        code = "input.too_large" if error.code == "json.too_large" else "input.json"
        raise ReadingError(code, error.message) from None
