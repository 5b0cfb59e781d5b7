"""Column by column and record by record come to the same, for packs of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.senml import Columns, Decimal64, Record, decode_columns, decode_pack, encode_pack
from tests.records.support import HERE, NOW, POLICY, PROFILES, after, judge
from verify.checks import pack
from verify.checks.clock import Sealing
from verify.checks.pack import PackOutcome, judge_pack, stored
from verify.checks.records import MAX_SERIES, SubjectState, judge_records
from verify.checks.slots import MAX_RANGES
from verify.policy import Policy
from verify.profile import Profile

_PROFILES = (
    PROFILES["noise"],
    PROFILES["weather"],
    PROFILES["mobile-noise"],
    replace(PROFILES["noise"], slot_ms=250, period_ms=40),
    replace(PROFILES["noise"], slot_ms=0, period_ms=1000, location="none"),
    replace(PROFILES["noise"], open_names=True, max_records=30),
)
_NAMES = (("laeq", "dB"), ("lceq", "dB"), ("temperature", "Cel"), ("battery", "%EL"))
_SEALED = (
    Sealing(NOW - 1000, NOW, 1000, True, NOW - 500),
    Sealing(None, NOW, 0, False, None),
    Sealing(NOW - 2_000_000, NOW, 0, False, NOW - 900_000),
    Sealing(NOW - 500, NOW + 500, 600_000, True, None),
)


@st.composite
def _series(draw: st.DrawFn) -> list[Record]:
    """Values of one name, a step apart, as a sensor sends them."""
    name, unit = draw(st.sampled_from(_NAMES))
    step = draw(st.sampled_from(("1", "1", "60", "0.25", "0.125", "0.0005")))
    relative = draw(st.booleans())
    start = draw(st.integers(-200, 0)) if relative else NOW // 1000 + draw(st.integers(-200, 0))
    count = draw(st.integers(1, 60))
    offset = Decimal64(start)
    records = []
    for value in draw(st.lists(st.integers(0, 600), min_size=count, max_size=count)):
        records.append(Record(name, unit, Decimal64(value, -1), offset))
        offset += Decimal64.from_text(step)
    return records


_ODD: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(("laeq", "lceq", "unknown", "lat", "x" * 40)),
    "unit": st.sampled_from(("dB", "Cel", None)),
    "value": st.one_of(
        st.sampled_from((True, "text", b"data")),
        st.builds(Decimal64, st.integers(-(2**63), 2**63 - 1), st.integers(-18, 0)),
        st.builds(Decimal64, st.integers(-10, 200)),
    ),
    "time": st.builds(
        Decimal64,
        st.one_of(
            st.integers(-5, 5),
            st.integers(NOW // 1000 - 100, NOW // 1000 + 100),
            st.sampled_from((0, 2**28 - 1, 2**28, 2**50, -(2**50), 2**63 - 1, -(2**63))),
        ),
        st.sampled_from((0, 0, 0, -1, -3, -7)),
    ),
}


@st.composite
def _packs(draw: st.DrawFn) -> list[Record]:
    """A series or two, with none or a few deviations."""
    records = draw(_series())
    if draw(st.integers(0, 3)) == 0:
        records = draw(st.permutations(records + draw(_series())))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 3)))):
        at = draw(st.integers(0, len(records) - 1))
        kind = draw(st.sampled_from((*_ODD, "again", "swap", "gap")))
        if kind == "again":
            records.insert(at, records[draw(st.integers(0, len(records) - 1))])
        elif kind == "swap":
            records[at], records[-1] = records[-1], records[at]
        elif kind == "gap":
            records = records[:at] + records[at + 1 :] or records
        else:
            records[at] = records[at]._replace(**{kind: draw(_ODD[kind])})
    return records


def _shown(outcome: PackOutcome) -> tuple[object, ...]:
    columns = outcome.columns
    rows = None if columns is None else (columns.rows(), columns.tally())
    kept = (list(outcome.series.items()), list(outcome.carried.items()))
    return (rows, dict(outcome.reasons), *kept, *outcome[3:5], outcome.refusal)


@given(
    st.lists(_packs(), min_size=1, max_size=4),
    st.sampled_from(_PROFILES),
    st.sampled_from(_SEALED),
    st.sampled_from((POLICY, Policy.from_toml("[time]\nmax_interval_s = 1\nmax_age_s = 120"))),
)
def test_columns_and_records_are_judged_alike(
    packs: Sequence[list[Record]], profile: Profile, sealing: Sealing, policy: Policy
) -> None:
    _judge_alike(packs, profile, sealing, policy)


def _judge_alike(
    packs: Sequence[Sequence[Record]],
    profile: Profile = PROFILES["noise"],
    sealing: Sealing = _SEALED[0],
    policy: Policy = POLICY,
    state: SubjectState | None = None,
) -> None:
    state = SubjectState() if state is None else state
    for records in packs:
        columns = decode_columns(encode_pack(records))
        expected = judge(records, profile, sealing=sealing, state=state, policy=policy)
        found = judge_pack(
            columns,
            profile=profile,
            policy=policy,
            sealing=sealing,
            received_at=NOW,
            state=state,
            registered=HERE,
        )
        assert decode_pack(encode_pack(records)) == records
        assert _shown(found) == _shown(stored(expected))
        state = after(state, expected)


def _plain(count: int, first: int = -100, name: str = "laeq", unit: str = "dB") -> list[Record]:
    return [
        Record(name, unit, Decimal64(500 + 7 * at % 31, -1), Decimal64(NOW // 1000 + first + at))
        for at in range(count)
    ]


def test_plain_packs_are_judged_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    relative = [
        record._replace(time=Decimal64(-15 * at, -1)) for at, record in enumerate(_plain(20))
    ]
    both = _plain(20) + _plain(20, name="battery", unit="%EL")
    packs = (_plain(60), _plain(1), both, relative[::-1], relative[::10])
    monkeypatch.setattr(pack, "judge_records", lambda *_, **__: pytest.fail("record by record"))
    for records in packs:
        columns = decode_columns(encode_pack(records))
        assert isinstance(columns, Columns)
        outcome = judge_pack(
            columns,
            profile=PROFILES["noise"],
            policy=POLICY,
            sealing=_SEALED[0],
            received_at=NOW,
            state=SubjectState(),
            registered=HERE,
        )
        assert outcome.columns is not None and set(outcome.columns.codes) == {""}


def test_each_deviation_alone_is_judged_alike() -> None:
    plain = _plain(60)
    low, high = (plain[0]._replace(value=Decimal64(at)) for at in (-1, 141))
    for odd in (low, high):
        _judge_alike([[odd, *plain[1:]], [*plain[:-1], odd]])
        _judge_alike([[odd._replace(value=Decimal64(-1, -1)), *plain[1:]]])
    _judge_alike([plain], replace(PROFILES["noise"], max_records=59))
    _judge_alike([_plain(3, name="lceq")])  # the required name is missing
    _judge_alike([_plain(3, unit="Pa")])
    _judge_alike([_plain(3, name="lat", unit="lat")])
    for age in (0, 30, 31, 2_592_000 + 60, 2_592_000 + 30, -31, -90, -91):
        for sealing in _SEALED:
            _judge_alike([_plain(60, -age), _plain(1, -age)], sealing=sealing)
            relative = [record._replace(time=Decimal64(-age)) for record in plain]
            _judge_alike([relative, relative[:1]], sealing=sealing)


def test_a_number_for_what_is_no_number_is_judged_alike() -> None:
    fields = dict(PROFILES["noise"].fields)
    for kind in ("text", "bool"):
        odd = replace(fields["laeq"], kind=kind, minimum=None, maximum=None)
        profile = replace(PROFILES["noise"], fields={**fields, "laeq": odd})
        _judge_alike([_plain(3)], profile)
    context = replace(PROFILES["noise"].fields["laeq"], context=True)
    _judge_alike(
        [_plain(20), _plain(20)],
        replace(PROFILES["noise"], fields={**fields, "laeq": context}),
    )


def test_any_order_is_judged_alike() -> None:
    plain = _plain(200, -200)
    tens = [plain[at : at + 10] for at in range(0, 200, 10)]
    ones = [[record] for record in plain[:50]]
    without_slots = replace(PROFILES["noise"], slot_ms=0)
    for profile in (PROFILES["noise"], without_slots):
        for packs in (tens, ones):
            _judge_alike(packs, profile)
            _judge_alike(packs[::-1], profile)
            _judge_alike([*packs[::2], *packs[1::2]], profile)
            _judge_alike([pack[::-1] for pack in packs], profile)
            _judge_alike([*packs, *packs], profile)
        _judge_alike([plain[::2], plain[1::2], plain], profile)
        for cut in range(1, 17):
            _judge_alike([plain[:cut], plain[cut:60]], profile)
        _judge_alike([plain[:20] + plain[40:60] + plain[20:40]], profile)


def test_many_values_in_a_window_are_judged_alike() -> None:
    dense = replace(PROFILES["noise"], slot_ms=250, period_ms=1000)
    quarters = [
        record._replace(time=Decimal64(100 * (NOW // 1000 - 100) + 25 * at, -2))
        for at, record in enumerate(_plain(300))
    ]
    for size in (1, 7, 30, 50, 100):
        packs = [quarters[at : at + size] for at in range(0, 300, size)]
        _judge_alike(packs, dense)
        _judge_alike(packs[::-1], dense)


def test_times_before_1970_are_stored_alike() -> None:
    early = Sealing(-3000, 3000, 0, False, 0)
    relative = [record._replace(time=Decimal64(0)) for record in _plain(1)]
    columns = decode_columns(encode_pack(relative))
    known: dict[str, Any] = {"profile": PROFILES["noise"], "policy": POLICY, "sealing": early}
    known |= {"received_at": 3000, "state": SubjectState(), "registered": HERE}
    expected = stored(judge_records(relative, **known))
    assert _shown(judge_pack(columns, **known)) == _shown(expected)


def test_bounds_of_what_is_remembered_are_judged_alike() -> None:
    held = {f"s{at}": ((1, 2),) for at in range(MAX_SERIES - 1)}
    both = _plain(3) + _plain(3, name="lceq")
    _judge_alike([both], state=SubjectState(held))
    gaps = tuple((at, at + 1) for at in range(0, 2 * MAX_RANGES, 2))
    _judge_alike([_plain(9), _plain(9, -50)], state=SubjectState({"laeq": gaps}))
