"""Simulated fleets: the same bytes from the same seed, and verdicts that agree with the truth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import ConfigError, StateError
from tests.endtoend.world import Held, check_audit, check_nothing_twice, journal
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.ingest.files import FileSource
from verify.simulate import CHEATS, Plan, read_shares, write
from verify.simulate.chance import Chance
from verify.simulate.fleet import BLOCK
from verify.simulate.writer import fitting_burst
from verify.verdict import ACCEPTED

UNLOGGED = {"duplicate", "device.unknown", "signature.invalid", "quota.exceeded"}


def plan(devices: int, minutes: int, cheats: str = "", **more: Any) -> Plan:
    found = Plan(devices, minutes, shares=read_shares(cheats), **more)
    return replace(found, burst=fitting_burst(found))


def truth(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


def ingest(found: Plan, folder: Path) -> Summary:
    total = Summary()
    at = found.end * 1000
    with Aggregator(folder / "aggregator") as aggregator:
        for messages in FileSource([folder / "bundles"], received_at=at).batches():
            total.add(aggregator.ingest(messages, asserted_ms=at)[0])
    return total


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_against_truth(lines: list[dict[str, Any]], held: dict[str, Held]) -> Counter[str]:
    """Every envelope became what it should; gives how many of each cheat were caught."""
    caught: Counter[str] = Counter()
    for line in lines:
        entry, outcomes = held.get(line["id"]), set(line["outcomes"])
        if "duplicate" in outcomes:
            continue  # its first copy has a line of its own
        if entry is None:
            assert outcomes & UNLOGGED, line
            caught[line["cheat"]] += 1
            continue
        assert entry.code in outcomes, (line, entry.code)
        codes = {row.code for row in entry.rows} - {""}
        if entry.code == ACCEPTED:
            assert codes == ({line["records"]} if line["records"] else set()), (line, codes)
        if entry.code != ACCEPTED or codes:
            assert line["cheat"], f"an honest envelope is held against its device: {line}"
            caught[line["cheat"]] += 1
    return caught


def check_counts(lines: list[dict[str, Any]], total: Summary) -> None:
    """What is not in the journal was counted: as often as it was sent."""
    sent: Counter[str] = Counter()
    for line in lines:
        sent["|".join(line["outcomes"])] += 1
    assert total.duplicates == sent["duplicate"]
    assert total.rejected.get("signature.invalid", 0) == sent["signature.invalid"]
    assert total.indeterminate.get("device.unknown", 0) == sent["device.unknown"]
    over = total.rejected.get("quota.exceeded", 0)
    assert 0 < over < sent["accepted|quota.exceeded"] or not sent["accepted|quota.exceeded"]


@pytest.mark.parametrize(
    ("kind", "pack", "bundle", "minutes"),
    [("mixed", 60, 1, 25), ("noise", 40, 3, 8), ("weather", 31, 1, 200), ("tracks", 1, 5, 1)],
)
def test_verdicts_agree_with_the_truth(
    tmp_path: Path, kind: Any, pack: int, bundle: int, minutes: int
) -> None:
    """Every cheat that the checks promise to catch is caught, and nobody honest."""
    names = [name for name, cheat in CHEATS.items() if kind == "mixed" or kind in cheat.kinds]
    cheats = ",".join(f"{name}=0.01" for name in names)
    found = plan(26, minutes, cheats, kind=kind, pack=pack, bundle=bundle)
    summary = write(found, tmp_path / "run")
    total = ingest(found, tmp_path / "run")
    lines = truth(tmp_path / "run")
    assert len(lines) == summary["envelopes"]
    entries = list(journal(tmp_path / "run" / "aggregator"))
    assert len({entry.id for entry in entries}) == len(entries)
    caught = check_against_truth(lines, {entry.id.hex(): entry for entry in entries})
    check_counts(lines, total)
    for name in names:
        sent = sum(line["cheat"] == name for line in lines)
        assert sent, f"{name} was never done"
        if name == "replayed":
            continue  # counted above: a duplicate has no entry
        assert (caught[name] > 0) == CHEATS[name].caught, (name, caught)
    assert {entry.code for entry in entries} >= {"accepted", "sequence.forked"}
    assert any("duplicate" in line["outcomes"] for line in lines)


def test_an_honest_fleet_is_accepted_whole(tmp_path: Path) -> None:
    """Restarts, gaps, late and repeated delivery are nobody's fault; audit passes."""
    found = plan(12, 8, pack=4)
    write(found, tmp_path / "run")
    total = ingest(found, tmp_path / "run")
    lines = truth(tmp_path / "run")
    check_nothing_twice(list(journal(tmp_path / "run" / "aggregator")), slot_ms=250)
    assert total.rejected == total.indeterminate == {}
    assert total.accepted == sum(line["outcomes"] == ["accepted"] for line in lines)
    assert total.duplicates == sum(line["outcomes"] == ["duplicate"] for line in lines) > 0
    epochs = defaultdict(set)
    lost = late = 0
    before: dict[bytes, tuple[int, int]] = {}
    for entry in journal(tmp_path / "run" / "aggregator"):
        epochs[entry.thumbprint].add(entry.position[0])
        last = before.get(entry.thumbprint)
        late += last is not None and entry.position < last
        lost += (
            last is not None
            and entry.position > (last[0], last[1] + 1)
            and (entry.position[0] == last[0])
        )
        before[entry.thumbprint] = max(last or entry.position, entry.position)
    assert max(map(len, epochs.values())) > 1, "nobody restarted"
    assert lost > 0 < late
    check_audit(tmp_path / "run" / "aggregator")


