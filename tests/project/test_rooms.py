"""The rules between the rooms: who may import whom, what a file looks like."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from pathlib import Path

import pytest

from tests.project.tree import ROOMS, ROOT, files, modules, project, shown

FORBIDDEN = {
    "depin_id": {"verify", "firmware_bridge"},
    "verify": {"firmware_bridge"},
    "firmware_bridge": {"verify"},
}
# Where the name to import is not the name to install.
DISTRIBUTION = {
    "Crypto": "pycryptodome",
    "nacl": "pynacl",
    "paho": "paho-mqtt",
    "serial": "pyserial",
    "pydantic_core": "pydantic",
}
EXTRAS = {
    "depin_id": ["wallet", "factory", "serial"],
    "verify": ["verify", "wallet", "demo", "s3"],
    "firmware_bridge": ["bridge", "demo"],
}
LINES_TO_AIM_AT = 400
LINES_AT_MOST = 450


def imported(path: Path) -> set[tuple[str, int]]:
    """Top-level packages that a file imports anywhere, with the line; relative ones stay inside."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {(alias.name.split(".")[0], node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add((node.module.split(".")[0], node.lineno))
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", ""))
            in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            found.add((node.args[0].value.split(".")[0], node.lineno))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    wrong = [
        f"{shown(path)}:{line} imports {name}"
        for path in modules(room)
        for name, line in sorted(imported(path))
        if name in FORBIDDEN[room] | {"tests", "examples", "bench"}
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("room", ROOMS)
def test_every_import_is_a_declared_dependency(room: str) -> None:
    about = project()["project"]
    lines = list(about["dependencies"])
    for extra in EXTRAS[room]:
        lines += about["optional-dependencies"][extra]
    declared = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower() for line in lines}
    wrong = [
        f"{shown(path)}:{line} imports {name}"
        for path in modules(room)
        for name, line in sorted(imported(path))
        if name not in sys.stdlib_module_names
        and name not in ROOMS
        and DISTRIBUTION.get(name, name.replace("_", "-").lower()) not in declared
    ]
    assert not wrong, f"not in pyproject.toml for {room}: {wrong}"


def test_every_dependency_is_imported_somewhere() -> None:
    about = project()["project"]
    lines = list(about["dependencies"])
    for extra in ("verify", "bridge", "demo", "s3"):
        lines += about["optional-dependencies"][extra]
    declared = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower() for line in lines}
    used = {
        DISTRIBUTION.get(name, name.replace("_", "-").lower())
        for room in ROOMS
        for path in modules(room)
        for name, _ in imported(path)
    }
    idle = declared - used - {"depin-id"}
    assert not idle, f"declared, and imported nowhere: {sorted(idle)}"


def test_the_import_rule_sees_every_way_to_import(tmp_path: Path) -> None:
    source = tmp_path / "sample.py"
    source.write_text(
        "import verify.log\n"
        "from firmware_bridge import spool\n"
        "from . import verify_not\n"
        "def late():\n"
        "    import paho.mqtt.client as c\n"
        "    import importlib; importlib.import_module('numpy.linalg')\n"
    )
    assert {name for name, _ in imported(source)} == {
        "verify",
        "firmware_bridge",
        "paho",
        "importlib",
        "numpy",
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_says_what_it_is_for(room: str) -> None:
    silent = [
        shown(path)
        for path in modules(room)
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert not silent, f"without a module docstring: {silent}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_a_typed_package(room: str) -> None:
    folder = ROOMS[room]
    assert (folder / "py.typed").exists()
    lost = {
        shown(path.parent) for path in modules(room) if not (path.parent / "__init__.py").exists()
    }
    lost -= {name for name in lost if name.startswith("firmware_bridge/firmware")}
    assert not lost, f"folders with code but without __init__.py: {sorted(lost)}"


def test_files_stay_short() -> None:
    lengths = {
        shown(path): len(path.read_text().splitlines())
        for path in files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "tests"
    }
    long = {name: n for name, n in lengths.items() if n > LINES_AT_MOST}
    assert not long, f"more than {LINES_AT_MOST} lines: {long}"
    nearly = {name: n for name, n in lengths.items() if n > LINES_TO_AIM_AT}
    if nearly:
        warnings.warn(f"more than {LINES_TO_AIM_AT} lines: {nearly}", stacklevel=1)
