"""Gaps of streams, and what explains them: a report of the very gateway, accepted, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import LogError
from depin_id.testing import NOW, TestDevice
from tests.verify.net import Net, level
from verify import gap_reports, gaps
from verify.cli import main
from verify.gaps import StreamGaps, find_gaps
from verify.reading import Reader

Said = list[Any]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


def lose(gate: TestDevice, count: int, subject: str | None = "#s") -> None:
    """Sign envelopes that never arrive."""
    for _ in range(count):
        gate.next([level()], subject=subject)


_second = [0]


def arrive(net: Net, gate: TestDevice, count: int, subject: str | None = "#s") -> None:
    for _ in range(count):
        _second[0] += 1
        data = gate.next([level(50, NOW - _second[0])], subject=subject)
        assert net.codes(gate, data) == ["accepted"]


def say(net: Net, gate: TestDevice, *ranges: Any, code: str = "accepted") -> int:
    """Report; gives the entry."""
    assert net.codes(gate, gate.status({"dropped": list(ranges)})) == [code]
    return net.size - 1


def of(net: Net, gate: TestDevice, subject: str = "#s") -> StreamGaps:
    with Reader(net.root) as reader:
        (found,) = (
            one
            for one in find_gaps(reader, gate.did + subject)
            if one.subject == gate.did + subject
        )
    return found


def missing(found: StreamGaps) -> list[tuple[int, int, int, int]]:
    return [(gap.epoch, gap.first, gap.last, gap.explained_count) for gap in found.gaps]


def test_a_report_explains_exactly_what_it_names(net: Net) -> None:
    gate = net.gateway()
    lose(gate, 2)
    arrive(net, gate, 3)
    lose(gate, 4)
    arrive(net, gate, 1)
    gate.reboot()
    lose(gate, 1)
    arrive(net, gate, 1)
    assert missing(of(net, gate)) == [(1, 0, 1, 0), (1, 5, 8, 0), (2, 0, 0, 0)]
    first = say(net, gate, ["#s", 1, 0, 1], ["#s", 1, 6, 8])
    found = of(net, gate)
    assert missing(found) == [(1, 0, 1, 2), (1, 5, 8, 3), (2, 0, 0, 0)]
    assert (found.missing, found.explained, found.beyond) == (7, 5, 0)
    assert found.gaps[1].explained == ((1, 6, 8, first),)
    assert not found.contradictions and not found.refused
    # The gateway's own stream, by null, and what nothing arrived after.
    lose(gate, 3, None)
    say(net, gate, [None, 2, 1, 3], ["#s", 2, 2, 9])
    with Reader(net.root) as reader:
        told = {one.subject: one for one in find_gaps(reader, gate.did)}
        by_kid = {one.subject for one in find_gaps(reader, gate.key.kid.hex())}
        everything = {one.subject for one in find_gaps(reader)}
    assert missing(told[gate.did]) == [(2, 1, 3, 3)]
    assert told[f"{gate.did}#s"].beyond == 8
    assert set(told) == by_kid == everything


def test_it_is_only_an_explanation(net: Net) -> None:
    """Whether a report came before changes nothing of what is judged later."""
    gate = net.gateway()
    lose(gate, 1)
    say(net, gate, ["#s", 1, 0, 0])
    arrive(net, gate, 1)
    assert "sequence.gap" in net.last.flags
    net.reopen(forget_snapshot=True)
    assert missing(of(net, gate)) == [(1, 0, 0, 1)]


def test_contradictions_are_shown(net: Net) -> None:
    gate = net.gateway()
    arrive(net, gate, 2)
    lose(gate, 3)
    arrive(net, gate, 2)
    first = say(net, gate, ["#s", 1, 1, 4])
    second = say(net, gate, ["#s", 1, 3, 5], ["#s", 1, 3, 3], ["#s", 1, 0, 1])
    found = of(net, gate)
    assert missing(found) == [(1, 2, 4, 3)]
    told = [(c.kind, c.first, c.last, c.entry, c.other) for c in found.contradictions]
    assert sorted(told, key=str) == sorted(
        [
            ("overlap", 1, 1, first, second),
            ("overlap", 3, 3, second, first),
            ("overlap", 3, 4, second, first),
            ("arrived", 0, 1, second, None),
            ("arrived", 5, 5, second, None),
        ],
        key=str,
    )
    assert found.text.count("was given up, and it arrived") == 2
    # A late one closes the gap, and the report is then wrong about it.
    late = gate.envelope([level(50, NOW - 900)], epoch=1, n=3, subject="#s")
    net.codes(gate, late)
    assert missing(of(net, gate)) in ([(1, 2, 4, 3)], [(1, 2, 2, 1), (1, 4, 4, 1)])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["#s", 1, 1, 0], "malformed"),
        (["#s", 1, 0, 1 << 32], "malformed"),
        (["#s", 1, -1, 0], "malformed"),
        (["#s", 1, 0], "malformed"),
        (["#s", 1, 0, 0, 0], "malformed"),
        (["#s", True, 0, 0], "malformed"),
        (["#s", 1, "0", 0], "malformed"),
        (["s", 1, 0, 0], "malformed"),
        (["#" + "s" * 65, 1, 0, 0], "malformed"),
        ([7, 1, 0, 0], "malformed"),
        (["", 1, 0, 0], "malformed"),
        ("x", "malformed"),
        ({1: 2}, "malformed"),
        (["#s", 2, 0, 0], "ahead"),
        ([None, 1, 0, 0xFFFFFFFF], "ahead"),
        (["#other", 1, 0, 0], "unknown"),
    ],
)
def test_what_cannot_be_true_explains_nothing(net: Net, said: Any, why: str) -> None:
    gate = net.gateway()
    lose(gate, 1)
    arrive(net, gate, 1)
    say(net, gate, said)
    found = of(net, gate)
    assert missing(found) == [(1, 0, 0, 0)] and found.refused == {why: 1}
    assert json.loads(json.dumps(found.to_json()))["refused"] == {why: 1} and why in found.text


def test_members_that_are_no_list_explain_nothing(net: Net) -> None:
    gate = net.gateway()
    lose(gate, 1)
    arrive(net, gate, 1)
    for body in (7, "x", {"#s": 1}, None):
        assert net.codes(gate, gate.status({"dropped": body})) == ["accepted"]
    assert of(net, gate).refused == {"malformed": 4} and of(net, gate).explained == 0


def test_only_the_very_gateway_is_heard(net: Net) -> None:
    gate, other, device = net.gateway(), net.gateway("other"), net.device("d")
    for one in (gate, other):
        lose(one, 2)
        arrive(net, one, 1)
    lose(device, 2, None)
    arrive(net, device, 1, None)
    say(net, other, [gate.did + "#s", 1, 0, 1], [gate.did, 1, 0, 1])
    say(net, device, [None, 1, 0, 1])
    assert of(net, gate).explained == of(net, device, "").explained == 0
    assert of(net, other).refused == {"unknown": 2}
    # In the stream of one of its sensors it is no report of the gateway's.
    data = gate.status({"dropped": [["#s", 1, 0, 1]]}, subject="#t")
    assert net.codes(gate, data) == ["accepted"]
    assert of(net, gate).explained == 0
    # Another key of the same gateway speaks of its own streams only.
    fresh = net.rotate(gate)
    data = fresh.status({"dropped": [["#s", 1, 0, 1]]})
    assert net.codes(fresh, data) == ["accepted"]
    with Reader(net.root) as reader:
        assert {one.explained for one in find_gaps(reader, gate.did)} == {0}


def test_what_was_not_accepted_or_counts_no_more_is_not_heard(net: Net) -> None:
    gate = net.gateway()
    lose(gate, 2)
    arrive(net, gate, 1)
    ranges: dict[int | str, Any] = {"dropped": [["#s", 1, 0, 1]]}
    # The chain is broken: rejected, and its position consumed.
    say(net, gate)
    assert net.codes(gate, gate.status(ranges, prev=bytes(16))) == ["chain.broken"]
    assert of(net, gate).explained == 0
    gate.reboot()
    say(net, gate, ["#s", 1, 0, 1])
    assert of(net, gate).explained == 2
    net.erase(gate)
    with Reader(net.root) as reader:
        told = {one.subject: one for one in find_gaps(reader)}
    found = told[f"{gate.did}#s"]
    assert (missing(found), found.explained) == ([(1, 0, 1, 0)], 0)
    assert found.refused["erased"] == 2


def test_a_huge_range_is_shown_against_what_arrived(net: Net) -> None:
    gate = net.gateway()
    lose(gate, 3)
    arrive(net, gate, 4)
    say(net, gate, ["#s", 1, 0, 0xFFFFFFFF])
    found = of(net, gate)
    assert missing(found) == [(1, 0, 2, 3)]
    assert [(c.kind, c.first, c.last) for c in found.contradictions] == [("arrived", 3, 6)]
    assert found.beyond == (1 << 32) - 7


def test_memory_is_bounded(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_reports, "MAX_CLAIMS", 2)
    monkeypatch.setattr(gap_reports, "_PAGE", 2)
    monkeypatch.setattr(gaps, "LISTED", 3)
    gate = net.gateway()
    for _ in range(6):
        lose(gate, 1)
        arrive(net, gate, 2)
    say(net, gate, *(["#s", 1, n, n] for n in (0, 3, 6, 9)))
    found = of(net, gate)
    assert [gap[1] for gap in missing(found)] == [0, 3, 6]
    assert (found.gap_count, found.missing, found.explained) == (6, 6, 2)
    assert found.refused == {"too_many": 2} and "and 3 gaps more" in found.text


def test_the_command(net: Net, capsys: pytest.CaptureFixture[str]) -> None:
    gate = net.gateway()
    root = str(net.root)
    arrive(net, gate, 1)
    main(["gaps", root])
    assert capsys.readouterr().out == "nothing is missing\n"
    lose(gate, 2)
    arrive(net, gate, 1)
    entry = say(net, gate, ["#s", 1, 1, 2])
    main(["gaps", root, "--device", gate.key.kid.hex()])
    told = capsys.readouterr().out
    assert "  1/1 to 1/2 missing before entry " in told
    assert f": given up by the gateway, as entry {entry} says" in told
    main(["gaps", root, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["gaps"][0]["by"] == [{"first": 1, "last": 2, "entry": entry}]
    with Reader(net.root) as reader, pytest.raises(LogError) as error:
        list(find_gaps(reader, "did:key:zNobody"))
    assert error.value.code == "explain.unknown"
