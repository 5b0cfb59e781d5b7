"""What one would send to be paid for nothing, or to make an honest device lose."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.claims import Claims, Place
from depin_id.envelope import CONTENT_STATUS
from depin_id.errors import ConfigError, DepinError
from depin_id.keys import P256_ORDER
from depin_id.readings import Reading, reading
from depin_id.testing import NOW, TestDevice, TestNetwork
from tests.verify.net import POLICY, Net, level, picture
from verify.appraise import MAX_SUBJECTS
from verify.audit import audit
from verify.checks import payload
from verify.commands import looking
from verify.entries import Erased
from verify.explain import explain
from verify.policy import Policy
from verify.profile import load_profiles
from verify.reading import Reader
from verify.receipt import make_receipt
from verify.setup import policy_entry

MOBILITY = 'default_profile = "mobility"\n'


def test_a_malleated_signature_is_neither_another_envelope_nor_a_fork(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device(curve="p256")
        envelope = device.next([level()])
        r, s = envelope[-64:-32], int.from_bytes(envelope[-32:], "big")
        twin = envelope[:-32] + (P256_ORDER - s).to_bytes(32, "big")
        assert r and net.send(device, twin).rejected == {"signature.malleable": 1}
        assert net.codes(device, envelope) == ["accepted"]
        assert net.send(device, twin).rejected == {"signature.malleable": 1}
        assert net.codes(device, device.next([level(51, NOW - 5)])) == ["accepted"]


def test_a_second_signature_over_the_same_bytes_is_the_same_envelope(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device(curve="p256")
        one, two = device.envelope([level()]), device.envelope([level()])
        assert one != two
        assert one[:-64] == two[:-64]
        assert net.send(device, one, two).duplicates == 1
        assert len(net.paid()) == 1


@pytest.mark.parametrize("claimed", [-9, -8])
def test_the_algorithm_is_the_one_of_the_key(tmp_path: Path, claimed: int) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        headers = dict(cose.parse_sign1(device.envelope([level()])).headers)
        headers[cose.HEADER_ALG] = claimed
        protected = cbor.encode(headers)
        payload = cose.parse_sign1(device.envelope([level()])).payload
        aad = cose.external_aad("envelope", net.did, device.key.thumbprint)
        signature = device.signer.sign(cose.sig_structure(protected, aad, payload))
        forged = cose.assemble(protected, payload, signature)
        assert net.send(device, forged).rejected == {"key.algorithm": 1}
        assert not net.leaves()


def test_a_key_that_verifies_everything_cannot_be_enrolled() -> None:
    from depin_id.did.key import parse_did_key

    with pytest.raises(DepinError) as refused:
        parse_did_key("did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj")
    assert refused.value.code == "key.not_admissible"


def test_nothing_moves_between_networks(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        abroad = TestDevice(TestNetwork("abroad").did, "device", seed="net")
        assert abroad.key == device.key
        assert net.send(device, abroad.next([level()])).rejected == {"signature.invalid": 1}


def test_a_replay_under_another_topic_brings_the_cheater_nothing(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, thief = net.device(), net.device("thief")
        envelope = device.next([level()])
        summary, downlinks = net.ingest(net.message(thief, envelope))
        assert (summary.accepted, downlinks) == (1, [])
        # The honest sender still hears of it when it sends the envelope itself.
        assert net.codes(device, envelope) == ["accepted"]
        assert [subject for subject, _, _ in net.paid()] == [device.did]


def test_a_key_belongs_to_one_device_for_ever(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        for attempt in (lambda: net.enrol(device), lambda: net.rotate(other, "device")):
            with pytest.raises(ConfigError) as refused:
                attempt()
            assert refused.value.code.startswith("registry.duplicate")
        net.erase(device)
        with pytest.raises(ConfigError):
            net.enrol(device)
        net.reopen(forget_snapshot=True)
        with pytest.raises(ConfigError):
            net.enrol(device)


# --- one slot, one payment ------------------------------------------------------------------------


def test_no_slot_is_paid_twice_in_one_pack(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        times = [NOW, NOW, NOW - 0.4, NOW - 0.9, NOW - 1]
        assert net.codes(device, device.next([level(50 + i, t) for i, t in enumerate(times)])) == [
            "accepted"
        ]
        # NOW - 0.4 and NOW - 0.9 lie in the second before, as NOW - 1 does.
        assert net.record_codes() == ["", "record.repeated", "", *["record.repeated"] * 2]


def test_no_slot_is_paid_twice_over_packs_ways_of_saying_and_keys(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, one, two = net.device(), net.gateway("one"), net.gateway("two")
        net.send(device, device.next([level(50)]))
        net.send(device, device.next([level(51)]))  # the same time again
        device.reboot()
        net.send(device, device.next([level(52)]))  # in another boot
        absolute = [reading("laeq", 53, "dB", NOW)]
        net.send(device, device.next(absolute, claims=Claims(iat=NOW)))
        net.send(one, one.wrap(device.next([level(54)])))
        same = device.next([level(55, NOW - 30)])
        net.send(one, one.wrap(same))
        net.send(two, two.wrap(same))  # the same envelope by two gateways
        fresh = net.rotate(device)
        net.send(fresh, fresh.next([level(56)]))
        net.send(fresh, fresh.next([level(57, NOW - 30)]))
        paid = net.paid()
        assert sorted(at for _, _, at in paid) == [NOW - 31, NOW - 1]
        assert len(set(paid)) == len(paid)
        assert net.fold.tally.sightings == 3


def test_relative_times_do_not_fill_a_slot_again(tmp_path: Path) -> None:
    """Uptime and boots are the device's own words: they must not make one second into many."""
    with Net(tmp_path) as net:
        device = net.device()
        net.send(device, device.next([level()]))
        net.aggregator.publish()
        net.advance(11)
        ack = net.acks(device, device.next([level(51, NOW + 11)]))[0]
        net.advance(11)
        net.aggregator.publish()
        ack = net.acks(device, device.next([level(52, NOW + 12)]))[0]
        assert ack.beacon is not None
        before = len(net.paid())
        net.advance(5)
        for uptime in (0, 3, 60, 1_000_000):
            device.reboot()
            device.now = net.now_ms // 1000
            for value in (40, 41, 42):
                pack = [level(value + uptime % 7, device.now - 1)]
                claims = Claims(nonce=ack.beacon)
                codes = net.codes(
                    device, device.next(pack, clock=None, uptime=uptime, claims=claims)
                )
                assert codes == ["accepted"]
        assert len(net.paid()) == before + 1


