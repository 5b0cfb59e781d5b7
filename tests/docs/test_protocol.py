"""docs/protocol.md: CDDL that holds together, the vectors' hex, the numbers of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from depin_id import ack, cbor, cose, envelope, network, possession, witness
from depin_id.attestation import ear, message
from depin_id.claims import MAX_SECONDS
from depin_id.senml import MAX_RECORDS
from tests.docs.annotate import hex_of
from tests.docs.examples import BLOCK, FILE, NAMES, filled
from tests.docs.vectors import load
from tests.project.tree import ROOMS, modules
from verify import leaf, receipt
from verify.appraise import MAX_SUBJECTS
from verify.registry import MAX_CANDIDATES

TEXT = FILE.read_text()
DOCS = FILE.parent
CDDL = re.search(r"```cddl\n(.*?)```", TEXT, re.DOTALL)
WORDS = {"any", "bool", "bstr", "bytes", "false", "int", "null", "true", "tstr", "uint"}
PAIRS = {")": "(", "]": "[", "}": "{"}


def cddl() -> str:
    """The CDDL without comments and texts."""
    assert CDDL is not None
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', re.sub(r";[^\n]*", "", CDDL[1]))


def test_cddl_is_balanced() -> None:
    held: list[str] = []
    for character in cddl():
        if character in "([{":
            held.append(character)
        elif character in PAIRS:
            assert held and held.pop() == PAIRS[character]
    assert not held


def test_cddl_defines_what_it_uses_once_and_uses_what_it_defines() -> None:
    text = cddl()
    defined = re.findall(r"^([a-z][\w-]*) = ", text, re.MULTILINE)
    assert len(defined) == len(set(defined)) > 30
    names = re.sub(r"\.(?:size|cbor|regexp)\b|#6\.\d+", " ", text)
    # A bareword before a colon is a member's name, before " = " a definition.
    used = re.findall(r"(?<![\w-])([a-z][\w-]*)(?![\w-]|:| =[^>])", names)
    assert set(used) <= set(defined) | WORDS, set(used) - set(defined) - WORDS
    tops = {"cose-key", "sig-structure", "envelope", "pack", "status", "evidence", "card", "ack",
            "challenge", "resume", "beacon-input", "leaf", "records-content",
            "gateway-payload", "receipt", "statement", "proof", "attest", "attest-input",
            "activation"}  # fmt: skip
    assert set(defined) - set(used) <= tops


def test_every_kind_of_the_code_is_in_the_table_of_kinds() -> None:
    kinds = {
        *(envelope.KIND_ENVELOPE, envelope.KIND_GATEWAY, network.KIND_CARD),
        *(ack.KIND_ACK, ack.KIND_CHALLENGE, ack.KIND_RESUME, possession.KIND),
        *(message.KIND, ear.KIND),
    }
    assert kinds == set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", TEXT, re.MULTILINE))
    assert CDDL is not None
    line = re.search(r"^kind = (.*)$", CDDL[1], re.MULTILINE)
    assert line is not None and kinds == set(re.findall(r'"(\w+)"', line[1]))


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ("envelope, bundle", [envelope.MAX_BUNDLE]),
        ("protected header", [cose.MAX_PROTECTED]),
        ("card", [network.MAX_CARD_BYTES]),
        ("status", [envelope.MAX_STATUS]),
        ("leaf", [leaf.MAX_LEAF]),
        ("records content", [leaf.MAX_RECORDS_BYTES]),
        ("receipt", [receipt.MAX_RECEIPT]),
        ("nesting of CBOR", [cbor.MAX_DEPTH, 6]),
        ("records of a pack", [1, MAX_RECORDS]),
        ("items of an acknowledgement", [ack.MAX_ACK_ITEMS]),
        ("acknowledgement keys", [1, network.MAX_ACK_KEYS]),
        ("witnesses of a card", [1, witness.MAX_WITNESSES, 128]),
        ("keys tried", [MAX_CANDIDATES]),
        ("subjects of one gateway", [MAX_SUBJECTS]),
    ],
)
def test_limits_are_those_of_the_code(row: str, numbers: list[int]) -> None:
    line = re.search(rf"^\| {row}[^|]*\| ([^|]*) \|$", TEXT[TEXT.index("## 12") :], re.MULTILINE)
    assert line is not None
    assert [int(word.replace(",", "")) for word in re.findall(r"\d[\d,]*", line[1])] == numbers
    assert MAX_SECONDS == 1 << 40 and envelope.MAX_POSITION == 2**32 - 1


def test_the_worked_examples_are_the_bytes_of_the_vectors() -> None:
    vectors = load()
    cases = {case["name"]: case for case in [*vectors["envelopes"], *vectors["down"]]}
    found = {name: hex_of(text).hex() for _, name, text, _ in BLOCK.findall(TEXT)}
    assert found == {name: cases[name]["bytes"] for name in NAMES}
    assert filled(TEXT) == TEXT, "python -m tests.docs.examples --write"


def test_links_in_the_documents_lead_somewhere() -> None:
    for path in sorted(DOCS.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_decisions_are_numbered_without_a_gap_and_short() -> None:
    files = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in files]
    assert numbers[0] == 1 and all(later == one + 1 for one, later in pairwise(numbers))
    for path in files:
        text = path.read_text()
        assert len(text.split()) < 600, path.name
        for part in ("## Context", "## Decision", "## Why", "## Consequence"):
            assert part in text, f"{path.name} has no {part}"


def test_guides_are_a_page() -> None:
    guides = sorted(Path(DOCS / "guides").glob("*.md"))
    assert {path.stem for path in guides} == {
        *("aggregator-operator", "data-buyer", "device-maker", "operations", "owner"),
        *("runbooks", "simulation", "witness", "bridge", "bridge-operator", "hardware-maker"),
    }
    # Who has a runbook open reads one section of it.
    limits = {"runbooks": 1700}
    assert all(len(path.read_text().split()) <= limits.get(path.stem, 700) for path in guides)


def _commands() -> list[tuple[str, list[str]]]:
    """Lines of shell in the guides that call one of the command lines."""
    blocks = [
        block
        for path in sorted((DOCS / "guides").glob("*.md"))
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    calls = re.findall(r"(depin-(?:id|bridge|verify)) ([^|\n>\")]*)", "\n".join(blocks))
    return [(tool, rest.split()) for tool, rest in calls] + _advised()


@cache
def _parsed() -> tuple[ast.Module, ...]:
    """Every module, parsed once for all who look through them."""
    return tuple(ast.parse(path.read_text()) for room in ROOMS for path in modules(room))


@cache
def _advice() -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for node in (node for tree in _parsed() for node in ast.walk(tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += re.findall(r"(?<!`)`(depin-(?:id|bridge|verify)) ([^`]*)`(?!`)", node.value)
    return tuple(found)


def _advised() -> list[tuple[str, list[str]]]:
    """Commands that the code's own texts advise, between backticks."""
    return [(tool, rest.split()) for tool, rest in _advice()]


