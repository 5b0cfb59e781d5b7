"""Gateways: sightings, what they carry, and what they may not do for or against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id import cbor, cose
from depin_id.claims import Claims
from depin_id.envelope import KIND_GATEWAY
from depin_id.testing import NOW, TestDevice
from tests.verify.net import POLICY, Net, level, picture
from verify.audit import audit


def test_an_inner_envelope_is_judged_by_its_own_bytes(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device = net.gateway(), net.device()
        inner = device.next([level()])
        acks = net.acks(gateway, gateway.wrap(inner))
        assert [item.code for item in acks[0].items] == ["accepted", "accepted"]
        assert acks[0].items[0].id == device.identity(inner)
        first, second = net.leaves()
        assert (first.level, second.records) == ("D1", None)
        assert net.paid() == [(device.did, "laeq", NOW - 1)]
        assert net.fold.tally.sightings == 1
        # Sent by the device itself it is a duplicate, told by the same entry.
        again = net.acks(device, inner)[0].items[0]
        assert again == acks[0].items[0]


def test_who_is_carried_for_is_acknowledged_by_the_way_it_came(tmp_path: Path) -> None:
    """A device behind a gateway believes only what is signed for itself, and else keeps all."""
    with Net(tmp_path) as net:
        gateway, other, device = net.gateway(), net.gateway("other"), net.device()
        inner, own = (
            device.next([level()], claims=Claims(nonce=b"8 bytes!")),
            gateway.next([level()]),
        )
        sent = net.message(gateway, gateway.wrap(inner), own)
        for code in ("accepted", "accepted"):  # sent again it is answered again
            downlinks = net.ingest(sent)[1]
            (to_gateway,) = net.read(gateway, downlinks)
            (to_device,) = net.read(device, downlinks, via=gateway)
            assert [item.id for item in to_device.items] == [device.identity(inner)]
            assert [item.code for item in to_device.items] == [code]
            assert to_device.nonce == b"8 bytes!" and to_device.number > to_gateway.number
            assert len(to_gateway.items) == 3 and net.read(device, downlinks) == []
            assert len(downlinks) == 2
        # Only down the topic that it came by, and never for what is not the device's own word.
        stolen = net.ingest(net.message(other, gateway.wrap(device.next([level(51)]))))[1]
        assert stolen == []
        forged = gateway.wrap(inner[:-1] + bytes([inner[-1] ^ 1]))
        assert [d.kid for d in net.ingest(net.message(gateway, forged))[1]] == [gateway.key.kid]


def test_two_gateways_are_two_sightings_and_one_payment(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        one, two, device = net.gateway("one"), net.gateway("two"), net.device()
        inner = device.next([level()])
        first = net.acks(one, one.wrap(inner))[0].items
        second = net.acks(two, two.wrap(inner))[0].items
        assert first[0] == second[0]
        assert first[1].index != second[1].index
        assert (len(net.leaves()), net.fold.tally.sightings, len(net.paid())) == (3, 2, 1)
        # The sighting itself, sent again, is a duplicate without an entry.
        assert net.send(one, one.envelope()).rejected == {"sequence.forked": 1}


def test_one_gateway_counts_once_for_an_envelope(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        one, two, device = net.gateway("one"), net.gateway("two"), net.device()
        inner, other = device.next([level()]), device.next([level(51, NOW - 5)])
        flags = []
        for step in range(5):
            assert net.codes(one, one.wrap(inner)) == ["accepted"] * 2
            flags.append("sighting.repeated" in net.last.flags)
            if step % 2:
                net.reopen(forget_snapshot=step == 3)
        assert flags == [False, True, True, True, True]
        # In one message too; another gateway's and another envelope's sightings are their own.
        told = net.send(one, one.wrap(other), one.wrap(other), two.wrap(inner))
        assert (told.sightings, told.accepted, told.duplicates) == (2, 1, 3)
        assert net.fold.tally.sightings == 3
        assert net.fold.tally.verdicts["sighting.repeated"] == 5
        assert picture(net.replayed()) == picture(net.fold)
        net.aggregator.publish()
        assert audit(net.root).ok
        # Who is erased leaves no trace of who saw it, and is not seen any more.
        net.erase(device)
        assert net.fold.state.sightings == {}
        assert net.send(one, one.wrap(inner)).sightings == 0
        told_of = picture(net.fold)
        for forget in (False, True):
            net.reopen(forget_snapshot=forget)
            assert picture(net.fold) == told_of
        net.aggregator.publish()
    assert audit(net.root).ok


def test_old_sightings_are_forgotten_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was erased counts too, or an audit would remember longer than the aggregator did."""
    monkeypatch.setattr("verify.state.MAX_SIGHTINGS", 8)
    monkeypatch.setattr("verify.state.FORGOTTEN_AT_ONCE", 4)
    with Net(tmp_path) as net:
        gateway, device, gone = net.gateway(), net.device(), net.device("gone")
        first = device.next([level(40, NOW - 60)])
        net.send(gateway, gateway.wrap(first))
        for second in range(11):
            inner = gone.next([level(50, NOW - second)])
            net.send(gateway, gateway.wrap(inner), gateway.wrap(inner))
        assert net.fold.state.sighted == 12 and len(net.fold.state.sightings) == 8
        assert net.send(gateway, gateway.wrap(first)).sightings == 1
        net.erase(gone)
        assert net.fold.state.sighted == 13 and len(net.fold.state.sightings) == 1
        told = picture(net.fold)
        net.reopen(forget_snapshot=True)
        assert picture(net.fold) == told
        net.aggregator.publish()
    assert audit(net.root).ok


