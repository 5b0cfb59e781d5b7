"""The runbooks are run as they stand: every block, in a network that has what they speak of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.device_file import read_enrolment
from depin_id.errors import LogError
from depin_id.network import load_card
from tests.brokers import mosquitto
from tests.docs.warm import warm
from tests.project.tree import ROOT
from verify.receipt import check_receipt

TEXT = (ROOT / "docs" / "guides" / "runbooks.md").read_text("utf-8")
BLOCK = re.compile(r"^<!-- run: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = dict(BLOCK.findall(TEXT))
# Those that go on where the one before ended.
STORIES = (
    ("look",),
    ("ack_request", "ack_card", "ack_activate", "gaps"),
    ("log_key", "receipts", "retire", "receipts", "files", "restore"),
    ("stolen_log_key", "disk"),
    ("root_backup", "new_network", "new_device", "new_bridge"),
    ("broker", "policy", "device"),
    ("leaked", "release"),
)
SITE = """
depin-id network new net --name quiet-city
depin-id device new dev --profile noise@1
depin-verify init agg --network net
depin-id device show dev --json | depin-verify enrol agg -
printf 'time,name,value,unit\\n,laeq,54.2,dB\\n' > readings.csv
depin-id sign dev --network net/card.cbor --in readings.csv -o first.cbor
depin-verify ingest agg first.cbor
depin-verify receipt agg --index 3 -o old.receipt
printf '[time]\\nmax_age_s = 1000\\n' > better.toml
printf 'covers = ["tpm2"]\\n[[revoked]]\\nkey = "%064d"\\n' 7 > leaked.toml
printf '[[model]]\\nname = "station"\\nformats = ["tpm2"]\\n' > models.toml
depin-bridge init gw --network net/card.cbor --name roof --url mqtts://broker.example:8883
"""


@pytest.fixture(scope="module")
def commands() -> Iterator[str]:
    with warm() as functions:
        yield functions


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, commands: str) -> Path:
    folder = tmp_path_factory.mktemp("site")
    _bash(commands, SITE, folder)
    return folder


def _bash(commands: str, script: str, folder: Path, **names: str) -> str:
    """Run a session; gives what it printed."""
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{commands}{script}"],
        cwd=folder,
        env=os.environ | names,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def _named(site: Path) -> dict[str, str]:
    network = load_card(site / "net" / "card.cbor")[0].network
    return {"NETWORK": network, "DEVICE": read_enrolment(site / "dev").did}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0])
def test_the_runbook(commands: str, site: Path, tmp_path: Path, story: tuple[str, ...]) -> None:
    script = "".join(BLOCKS[name] for name in story)
    shutil.copytree(site, tmp_path / "site")
    names = _named(site) | {"BROKER": "mqtt://127.0.0.1:1"}
    if story[0] == "broker":
        with mosquitto(tmp_path) as broker:
            names["BROKER"] = f"mqtt://127.0.0.1:{broker.port}"
            shown = _bash(commands, script, tmp_path / "site", **names)
        assert "broker." not in shown
        return
    lost = {"ack_request": "ack-1.key", "log_key": ""}.get(story[0], "")
    if lost:
        (tmp_path / "site" / "agg" / "network" / lost).unlink()
    shown = _bash(commands, script, tmp_path / "site", **names)
    if "new_device" in story:
        assert re.search(r"^accepted +1$", shown, re.MULTILINE)
    if "stolen_log_key" in story:
        # A receipt under the card of the stolen key is told apart.
        card, _ = load_card(tmp_path / "site" / "net" / "card.cbor")
        with pytest.raises(LogError) as refused:
            check_receipt(
                (site / "old.receipt").read_bytes(),
                network=names["NETWORK"],
                least_card=card.number,
            )
        assert refused.value.code == "receipt.card_old"
    if "ack_activate" in story or "restore" in story:
        assert re.search(r"^ok +True$", shown, re.MULTILINE)


def test_every_block_is_run() -> None:
    assert {name for story in STORIES for name in story} == set(BLOCKS)
    assert TEXT.count("```sh") == TEXT.count("<!-- run:") == len(BLOCKS)
