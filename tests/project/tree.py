"""The project's own files, found without git."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "depin_id": ROOT / "src" / "depin_id",
    "verify": ROOT / "src" / "verify",
    "firmware_bridge": ROOT / "firmware_bridge",
}
_MADE = {"build", "dist", "venv", "env", "node_modules", "__pycache__", "demo-data"}
_KEPT_HIDDEN = {".ci", ".gitignore"}
_TEXT_LIMIT = 4 * 1024 * 1024


def project() -> dict[str, Any]:
    """pyproject.toml, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _ours(name: str) -> bool:
    if name.startswith("."):
        return name in _KEPT_HIDDEN
    return name not in _MADE and not name.endswith(".egg-info")


def files() -> Iterator[Path]:
    """Every file of the project, without hidden folders, environments and what builds make."""
    for folder, folders, names in os.walk(ROOT):
        # A virtual environment under any name tells itself by this file.
        folders[:] = sorted(
            f for f in folders if _ours(f) and not Path(folder, f, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(names) if _ours(name))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project with what it says."""
    for path in files():
        if path.is_symlink() or path.stat().st_size > _TEXT_LIMIT:
            continue
        raw = path.read_bytes()
        if b"\0" in raw:
            continue
        try:
            yield path, raw.decode()
        except UnicodeDecodeError:
            continue


def modules(room: str) -> Iterator[Path]:
    """Python files of one room."""
    return (p for p in sorted(ROOMS[room].rglob("*.py")) if "__pycache__" not in p.parts)


def shown(path: Path) -> str:
    """The path as people write it."""
    return path.relative_to(ROOT).as_posix()
