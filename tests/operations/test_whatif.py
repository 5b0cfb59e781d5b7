"""What another policy would have said: exact where it can be, honest where not, and no write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import ConfigError
from depin_id.testing import NOW
from tests.verify._reading_world import POLICY as HOUSE_POLICY
from tests.verify._reading_world import House, build
from tests.verify.cli_site import Site
from tests.verify.net import POLICY, Net, level
from verify.aggregator import Aggregator
from verify.leaf import EnvelopeLeaf, parse_leaf
from verify.verdict import REPEATED
from verify.whatif import FIRST, whatif


def _digest(root: Path) -> dict[str, str]:
    """Every file with its content and time, every folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = f"{about.st_mode} {about.st_mtime_ns} {content}"
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


def _changes(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(item["was"], item["new"]): item["count"] for item in found["changes"]}


def test_the_same_policy_changes_nothing_and_nothing_is_written(house: House) -> None:
    """Accepted, gateways, sensors, forks, quota, rotation, parked: all as it was."""
    before = _digest(house.root)
    said: list[tuple[int, int]] = []
    found = whatif(house.root, HOUSE_POLICY, progress=lambda *at: said.append(at)).to_json()
    assert found["envelopes"] > 20 and found["changed"] == found["erased"] == 0
    assert found["readings"]["was"] == found["readings"]["new"] > 0
    assert found["policy"]["was"] == found["policy"]["new"]
    assert found["from"] == FIRST and said
    whatif(house.root, "[time]\nmax_age_s = 1\n")
    assert _digest(house.root) == before


def test_the_same_policy_from_anywhere(house: House) -> None:
    full = whatif(house.root, HOUSE_POLICY).to_json()
    for start in range(0, full["to"] + 1, 3):
        found = whatif(house.root, HOUSE_POLICY, start=start)
        assert found.to_json()["changed"] == 0 and found.start >= start
    none = whatif(house.root, HOUSE_POLICY, start=10_000).to_json()
    assert none["envelopes"] == 0 and none["from"] == none["to"]


def test_what_a_stricter_policy_refuses(net: Net) -> None:
    device, other = net.device(), net.device("other")
    for n in range(3):
        net.send(device, device.next([level(50 + n, NOW + n)]))
        net.send(other, other.next([level(60 + n, NOW + n - 500)]))
    size = net.size
    found = whatif(net.root, POLICY + "[time]\nmax_age_s = 100\n").to_json()
    assert found["envelopes"] == 6 and found["changed"] == 3
    assert found["readings"] == {"was": 6, "new": 3, "difference": -3}
    (device_changed,) = found["devices"]
    assert device_changed["did"] == other.did and device_changed["count"] == 3
    (change,) = found["changes"]
    assert change["was"] == "accepted" and len(change["examples"]) == 3
    assert all(net.judged()[i].code == "accepted" for i in range(6))
    assert net.size == size


def test_what_the_new_policy_accepts_is_part_of_its_world(net: Net) -> None:
    """An envelope that was refused fills slots when it is accepted, so its copy is repeated."""
    net.policy("")  # no profile: refused
    device = net.device()
    for n in range(2):
        net.send(device, device.next([level(50, NOW + n)]))
    assert {leaf.code for leaf in net.leaves()} != {"accepted"}
    net.policy(POLICY)
    net.send(device, device.next([level(51, NOW)]))
    found = whatif(net.root, POLICY).to_json()
    assert found["readings"] == {"was": 1, "new": 2, "difference": 1}
    assert found["changed"] == 3, found["changes"]
    assert found["policy"]["was"] == found["policy"]["new"] == net.fold.policy.digest.hex()


