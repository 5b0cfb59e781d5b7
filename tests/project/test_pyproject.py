"""What the package says of itself, what it installs, and how it is checked."""

from __future__ import annotations

import ast
import os
import re
import subprocess

import pytest

from tests.conftest import LONG_FILES
from tests.project.tree import ROOMS, ROOT, project

HEAVY = {"numpy", "pyarrow", "paho-mqtt", "h3", "iotcore", "pandas", "pyserial"}
PINNED = re.compile(r"^([a-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=!~;@]", r, maxsplit=1)[0].lower() for r in requirements}


def pins(file: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / file).read_text()))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_says_who_it_is() -> None:
    about = project()["project"]
    assert about["name"] == "depin-id"
    assert re.fullmatch(r"\d+\.\d+\.\d+", about["version"])
    assert about["readme"] == "README.md" and (ROOT / "README.md").stat().st_size > 100
    assert about["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert about["requires-python"] == ">=3.11"
    assert project()["build-system"]["build-backend"] == "hatchling.build"


def test_a_device_installs_nothing_heavy() -> None:
    about = project()["project"]
    base = names(about["dependencies"])
    assert {"pynacl", "cbor2", "multiformats", "pydantic", "cryptography", "typer"} <= base
    assert not base & HEAVY
    extras = about["optional-dependencies"]
    assert set(extras) == {"verify", "bridge", "demo", "s3", "serial", "wallet", "factory", "dev"}
    assert {"numpy", "pyarrow", "h3", "paho-mqtt"} <= names(extras["verify"])
    assert {"paho-mqtt", "pyserial"} <= names(extras["bridge"])
    assert "iotcore" in names(extras["demo"])
    assert {"pytest", "pytest-xdist", "hypothesis", "mypy", "ruff"} <= names(extras["dev"])


def test_every_requirement_is_pinned_and_hashed() -> None:
    about = project()["project"]
    wanted = names(about["dependencies"]).union(
        *map(names, about["optional-dependencies"].values())
    )
    wanted -= {"depin-id"}
    constraints, locked = pins("constraints.txt"), pins("requirements/dev.txt")
    assert {canonical(n) for n in wanted} <= {canonical(n) for n in constraints}
    assert constraints == locked
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / "requirements/dev.txt").read_text(), flags=re.M)
    bare = [b.split("==")[0] for b in blocks[1:] if "--hash=sha256:" not in b]
    assert not bare, f"without hashes: {bare}"


def test_constraints_satisfy_the_lower_bounds() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    constraints = {canonical(n): v for n, v in pins("constraints.txt").items()}
    for line in project()["project"]["dependencies"]:
        requirement = packaging.Requirement(line)
        assert constraints[canonical(requirement.name)] in requirement.specifier, line


@pytest.mark.parametrize("script", ["depin-id", "depin-verify", "depin-bridge"])
def test_every_command_has_a_main(script: str) -> None:
    module, function = project()["project"]["scripts"][script].split(":")
    room, *rest = module.split(".")
    path = ROOMS[room].joinpath(*rest)
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert source.exists(), f"{script} names {module}, which is not there"
    defined = {
        name
        for node in ast.parse(source.read_text()).body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef)
            else [t.id for t in node.targets if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign)
            else [a.asname or a.name for a in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert function in defined, f"{module} has no {function}"


def test_one_command_checks_everything() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    lines = run.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert "exec make test </dev/null" in lines
    for script in [run, *sorted((ROOT / "ci").glob("*.sh"))]:
        subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)


def test_make_without_a_target_lists_the_targets() -> None:
    listed = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
    ).stdout
    for target in ("env", "test", "lint", "format", "demo", "lock", "clean", "help"):
        assert f"make {target} " in listed, listed


def test_packages_that_tests_need_are_listed() -> None:
    listed = (ROOT / "ci" / "apt-packages.txt").read_text().split()
    assert {"mosquitto", "mosquitto-clients"} <= set(listed)


def test_files_that_are_begun_first_are_there() -> None:
    assert [name for name in LONG_FILES if not (ROOT / "tests" / name).is_file()] == []
    assert "--no-loadscope-reorder" in (ROOT / "Makefile").read_text()
