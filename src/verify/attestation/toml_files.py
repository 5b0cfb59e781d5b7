"""TOML that people write: bounded before it is read, and every fault of one kind."""

from __future__ import annotations

import tomllib
from typing import Any, Final

MAX_DOTS: Final = 200
"""In one line: the reader's time grows with the square of the parts of a key."""


class TomlFault(ValueError):
    """The file is no TOML, or none that is read here; says why."""


def parse_toml(data: bytes) -> dict[str, Any]:
    """Read TOML. Raises TomlFault; whoever calls this has bounded its size."""
    if max((line.count(b".") for line in data.split(b"\n")), default=0) > MAX_DOTS:
        raise TomlFault(f"a line with over {MAX_DOTS} dots")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise TomlFault("it is not UTF-8") from None
    except RecursionError:
        raise TomlFault("it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise TomlFault(str(error)[:200]) from None
    except ValueError:
        # Of thousands of digits the interpreter makes no number.
        raise TomlFault("a value in it cannot be read") from None
