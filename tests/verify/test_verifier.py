"""The verifier as a library says what the aggregator says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.enrolment import Enrolment
from depin_id.errors import DepinError
from depin_id.keys import SoftwareSigner
from depin_id.networkdir import NetworkDir
from depin_id.readings import reading
from tests.verify._reading_world import POLICY, START, House, build, enrolled
from verify import Accepted, Indeterminate, Rejected, Verifier
from verify.entries import Judged
from verify.policy import Policy
from verify.profile import load_profiles
from verify.reading import Reader
from verify.setup import init
from verify.verifier import REMEMBERED

PROFILES = load_profiles()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


def make(house: House, *names: str, remember: int = REMEMBERED) -> Verifier:
    listed = [house.devices[name].enrolment for name in names]
    policy = Policy.from_toml(POLICY, profiles=PROFILES)
    card = house.network.card_bytes
    return Verifier(card, listed, policy, profiles=PROFILES, remember=remember)


def test_it_agrees_with_the_aggregator(tmp_path: Path) -> None:
    """A mixed, hostile stream: every verdict, flag, level and record is the aggregator's."""
    house = House(tmp_path)
    NetworkDir.create(tmp_path / "net", "demo", wall=house.clock.seconds)
    init(house.root, tmp_path / "net", policy_text=POLICY, clock=house.clock)
    for name in ("one", "two", "three"):
        house.device(name, profile="noise")
    house.device("gate", role="gateway")
    listed = [device.enrolment for device in house.devices.values()]
    verifier = Verifier(house.network.card, listed, Policy.from_toml(POLICY))
    with house.aggregator() as aggregator:
        aggregator.administer([enrolled(item, i + 1) for i, item in enumerate(listed)])
        for data in stream(house):
            before = aggregator.fold.size
            house.take(aggregator, data)
            added = []
            for stored in aggregator.journal.entries(before):
                with Reader(house.root) as reader:
                    added.append(reader.opened(stored.index))
            judged = [item for item in added if isinstance(item.entry, Judged)]
            result = verifier.verify_with_records(data, house.clock.ms)
            inner_first = [result.inner, result] if result.inner is not None else [result]
            fresh = [item for item in inner_first if not item.duplicate]
            entries = [item for item in fresh if item.did and item.verdict.code != "quota.exceeded"]
            assert len(judged) == len(entries)
            for mine, theirs in zip(entries, judged, strict=True):
                assert isinstance(theirs.entry, Judged) and theirs.private is not None
                assert mine.verdict.code == theirs.entry.code
                assert type(mine.verdict).__name__.lower() == theirs.entry.outcome
                records = None if mine.records is None else mine.records.encode()
                assert records == theirs.private.records
            house.clock.ms += 700
        assert set(aggregator.fold.tally.verdicts) >= {"accepted", "sequence.forked"}
        assert set(aggregator.fold.tally.counted) >= {"quota.exceeded", "signature.invalid"}


def stream(house: House) -> list[bytes]:
    did, now = house.did, house.clock.ms // 1000
    clone = house.again("three", "clone")
    gate = house.devices["gate"]
    found = [house.pack("one", 30 + i, 2) for i in range(14)]
    late = [house.pack("two", 50 + i / 2, 1) for i in range(3)]
    found += [late[0], late[2], late[1], late[0]]
    found.append(gate.wrap(house.pack("two", 60, 1), network=did, received_at=now))
    found.append(gate.wrap(late[0], network=did, received_at=now))
    found.append(house.pack("gate", 44.5, subject="#s1", level="G0"))
    found.append(house.pack("three", 41))
    found.append(
        gate.wrap(
            clone.sign([reading("laeq", 1.5, "dB", now)], network=did), network=did, received_at=now
        )
    )
    found.append(house.pack("three", 45))
    stranger = house.device("stranger", profile="noise")
    found.append(stranger.sign([reading("laeq", 1.5, "dB", now)], network=did))
    found.append(
        gate.wrap(
            stranger.sign([reading("laeq", 2.5, "dB", now)], network=did),
            network=did,
            received_at=now,
        )
    )
    broken = bytearray(house.pack("two", 61))
    broken[-1] ^= 1
    found += [bytes(broken), gate.wrap(bytes(broken), network=did, received_at=now)]
    found += [b"\x00" * 120, b"", house.pack("two", 400.5)]
    found.append(house.devices["two"].sign_status({1: "x"}, network=did))
    return found


