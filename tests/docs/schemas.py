"""docs/schemas/*.json from the models of credentials: ``python -m tests.docs.schemas --write``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from depin_id.credentials.documents import DOCUMENTS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def schema(name: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a whole document, proof and all."""
    made = DOCUMENTS[name].model_json_schema(by_alias=True)
    found: dict[str, Any] = _plain(made)
    return found


def _plain(value: Any) -> Any:
    """Without nulls and defaults, which no document has, and titles that say nothing."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    options = value.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        others = {n: item for n, item in value.items() if n not in ("anyOf", "default")}
        value = others | (rest[0] if len(rest) == 1 else {"anyOf": rest})
    found = {}
    for name, body in value.items():
        if name == "properties":
            found[name] = {n: _plain(one) for n, one in body.items() if one.get("type") != "null"}
        elif name not in ("default", "title"):
            found[name] = _plain(body)
    return found


def documents() -> dict[str, str]:
    """The text of each file, by name."""
    return {
        f"{name}.json": json.dumps(schema(name), indent=2, sort_keys=True) + "\n"
        for name in DOCUMENTS
    }


def stale() -> list[str]:
    """Files that differ from what the models say, that are missing, or that no model makes."""
    made = documents()
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(name for name in {*made, *there} if made.get(name) != there.get(name))


def main() -> int:
    """Write the files, or say whether they are up to date."""
    if "--write" in sys.argv[1:]:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in documents().items():
            (FOLDER / name).write_text(text)
        return 0
    old = stale()
    print(f"out of date: {', '.join(old)}: --write" if old else "up to date")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