def test_a_bad_inner_is_told_on_the_gateways_stream(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device, stranger = net.gateway(), net.device(), net.make("stranger")
        good = device.next([level()])
        altered = bytearray(good)
        altered[-1] ^= 1
        cases = [
            (b"no envelope at all", "inner.malformed"),
            (b"", "inner.malformed"),
            (bytes(altered), "inner.invalid"),
            (stranger.next([level()]), "inner.unknown"),
        ]
        for n, (payload, flag) in enumerate(cases):
            carried = _carry(gateway, payload, n)
            assert net.codes(gateway, carried) == ["accepted"]
            assert flag in net.last.flags
        assert not net.paid()
        assert net.aggregator.quarantine.counts().parked == 1
        # Nothing of it is held against the device.
        assert net.codes(device, good) == ["accepted"]


def _carry(gateway: TestDevice, payload: bytes, n: int) -> bytes:
    """A gateway envelope around anything, in boot 9."""
    template = cose.parse_sign1(gateway.envelope([level()]))
    # Every second position only: a gap asks for no predecessor.
    position = [9, 2 * n, bytes(16), 10 * n, 1, None]
    headers = dict(template.headers) | {3: 18, 15: {6: NOW}, -65537: position}
    protected = cbor.encode(headers)
    aad = cose.external_aad(KIND_GATEWAY, gateway.network, gateway.key.thumbprint)
    message = cose.sig_structure(protected, aad, payload)
    return cose.assemble(protected, payload, gateway.signer.sign(message))


def test_depth_is_one(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        outer, inner, device = net.gateway("outer"), net.gateway("inner"), net.device()
        nested = _carry(outer, inner.wrap(device.next([level()])), 0)
        assert net.codes(outer, nested) == ["accepted"]
        assert net.last.flags == ("inner.malformed",)
        assert net.fold.tally.counted == {"envelope.nested": 1}
        assert not net.paid()


def test_a_gateway_carrying_its_own_envelope_gains_nothing(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway = net.gateway()
        own = gateway.next([level()])
        assert net.codes(gateway, gateway.wrap(own)) == ["accepted", "accepted"]
        assert net.codes(gateway, gateway.wrap(own), gateway.wrap(own)) == ["accepted"] * 4
        assert len(net.paid()) == 1
        # At one position, the carried one comes first and the carrier is the fork.
        both = gateway.envelope([level(60, NOW - 9)], epoch=7)
        carrier = gateway.envelope(
            payload=both, content_type=18, epoch=7, claims=Claims(iat=NOW, level="G1")
        )
        assert net.codes(gateway, carrier) == ["accepted", "sequence.forked"]
        assert picture(net.replayed()) == picture(net.fold)
        net.reopen(forget_snapshot=True)
        assert net.codes(gateway, gateway.next([level()])) == ["key.suspended"]


def test_a_refused_gateway_does_not_taint_what_it_carries(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device = net.gateway(), net.device()
        net.revoke(gateway)
        codes = net.codes(gateway, gateway.wrap(device.next([level()])))
        assert codes == ["accepted", "device.revoked"]
        assert len(net.paid()) == 1
        assert net.fold.tally.sightings == 0


def test_a_level_never_rises(tmp_path: Path) -> None:
    with Net(tmp_path, policy=POLICY + '[levels]\nminimum = "G1"\n') as net:
        gateway = net.gateway()
        for claims, code in (
            (Claims(sub="#a"), "level.insufficient"),
            (Claims(sub="#a", level="G0"), "level.insufficient"),
            (Claims(sub="#a", level="G1"), "accepted"),
        ):
            made = gateway.next([level(50, NOW - len(code))], claims=claims)
            assert net.codes(gateway, made) == [code]
        assert net.last.level == "G1"


def test_a_sighting_has_the_level_of_its_own_signature(tmp_path: Path) -> None:
    """What it claims of the source is the inner envelope's affair."""
    with Net(tmp_path) as net:
        gateway, device = net.gateway(), net.device()
        net.send(gateway, gateway.wrap(device.next([level()]), level="G1"))
        assert [leaf.level for leaf in net.leaves()] == ["D1", "D1"]


def test_the_profile_of_a_gateway_is_not_that_of_its_sensors(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway = net.gateway(profile="weather@1")
        assert net.codes(gateway, gateway.next([level()], subject="#a")) == ["accepted"]
        assert net.record_codes() == [""]


def test_a_gateway_that_was_late_or_early_is_told(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device, rules = net.gateway(), net.device(), net.fold.policy
        now, lag, ahead = net.clock() // 1000, rules.gateway.max_lag_s, rules.time.max_future_s
        for at, flag in (
            (now - lag, set()),
            (now - lag - 1, {"sighting.lagging"}),
            (now + ahead, set()),
            (now + ahead + 1, {"sighting.future"}),
        ):
            net.send(gateway, gateway.wrap(device.next([level()]), received_at=at))
            assert {name for name in net.last.flags if name.startswith("sighting.")} == flag
        undated = Claims(level="G1")
        inner = device.next([level()])
        net.send(gateway, gateway.next(payload=inner, content_type=18, claims=undated))
        assert "sighting.undated" in net.last.flags


def test_what_waited_is_taken_up_at_its_receipt_time(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, late = net.gateway(), net.make("late")
        sent = [late.next([level(50 + i, NOW - i)]) for i in range(4)]
        start = net.now_ms
        assert net.send(late, sent[0]).quarantined == 1
        net.advance(5)
        assert net.codes(gateway, gateway.wrap(sent[1])) == ["accepted"]
        assert net.last.flags == ("inner.unknown",)
        net.send("file:recording", sent[2], sent[2])
        net.advance(86_400)
        net.reopen()
        net.enrol(late, since=start + 2000)
        summary = net.aggregator.take_parked(late.key.kid)
        assert (summary.accepted, summary.duplicates) == (2, 1)
        assert summary.rejected == {"device.not_yet": 1}
        early, second, third = net.leaves()[-3:]
        assert (early.code, early.received_at) == ("device.not_yet", start)
        assert second.received_at == third.received_at == start + 5000
        assert second.flags == third.flags == ("parked",)
        assert [at for _, _, at in net.paid()] == [NOW - 2, NOW - 3]
        # Nothing waits any more, and a second taking finds nothing.
        assert net.aggregator.take_parked(late.key.kid).accepted == 0
        assert net.aggregator.quarantine.counts().parked == 0
        # What came early does not turn the clock back.
        assert net.codes(late, sent[3]) == ["accepted"]
        assert net.last.received_at == net.now_ms
        before = picture(net.fold)
        net.reopen(forget_snapshot=True)
        assert picture(net.fold) == before


def test_what_waits_does_not_keep_others_out(tmp_path: Path) -> None:
    """A kid is a hint that anyone can write: forged bytes wait too, and are refused in the end."""
    with Net(tmp_path) as net:
        device, thief = net.make("device"), net.make("thief")
        envelope = device.next([level()])
        forged = envelope[:-64] + thief.next([level()])[-64:]
        for _ in range(3):
            net.send(thief, forged)
        net.send(device, envelope)
        net.enrol(device)
        summary = net.aggregator.take_parked(device.key.kid)
        assert (summary.accepted, summary.rejected) == (1, {"signature.invalid": 3})
        assert len(net.paid()) == 1


def test_a_crash_after_taking_up_pays_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Net(tmp_path) as net:
        device = net.make("device")
        net.send(device, device.next([level()]))
        net.enrol(device)
        monkeypatch.setattr(net.aggregator.quarantine, "delete", lambda ids: None)
        assert net.aggregator.take_parked(device.key.kid).accepted == 1
        net.reopen()
        assert net.aggregator.quarantine.counts().parked == 0
        assert len(net.paid()) == 1


def test_a_crash_before_taking_up_loses_nothing(tmp_path: Path) -> None:
    """The enrolment is durable, the process ends, and nobody enrols the device again."""
    with Net(tmp_path) as net:
        device = net.make("device")
        net.send(device, device.next([level()]))
        net.enrol(device)
        net.reopen()
        assert net.aggregator.quarantine.counts().parked == 0
        assert len(net.paid()) == 1


def test_what_an_unknown_gateway_carried_waits_for_its_own_device(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        gateway, device = net.make("gateway", role="gateway"), net.make("device")
        net.send(gateway, gateway.wrap(device.next([level()])))
        net.enrol(gateway)
        summary = net.aggregator.take_parked(gateway.key.kid)
        assert (summary.sightings, summary.quarantined) == (1, 1)
        net.enrol(device)
        assert net.aggregator.take_parked(device.key.kid).accepted == 1
        assert len(net.paid()) == 1


def test_much_that_waits_is_taken_up_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verify.aggregator.PARKED_AT_ONCE", 3)
    with Net(tmp_path) as net:
        device = net.make("device")
        for second in range(7):
            net.send(device, device.next([level(50, NOW - second)]))
        net.enrol(device)
        assert net.aggregator.take_parked(device.key.kid).accepted == 7
        assert net.aggregator.quarantine.counts().parked == 0
