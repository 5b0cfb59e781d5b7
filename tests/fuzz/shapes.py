"""Mutation of what an input says: a part of JSON or CBOR becomes one of another type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from depin_id import cbor
from depin_id.errors import DepinError

_ANY: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 1 << 53, 1.5, "", "x", "a" * 3000, "é", "#", "did:web:a.b#c"),
    *([], {}, [[]], [{}], {"a": 1}, {"id": []}, [1, "a"], ["a", "a"], {"": {}}),
    *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "https://example.com/"),
)
_CBOR: Final = (*_ANY, b"", bytes(16), bytes(32), bytes(64), {1: 1}, cbor.Tag(4, [1, 2]))


def reshaped(data: bytes, draw: Random) -> bytes | None:
    """The input with one to three parts changed; None for what is neither JSON nor CBOR."""
    read = _read(data)
    if read is None:
        return None
    value, pool, write = read
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        value = _at(value, draw.choice(list(_places(value))), draw, pool)
    try:
        return write(value)
    except (DepinError, TypeError, ValueError):
        return None


def _read(data: bytes) -> tuple[Any, tuple[Any, ...], Callable[[Any], bytes]] | None:
    try:
        value = cbor.decode(data)
        return None if isinstance(value, int | float) else (value, _CBOR, cbor.encode)
    except DepinError:
        pass
    try:
        return [json.loads(line) for line in data.splitlines()], _ANY, _lines
    except (ValueError, RecursionError):
        return None


def _lines(value: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    inner = ((0, value.value),) if isinstance(value, cbor.Tag) else inner
    for name, item in inner:
        yield from _places(item, (*path, name))


def _at(value: Any, path: tuple[Any, ...], draw: Random, pool: tuple[Any, ...]) -> Any:
    if not path:
        return _changed(value, draw, pool)
    if isinstance(value, cbor.Tag):
        return cbor.Tag(value.tag, _at(value.value, path[1:], draw, pool))
    made = value.copy()
    made[path[0]] = _at(made[path[0]], path[1:], draw, pool)
    return made


def _changed(value: Any, draw: Random, pool: tuple[Any, ...]) -> Any:
    if isinstance(value, bytes) and (inner := reshaped(value, draw)) is not None:
        return inner
    if not value or draw.random() < 0.6:
        return draw.choice(pool)
    made = value.copy() if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        name = draw.choice(list(value))
        made[draw.choice((name, "x", 99))] = draw.choice(pool)
        if draw.random() < 0.5:
            del made[name]
    elif isinstance(value, list):
        made.insert(draw.randrange(len(value)), draw.choice((value[0], draw.choice(pool))))
        if draw.random() < 0.5:
            made.pop()
    elif isinstance(value, str):
        made = value[:-1] if draw.random() < 0.5 else value + draw.choice("\n #?/\u0301")
    elif isinstance(value, int):
        made = draw.choice((float(value % 1000), -value, value + 1, str(value)))
    return made