def test_the_same_seed_gives_the_same_bytes_however_many_processes(tmp_path: Path) -> None:
    found = plan(BLOCK + 20, 3, "copied=0.002,tampered=0.002", pack=60, kind="weather")
    for name, jobs in (("one", 1), ("two", 2)):
        write(found, tmp_path / name, aggregator=False, jobs=jobs)
    first = tree(tmp_path / "one")
    assert first == tree(tmp_path / "two")
    assert {"truth.jsonl", "policy.toml", "network/card.cbor", "bundles/000001.cbor"} <= set(first)
    write(replace(found, seed="2"), tmp_path / "other", aggregator=False)
    other = tree(tmp_path / "other")
    assert not {first["bundles/000000.cbor"], first["network/card.cbor"]} & set(other.values())


def test_the_numbers_stay_what_they_are() -> None:
    """Runs of one release and of the next are the same: nothing of this may move."""
    chance = Chance("seed", 7)
    assert [chance.bits() for _ in range(2)] == [6329413926299106729, 13350437010159010482]
    drawn = [Chance(step).normal(1000) for step in range(4000)]
    assert abs(sum(drawn)) < 4000 * 60
    assert 900 < (sum(value * value for value in drawn) / 4000) ** 0.5 < 1100


def test_cheats_are_counted_exactly_and_never_all() -> None:
    found = plan(1_000_000, 1, "copied=1/1000,tampered=0.25")
    assert found.counts == {"copied": 1_000, "tampered": 250_000}
    part = plan(3_000, 1, "copied=1/1000,tampered=0.25")
    tally = Counter(part.cheat(index) for index in range(3_000))
    assert tally == {"copied": 3, "tampered": 750, "": 2_247}
    for index in (0, 999_999):
        assert found.member(index).index == index
    covered = [index for number in range(part.blocks) for index in part.block(number)]
    assert covered == list(range(3_000))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("theft=0.1", "theft"),
        ("copied", "NAME=SHARE"),
        ("copied=2", "NAME=SHARE"),
        ("copied=x/0", "NAME=SHARE"),
        ("copied=1/0", "NAME=SHARE"),
        ("copied=nan", "NAME=SHARE"),
        ("copied=1e-999999999", "NAME=SHARE"),
        ("copied=0.3,teleport=0.3", "more than half"),
    ],
)
def test_wrong_shares_are_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as refused:
        read_shares(text)
    assert refused.value.code == "simulate.cheats"


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"devices": 0},
        {"minutes": -1},
        {"pack": 0},
        {"bundle": 0},
        {"kind": "noise", "shares": read_shares("teleport=0.1")},
        {"devices": 1, "shares": read_shares("copied=0.1")},
    )
    for wrong in wrongs:
        with pytest.raises(ConfigError):
            Plan(**{"devices": 10, "minutes": 1, **wrong})
    (tmp_path / "x").write_text("")
    with pytest.raises(StateError, match="not empty"):
        write(plan(1, 1), tmp_path)
