"""The table of verdicts: the document says what it says, and the code uses what it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs import verdicts
from verify.verdict import ACCEPTED, CODES, FLAGS

VERIFY = Path(__file__).resolve().parents[2] / "src" / "verify"
CALLS = {"Rejected", "Indeterminate", "Finding", "_rejected", "_refused", "fault_of", "Refusal"}
ERRORS = {"profile.invalid", "attestation.file", "attestation.format"}
"""Codes of errors that share a family's name with verdicts."""
APPRAISING = ("attestation", "results")
"""Folders whose errors share a family's name with verdicts: docs/attestation has them."""
CODE_AT = {"Refusal": 1}
"""Where the code stands among the arguments, when not first."""


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _texts(node: ast.expr) -> Iterator[str]:
    """Code texts an argument may be: itself, both arms of a choice, or values of a table."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _used(kind: str) -> Iterator[tuple[str, str]]:
    """Code (or flag) texts in src/verify with where they stand."""
    for path in sorted(VERIFY.rglob("*.py")):
        where = path.relative_to(VERIFY).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from ((text, f"{where}:{node.lineno}") for text in _of_call(node, kind))


def _of_call(call: ast.Call, kind: str) -> Iterator[str]:
    name = _name(call)
    if kind == "code" and name in CALLS:
        at = CODE_AT.get(name, 0)
        arguments = call.args[at : at + 1] + [k.value for k in call.keywords if k.arg == "code"]
        for argument in arguments:
            yield from _texts(argument)
    if kind == "flag":
        for keyword in call.keywords:
            if keyword.arg == "flags" and isinstance(keyword.value, ast.Tuple):
                for item in keyword.value.elts:
                    yield from _texts(item)


def test_the_document_is_up_to_date() -> None:
    assert verdicts.FILE.read_text() == verdicts.document(), "python -m tests.docs.verdicts --write"


def test_every_code_that_is_given_is_in_the_table() -> None:
    used = list(_used("code"))
    assert len(used) > 15, "the scan no longer finds where verdicts are made"
    assert not [f"{where}: {code}" for code, where in used if code not in CODES]


def test_nothing_looks_like_a_code_and_is_none() -> None:
    known = CODES.keys() | FLAGS.keys() | ERRORS
    families = {name.partition(".")[0] for name in CODES.keys() | FLAGS.keys()}
    unknown = [
        f"{path.name}:{node.lineno}: {node.value}"
        for path in sorted(VERIFY.rglob("*.py"))
        if path.parent.name not in APPRAISING and path.parent.parent.name not in APPRAISING
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"[a-z]+\.[a-z_]+", node.value) and node.value not in known
        if node.value.partition(".")[0] in families
    ]
    assert not unknown


def test_every_flag_that_is_given_is_in_the_table() -> None:
    assert not [f"{where}: {flag}" for flag, where in _used("flag") if flag not in FLAGS]


def test_the_scan_finds_what_it_is_for() -> None:
    source = "Refusal(b'', 'a.b')\nFinding('c.d' if x else 'e.f')\nRejected(code='g.h')"
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert {text for call in calls for text in _of_call(call, "code")} == {
        "a.b",
        "c.d",
        "e.f",
        "g.h",
    }


def test_codes_are_dotted_and_explained() -> None:
    assert ACCEPTED not in CODES
    for name, code in CODES.items():
        family, _, rest = name.partition(".")
        assert family.isidentifier() and rest and name == name.lower() and len(name) <= 64
        assert code.meaning.endswith(".") and code.advice.endswith(".")
        assert "|" not in code.meaning + code.advice
    assert all(meaning.endswith((".", "unpaid.")) for meaning in FLAGS.values())
