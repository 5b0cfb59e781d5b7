"""Explanations and the reader: every entry in words, found by device and position."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.errors import DepinError
from depin_id.readings import reading
from tests.verify._reading_world import House, build, copied
from verify.aggregator import Aggregator
from verify.explain import explain
from verify.ingest import Message
from verify.reading import Reader
from verify.verdict import CODES


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def reader(house: House) -> Iterator[Reader]:
    with Reader(house.root) as opened:
        yield opened


def test_every_entry_is_explained(reader: Reader) -> None:
    kinds = set()
    for index in range(reader.size):
        told = explain(reader, index)
        kinds.add(told.kind)
        assert told.summary.endswith(".") and told.text
        assert json.loads(json.dumps(told.to_json()))["index"] == index
        if told.verdict and told.verdict != "accepted":
            code = CODES[told.verdict]
            assert told.meaning == code.meaning and told.advice == code.advice
            assert code.advice in told.text and told.at_fault in told.text
        assert all(told.flags.values())
    assert kinds >= {"envelope", "gateway", "genesis", "policy", "enrol", "rotate", "revoke"}
    assert kinds >= {"tick", "counted"}


def test_a_record_that_does_not_count_says_why(reader: Reader) -> None:
    told = explain(reader, 8)
    assert told.verdict == "accepted" and "record.refused" in told.flags
    assert [record["code"] for record in told.records] == ["value.out_of_range"] * 2
    assert "physically impossible" in told.text and "does not count" in told.text
    for record in told.records:
        assert record["measured"] == record["value"] and record["limit"]
        assert f"Found: {record['measured']}. Allowed: at " in told.text


def test_a_record_from_the_future_names_both_moments(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        with Aggregator(root, clock=house.clock) as aggregator:
            ahead = reading("laeq", 50, "dB", house.clock.ms // 1000 + 86_400)
            sent = house.devices["stranger"].sign([ahead], network=house.did)
            aggregator.ingest([Message(sent, "test", house.clock.ms, "test", None)])
        with Reader(root) as opened:
            told = explain(opened, opened.size - 1)
    (record,) = told.records
    assert record["code"] == "time.future" and record["measured"].endswith(" ms")
    assert told.text.count(" UTC. Allowed: 20") == 1 and " ms. Allowed" not in told.text


def test_a_fork_names_what_stands_there(house: House, reader: Reader) -> None:
    found = reader.find(did=house.devices["three"].did, position=(1, 0))
    assert len(found) == 2
    first, second = (explain(reader, index) for index in found)
    assert first.verdict == "accepted" and second.verdict == "sequence.forked"
    assert second.measured and second.limit and second.at_fault == "device"


def test_entries_are_found(house: House, reader: Reader) -> None:
    one, gate = house.devices["one"].did, house.devices["gate"].did
    assert reader.find(did=one, position=(1, 0)) == [7, 41], "both keys of the device"
    assert reader.find(index=3) == [3]
    newest = reader.find(did=one, limit=2)
    assert len(newest) == 2 and newest == sorted(newest)
    assert [explain(reader, i).kind for i in reader.find(did=one)][:2] == ["enrol", "envelope"]
    (sensor,) = reader.find(did=f"{gate}#s1")
    assert explain(reader, sensor).about["subject"] == f"{gate}#s1"
    assert reader.find(did=one, position=(9, 9)) == []
    with pytest.raises(DepinError):
        reader.find(did="did:key:zNobody")
    with pytest.raises(DepinError):
        reader.find(index=10_000)
    with pytest.raises(DepinError):
        reader.find()


def test_status_counts(house: House, reader: Reader) -> None:
    status = reader.status()
    assert status["entries"] == reader.size == status["checkpoint"]["size"]
    assert status["devices"] == 6 and status["network"] == house.did
    assert status["verdicts"]["sequence.forked"] == 1
    # The gate wrapped one envelope twice.
    assert status["verdicts"]["sighting.repeated"] == 1 and status["sightings"] == 2
    json.dumps(status)


def test_a_reader_works_beside_the_writer(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root, Aggregator(root, clock=house.clock) as aggregator:
        with Reader(root) as beside:
            size = beside.size
            assert size == aggregator.fold.size
            house.take(aggregator, house.pack("chatty", 20))
            assert explain(beside, size - 1).index == size - 1
            device = aggregator.fold.registry.device(house.devices["two"].did)
            assert device is not None and not explain(beside, 10).erased
            aggregator.erase(device)
            assert explain(beside, 10).erased, "an open reader keeps nothing"
        with Reader(root) as beside:
            assert beside.size > size


def test_what_was_erased_says_so(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        with Aggregator(root, clock=house.clock) as aggregator:
            device = aggregator.fold.registry.device(house.devices["one"].did)
            assert device is not None
            aggregator.erase(device)
        with Reader(root) as reader:
            told = explain(reader, 7)
            assert told.erased and "erased, leaf intact" in told.text and not told.records
            assert told.verdict == "accepted"
            assert "erased" in explain(reader, 2).summary
            assert explain(reader, reader.find(did=house.devices["one"].did)[-1]).kind == "erase"
