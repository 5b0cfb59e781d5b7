"""The wheel holds the three packages with their data, and nothing else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.project.tree import ROOMS, ROOT

DATA = {".py", ".toml", ".txt", ".typed", ".json", ".cddl"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    if importlib.util.find_spec("hatchling") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("hatchling is missing: requirements/dev.txt should bring it")
        pytest.skip("hatchling is not installed: `make env` brings it")
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
        + ["--quiet", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("depin_id-*-py3-none-any.whl")
    return zipfile.Path(path)


def names(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def expected() -> set[str]:
    """Every file of the packages that is read or run once they are installed."""
    found = set()
    for room, folder in ROOMS.items():
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if path.is_file() and path.suffix in DATA and "__pycache__" not in inside.parts:
                found.add(f"{room}/{inside.as_posix()}")
    return {name for name in found if not name.startswith("firmware_bridge/firmware/")}


def test_code_and_data_are_in_it(wheel: zipfile.Path) -> None:
    missing = expected() - names(wheel)
    assert not missing, sorted(missing)
    assert {f"{room}/py.typed" for room in ROOMS} <= names(wheel)


def test_nothing_else_is_in_it(wheel: zipfile.Path) -> None:
    tops = {Path(name).parts[0] for name in names(wheel)}
    tops = {top for top in tops if not top.endswith(".dist-info")}
    assert tops <= set(ROOMS), tops
    assert not [name for name in names(wheel) if name.startswith("firmware_bridge/firmware/")]


def test_commands_and_licence_are_in_it(wheel: zipfile.Path) -> None:
    info = next(entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    commands = (info / "entry_points.txt").read_text()
    for line in ("depin-id =", "depin-verify =", "depin-bridge ="):
        assert line in commands
    assert (info / "licenses" / "LICENSE").exists()
    assert "License-Expression: Apache-2.0" in (info / "METADATA").read_text()
