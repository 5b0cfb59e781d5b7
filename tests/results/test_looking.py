"""What people are told of attestation: what an entry stands on, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.results import toy
from tests.results.attesting import REQUIRED
from tests.results.test_ground import at
from tests.verify.net import Net
from verify.admin import perform
from verify.explain import Explanation, explain
from verify.reading import Reader


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with toy.toys(), Net(tmp_path, policy=REQUIRED) as net:
        toy.trust_toys(net)
        yield net


def told(net: Net, index: int) -> Explanation:
    with Reader(net.root) as reader:
        return explain(reader, index)


def test_an_entry_says_what_it_stands_on_and_that_it_was_revoked(net: Net) -> None:
    device = net.device()
    ear = toy.attest(net, device)["ear"]
    net.send(device, device.next(at(1)))
    index = next(reversed([n for n in range(net.size) if told(net, n).kind == "envelope"]))
    found = told(net, index)
    assert (found.about["stands_on"]["ear"], found.about["stands_on"]["level"]) == (ear, "D3")
    assert f"It stands on the attestation result {ear}, D3, of boot 1" in found.text
    toy.revoke(net, device.key.thumbprint)
    found = told(net, index)
    assert (found.about["rescored"], found.about["stands_on"]["standing"]) == (True, "revoked")
    assert "it was revoked" in found.text
    net.erase(device)
    assert told(net, index).about["stands_on"] == {"ear": ear}
    assert "erased since then" in told(net, index).text


def test_status_counts_the_keys_that_attested(net: Net) -> None:
    devices = [net.device(f"{n}") for n in range(4)]
    toy.attest(net, devices[0])
    toy.attest(net, devices[1], firmware=toy.BAD)
    toy.attest(net, devices[2], secure=False)
    toy.attest(net, devices[3])
    toy.revoke(net, devices[3].key.thumbprint)
    with Reader(net.root) as reader:
        assert reader.status()["attestation"] == {
            "materials": {"anchors": 1, "references": 1, "revocations": 1},
            "keys": {"D2": 1, "D3": 1, "contraindicated": 1, "revoked": 1},
        }
    rows = perform(net.aggregator, {"op": "attestations", "did": devices[2].did})["results"]
    assert [row["standing"] for row in rows] == ["contraindicated"]
