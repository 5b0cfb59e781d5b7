"""The README is run as it stands: its session, its Python, its links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from depin_id import read_enrolments
from examples.software_tpm import SoftwareTpm, missing
from tests.docs.warm import warm
from tests.paths import vectors
from tests.project.tree import ROOT, project

README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^<!-- run: (\w+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
BLOCKS = {name: (language, text) for name, language, text in BLOCK.findall(README)}
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
    "PYTHON": sys.executable,
    "NO_COLOR": "1",
}
# Each command a program that starts from nothing, as its reader starts it.
COLD = "".join(
    f'{name}() {{ "$PYTHON" -m {target.partition(":")[0]} "$@"; }}\n'
    for name, target in project()["project"]["scripts"].items()
)


@pytest.fixture(scope="module")
def commands() -> Iterator[str]:
    with warm() as functions:
        yield functions


def _bash(script: str, folder: Path, commands: str = COLD) -> str:
    """Run a session with the console scripts of this source tree; gives what it printed."""
    script = f'set -euo pipefail\n{commands}python() {{ "$PYTHON" "$@"; }}\n{script}'
    return _run(["bash", "-c", script], folder)


def _python(name: str, folder: Path) -> str:
    language, text = BLOCKS[name]
    assert language == "python"
    return _run([sys.executable, "-W", "error::DeprecationWarning", "-c", text], folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_session_runs_and_ends_in_a_checked_receipt(tmp_path: Path, commands: str) -> None:
    language, session = BLOCKS["session"]
    assert language == "sh"
    shown = _bash(session, tmp_path, commands)
    assert "signature: valid" in shown
    assert re.search(r"^ok +True$", shown, re.MULTILINE), "the audit"
    assert re.search(r"^accepted +1$", shown, re.MULTILINE)
    assert re.search(r"^accepted +0$", shown, re.MULTILINE) is None
    assert (tmp_path / "first.receipt").stat().st_size > 500
    rows = (tmp_path / "accepted.csv").read_text().splitlines()
    assert len(rows) == 2 and ",laeq,dB," in rows[1] and ",54.2," in rows[1]


def test_the_library_blocks_run(tmp_path: Path) -> None:
    _bash("depin-id network new net --name quiet-city", tmp_path)
    _python("device", tmp_path)
    assert _python("verify", tmp_path) == "D1\n"
    sealed = bytearray((tmp_path / "envelope.cbor").read_bytes())
    sealed[-1] ^= 1
    (tmp_path / "envelope.cbor").write_bytes(sealed)
    assert _python("verify", tmp_path) == "signature.invalid\n"


def test_a_gateway_is_made_and_looked_over(tmp_path: Path) -> None:
    language, commands = BLOCKS["bridge"]
    assert language == "sh"
    shown = _bash(f"depin-id network new net --name quiet-city\n{commands}", tmp_path)
    assert "uplink: mqtts://broker.example:8883, publishes depin/v1/quiet-city/up/" in shown
    (gateway,) = read_enrolments((tmp_path / "gateway.json").read_text())
    assert gateway.role == "gateway" and gateway.name == "roof-west"


def test_every_marked_block_is_run() -> None:
    told = {"session", "bridge", "identity", "attestation", "phone", "device", "verify"}
    assert set(BLOCKS) == told
    assert README.count("<!-- run:") == len(BLOCKS)
    assert README.count("```python") == 2, "Python that no test runs"


@pytest.mark.parametrize("file", ["README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(file: str) -> None:
    targets = [t for t in LINK.findall((ROOT / file).read_text("utf-8")) if "://" not in t]
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_it_names_the_two_commands_and_every_program() -> None:
    for text in ("make demo\nmake test\n", 'pip install "depin-id[demo]"', "time,name,value,unit"):
        assert text in README
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for program in project()["project"]["scripts"]:
        assert f"`{program} " in README


def test_manufacturer_owner_and_aggregator_walk_the_whole_way(
    tmp_path: Path, commands: str
) -> None:
    language, session = BLOCKS["identity"]
    assert language == "sh"
    shown = _bash(session, tmp_path, commands)
    assert re.search(r"^parked +accepted 1,", shown, re.MULTILINE), "what came before the enrolment"
    assert re.search(r"^voucher +owner$", shown, re.MULTILINE)
    assert re.search(r"^accepted +0$", shown, re.MULTILINE), "nobody knew the device"
    assert len(re.findall(r"^accepted +1$", shown, re.MULTILINE)) == 2, "new board, owner's sensor"
    assert "A later entry says that it counts no more." in shown
    assert re.search(r"^readings +2$", shown, re.MULTILINE), "exported"
    assert re.search(r"^ok +True$", shown, re.MULTILINE), "the audit"
    assert re.search(r"^histories +checked 2, unchecked 0$", shown, re.MULTILINE)


def test_a_station_proves_what_it_is_and_a_stolen_one_loses_what_it_said(
    tmp_path: Path, commands: str
) -> None:
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    language, session = BLOCKS["attestation"]
    assert language == "sh"
    try:
        shown = _bash(session, tmp_path, commands)
    finally:
        SoftwareTpm(tmp_path / "tpm").stop()
    assert re.search(r"^indeterminate +attestation.required 1$", shown, re.MULTILINE), "it waits"
    assert re.search(r"^level +D3$", shown, re.MULTILINE)
    assert re.search(r"^taken_up +1$", shown, re.MULTILINE), "what waited"
    assert "entries 2, readings 2" in shown, "what the stolen TPM takes back"
    assert "A later entry says that it counts no more." in shown
    assert re.search(r"^ok +True$", shown, re.MULTILINE), "the audit"


def test_a_recorded_phone_is_appraised_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = vectors("attestation/android-key-attestation")
    monkeypatch.setitem(ENVIRONMENT, "RECORDED", str(recorded))
    shown = _bash(BLOCKS["phone"][1], tmp_path)
    assert re.search(r"^affirmed +yes$", shown, re.MULTILINE)
    assert re.search(r"^level +D3$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("depin_id.cli", "cli"),
        ("verify.cli", "cli"),
        ("firmware_bridge.cli", "app"),
    ],
)
def test_the_table_names_every_command_and_no_other(program: str, name: str) -> None:
    script = next(s for s, t in project()["project"]["scripts"].items() if t.startswith(program))
    cells = re.findall(rf"^\| `{script} ([^|]*)\|", README, re.MULTILINE)
    told = {word.strip("` ") for cell in cells for word in cell.split(",")}
    commands: Any = get_command(getattr(import_module(program), name))
    assert told == set(commands.commands) - {"version"}


def test_the_changelog_knows_the_version() -> None:
    version = project()["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
