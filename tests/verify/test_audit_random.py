"""Random histories: whatever was judged live is judged the same again (law 3)."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from depin_id.keys import SoftwareSigner
from depin_id.networkdir import NetworkDir
from tests.verify._reading_world import POLICY, House, enrolled
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.entries import Revoked, Rotated
from verify.explain import explain
from verify.ingest import Message
from verify.policy import Policy
from verify.profile import load_profiles
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt
from verify.setup import init, policy_entry


def _chaos(folder: Path, seed: int) -> House:
    """A random history: bundles, carriers, clones, restarts, administration, erasures."""
    random, house = Random(seed), House(folder)
    NetworkDir.create(folder / "net", "demo", wall=house.clock.seconds)
    init(house.root, folder / "net", policy_text=POLICY, clock=house.clock)
    names = ["a", "b", "c"]
    for name in names:
        house.device(name, profile="noise", owner="did:web:owner.example")
    house.device("gate", role="gateway")
    made = [house.devices[name] for name in (*names, "gate")]
    house.again("c", "c2")
    sent: list[bytes] = []
    for step in range(12):
        with house.aggregator() as aggregator:
            if step == 0:
                aggregator.administer([enrolled(d.enrolment, i + 1) for i, d in enumerate(made)])
            for _ in range(random.randrange(1, 4)):
                house.clock.ms += random.choice((0, 300, 12_000))
                bundle = [_some(house, random, sent) for _ in range(random.randrange(1, 6))]
                sent += bundle
                random.shuffle(bundle)
                house.take(aggregator, *bundle)
            _administer(house, random, aggregator, names, step)
    return house


def _some(house: House, random: Random, sent: list[bytes]) -> bytes:
    name = random.choice(("a", "b", "c", "c2", "gate"))
    kind, now = random.randrange(8), house.clock.ms // 1000
    if sent and kind == 0:
        return random.choice(sent)
    if sent and kind == 1:
        data = bytearray(random.choice(sent))
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(data)
    if kind == 2:
        return house.devices[name].sign_status({1: "x"}, network=house.did)
    how = {"subject": "#s1", "level": "G0"} if name == "gate" else {}
    packed = house.pack(name, random.choice((20.5, 60.5, 139.5)), random.choice((1, 2, 40)), **how)
    if kind < 5 and name != "gate":
        return house.devices["gate"].wrap(packed, network=house.did, received_at=now)
    return packed


def _administer(
    house: House, random: Random, aggregator: Aggregator, names: list[str], step: int
) -> None:
    did = house.devices[random.choice(names)].did
    device = aggregator.fold.registry.device(did)
    assert device is not None
    if step == 5:
        aggregator.administer([Revoked(did, house.clock.ms, "test")])
    if step == 7:
        rotated = SoftwareSigner.generate().public_key
        aggregator.administer([Rotated(did, rotated, house.clock.ms)])
    if step == 9 and random.randrange(2):
        aggregator.erase(device)


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_judge_the_same_again(tmp_path: Path, seed: int) -> None:
    """Law 3, over bundles, carriers, forks, restarts, quotas, rotation, revocation, erasure."""
    house = _chaos(tmp_path, seed)
    report = audit(house.root)
    assert report.ok, report.to_json()
    assert report.counts.reappraised > 5
    network = house.did
    with Reader(house.root) as reader:
        for index in range(reader.size):
            assert explain(reader, index).text
            assert check_receipt(make_receipt(reader, index), network=network).index == index
    shutil.rmtree(tmp_path)


def test_asserted_times_and_a_change_of_policy(tmp_path: Path) -> None:
    """A replayed recording, out of order with what arrives live; then stricter rules."""
    house = House(tmp_path)
    NetworkDir.create(tmp_path / "net", "demo", wall=house.clock.seconds)
    init(
        house.root,
        tmp_path / "net",
        policy_text=POLICY,
        clock=house.clock,
        allow_asserted_time=True,
    )
    house.device("a", profile="noise")
    profiles = load_profiles()
    with house.aggregator() as aggregator:
        aggregator.administer([enrolled(house.devices["a"].enrolment, 1)])
        past = house.clock.ms - 86_400_000
        for step in range(6):
            message = Message(house.pack("a", 30.5 + step), "test", house.clock.ms, "test", None)
            aggregator.ingest([message], asserted_ms=past + step if step % 2 else None)
            house.clock.ms += 12_000
            if step == 3:
                strict = Policy.from_toml(POLICY + '[levels]\nminimum = "D2"\n', profiles=profiles)
                aggregator.administer([policy_entry(strict, profiles)])
        assert aggregator.fold.tally.verdicts["level.insufficient"] == 2
    report = audit(house.root)
    assert report.ok and report.counts.reappraised == 6, report.to_json()
