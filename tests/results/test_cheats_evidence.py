"""What a device, or somebody for it, would send to have a level for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.attestation.message import attest_statement
from depin_id.errors import AttestationError
from tests.results import toy
from tests.results.attesting import REQUIRED, show
from tests.results.test_ground import at, checked
from tests.verify.net import POLICY, Net
from verify.admin import perform
from verify.verdict import ACCEPTED

DAY = 86_400


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with toy.toys(), Net(tmp_path, policy=REQUIRED) as net:
        toy.trust_toys(net)
        yield net


def refused(net: Net, message: bytes) -> str:
    before = net.size
    with pytest.raises(AttestationError) as caught:
        show(net, message)
    assert net.size == before
    return caught.value.code


def test_a_model_is_of_what_was_verified_and_not_of_what_was_claimed(net: Net) -> None:
    toy.trust_toys(net, match={"maker": "good"})
    device = net.device()
    answer = toy.attest(net, device, claimed="good", really="bad")
    assert (answer["level"], answer["reasons"][0]) == ("D1", "attestation.model")
    assert net.codes(device, device.next(at(1))) == ["attestation.level"]
    assert toy.attest(net, device, claimed="good", really="good")["level"] == "D3"
    checked(net)


@pytest.mark.parametrize("name", ["resets", "bootcount"])
def test_what_started_anew_is_in_another_boot(net: Net, name: str) -> None:
    device = net.device()
    toy.attest(net, device, counters={name: 4})
    assert refused(net, toy.toy(net, device, counters={name: 5})) == "attestation.boot"
    assert refused(net, toy.toy(net, device, 2, counters={name: 3})) == "attestation.rolled_back"
    assert refused(net, toy.toy(net, device, 2)) == "attestation.rolled_back"
    toy.attest(net, device, 2, counters={name: 5})


def test_a_result_of_one_key_is_none_of_the_next(net: Net) -> None:
    device = net.device()
    toy.attest(net, device)
    fresh = net.rotate(device)
    assert net.codes(fresh, fresh.next(at(1))) == ["attestation.required"]
    assert refused(net, toy.toy(net, device)) == "attestation.device"
    checked(net)


def test_bad_firmware_ends_what_good_firmware_had_and_hides_behind_no_time(net: Net) -> None:
    device = net.device()
    toy.attest(net, device)
    assert net.codes(device, device.next(at(1))) == [ACCEPTED]
    net.advance(10)
    toy.attest(net, device, secure=False)
    assert net.codes(device, device.next(at(2))) == ["attestation.contraindicated"]
    device.reboot()
    assert net.codes(device, device.next(at(3))) == ["attestation.boot"]
    net.advance(10)
    assert toy.attest(net, device, 2)["parked"]["accepted"] == 1
    # What came in the bad boot stays where it is.
    assert net.aggregator.quarantine.waiting == 1
    checked(net)


def test_many_results_of_a_boot_and_readings_that_came_between_them(net: Net) -> None:
    device = net.device()
    levels: list[tuple[str, str]] = []
    for firmware in (toy.BAD, toy.GOOD, toy.BAD, toy.BAD):
        answer = toy.attest(net, device, firmware=firmware)
        net.codes(device, device.next(at(len(levels))))
        levels.append((answer["level"], net.last.level if net.leaves() else ""))
        net.advance(60)
    # In one boot nothing that was measured can be taken back: a worse result counts from then on.
    assert levels == [("D2", "D2"), ("D3", "D3"), ("D2", "D2"), ("D2", "D2")]
    checked(net)


def test_hardware_of_a_device_that_is_to_be_revoked_some_day_is_still_its_own(net: Net) -> None:
    first, second = net.device(), net.device("second")
    toy.attest(net, first, root=toy.BAD)
    net.revoke(first, since=net.now_ms + 1000 * DAY)
    message = toy.toy(net, second, root=toy.BAD)
    assert refused(net, message) == "attestation.root_shared"
    net.revoke(first)
    assert show(net, message)["level"] == "D3"
    checked(net)


def test_who_attests_without_end_is_told_to_stop(net: Net) -> None:
    device = net.device()
    found: list[int] = []
    for _ in range(34):
        statement = attest_statement(toy.toy(net, device))
        before = net.size
        net.ingest(net.message(device, statement))
        found.append(net.size - before)
    kept = len(net.fold.identity.results.by_key[device.key.thumbprint])
    assert kept == 32, found
    net.advance(60)
    net.ingest(net.message(device, attest_statement(toy.toy(net, device))))
    assert len(net.fold.identity.results.by_key[device.key.thumbprint]) == 33


def test_a_gateway_that_waits_takes_nothing_from_whom_it_carries(net: Net) -> None:
    device, gateway = net.device(), net.gateway()
    inner = device.next(at(1))
    outer = gateway.wrap(inner)
    assert net.codes(gateway, outer) == ["attestation.required"]
    toy.attest(net, device)
    assert net.codes(device, inner) == [ACCEPTED]
    answer = toy.attest(net, gateway)["parked"]
    assert (answer["accepted"], answer["sightings"], answer["duplicates"]) == (0, 1, 1)
    assert net.codes(gateway, outer) == [ACCEPTED] * 2
    assert net.fold.tally.sightings == 1
    assert net.fold.tally.readings == 1
    checked(net)


@pytest.mark.parametrize("first", [True, False])
def test_what_came_while_a_device_was_open_is_not_taken_up_when_it_is_closed(
    net: Net, first: bool
) -> None:
    device = net.device()
    if first:
        toy.attest(net, device)
    else:
        net.send(device, device.next(at(9)))
    net.advance(10)
    toy.attest(net, device, secure=False)
    net.advance(10)
    assert net.codes(device, device.next(at(2))) == ["attestation.contraindicated"]
    net.advance(10)
    assert toy.attest(net, device)["parked"]["accepted"] == 0
    assert net.codes(device, device.next(at(1))) == [ACCEPTED]
    assert net.aggregator.quarantine.waiting == 1 + (not first)
    checked(net)


def test_hardware_that_two_showed_is_reported_as_ones_alone(tmp_path: Path) -> None:
    policy = POLICY + "[attestation]\ndids_per_root = 2\n"
    with toy.toys(), Net(tmp_path, policy=policy) as net:
        toy.trust_toys(net)
        for name in ("first", "second"):
            device = net.device(name)
            toy.attest(net, device, root=toy.BAD)
            toy.attest(net, device, root=name.encode().ljust(32))
        (row,) = perform(net.aggregator, {"op": "attestations", "shared": True})["shared"]
        assert (row["root"], row["unique"], len(row["dids"])) == (toy.BAD.hex(), True, 2)