def test_from_and_since_begin_in_the_middle(net: Net) -> None:
    device = net.device()
    for n in range(6):
        net.send(device, device.next([level(50 + n, NOW + n)]))
        net.advance(1)
    strict = 'default_profile = ""\n'
    assert whatif(net.root, strict).to_json()["changed"] == 6
    middle = next(i for i, leaf in enumerate(net.leaves()) if leaf.received_at == NOW * 1000 + 3000)
    start = [
        entry.index
        for entry in net.aggregator.journal.entries()
        if isinstance(parse_leaf(entry.leaf), EnvelopeLeaf)
    ]
    assert whatif(net.root, strict, start=start[middle]).to_json()["changed"] == 3
    found = whatif(net.root, strict, since_ms=NOW * 1000 + 3000).to_json()
    assert (found["changed"], found["from"]) == (3, start[middle])
    found = whatif(net.root, strict, since_ms=NOW * 1000 + 3000, stop=start[middle] + 1).to_json()
    assert found["changed"] == 1
    # From a snapshot that is old enough, the same.
    net.reopen()
    net.send(device, device.next([level(70, NOW + 20)]))
    assert whatif(net.root, strict, start=start[-1] + 1).to_json()["changed"] == 1


def test_gateways_forks_and_rotation_keep_their_places(net: Net) -> None:
    """New subjects come about at other times in the other world; nothing gets mixed up."""
    gateway, device = net.gateway(), net.device()
    for n in range(3):
        carried = device.next([level(50 + n, NOW + n)])
        wrapped = gateway.wrap(carried) if n else None
        net.send(gateway, wrapped or carried)
        if wrapped:
            net.send(gateway, gateway.wrap(carried))
    fresh = net.rotate(device)
    net.send(fresh, fresh.next([level(60, NOW + 30)]))
    same = whatif(net.root, POLICY).to_json()
    assert same["changed"] == 0 and any(leaf.code == "accepted" for leaf in net.leaves())
    quota = POLICY + "[quota]\ngateway_per_minute = 1\ngateway_burst = 1\n"
    found = whatif(net.root, quota).to_json()
    assert found["changed"] > 0
    assert {new for _, new in _changes(found)} == {"quota.exceeded"}
    assert {old for old, _ in _changes(found)} <= {"accepted", REPEATED}


def test_what_was_erased_is_taken_as_it_was(net: Net) -> None:
    device, other = net.device(), net.device("other")
    for n in range(2):
        net.send(device, device.next([level(50 + n, NOW + n)]))
        net.send(other, other.next([level(60 + n, NOW + n)]))
    net.erase(device)
    found = whatif(net.root, "").to_json()
    assert found["erased"] == 2 and found["changed"] == 2
    assert [item["did"] for item in found["devices"]] == [other.did]


def test_a_policy_that_cannot_be_read(net: Net) -> None:
    for text in ("x = 1", "[", "[time]\nmax_age_s = -1\n"):
        with pytest.raises(ConfigError) as refused:
            whatif(net.root, text)
        assert refused.value.code == "policy.invalid"


def test_the_command_beside_a_running_aggregator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path, capsys)
    try:
        site.init()
        device = site.device()
        site.ok("enrol", site.root, site.document(device))
        site.ok("ingest", site.root, site.envelopes(device, 3))
        new = tmp_path / "new.toml"
        new.write_text('default_profile = "noise"\n[levels]\nminimum = "D3"\n')
        with Aggregator(site.root):
            told = site.ok("whatif", site.root, "--policy", new, "--json").json
            assert told["changed"] == 3 and told["readings"]["difference"] == -6
            shown = site.ok("whatif", site.root, "--policy", new).out
            assert "readings   6 -> 0 (-6)" in shown and device.did in shown
        refused = site.run("whatif", site.root, "--policy", new, "--from", "3", "--since", "5")
        assert refused.code == 2 and refused.err.startswith("error: usage")
        new.write_text("nonsense = 1\n")
        refused = site.run("whatif", site.root, "--policy", new, "--json")
        assert json.loads(refused.err)["error"]["code"] == "policy.invalid"
    finally:
        site.close()
