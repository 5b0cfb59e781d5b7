"""``depin-verify``: mistakes end in one line with a code, and every command explains itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.errors import ConfigError
from tests.verify.cli_site import Site
from verify.commands.common import parse_moment, parse_position

COMMANDS = (
    "init enrol rotate revoke erase policy resume run ingest status explain receipt check-receipt "
    "audit verify-dataset rebuild export demo version keys enrolments whatif tail doctor"
).split()


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    yield made
    made.close()


ERRORS: list[tuple[str, list[str]]] = [
    ("usage", ["nonsense"]),
    ("usage", ["status"]),
    ("usage", ["explain", "{agg}"]),
    ("usage", ["explain", "{agg}", "--device", "did:x", "--index", "1"]),
    ("usage", ["explain", "{agg}", "--device", "{did}", "--position", "1-2"]),
    ("usage", ["ingest", "{agg}", "{file}", "--received-at", "yesterday"]),
    ("state.missing", ["status", "{folder}"]),
    ("state.missing", ["audit", "{folder}"]),
    ("state.missing", ["run", "{folder}", "--mqtt", "mqtt://127.0.0.1:1"]),
    ("state.missing", ["rebuild", "{folder}/nowhere"]),
    ("state.exists", ["init", "{agg}", "--network", "{folder}/net"]),
    ("network.keys", ["init", "{folder}/x", "--network", "{folder}/nowhere"]),
    ("network.keys", ["init", "{folder}/x", "--network", "{folder}/net/nothing"]),
    ("network.keys", ["init", "{folder}/x", "--network", "{folder}/net/root.key"]),
    ("file.missing", ["enrol", "{agg}", "{folder}/nowhere.json"]),
    ("enrolment.malformed", ["enrol", "{agg}", "{file}"]),
    ("transport.file", ["ingest", "{agg}", "{folder}/nowhere.cbor"]),
    ("transport.url", ["run", "{agg}", "--mqtt", "http://127.0.0.1"]),
    ("registry.unknown_device", ["revoke", "{agg}", "did:key:z6MkNobody"]),
    ("registry.unknown_device", ["erase", "{agg}", "did:key:z6MkNobody", "--yes"]),
    ("explain.unknown", ["explain", "{agg}", "--device", "did:key:z6MkNobody"]),
    ("state.no_entry", ["explain", "{agg}", "--index", "999"]),
    ("state.no_entry", ["explain", "{agg}", "--device", "{did}", "--position", "7/7"]),
    ("state.no_entry", ["receipt", "{agg}", "--index", "999", "-o", "{folder}/r"]),
    ("admin.request", ["resume", "{agg}", "{did}", "--nonce", "zz", "-o", "{folder}/r"]),
    ("file.missing", ["check-receipt", "{folder}/nowhere"]),
    ("encoding.malformed", ["check-receipt", "{file}"]),
    ("did.", ["rotate", "{agg}", "{did}", "did:key:zzz"]),
    ("dataset.", ["export", "{agg}", "--format", "xlsx", "-o", "{folder}/r"]),
    ("dataset.key", ["verify-dataset", "{folder}"]),
    ("usage", ["keys", "new", "{agg}"]),
    ("state.missing", ["keys", "list", "{folder}"]),
    ("file.missing", ["keys", "activate", "{agg}", "{folder}/nowhere"]),
    ("encoding.malformed", ["keys", "activate", "{agg}", "{file}"]),
    ("network.card_old", ["keys", "activate", "{agg}", "{folder}/net/card.cbor"]),
    ("file.missing", ["whatif", "{agg}", "--policy", "{folder}/nowhere"]),
    ("policy.invalid", ["whatif", "{agg}", "--policy", "{file}"]),
    ("state.missing", ["tail", "{folder}"]),
    ("state.missing", ["enrolments", "{folder}"]),
    ("explain.unknown", ["tail", "{agg}", "--device", "did:key:z6MkNobody"]),
]


def test_errors_are_one_line_with_a_code(site: Site) -> None:
    """Exit 2, ``error: code: message``; with --json the same as an object. Never a traceback."""
    site.init()
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    junk = site.folder / "junk"
    junk.write_bytes(b"{]")
    names = {"agg": site.root, "folder": site.folder, "did": device.did, "file": junk}
    wrong = []
    for code, arguments in ERRORS:
        command = [argument.format(**names) for argument in arguments]
        plain = site.run(*command)
        first = plain.err.splitlines()[0] if plain.err else ""
        if plain.code != 2 or not first.startswith(f"error: {code}"):
            wrong.append((arguments, plain))
            continue
        if arguments[0] in ("run", "nonsense"):
            continue
        told = site.run(*command, "--json")
        error = json.loads(told.err)["error"]
        if told.code != 2 or not error["code"].startswith(code) or not error["message"]:
            wrong.append((arguments, told))
    assert not wrong, "\n".join(map(str, wrong))
    assert not (site.folder / "r").exists()
    assert site.ok("audit", site.root, "--json").json["ok"] is True


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(site: Site, command: str) -> None:
    shown = site.ok(command, "--help")
    assert re.search(rf"Example: .*depin-verify {command}\b", " ".join(shown.out.split()))


def test_digits_that_are_no_numbers() -> None:
    for text in ("\xb2/1", "1/\xb2"):
        with pytest.raises(ConfigError, match="not a position"):
            parse_position(text)
    with pytest.raises(ConfigError, match="not a time"):
        parse_moment("\xb2")
