"""The corpus on every emulated board: the same bytes as Python's."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.firmware.corpus import Case, generate, join, split
from tests.firmware.emulator import TARGETS, run

ROOM = 4096
"""Of a case and of an answer in the image: the smallest board has 16 KB of RAM."""
DIGESTS, SIGNATURES = 1500, 150


@functools.cache
def _corpus() -> tuple[bytes, list[bytes]]:
    """The cases, with P-256 compared on what is signed, and fewer of the slow Ed25519."""
    chosen: list[Case] = []
    left = {"p256": DIGESTS, "ed25519": SIGNATURES}
    for case in generate(DIGESTS * 3, seed=38):
        if left[case.curve] and len(case.to_bytes()) <= ROOM:
            left[case.curve] -= 1
            chosen.append(case)
    assert not any(left.values())
    return join(b"DPC1", [case.to_bytes() for case in chosen]), [case.answer() for case in chosen]


@pytest.mark.parametrize("target", TARGETS)
def test_every_byte_is_pythons(target: str, tmp_path: Path) -> None:
    cases, expected = _corpus()
    (tmp_path / "cases").write_bytes(cases)
    run(target, "replay", tmp_path)
    made = split((tmp_path / "answers").read_bytes())
    assert len(made) == len(expected) == DIGESTS + SIGNATURES
    wrong = [i for i, (one, other) in enumerate(zip(made, expected, strict=True)) if one != other]
    assert not wrong, f"{len(wrong)} cases, first {wrong[0]}"