def test_no_time_is_paid_twice_when_the_length_of_slots_changes(tmp_path: Path) -> None:
    noise = (resources.files("verify") / "profiles" / "noise.toml").read_text()
    with Net(tmp_path) as net:
        device, gateway = net.device(), net.gateway()
        times = [NOW - second for second in (1, 2, 3, 5, 8)]
        for length in (1000, 250, 3000, 0, 500):
            folder = tmp_path / f"profiles-{length}"
            folder.mkdir()
            (folder / "noise.toml").write_text(noise.replace("1000", str(length)))
            profiles = load_profiles(folder)
            policy = Policy.from_toml(POLICY, profiles=profiles)
            net.aggregator.administer([policy_entry(policy, profiles)])
            if length:  # without slots everything is paid
                net.send(device, device.next([level(length % 97, at) for at in times]))
                net.send(
                    gateway, gateway.next([level(length % 89, at) for at in times], subject="#one")
                )
        assert len(net.paid()) == 2 * len(times)
        assert picture(net.replayed()) == picture(net.fold)


def _open(net: Net, folder: Path, more: str = "") -> None:
    """From now on every name passes, in slots of a second."""
    folder.mkdir()
    (folder / "noise.toml").write_text(
        f'name = "noise"\nversion = 2\nopen_names = true\nslot_ms = 1000\n{more}\nfields = {{}}'
    )
    profiles = load_profiles(folder)
    policy = Policy.from_toml(POLICY, profiles=profiles)
    net.aggregator.administer([policy_entry(policy, profiles)])


