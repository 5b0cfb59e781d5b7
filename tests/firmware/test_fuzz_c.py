"""The parsers of the C library under libFuzzer with sanitizers: a bounded run each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.firmware.downlink_corpus import CASES, write
from tests.firmware.downlink_library import make

pytestmark = pytest.mark.skipif(
    shutil.which("clang") is None, reason="clang is not installed: no libFuzzer"
)


@pytest.mark.parametrize("target", sorted(CASES))
def test_nothing_is_found_in_a_bounded_run(target: str, tmp_path: Path) -> None:
    program = make("fuzz", target)
    corpus = tmp_path / "corpus"
    write(corpus, target, every=7)  # all of them run in the sanitized build
    options = ["-runs=40000", "-max_total_time=2", "-max_len=4096", "-seed=1", "-timeout=20"]
    done = subprocess.run(
        [program, *options, f"-artifact_prefix={tmp_path}{os.sep}", str(corpus)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