def test_what_is_advised_says_of_which_program_it_is() -> None:
    """A bare `word` in a hint that looks like a command and is none sends people astray."""
    bare = set()
    for node in (node for tree in _parsed() for node in ast.walk(tree)):
        if isinstance(node, ast.Call):
            given = [*node.args, *(item.value for item in node.keywords)]
            texts = [item.value for item in given if isinstance(item, ast.Constant)]
            for text in texts:
                if isinstance(text, str):
                    bare |= set(re.findall(r"(?<!`)`([a-z][^`]*)`(?!`)", text))
    assert {name for name in bare if not name.startswith("depin-")} <= {"remember"}


TOOLS = {
    "depin-id": "depin_id.cli",
    "depin-bridge": "firmware_bridge.cli",
    "depin-verify": "verify.cli",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_commands_of_the_guides_exist(tool: str) -> None:
    module = import_module(TOOLS[tool])
    app = getattr(module, "cli", None) or module.app
    calls = [words for name, words in _commands() if name == tool]
    assert len(calls) >= 3
    for words in calls:
        command: Any = typer.main.get_command(app)
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{tool}: there is no {words[0]}"
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in param.opts}
        used = {word for word in words if re.fullmatch(r"-{1,2}[a-z][a-z-]*", word)}
        assert used <= known, f"{tool} {command.name}: {used - known}"
