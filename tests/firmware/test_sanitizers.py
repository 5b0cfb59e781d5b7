"""The C library built with AddressSanitizer and UBSan, over everything the corpora hold."""

from __future__ import annotations

import subprocess

import pytest

from tests.firmware.downlink_corpus import CASES, framed
from tests.firmware.downlink_library import make


@pytest.mark.parametrize("target", sorted(CASES))
def test_every_case_runs_clean(target: str) -> None:
    cases = CASES[target]()
    done = subprocess.run(
        [make("sanitized", target)],
        input=framed(cases),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    assert int(done.stdout) == len(cases)


def test_a_case_that_is_wrong_would_be_seen() -> None:
    """The driver reads cases by their size; one that ends early is an error, not an end."""
    done = subprocess.run(
        [make("sanitized", "downlink")], input=b"\0\0\0\5abc", capture_output=True, check=False
    )
    assert done.returncode == 2
