"""JSON Canonicalization Scheme (RFC 8785): the bytes that Data Integrity and did:webvh hash.

The library's writer is in Python; the standard library's is in C and writes the same for everything
but numbers with a fraction, large integers and member names outside the basic plane. What is plain
goes that way (a test holds the two equal), the rest by ``rfc8785``.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import rfc8785

from depin_id.errors import EncodingError

MAX_INTEGER: Final = (1 << 53) - 1
_UNPLAIN: Final = re.compile("[\ud800-\uffff\U00010000-\U0010ffff]")
"""Where sorting by code points and by UTF-16 code units may differ, and lone surrogates."""
_dumps = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


class _Unplain(Exception):
    """The library has to write it."""


def _check(value: Any) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise _Unplain
            if type(item) is not str:
                _check(item)
    elif kind is list:
        for item in value:
            if type(item) is not str:
                _check(item)
    elif kind is not int or not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise _Unplain


def _refuse(what: str) -> NoReturn:
    raise EncodingError("json.not_canonical", what[:200], hint="see RFC 8785")


def canonicalize(value: Any) -> bytes:
    """The canonical bytes of a JSON value made of dict, list, str, int, float, bool and None.

    Raises:
        EncodingError: ``json.not_canonical``: it cannot be said in I-JSON (an integer beyond
            2^53 - 1, NaN, a lone surrogate, another type, nesting without end).
    """
    try:
        _check(value)
        text = _dumps(value)
        if text.isascii() or _UNPLAIN.search(text) is None:
            return text.encode()
    except _Unplain:
        pass
    except RecursionError:
        _refuse("nested too deeply")
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        _refuse("nested too deeply")
    except (rfc8785.CanonicalizationError, ValueError, TypeError) as error:
        _refuse(f"{type(error).__name__}: {error}")
