"""What a reading stands on: D2 with a valid result of its boot, and waiting without."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.errors import AttestationError, CredentialError, DepinError, SignatureInvalid
from depin_id.readings import Reading
from depin_id.testing import NOW
from tests.results.attesting import (
    REQUIRED,
    AttestingNet,
    chain_of,
    evidence,
    revoke_hardware,
    show,
    trust,
)
from tests.verify.net import POLICY, Net, level, picture
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.store.quarantine import WAITING

DAY = 86_400


def at(n: int) -> list[Reading]:
    """A reading of some minutes ago."""
    return [level(50 + n, NOW - 60 * n)]


def checked(net: Net) -> None:
    """Restart with and without snapshot, audit and dataset: all say the same."""
    before = picture(net.fold)
    net.reopen()
    assert picture(net.fold) == before
    net.reopen(forget_snapshot=True)
    assert picture(net.fold) == before
    net.aggregator.publish()
    net.close()
    report = audit(net.root)
    assert report.ok, report
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete
    net.aggregator = net._open()


def test_a_device_that_attested_has_its_level_and_one_that_did_not_stays_at_d1(
    tmp_path: Path,
) -> None:
    with AttestingNet(tmp_path) as net:
        plain, device = net.device("plain"), net.chip()
        assert net.codes(plain, plain.next(at(1))) == ["accepted"]
        assert net.codes(device, device.next(at(2))) == ["accepted"]
        assert {leaf.level for leaf in net.leaves()} == {"D1"}
        answer = net.attest(device)
        assert (answer["level"], answer["affirmed"]) == ("D2", True)
        ear = bytes.fromhex(answer["ear"])
        assert net.codes(device, device.next(at(3), ear=ear)) == ["accepted"]
        assert (net.last.level, net.judged()[-1].change.result) == ("D2", ear)
        checked(net)


def test_after_a_reboot_readings_wait_until_the_device_attests_again(tmp_path: Path) -> None:
    with AttestingNet(tmp_path, policy=REQUIRED) as net:
        device = net.chip()
        assert net.codes(device, device.next(at(9))) == ["attestation.required"]
        assert net.attest(device)["parked"]["accepted"] == 1
        assert "attestation.later" not in net.last.flags, "at the same moment"
        ear = bytes.fromhex(net.attest(device)["ear"])
        device.reboot()
        late = [device.next(at(n), ear=ear) for n in (1, 2, 3)]
        assert net.codes(device, *late) == ["attestation.boot"] * 3
        assert len(net.leaves()) == 1
        net.advance(60)
        net.reopen()
        answer = net.attest(device, 2)
        assert answer["parked"]["accepted"] == 3
        assert [leaf.level for leaf in net.leaves()] == ["D2"] * 4
        assert "attestation.later" in net.last.flags
        assert net.codes(device, late[0]) == ["accepted"], "known already, acknowledged again"
        assert len(net.leaves()) == 4
        checked(net)


def test_an_expired_result_is_no_ground_and_the_next_one_takes_up_what_waited(
    tmp_path: Path,
) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        net.attest(device)
        net.advance(DAY)
        device.now += DAY
        assert net.codes(device, device.next([level(50, NOW + DAY)])) == ["attestation.expired"]
        assert net.attest(device)["parked"]["accepted"] == 1
        assert net.last.level == "D2"
        checked(net)


def test_what_came_too_long_before_its_result_is_not_taken_up(tmp_path: Path) -> None:
    policy = POLICY + '[attestation]\nwait_s = 60\nrequired = { noise = "D2" }\n'
    with AttestingNet(tmp_path, policy=policy) as net:
        device = net.chip()
        assert net.codes(device, device.next(at(1))) == ["attestation.required"]
        net.advance(61)
        assert net.attest(device)["parked"]["accepted"] == 0
        assert net.aggregator.quarantine.counts().parked == 1
        assert not net.leaves()


def test_a_network_without_anchors_asks_nothing_of_readings(tmp_path: Path) -> None:
    with AttestingNet(tmp_path, anchored=False) as net:
        device = net.chip()
        assert net.codes(device, device.next(at(1), ear=bytes(16))) == ["accepted"]
        trust(net)
        assert net.codes(device, device.next(at(2), ear=bytes(16))) == ["attestation.unknown"]
        checked(net)


def test_d2_as_the_least_level_makes_devices_wait_and_still_refuses_gateways(
    tmp_path: Path,
) -> None:
    with AttestingNet(tmp_path, policy=POLICY + '[levels]\nminimum = "D2"\n') as net:
        device, gateway = net.chip(), net.gateway()
        assert net.codes(device, device.next(at(1))) == ["attestation.required"]
        assert net.codes(gateway, gateway.next(at(2), subject="#s")) == ["level.insufficient"]
        assert net.attest(device)["parked"]["accepted"] == 1


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("replayed", "possession.replayed"),
        ("foreign nonce", "possession.challenge"),
        ("older boot", "attestation.boot"),
        ("unknown device", "attestation.device"),
        ("over", "possession.expired"),
        ("no anchor", "attestation.anchor"),
    ],
)
def test_evidence_that_is_not_fresh_or_not_of_the_device_makes_no_entry(
    tmp_path: Path, what: str, code: str
) -> None:
    with AttestingNet(tmp_path, anchored=what != "no anchor") as net:
        device = net.chip()
        if what == "older boot":
            net.send(device, device.next(at(1)))
            message = evidence(net, device, 0)
        elif what == "foreign nonce":
            message = evidence(net, device, nonce=bytes(16))
        else:
            message = evidence(net, device)
        if what == "replayed":
            show(net, message)
        elif what == "unknown device":
            net.revoke(device)
        elif what == "over":
            net.advance(3600)
        before = net.size
        with pytest.raises((AttestationError, CredentialError)) as caught:
            show(net, message)
        assert caught.value.code == code
        assert net.size == before


def test_a_message_is_signed_by_the_device_and_evidence_is_bound_to_its_key(
    tmp_path: Path,
) -> None:
    with AttestingNet(tmp_path) as net:
        device, other = net.chip(), net.chip("other")
        message = evidence(net, device)
        with pytest.raises(SignatureInvalid):
            show(net, message[:-1] + bytes([message[-1] ^ 1]))
        with pytest.raises(AttestationError) as caught:
            net.attest(device, chain=chain_of(other.key.raw, None))
        assert caught.value.code in ("attestation.signature", "attestation.key")
        for offset in range(0, len(message), 7):
            changed = message[:offset] + bytes([message[offset] ^ 4]) + message[offset + 1 :]
            with pytest.raises(DepinError):
                show(net, changed)


def test_revoking_a_certificate_takes_back_what_stood_on_it(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device, other = net.chip(), net.chip("other")
        net.attest(device, serial=0xABC)
        net.attest(other)
        net.send(device, device.next(at(1)), device.next(at(2)))
        net.send(other, other.next(at(3)))
        held = net.fold.identity.results.by_key[device.key.thumbprint][0]
        serial = next(item for item in held.identifiers if item == "cert:idevid:abc")
        seen = revoke_hardware(net, serial, dry_run=True)
        assert (seen["changed"], seen["touched"][0]["readings"]) == (False, 2)
        answer = revoke_hardware(net, serial)
        assert answer["touched"] == seen["touched"]
        assert [row["did"] for row in answer["touched"]] == [device.did]
        assert net.fold.tally.readings == 1
        assert net.codes(device, device.next(at(4))) == ["attestation.revoked"]
        assert net.codes(other, other.next(at(5))) == ["accepted"]
        assert net.attest(device, serial=0xABC)["reasons"] == ["attestation.revoked"]
        checked(net)


def test_revoked_from_a_time_on_only_what_came_since_is_taken_back(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        net.attest(device, serial=5)
        net.send(device, device.next(at(1)))
        net.advance(600)
        since = net.now_ms
        net.send(device, device.next(at(2)))
        answer = revoke_hardware(net, "cert:idevid:5", since=since)
        assert answer["touched"][0]["entries"] == 1
        assert net.fold.tally.readings == 1
        checked(net)


def test_one_chip_behind_two_devices_is_refused_and_with_leave_of_the_policy_reported(
    tmp_path: Path,
) -> None:
    with AttestingNet(tmp_path) as net:
        first = net.chip()
        net.attest(first)
        second = net.chip("second")
        # Its certificate names the key of the first, so the second cannot even prove to have it.
        with pytest.raises(AttestationError):
            net.attest(second, chain=chain_of(first.key.raw, None))


def test_waiting_envelopes_are_kept_or_their_sender_is_told_to_keep_them(tmp_path: Path) -> None:
    with AttestingNet(tmp_path, policy=REQUIRED) as net:
        device = net.chip()
        net.aggregator.quarantine._max_principal = 100  # eight times that for one that waits
        found = [net.codes(device, device.next(at(n)))[0] for n in range(4)]
        assert found == ["attestation.required"] * 2 + ["aggregator.retry"] * 2
        kept = net.aggregator.quarantine.take(device.key.kid)
        assert {item.principal for item in kept} == {WAITING + device.did}
        assert net.attest(device)["parked"]["accepted"] == 2


def test_a_device_that_is_erased_leaves_nothing_of_its_hardware(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        root = bytes.fromhex(net.attest(device)["result"]) and next(
            iter(net.fold.identity.results.roots())
        )
        net.erase(device)
        assert not net.fold.identity.results.sharing(root)
        assert device.key.thumbprint not in net.fold.identity.results.by_key
        checked(net)


def test_a_policy_that_asks_for_less_takes_up_what_waited(tmp_path: Path) -> None:
    from verify.admin import perform

    with Net(tmp_path, policy=REQUIRED) as net:
        device = net.device()
        assert net.codes(device, device.next(at(1))) == ["attestation.required"]
        answer = perform(net.aggregator, {"op": "policy", "toml": POLICY})
        assert answer["parked"]["accepted"] == 1
