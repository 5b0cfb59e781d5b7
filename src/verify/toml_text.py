"""TOML that people write: exact numbers, and errors that name the place in the text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from depin_id.errors import ConfigError, EncodingError
from depin_id.senml import Decimal64

MAX_CHARACTERS: Final = 1 << 18
_PLACE = re.compile(r"\(at (line \d+, column \d+|end of document)\)")
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")


def read_toml(text: str, *, source: str, code: str) -> dict[str, Any]:
    """Parse a TOML text of at most 256 Ki characters.

    Args:
        text: the file's content.
        source: the name people know the file by, for messages.
        code: the code of the error.

    Returns:
        The tables; a number with a fraction or power is a :class:`Decimal64`, never a float.

    Raises:
        ConfigError: ``code``; the message has line and column.
    """
    if type(text) is not str or len(text) > MAX_CHARACTERS:
        raise ConfigError(code, f"{source} is no text of at most {MAX_CHARACTERS} characters")
    try:
        return tomllib.loads(text, parse_float=_number)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        place = found.group(1) if found else "an unknown line"
        what = _PLACE.sub("", str(error)).strip()
        raise ConfigError(
            code, f"{source}, {place}: {what}", hint="see https://toml.io for the syntax"
        ) from None
    except (EncodingError, RecursionError, ValueError) as error:
        raise ConfigError(
            code,
            f"{source}: {error}",
            hint="write numbers as whole numbers or decimal fractions, and no deep nesting",
        ) from None


def invalid(error: ValidationError, text: str, *, source: str, code: str) -> ConfigError:
    """The error to raise for a file that pydantic refused: it names field and line."""
    first = error.errors(include_url=False, include_input=True)[0]
    path = [str(part) for part in first["loc"]]
    shown = ".".join(path) or "the file as a whole"
    number = line_of(text, path)
    place = f"{source}, line {number}" if number else source
    if first["type"] == "extra_forbidden":
        return ConfigError(
            code, f"{place}: {shown} is not known", hint="remove it, or correct the spelling"
        )
    message = first["msg"].removeprefix("Value error, ")
    value = "" if isinstance(first["input"], dict) else f", not {_short(first['input'])}"
    return ConfigError(code, f"{place}: {shown}: {message}{value}", hint=f"correct {shown}")


def line_of(text: str, path: Sequence[str]) -> int:
    """The line where the value of ``path`` is written; of its nearest table when it is not found.

    A search in the text, good enough for messages: 0 when nothing of the path is there.
    """
    best, depth = 0, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header:
            table = tuple(part.strip(" \"'") for part in header.group(1).split("."))
            here = table
        else:
            key = line.split("=", 1)[0].split("#", 1)[0].strip()
            if not key or "=" not in line:
                continue
            here = table + tuple(part.strip(" \"'") for part in key.split("."))
        if len(here) > depth and tuple(path[: len(here)]) == here:
            best, depth = number, len(here)
    return best


def _number(text: str) -> Decimal64:
    return Decimal64.from_text(text.replace("_", "").removeprefix("+"))


def _short(value: object) -> str:
    shown = str(value) if isinstance(value, Decimal64) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
