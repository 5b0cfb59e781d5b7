"""The guide for makers of hardware is followed as it stands: five commands, a reading counts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from depin_id import read_enrolments
from examples import hardware_maker
from tests.brokers import find_mosquitto
from tests.docs.warm import warm
from tests.firmware.emulator import image
from tests.project.tree import ROOT

GUIDE = (ROOT / "docs" / "guides" / "hardware-maker.md").read_text("utf-8")
BLOCK = re.compile(r"^<!-- run: bench -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_five_commands_lead_to_an_accepted_reading() -> None:
    find_mosquitto()
    image("m4", "sensor")  # one builds, whoever comes later finds it; or the tools are missing
    (session,) = BLOCK.findall(GUIDE)
    assert len(session.splitlines()) == 5
    assert len(GUIDE.split()) <= 700
    with tempfile.TemporaryDirectory(prefix="guide-") as made, warm() as commands:
        folder = Path(made)
        # The checkout, but for what the session makes in it.
        for name in ("firmware_bridge", "examples", "src"):
            (folder / name).symlink_to(ROOT / name)
        try:
            shown = _bash(f"{commands}{session}", folder)
            (device,) = read_enrolments((folder / "enrolment.json").read_text())
        finally:
            hardware_maker.stop(folder / "lab")
    assert re.search(r"accepted", shown)
    assert device.profile == "noise@1" and device.did in shown


def _bash(session: str, folder: Path) -> str:
    python = f'python() {{ "{sys.executable}" "$@"; }}\n'
    keep = f"cp lab/device.json {folder}/said.json\n"
    single = (
        'python -c \'import json; print(json.dumps(json.load(open("said.json"))["enrolment"]))\''
        " > enrolment.json\n"
    )
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{python}{session}{keep}{single}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