def test_what_it_says(house: House) -> None:
    verifier = make(house, "one", "chatty")
    at = house.clock.ms
    good = house.pack("chatty", 20.5)
    first = verifier.verify_with_records(good, at)
    assert isinstance(first.verdict, Accepted) and first.verdict.level == "D1"
    assert first.did == house.devices["chatty"].did and first.records is not None
    assert len(first.records.rows) == 3
    again = verifier.verify_with_records(good, at + 5)
    assert again.duplicate and again.verdict == first.verdict and again.records == first.records
    unknown = verifier.verify(house.pack("stranger", 21.5), at)
    assert isinstance(unknown, Indeterminate) and unknown.code == "device.unknown"
    broken = bytearray(house.pack("chatty", 22.5))
    broken[-1] ^= 1
    refused = verifier.verify(bytes(broken), at)
    assert isinstance(refused, Rejected) and refused.code == "signature.invalid"


def test_devices_come_and_go(house: House) -> None:
    verifier, at = make(house), house.clock.ms
    device = house.devices["stranger"]
    one = house.pack("stranger", 20.5)
    assert verifier.verify(one, at).code == "device.unknown"
    verifier.enrol(device.enrolment)
    assert verifier.verify(one, at).code == "accepted"
    fresh = SoftwareSigner.generate().public_key
    verifier.rotate(device.did, fresh, since=at + 10)
    assert verifier.verify(house.pack("stranger", 21.5), at + 20).code == "key.rotated"
    verifier.revoke(device.did, since=at + 30)
    assert verifier.verify(house.pack("stranger", 22.5), at + 40).code == "device.revoked"
    with pytest.raises(DepinError):
        verifier.enrol(device.enrolment)
    with pytest.raises(DepinError):
        verifier.revoke("did:key:zNobody", since=at)


def test_it_refuses_what_it_cannot_do(house: House, tmp_path: Path) -> None:
    card = house.network.card_bytes
    other = NetworkDir.create(tmp_path / "other", "demo").card.network
    with pytest.raises(DepinError):
        Verifier(card, network=other)
    with pytest.raises(DepinError):
        Verifier(house.network.card, network=other)
    with pytest.raises(DepinError):
        Verifier(card[:-1])
    with pytest.raises(DepinError):
        Verifier(card).verify(b"", -1)
    key = SoftwareSigner.generate().public_key
    with pytest.raises(DepinError):
        Verifier(card, [Enrolment.of(key), Enrolment.of(key)])


def test_memory_is_bounded(house: House) -> None:
    verifier, at = make(house, "chatty", remember=3), house.clock.ms
    for value in (20.5, 21.5):
        verifier.verify(house.pack("chatty", value), at)
    with pytest.raises(DepinError) as refused:
        verifier.verify(house.pack("chatty", 22.5), at)
    assert refused.value.code == "verifier.full"


@given(st.binary(max_size=300))
def test_hostile_bytes_get_a_verdict(house: House, data: bytes) -> None:
    verdict = make(house, "one").verify(data, START * 1000)
    assert not isinstance(verdict, Accepted)


@given(st.integers(0, 400), st.integers(1, 255))
def test_no_changed_envelope_is_accepted(house: House, at: int, flip: int) -> None:
    data = bytearray(house.sent[0][0])
    data[at % len(data)] ^= flip
    verifier = make(house, "one")
    assert not isinstance(verifier.verify(bytes(data), house.sent[0][1]), Accepted)


def test_a_policy_of_ones_own_comes_from_the_same_place() -> None:
    """What the README names is imported from ``verify`` itself."""
    import verify

    strict = verify.Policy.from_toml("[time]\nmax_age_s = 60\n")
    assert strict.time.max_age_s == 60 and "Policy" in verify.__all__
