"""Records of every kind, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from depin_id.senml import Decimal64, Record

NUMBERS = st.one_of(
    st.builds(Decimal64, st.integers(-(2**63), 2**63 - 1), st.integers(-18, 18)),
    st.builds(Decimal64, st.integers(-(10**4), 10**4), st.integers(-3, 0)),
)
TIMES = st.one_of(
    st.builds(Decimal64, st.integers(0, 2**40), st.sampled_from((0, 0, -3))),
    st.builds(Decimal64, st.integers(-1000, 1000), st.integers(-9, 0)),
)
NAMES = st.one_of(
    st.sampled_from(("LAeq", "temp")), st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9:./_\-]{0,20}\Z")
)
UNITS = st.sampled_from((None, "dB", "dB", "Cel", "hPa"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(NUMBERS, NUMBERS, TEXT, st.booleans(), st.binary(max_size=20))
MAYBE = st.one_of(st.none(), NUMBERS)
RECORDS = st.one_of(
    st.builds(Record, NAMES, UNITS, VALUES, TIMES, MAYBE, MAYBE),
    st.builds(Record, NAMES, UNITS, st.none(), TIMES, NUMBERS, st.none()),
)
PACKS = st.lists(RECORDS, min_size=1, max_size=8)