def test_a_pack_stores_what_it_changed_and_not_all_its_subject_ever_filled(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        _open(net, tmp_path / "open")
        device, names = net.device(), [f"n{i}" for i in range(60)]
        for gaps in range(4):
            times = [NOW - 5 * i for i in range(16 * gaps, 16 * gaps + 16)]
            full = [level(50, at, name) for name in names for at in times]
            assert net.codes(device, device.next(full)) == ["accepted"]
        once = [level(50, NOW - 2, name) for name in names]
        assert net.codes(device, device.next(once), device.next(once)) == ["accepted"] * 2
        assert net.record_codes()[-120:] == [""] * 60 + ["record.repeated"] * 60
        assert picture(net.replayed()) == picture(net.fold)
        first, again = list(net.aggregator.journal.entries())[-2:]
        assert len(first.sealed) < len(again.sealed) + 60 * 64
        told = picture(net.fold)
        net.reopen()
        assert picture(net.fold) == told
    assert audit(net.root).ok


# --- other people's content -----------------------------------------------------------------------


def _noise(count: int = 40, value: int | None = None) -> list[Reading]:
    return [level(50 + i * 7 % 30 if value is None else value, NOW - 64 + i) for i in range(count)]


def test_what_another_device_measured_is_not_paid_again(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        honest, copy = net.device(), net.device("copy")
        assert net.codes(honest, honest.next(_noise())) == ["accepted"]
        assert net.codes(copy, copy.next(_noise())) == ["content.repeated"]
        # Batched differently and in another order it is the same content.
        assert net.codes(copy, copy.next(_noise()[::-1][:38])) == ["content.repeated"]
        assert {subject for subject, _, _ in net.paid()} == {honest.did}
        # It stays known over restarts.
        net.reopen()
        assert net.codes(copy, copy.next(_noise())) == ["content.repeated"]
        net.reopen(forget_snapshot=True)
        assert net.codes(copy, copy.next(_noise())) == ["content.repeated"]
        # A refused copy must not fill the slots of the copying device's own measurement.
        own = [level(60 + i % 11, NOW - 64 + i) for i in range(40)]
        assert net.codes(copy, copy.next(own)) == ["accepted"]
        assert len([who for who, _, _ in net.paid() if who == copy.did]) == 40


@pytest.mark.parametrize("size", [1, 3, 10])
@pytest.mark.parametrize("first", [40, 1, 7])
def test_what_another_device_measured_is_seen_in_packs_of_any_size(
    tmp_path: Path, first: int, size: int
) -> None:
    start = -NOW % 16  # so that two windows are whole
    readings = [level(50 + i * 7 % 30, NOW - 64 + start + i) for i in range(40)]
    with Net(tmp_path, policy=POLICY + "[quota]\ndevice_burst = 200\n") as net:
        honest, copy = net.device(), net.device("copy")
        for at in range(0, 40, first):
            assert net.codes(honest, honest.next(readings[at : at + first])) == ["accepted"]
        codes = []
        for at in range(0, 40, size):
            if at == 20:
                net.reopen(forget_snapshot=True)  # what is open stays open
            codes += net.codes(copy, copy.next(readings[at : at + size]))
        assert set(codes) == {"accepted", "content.repeated"}
        # Paid is what comes before the twelfth reading of a window; the last window is too short.
        stolen = sum(1 for who, _, _ in net.paid() if who == copy.did)
        assert stolen == {1: 11 + 11 + 8, 3: 9 + 9 + 7, 10: 10}[size]
        assert len(net.paid()) == 40 + stolen
        # Its own measurement in a window of which nothing was copied counts.
        own = [level(60 + i % 11, NOW - 160 + i) for i in range(40)]
        assert (
            net.codes(copy, *[copy.next(own[i : i + 8]) for i in range(0, 40, 8)])
            == ["accepted"] * 5
        )
        assert picture(net.replayed()) == picture(net.fold)
        told = picture(net.fold)
        net.reopen()
        assert picture(net.fold) == told
    assert audit(net.root).ok


def test_readings_one_by_one_store_each_once(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        _open(net, tmp_path / "open")
        device, names = net.device(), [f"n{i}" for i in range(60)]
        for i in range(11):
            packs = device.next([level(50 + i, NOW - 60 + i, name) for name in names])
            assert net.codes(device, packs) == ["accepted"]
        first, *_, last = list(net.aggregator.journal.entries())[-11:]
        assert len(last.sealed) < len(first.sealed) + 60 * 8
        # Names and units nobody knows do not fill memory.
        units = cbor.encode([{0: "n0", 1: f"u{i}", 2: i, 6: NOW - 600 + i} for i in range(600)])
        packs = device.next(payload=units, clock=1000, claims=Claims(iat=NOW))
        assert net.codes(device, packs) == ["accepted"]
        assert max(len(subject.carried) for subject in net.fold.state.subjects) == 256


def test_old_windows_are_forgotten_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was erased counts too, or an audit would remember longer than the aggregator did."""
    monkeypatch.setattr("verify.state.MAX_WINDOWS", 4)
    monkeypatch.setattr("verify.state.FORGOTTEN_AT_ONCE", 2)
    with Net(tmp_path) as net:
        honest, copy, gone = net.device(), net.device("copy"), net.device("gone")
        net.send(honest, honest.next(_noise()))
        assert net.codes(copy, copy.next(_noise())) == ["content.repeated"]
        for pack in range(4):
            start = NOW - 200 * (pack + 2)
            own = [level(60 + (i * 7 + pack) % 23, start + i) for i in range(40)]
            assert net.codes(gone, gone.next(own)) == ["accepted"]
        # A small memory has its price; that the audit judges the same matters.
        assert net.codes(copy, copy.next(_noise())) == ["accepted"]
        net.erase(gone)
        told = picture(net.fold)
        net.reopen(forget_snapshot=True)
        assert picture(net.fold) == told
        net.aggregator.publish()
    assert audit(net.root).ok


def test_erasure_takes_open_windows_along(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, copy = net.device(), net.device("copy")
        net.send(device, *[device.next([reading_]) for reading_ in _noise(10)])
        assert any(subject.carried for subject in net.fold.state.subjects)
        net.erase(device)
        assert not any(subject.carried for subject in net.fold.state.subjects)
        net.send(copy, *[copy.next([reading_]) for reading_ in _noise(10)])
        assert picture(net.replayed()) == picture(net.fold)
    assert audit(net.root).ok


def test_a_gateway_cannot_sell_what_its_devices_measured(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        honest, gateway = net.device(), net.gateway()
        net.send(gateway, gateway.wrap(honest.next(_noise())))
        stolen = gateway.next(_noise(), subject="#mine")
        assert net.codes(gateway, stolen) == ["content.repeated"]


def test_a_gateway_cannot_sell_what_another_gateway_measured(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        one, two = net.gateway("one"), net.gateway("two")
        assert net.codes(one, one.next(_noise(), subject="#a")) == ["accepted"]
        assert net.codes(two, two.next(_noise(), subject="#a")) == ["content.repeated"]


@pytest.mark.parametrize("subject", [None, "#mine"])
def test_a_gateway_that_sells_content_first_does_not_make_the_device_lose(
    tmp_path: Path, subject: str | None
) -> None:
    with Net(tmp_path) as net:
        honest, copy, gateway = net.device(), net.device("copy"), net.gateway()
        inner = honest.next(_noise())  # the gateway reads it, and holds it back
        assert net.codes(gateway, gateway.next(_noise(), subject=subject)) == ["accepted"]
        assert net.codes(gateway, gateway.wrap(inner))[0] == "accepted"
        # From then on it is the device's: nobody else sells it, nor the gateway again.
        assert net.codes(copy, copy.next(_noise())) == ["content.repeated"]
        again = gateway.next(_noise(), subject="#other")
        assert net.codes(gateway, again) == ["content.repeated"]
        assert picture(net.replayed()) == picture(net.fold)


def test_quiet_stations_are_not_taken_for_copies(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        stations = [net.device(f"station {i}") for i in range(4)]
        for station in stations:
            assert net.codes(station, station.next(_noise(value=31))) == ["accepted"]
        assert len(net.paid()) == 160


# --- subjects -------------------------------------------------------------------------------------


def test_a_plain_device_speaks_for_nobody_and_opens_no_quota(tmp_path: Path) -> None:
    with Net(tmp_path, policy=POLICY + "[quota]\ndevice_per_minute = 1\ndevice_burst = 4\n") as net:
        device = net.device()
        streams, subjects = len(net.fold.state.streams), len(net.fold.state.subjects)
        codes = net.codes(device, *[device.next([level()], subject=f"#s{i}") for i in range(40)])
        assert set(codes) == {"subject.refused"}
        assert not net.leaves()
        assert (len(net.fold.state.streams), len(net.fold.state.subjects)) == (streams, subjects)
        assert net.codes(device, device.next([level()])) == ["accepted"]


def test_a_plain_device_carries_nothing(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        # What is carried is judged by its own bytes alone.
        codes = net.codes(device, device.wrap(other.next([level()]), level=None))
        assert codes == ["accepted", "subject.refused"]
        assert net.fold.tally.sightings == 0


def test_a_gateway_speaks_only_for_sensors_of_its_own(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device = net.gateway(), net.device()
        own = gateway.did.rsplit(":", 1)[1]
        inner = device.next([level()])
        assert net.codes(gateway, gateway.next([level()], subject=f"#{own}")) == ["subject.refused"]
        lies = gateway.next([level()], claims=Claims(iss=device.did))
        assert net.codes(gateway, lies) == ["identity.issuer"]
        levelled = gateway.next([level()], claims=Claims(level="G1"))
        assert net.codes(gateway, levelled) == ["subject.refused"]
        carried = gateway.next(
            payload=inner, content_type=18, claims=Claims(sub="#s", iat=NOW, level="G1")
        )
        assert net.codes(gateway, carried) == ["accepted", "subject.refused"]
        # A sensor with the name of somebody else's key is the gateway's sensor all the same.
        named = gateway.next([level(51)], subject="#" + device.did.rsplit(":", 1)[1])
        assert net.codes(gateway, named) == ["accepted"]
        assert net.paid()[-1][0].startswith(gateway.did + "#")


def test_a_gateway_has_a_bounded_number_of_sensors(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway = net.gateway()
        status: dict[int | str, object] = {1: "noise@1"}
        sent = [gateway.status(status, subject=f"#s{i}") for i in range(MAX_SUBJECTS + 1)]
        for start in range(0, len(sent), 400):
            net.send(gateway, *sent[start : start + 400])
        assert net.last.code == "accepted"
        assert len(net.leaves()) == MAX_SUBJECTS
        assert net.fold.tally.counted == {"subject.refused": 1}
        # Those that are there go on, and so does the gateway itself.
        assert net.codes(gateway, gateway.status(status, subject="#s7")) == ["accepted"]
        assert net.codes(gateway, gateway.next([level()])) == ["accepted"]
        # Erasing them all leaves a journal that opens again.
        net.erase(gateway)
        net.reopen(forget_snapshot=True)
        assert all(subject.erased for subject in net.fold.state.subjects)
        assert net.codes(gateway, gateway.status(status, subject="#new")) == ["device.erased"]


# --- quotas ---------------------------------------------------------------------------------------

SMALL = (
    POLICY + "[quota]\ndevice_per_minute = 60\ndevice_burst = 3\n"
    "gateway_per_minute = 60\ngateway_burst = 20\n"
)


def test_a_device_over_its_quota_is_counted_and_recovers(tmp_path: Path) -> None:
    with Net(tmp_path, policy=SMALL) as net:
        device = net.device()
        sent = [device.next([level(50, NOW - i)]) for i in range(8)]
        assert net.codes(device, *sent) == ["accepted"] * 3 + ["quota.exceeded"] * 5
        assert len(net.leaves()) == 3
        # Duplicates cost nothing, so an honest device that resends is not shut out.
        assert net.codes(device, *sent[:3]) == ["accepted"] * 3
        net.advance(2)
        # What was counted took no position: sent again in time it is taken.
        assert net.codes(device, *sent[3:]) == ["accepted"] * 2 + ["quota.exceeded"] * 3
        net.reopen(forget_snapshot=True)
        assert net.codes(device, *sent[5:]) == ["quota.exceeded"] * 3


def test_the_quota_of_an_owner_holds_over_devices(tmp_path: Path) -> None:
    text = POLICY + "[quota]\nowner_per_minute = 60\nowner_burst = 4\n"
    with Net(tmp_path, policy=text) as net:
        mine = [net.device(f"mine {i}", owner="did:example:me") for i in range(4)]
        other = net.device("other", owner="did:example:other")
        codes = [net.codes(d, d.next([level()]), d.next([level(51, NOW - 9)])) for d in mine]
        assert sum(codes, []) == ["accepted"] * 4 + ["quota.exceeded"] * 4
        assert net.codes(other, other.next([level()])) == ["accepted"]
        net.reopen(forget_snapshot=True)
        assert net.codes(mine[0], mine[0].next([level(52, NOW - 20)])) == ["quota.exceeded"]


@pytest.mark.parametrize("how", ["revoked", "rotated", "suspended"])
def test_a_thief_of_a_dead_key_does_not_use_up_its_owner(tmp_path: Path, how: str) -> None:
    text = POLICY + "[quota]\nowner_per_minute = 60\nowner_burst = 4\n"
    with Net(tmp_path, policy=text) as net:
        lost, kept = (net.device(name, owner="did:example:me") for name in ("lost", "kept"))
        if how == "revoked":
            net.revoke(lost)
        elif how == "rotated":
            net.rotate(lost)
        else:
            net.send(lost, lost.envelope([level(1)]), lost.envelope([level(2)]))
        net.advance(60)
        stolen = [lost.next([level(50, NOW - i)]) for i in range(6)]
        assert "accepted" not in net.codes(lost, *stolen)
        assert net.codes(kept, *[kept.next([level(50, NOW - i)]) for i in range(5)]) == [
            *["accepted"] * 4,
            "quota.exceeded",
        ]


def test_a_flooder_does_not_use_up_the_gateway_that_carries_it(tmp_path: Path) -> None:
    with Net(tmp_path, policy=SMALL) as net:
        gateway, flooder, honest = net.gateway(), net.device("flooder"), net.device("honest")
        for i in range(60):
            net.send(gateway, gateway.wrap(flooder.next([level(50, NOW - i)])))
        assert len(net.leaves()) == 6
        codes = net.codes(gateway, gateway.wrap(honest.next([level()])))
        assert codes == ["accepted", "accepted"]


# --- what would stop everybody --------------------------------------------------------------------


def test_a_pack_that_grows_when_it_is_judged_does_not_stop_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and units are sent once for a pack, and stand in every record it becomes."""
    with Net(tmp_path, policy='default_profile = "weather"\n') as net:
        device = net.device(place=Place(481234567, 111234567))
        shared = {-4: "A/m/s/kg/cd/mol2", -2: "x" * 128}
        records = [{3: "t" * 26} for _ in range(4050)]
        pack = cbor.encode([{**shared, **records[0]}, *records[1:]])
        claims = Claims(iat=NOW)
        grown = device.next(payload=pack, clock=1000, claims=claims)
        assert net.codes(device, grown) == ["accepted"]
        net.aggregator.publish()
        assert net.records()[0].rows[-1].name == "x" * 128
        # What it grew to is more than a bound that looks generous, so the bound is looked at.
        monkeypatch.setattr(payload, "MAX_RECORDS_BYTES", 1 << 20)
        grown = device.next(payload=pack, clock=1000, claims=claims)
        assert net.codes(device, grown) == ["profile.too_many"]


def test_a_text_of_a_device_cannot_write_its_own_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Net(tmp_path, policy='default_profile = "weather"\n') as net:
        device = net.device()
        lie = "\x1b[2J\u009b1A\nverdict  accepted\u202e"
        net.send(device, device.next([reading("note", lie, None, NOW)]))
        net.aggregator.publish()
        index = net.size - 1
    with Reader(net.root) as reader:
        (tmp_path / "lie.receipt").write_bytes(make_receipt(reader, index))
        told = explain(reader, index).text
    looking.check_receipt(str(tmp_path / "lie.receipt"))
    shown = capsys.readouterr().out
    for text in (told, shown):
        assert "\ufffd[2J" in text and not {"\x1b", "\u009b", "\u202e"} & set(text)
        assert not any(line.startswith("verdict  accepted\ufffd") for line in text.split("\n"))


class _Windows(dict[bytes, tuple[int, int]]):
    passes = 0

    def items(self) -> Any:
        self.passes += 1
        return super().items()


def test_to_forget_many_sensors_is_one_pass_over_what_is_remembered(tmp_path: Path) -> None:
    net = Net(tmp_path)
    with net.aggregator.journal, net.aggregator.keys, net.aggregator.quarantine:
        gateway = net.gateway()
        names = [f"#s{number}" for number in range(30)]
        net.send(gateway, *[gateway.next([level()], subject=name) for name in names])
        windows = net.fold.state.windows = _Windows({b"mine": (1, 0), b"other": (99, 1)})
        refs = tuple(subject.ref for subject in net.fold.state.subjects)
        net.fold.apply(Erased(gateway.did, refs), net.now_ms, None)
        assert windows.passes == 1 and list(windows) == [b"other"]


def test_a_gateway_has_a_rate_of_its_own(tmp_path: Path) -> None:
    text = "[quota]\ndevice_per_minute = 60\ndevice_burst = 2\n"
    text += "gateway_per_minute = 240\ngateway_burst = 2\n"
    with Net(tmp_path, policy=POLICY + text) as net:
        gateway = net.gateway()
        sent = [gateway.next([level(50, NOW - i)], subject="#a") for i in range(6)]
        assert net.codes(gateway, *sent[:3]) == ["accepted"] * 2 + ["quota.exceeded"]
        net.advance(0.5)
        assert net.codes(gateway, *sent[2:5]) == ["accepted"] * 2 + ["quota.exceeded"]


@pytest.mark.parametrize("status", [[], 1, "ok", None])
def test_a_status_is_a_map(tmp_path: Path, status: object) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        for said, code in ((status, "payload.malformed"), ({"firmware": 1}, "accepted")):
            sent = device.next(payload=cbor.encode(said), content_type=CONTENT_STATUS)
            assert net.codes(device, sent) == [code]


def test_a_way_filled_in_backwards_is_held_against_what_was_filled_in_before(
    tmp_path: Path,
) -> None:
    cities = ((40.7, -74.0), (35.7, 139.7), (-33.9, 151.2), (51.5, -0.1))
    with Net(tmp_path, policy=MOBILITY) as net:
        device = net.device()

        def fix(at: int, lat: float, lon: float) -> bytes:
            return device.next([reading("lat", lat, "lat", at), reading("lon", lon, "lon", at)])

        net.send(device, fix(NOW, 47.2, -1.5))
        for step in range(16):
            net.send(device, fix(NOW - 2_000_000 + step, *cities[step % 4]))
            if step % 8 == 5:
                net.reopen(forget_snapshot=step > 8)
        # Of four cities the first is where it was.
        times = sorted({at for _, _, at in net.paid()})
        assert len(net.paid()) == 2 * len(times) == 10
        assert times[:4] == [NOW - 2_000_001 + step for step in (0, 4, 8, 12)]
        assert picture(net.replayed()) == picture(net.fold)
        net.reopen()
        assert picture(net.replayed()) == picture(net.fold)
        net.aggregator.publish()
        net.erase(device)
        assert not any(subject.track for subject in net.fold.state.subjects)
    assert audit(net.root).ok
