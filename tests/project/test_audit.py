"""What we depend on: pinned with hashes, under licences that are known; and no audit that lies."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from tests.project.tree import ROOT

AUDIT: dict[str, Any] = runpy.run_path(str(ROOT / "ci" / "audit.py"))


def test_every_pin_has_hashes_one_version_and_a_known_licence() -> None:
    assert AUDIT["offline"]() == []


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(
        "# a comment\none==1 \\\n    --hash=sha256:" + "0" * 64 + "\n"
        "bare==2\nloose>=3\nfour==4 ; python_version < '3' \\\n    --hash=sha256:" + "f" * 64 + "\n"
    )
    pins, wrong = AUDIT["read_pins"](path)
    assert pins == {"one": "1", "bare": "2", "four": "4"}
    assert len(wrong) == 2 and "bare has no hash" in wrong[0] and "loose" in wrong[1]
    assert AUDIT["licence_errors"](["no-such-package"])
    allowed = {"MIT", "BSD-3-Clause"}
    for expression, right in (
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND BSD-3-Clause", True),
        ("", False),
    ):
        assert AUDIT["is_allowed"](expression, allowed) is right


def test_what_was_not_looked_up_is_never_green() -> None:
    judge, not_done = AUDIT["judge"], AUDIT["NOT_DONE"]
    assert judge(0, "No known vulnerabilities found")[0] == 0
    assert judge(1, "Found 2 known vulnerabilities in 1 package")[0] == 1
    for output in ("requests.exceptions.ConnectionError: x", "", "Traceback"):
        status, said = judge(1, output)
        assert status == not_done != 0 and "NOT DONE" in said
