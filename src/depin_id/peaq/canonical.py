"""The JSON that a machine signs, which is another in each language.

peaq's Python writes ``json.dumps`` of each part with sorted names: ``1e-07``, ``20.0`` and
``\\u00e9``, where JavaScript writes ``1e-7``, ``20`` and the character; integers beyond 2^53 change
their value there. What is signed is looked for in the form asked for, and a package says whether
its bytes are the same everywhere (``portable``).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Literal, NoReturn

from depin_id import strict_json
from depin_id.errors import EncodingError
from depin_id.jcs import canonicalize

Dialect = Literal["python", "javascript"]

MAX_BYTES: Final = 1 << 18
MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 78
MAX_EXACT: Final = (1 << 53) - 1
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_python = json.JSONEncoder(
    ensure_ascii=True, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def _refuse(what: str) -> NoReturn:
    raise EncodingError("json.malformed", what, hint="one JSON object, names once, finite numbers")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        _refuse(f"an integer has over {MAX_DIGITS} digits")
    return int(text)


def parse(data: bytes | str, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read one JSON object, strictly, with integers of any size that peaq signs.

    Raises:
        EncodingError: ``json.too_large``, ``json.malformed``.
    """
    value = strict_json.parse(data, max_bytes=max_bytes, integer=_integer)
    if not isinstance(value, dict):
        _refuse("not an object")
    return value


def check(value: Any, depth: int = 0) -> bool:
    """Whether every language writes the value alike.

    Raises:
        EncodingError: ``json.malformed``: nesting over 32, half a character, a type JSON has not.
    """
    kind = type(value)
    if kind is str:
        if value.isascii():
            return "\x7f" not in value
        if _SURROGATE.search(value):
            _refuse("a text holds half a character (a lone surrogate)")
        return False
    if kind is int:
        return bool(-MAX_EXACT <= value <= MAX_EXACT)
    if kind is bool or value is None:
        return True
    if kind is float:
        if not math.isfinite(value):
            _refuse("a number is not finite")
        # Between these the shortest digits stand without exponent in every language.
        return not value.is_integer() and 1e-4 <= abs(value) < 1e16
    if depth >= MAX_DEPTH:
        _refuse(f"nested deeper than {MAX_DEPTH}")
    if kind is dict:
        portable = True
        for name, item in value.items():
            if type(name) is not str:
                _refuse("the name of a member is not a text")
            portable = check(name) and check(item, depth + 1) and portable
        return portable
    if kind is list:
        portable = True
        for item in value:
            portable = check(item, depth + 1) and portable
        return portable
    _refuse(f"a {kind.__name__} is not JSON")


def write(value: Any, dialect: Dialect = "python") -> bytes:
    """The bytes that a machine signs, of a value that :func:`check` took.

    Raises:
        EncodingError: ``json.not_canonical``: JavaScript cannot say it (integers beyond 2^53 - 1,
            and -0.0, which it writes as another number's text).
    """
    if dialect == "python":
        return _python(value).encode()
    if _has_minus_zero(value):
        raise EncodingError("json.not_canonical", "JavaScript writes -0.0 as 0")
    return canonicalize(value)


def _has_minus_zero(value: Any) -> bool:
    if type(value) is float:
        return value == 0 and math.copysign(1, value) < 0
    if isinstance(value, dict):
        return any(map(_has_minus_zero, value.values()))
    return isinstance(value, list) and any(map(_has_minus_zero, value))
