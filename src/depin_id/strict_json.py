"""JSON from outside, as exactly one value: no duplicate names, no NaN, nothing JCS cannot say.

I-JSON (RFC 7493) is what RFC 8785 canonicalises; two documents that a reader would take for one
must not both pass.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from depin_id.errors import EncodingError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_INTEGER: Final = (1 << 53) - 1
"""Integers beyond it lose digits in other people's readers (RFC 7493 section 2.2)."""
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_DIGITS: Final = len(str(MAX_INTEGER)) + 1
# A text that does not end goes to the end, and nothing is tried twice: time in its length alone.
_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def _refuse(what: str) -> NoReturn:
    raise EncodingError("json.malformed", what, hint="write I-JSON (RFC 7493)")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("an object names a member twice")
    return found


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON value")


def _integer(text: str) -> int:
    if len(text) > _DIGITS or abs(value := int(text)) > MAX_INTEGER:
        _refuse("an integer is beyond 2^53 - 1, where readers disagree about it")
    return value


def _real(text: str) -> float:
    if not math.isfinite(value := float(text)):
        _refuse("a number is too large")
    return value


def _too_deep(text: str) -> bool:
    """Whether brackets nest deeper than allowed, those in texts apart."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(text):
        if bracket[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif bracket[0] in "]}":
            depth -= 1
    return False


def parse(
    data: bytes | str,
    *,
    max_bytes: int = MAX_BYTES,
    integer: Callable[[str], Any] = _integer,
    real: Callable[[str], Any] = _real,
) -> Any:
    """Read one JSON document, strictly.

    Args:
        data: UTF-8 without byte order mark, or text.
        max_bytes: bound on its length (of a text: in characters).
        integer, real: make a number of its characters, where others than I-JSON's are to be read.

    Raises:
        EncodingError: ``json.too_large``, or ``json.malformed``: not JSON, a name that occurs
            twice in an object, NaN or infinity, an integer beyond 2^53 - 1, a lone surrogate,
            nesting over 64.
    """
    if len(data) > max_bytes:
        raise EncodingError("json.too_large", f"{len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        if _too_deep(text):
            _refuse(f"nested deeper than {MAX_DEPTH}")
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=integer,
            parse_float=real,
            parse_constant=_constant,
        )
    except RecursionError:
        _refuse("nested too deeply")
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        _refuse(f"not JSON: {error}"[:200])
    if "\\u" in text or not text.isascii():
        _refuse_surrogates(value)
    return value


def _refuse_surrogates(value: Any) -> None:
    if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        _refuse("a text holds half a character (a lone surrogate)")
