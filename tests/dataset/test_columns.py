"""Columns come to the same files as rows would, however they were filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.senml import Decimal64
from tests.dataset.support import KEY, entries, entry, publish, snapshot
from verify.dataset import Dataset, verify_dataset
from verify.dataset.columns import GROUP_BYTES, group_ends, nearest
from verify.dataset.rows import check_entry
from verify.dataset.tail import Tail


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-18, 18)), min_size=1))
def test_the_nearest_double_is_that_of_the_text(numbers: list[tuple[int, int]]) -> None:
    mantissas = np.array([mantissa for mantissa, _ in numbers], np.int64)
    exponents = np.array([exponent for _, exponent in numbers], np.int8)
    assert nearest(mantissas, exponents).tolist() == [
        float(f"{mantissa}e{exponent}") for mantissa, exponent in numbers
    ]


def test_a_double_of_a_number_is_what_the_number_says() -> None:
    number = Decimal64(2145, -2)
    found = nearest(np.array([number.mantissa]), np.array([number.exponent], np.int8))
    assert found.tolist() == [number.to_float()] == [21.45]


@given(st.lists(st.integers(0, GROUP_BYTES * 2), max_size=40), st.integers(1, 9), st.booleans())
def test_groups_end_by_the_rows_alone(sizes: list[int], limit: int, final: bool) -> None:
    expected, count, size = [], 0, 0
    for row, each in enumerate(sizes, 1):
        count, size = count + 1, size + each
        if count >= limit or size >= GROUP_BYTES:
            expected.append(row)
            count, size = 0, 0
    if final and count:
        expected.append(len(sizes))
    assert list(group_ends(np.array(sizes, np.int64), limit, final)) == expected


def test_groups_written_early_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little memory row groups leave before the segment is whole."""
    monkeypatch.setattr("verify.dataset.columns.ENTRY_GROUP", 8)
    monkeypatch.setattr("verify.dataset.columns.READING_GROUP", 16)
    made = entries(100)
    publish(tmp_path / "whole", 100, segment=70, made=made)
    monkeypatch.setattr("verify.dataset.segment.DRAIN_BYTES", 1)
    publish(tmp_path / "drained", 100, segment=70, made=made)
    assert snapshot(tmp_path / "drained/segments") == snapshot(tmp_path / "whole/segments")
    report = verify_dataset(tmp_path / "drained", keys=[KEY])
    assert report.covered == 100


def test_a_tail_writes_what_the_journal_would(tmp_path: Path) -> None:
    made = entries(130)
    dataset, tail = Dataset(tmp_path / "a", segment_entries=40), Tail()
    assert not tail.add([check_entry(made[0])]), "it has no beginning"
    tail.restart(dataset)
    start = 0
    for end in (1, 30, 45, 130):
        assert tail.add([check_entry(entry(index)) for index in range(start, end)])
        assert tail.continues(dataset, end) and not tail.continues(dataset, end + 1)
        if end == 130:
            tail.seal(dataset, 80)
            assert dataset.sealed == 80, "what is not in the checkpoint yet waits"
        tail.flush(dataset)
        assert dataset.size == end
        start = end
    publish(tmp_path / "b", 130)
    assert snapshot(tmp_path / "a/segments") == snapshot(tmp_path / "b/segments")


def test_a_tail_with_a_gap_or_too_much_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, tail = Dataset(tmp_path, segment_entries=40), Tail()
    tail.restart(dataset)
    assert not tail.add([check_entry(entry(1))])
    tail.restart(dataset)
    monkeypatch.setattr("verify.dataset.tail.MAX_BYTES", 10_000)
    assert tail.add([check_entry(entry(0))])
    assert not tail.add([check_entry(item) for item in entries(30, 1)])
    assert tail.end == 0
