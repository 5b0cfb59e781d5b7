"""Fields of requests, which come as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depin_id.errors import ConfigError


def text(request: Mapping[str, Any], field: str) -> str:
    """A text. Raises ConfigError ``admin.request``."""
    value = request.get(field)
    if not isinstance(value, str):
        raise ConfigError("admin.request", f"the request has no text {field!r}")
    return value


def hexed(request: Mapping[str, Any], field: str) -> bytes:
    """Bytes in hexadecimal. Raises ConfigError ``admin.request``."""
    try:
        return bytes.fromhex(text(request, field))
    except ValueError:
        raise ConfigError("admin.request", f"{field} is not hexadecimal") from None
