"""Slots against a set, windows against batching and honest coincidence."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from verify.checks.contents import KEPT_WINDOWS, MAX_KEPT, Kept, Sample, look, merged, series_key
from verify.checks.slots import MAX_RANGES, Ranges, changes, fill, patched


def _well_formed(ranges: Ranges) -> bool:
    apart = all(a[1] < b[0] for a, b in zip(ranges, ranges[1:], strict=False))
    return apart and all(start < end for start, end in ranges) and len(ranges) <= MAX_RANGES


@given(st.lists(st.integers(-60, 60), max_size=200))
def test_slots_are_a_set_while_they_fit(slots: list[int]) -> None:
    ranges: Ranges = ()
    seen: set[int] = set()
    for slot in slots:
        ranges, repeated = fill(ranges, slot)
        assert repeated == (slot in seen)
        seen.add(slot)
        assert _well_formed(ranges)
    assert {slot for start, end in ranges for slot in range(start, end)} == seen


@given(st.lists(st.integers(-5000, 5000), max_size=400))
def test_no_slot_is_ever_filled_twice(slots: list[int]) -> None:
    ranges: Ranges = ()
    taken: set[int] = set()
    for slot in slots:
        ranges, repeated = fill(ranges, slot)
        if not repeated:
            assert slot not in taken
            taken.add(slot)
        assert _well_formed(ranges)


@given(st.lists(st.lists(st.integers(-400, 400), max_size=40), max_size=12))
def test_what_changed_is_as_good_as_everything(packs: list[list[int]]) -> None:
    ranges: Ranges = ()
    for pack in packs:
        before = ranges
        for slot in pack:
            ranges, _ = fill(ranges, slot)
        found = changes(before, ranges)
        assert patched(before, found) == ranges
        assert len(found) <= 3 * len(pack)


def test_the_oldest_gap_is_given_up() -> None:
    ranges: Ranges = ()
    for slot in range(0, 2 * MAX_RANGES + 2, 2):
        ranges, repeated = fill(ranges, slot)
        assert not repeated
    assert ranges[0] == (0, 3) and len(ranges) == MAX_RANGES
    assert fill(ranges, 1) == (ranges, True)
    assert fill(ranges, 3)[1] is False


def _digests(name: str, unit: str, samples: Iterable[Sample], period_ms: int) -> list[bytes]:
    return list(look(series_key(name, unit, period_ms), samples, period_ms).digests)


SAMPLES = [(1_600_000 + 1000 * i, 40_000 + 37 * i % 900, -3) for i in range(64)]


def test_windows_do_not_depend_on_batches_or_order() -> None:
    whole = _digests("laeq", "dB", SAMPLES, 1000)
    assert len(whole) == 4 and len(set(whole)) == 4
    assert _digests("laeq", "dB", reversed(SAMPLES), 1000) == whole
    halves = [_digests("laeq", "dB", part, 1000) for part in (SAMPLES[:32], SAMPLES[32:])]
    assert halves[0] + halves[1] == whole
    # Cut elsewhere, the windows that were not cut are the same.
    shifted = _digests("laeq", "dB", SAMPLES[5:], 1000)
    assert set(shifted) & set(whole) == set(whole[1:])


@given(st.lists(st.integers(1, 20), min_size=1), st.sampled_from([1000, 1, 5_400_000]))
def test_windows_are_the_same_in_packs_of_any_size(sizes: list[int], period: int) -> None:
    """Down to one reading: every window that a whole upload has is found once it is complete."""
    samples = [(time // 1000 * period, mantissa, power) for time, mantissa, power in SAMPLES]
    whole = look("k", samples, period).digests
    kept: Kept = ()
    found: list[bytes] = []
    start = number = 0
    while start < len(samples):
        size = sizes[number % len(sizes)]
        windows = look("k", samples[start : start + size], period, kept)
        found += windows.digests
        kept = merged(kept, windows.added)
        assert len(kept) <= KEPT_WINDOWS
        assert all(len(packed) <= 13 * MAX_KEPT for _, packed in kept)
        start, number = start + size, number + 1
    assert list(dict.fromkeys(found)) == list(whole) and len(whole) == 4


def test_what_is_late_finds_its_window_beside_what_is_new() -> None:
    whole = look("k", SAMPLES, 1000).digests
    kept: Kept = ()
    found: set[bytes] = set()
    for late, new in zip(SAMPLES[:16], SAMPLES[48:], strict=True):
        for sample in (new, late):
            windows = look("k", [sample], 1000, kept)
            found.update(windows.digests)
            kept = merged(kept, windows.added)
    assert found == {whole[0], whole[3]}
    # The same again adds nothing and is still what it was.
    again = look("k", SAMPLES[10:11], 1000, kept)
    assert again == ((whole[0],), ())


def test_a_pack_keeps_only_what_a_later_one_may_need() -> None:
    first = look("k", SAMPLES[:60], 1000)
    assert [len(packed) for _, packed in first.added] == [13 * 12]
    assert look("k", SAMPLES[60:], 1000, merged((), first.added)).digests == first.digests[3:]


def test_every_part_of_a_sample_counts() -> None:
    whole = _digests("laeq", "dB", SAMPLES[:16], 1000)
    for changed in ((0, 1, 0), (0, 0, 1), (1, 0, 0)):
        other = list(SAMPLES[:16])
        first = other[3]
        other[3] = (first[0] + changed[0], first[1] + changed[1], first[2] + changed[2])
        assert _digests("laeq", "dB", other, 1000) != whole
    assert _digests("lceq", "dB", SAMPLES[:16], 1000) != whole
    assert _digests("laeq", "dBA", SAMPLES[:16], 1000) != whole


def test_constant_or_sparse_readings_make_no_window() -> None:
    times = [time for time, _, _ in SAMPLES[:16]]
    assert _digests("rain", "m", [(time, 0, 0) for time in times], 1000) == []
    five = [(time, i % 5, 0) for i, time in enumerate(times)]
    assert _digests("rain", "m", five, 1000) == []
    six = [(time, i % 6, 0) for i, time in enumerate(times)]
    assert len(_digests("rain", "m", six, 1000)) == 1
    assert _digests("rain", "m", six[:11], 1000) == []
    assert len(_digests("rain", "m", six[:12], 1000)) == 1
    assert _digests("rain", "m", six, 0) == []


def test_a_range_that_begins_elsewhere_or_is_gone_is_a_change() -> None:
    before, after = ((1, 2), (5, 6)), ((1, 2), (4, 6))
    assert changes(before, after) == ((4, 6), (5, 5))
    assert patched(before, changes(before, after)) == after
    assert changes(before, before) == () and patched(before, ((5, 5),)) == ((1, 2),)


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=MAX_KEPT), max_size=4))
def test_what_is_kept_is_the_beginning_of_a_window(packs: list[list[int]]) -> None:
    kept: Kept = ()
    seen: set[bytes] = set()
    for pack in (range(10), range(20, 30), *packs):
        samples = {bytes([at]) * 13 for at in pack}
        kept = merged(kept, ((7, b"".join(sorted(samples))),))
        seen = set(sorted(seen | samples)[:MAX_KEPT])
        assert kept == ((7, b"".join(sorted(seen))),)
