"""Two histories of one log: found, proved, and nobody accused by a proof of less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import LogError
from tests.log.helpers import KEY, ORIGIN, entries, mth, published_log, signed, subproof
from verify.log import Checkpoint, Equivocation, NoteKey, TileLog, compare_checkpoints

TRUE, FALSE = entries(300), [*entries(100), *entries(300, b"false")[100:]]


def head(leaves: list[bytes], size: int) -> str:
    return signed(Checkpoint(ORIGIN, size, mth(leaves[:size])))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    published_log(folder, 300)
    return folder


def test_one_history_is_nobody_s_fault(tiles: Path) -> None:
    for small, large in ((0, 1), (1, 300), (100, 100), (256, 299)):
        assert (
            compare_checkpoints(head(TRUE, small), head(TRUE, large), KEY, directory=tiles) is None
        )
        assert (
            compare_checkpoints(head(TRUE, large), head(TRUE, small), KEY, directory=tiles) is None
        )
    # As far as both are the same the forged history is the true one.
    assert compare_checkpoints(head(FALSE, 99), head(TRUE, 300), KEY, directory=tiles) is None


def test_one_size_with_two_roots_needs_no_tiles() -> None:
    found = compare_checkpoints(head(TRUE, 200), head(FALSE, 200), KEY)
    assert found is not None and found.root is None
    again = Equivocation.parse(found.format().encode())
    assert again == found
    first, second = again.check(KEY)
    assert first.size == second.size == 200 and first.root != second.root


@pytest.mark.parametrize("size", [101, 128, 200, 256, 299])
def test_a_fork_of_another_size_is_proved_from_the_tiles(tiles: Path, size: int) -> None:
    found = compare_checkpoints(head(TRUE, 300), head(FALSE, size), KEY, directory=tiles)
    assert found is not None and found.path
    first, second = Equivocation.parse(found.format().encode()).check(KEY)
    assert (first.size, second.size) == (size, 300)


def test_without_the_tiles_of_the_larger_nothing_is_said(tiles: Path, tmp_path: Path) -> None:
    other = TileLog(tmp_path / "false", ORIGIN)
    other.append(FALSE)
    other.flush()
    for directory in (None, tmp_path / "nothing", tmp_path / "false"):
        with pytest.raises(LogError) as caught:
            compare_checkpoints(head(TRUE, 300), head(FALSE, 200), KEY, directory=directory)
        assert caught.value.code == "log.undecided"
    # With the tiles of the forged one the other way round is decided as well.
    found = compare_checkpoints(
        head(TRUE, 200), head(FALSE, 300), KEY, directory=tmp_path / "false"
    )
    assert found is not None and found.check(KEY)


def proof(tiles: Path) -> dict[str, Any]:
    found = compare_checkpoints(head(TRUE, 300), head(FALSE, 200), KEY, directory=tiles)
    assert found is not None
    value: dict[str, Any] = json.loads(found.format())
    return value


def test_an_honest_log_cannot_be_accused(tiles: Path) -> None:
    """Every way to make a proof of what one history has."""
    path = tuple(subproof(200, TRUE, True))
    false_root, true_root = mth(FALSE[:200]), mth(TRUE[:200])
    honest, larger = head(TRUE, 200), head(TRUE, 300)
    for made in (
        Equivocation(honest, honest),
        Equivocation(honest, larger),
        Equivocation(larger, honest, true_root, path),
        Equivocation(honest, larger, true_root, path),
        Equivocation(honest, larger, false_root, path),
        Equivocation(honest, larger, false_root, tuple(subproof(200, FALSE, True))),
        Equivocation(head(TRUE, 0), larger, false_root, ()),
    ):
        with pytest.raises(LogError) as caught:
            made.check(KEY)
        assert caught.value.code in ("log.equivocation", "log.proof")


def test_both_checkpoints_are_the_log_s_own(tiles: Path) -> None:
    found = Equivocation(head(TRUE, 200), head(FALSE, 200))
    with pytest.raises(LogError) as caught:
        found.check(NoteKey("log.example/other", KEY.public_key))
    assert caught.value.code == "log.signature"
    unsigned = Equivocation(found.smaller.replace("\u2014", "-"), found.larger)
    with pytest.raises(LogError):
        unsigned.check(KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "depin-equivocation/2"},
        {"more": 1},
        {"smaller": None},
        {"path": None},
        {"path": [1]},
        {"path": ["AA=="]},
        {"path": ["A" * 43 + "="] * 129},
        {"root": 5},
        {"root": "AA=="},
    ],
    ids=str,
)
def test_what_is_no_proof_is_an_error_of_ours(tiles: Path, change: dict[str, Any]) -> None:
    with pytest.raises(LogError) as caught:
        Equivocation.parse(json.dumps(proof(tiles) | change).encode())
    assert caught.value.code == "log.equivocation"


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b" " * 200_000], ids=len)
def test_nor_is_anything_else(data: bytes) -> None:
    with pytest.raises(LogError) as caught:
        Equivocation.parse(data)
    assert caught.value.code == "log.equivocation"
