"""Unit, image and compose file of the bridge: read where they cannot be run."""

from __future__ import annotations

import re
from typing import Any

import yaml
from typer.main import get_command

from firmware_bridge.cli import app
from tests.project.tree import ROOT

BRIDGE = ROOT / "deploy" / "bridge"


def called(words: list[str]) -> None:
    """A command of ours, with options it has."""
    program: Any = get_command(app)
    known = {name for option in program.commands[words[0]].params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_unit_gives_up_what_it_does_not_need() -> None:
    unit = (ROOT / "deploy" / "systemd" / "depin-bridge.service").read_text()
    other = (ROOT / "deploy" / "systemd" / "depin-verify.service").read_text()
    hardening = other[other.index("NoNewPrivileges") : other.index("MemoryMax")].splitlines()
    assert len(hardening) > 20 and set(hardening) <= set(unit.splitlines())
    for line in ("StateDirectoryMode=0700", "ExecReload=/bin/kill -HUP $MAINPID", "UMask=0077"):
        assert f"\n{line}\n" in unit, line
    commands = re.findall(r"^Exec\w+=/usr/bin/env depin-bridge (.*)$", unit, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        called(command.split())


def test_image_and_compose() -> None:
    text = (BRIDGE / "Dockerfile").read_text()
    aggregators = (ROOT / "deploy" / "Dockerfile").read_text()
    base = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(base) == set(re.findall(r"^FROM (\S+)", aggregators, re.MULTILINE))
    final = text[text.rindex("FROM ") :]
    assert "pip install" not in final and final.index("\nUSER 10002:10002\n") > final.rindex(
        "\nRUN "
    )
    ignored = (BRIDGE / "Dockerfile.dockerignore").read_text()
    assert ignored == (ROOT / "deploy" / "Dockerfile.dockerignore").read_text()
    (service,) = yaml.safe_load((BRIDGE / "compose.yaml").read_text())["services"].values()
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "ports" not in service
    assert service["user"] in final
    for volume in service["volumes"]:
        assert volume.startswith("bridge:") or volume.endswith(":ro")
    assert (BRIDGE / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    called(service["command"])
