"""The way of an envelope to its verdict: positions and chains, and every code of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from depin_id import cbor, cose
from depin_id.claims import Claims
from depin_id.keys import P256_ORDER
from depin_id.readings import Reading, reading
from depin_id.testing import NOW, TestDevice, TestNetwork
from tests.verify.net import POLICY, Net, level, picture
from verify.leaf import EnvelopeLeaf
from verify.verdict import CODES, FLAGS

# --- positions ------------------------------------------------------------------------------------


class Chain:
    """Envelopes of one boot, each after the one before; ``[i]`` is at position i."""

    def __init__(self, device: TestDevice, count: int, *, epoch: int = 1, start: int = 0) -> None:
        self.sent: list[bytes] = []
        prev = None
        for n in range(count):
            made = device.envelope([level(50, NOW - start - n)], epoch=epoch, n=n, prev=prev)
            prev = device.identity(made)
            self.sent.append(made)

    def __getitem__(self, n: int) -> bytes:
        return self.sent[n]


def _flags(net: Net) -> Sequence[str]:
    return net.last.flags


def test_order_of_arrival_is_nobodys_fault(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        chain = Chain(device, 100)
        assert net.codes(device, chain[0]) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, chain[1]) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, chain[99]) == ["accepted"]
        assert _flags(net) == ("sequence.gap",)
        # In the window (below 64) and beyond it, over a restart too.
        for n in (98, 35):
            assert net.codes(device, chain[n]) == ["accepted"]
            assert _flags(net) == ("late", "sequence.gap")
        net.reopen(forget_snapshot=True)
        for n in (36, 2):
            assert net.codes(device, chain[n]) == ["accepted"]
            assert _flags(net) == ("late",)
        assert net.codes(device, chain[10]) == ["accepted"]
        assert _flags(net) == ("late", "sequence.gap")
        rest = [chain[n] for n in range(100) if n not in (0, 1, 2, 10, 35, 36, 98, 99)]
        assert set(net.codes(device, *reversed(rest))) == {"accepted"}
        assert len(net.paid()) == 100
        assert net.send(device, *chain.sent).duplicates == 100
        assert len(net.leaves()) == 100


def test_a_duplicate_is_acknowledged_again_without_an_entry(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        envelope = device.next([level()])
        first = net.acks(device, envelope)[0]
        bad = device.next([level(50)], claims=Claims(iss="did:key:zOther"))
        refused = net.acks(device, bad)[0]
        size = net.size
        for forget in (False, True):
            again, wrong = net.acks(device, envelope), net.acks(device, bad)
            assert again[0].items == first.items
            assert wrong[0].items == refused.items
            assert wrong[0].items[0].code == "identity.issuer"
            net.reopen(forget_snapshot=forget)
        both = net.acks(device, envelope, envelope, bad)[0]
        assert [item.code for item in both.items] == ["accepted"] * 2 + ["identity.issuer"]
        assert len(net.leaves()) == 2
        assert net.size - size <= 1  # a tick at most


def test_boots_follow_each_other(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        one, two, three = (Chain(device, 3, epoch=e, start=10 * e) for e in (1, 2, 5))
        assert net.codes(device, one[0], one[1]) == ["accepted"] * 2
        assert net.codes(device, two[0]) == ["accepted"]
        assert _flags(net) == ("chain.tail_unknown",)
        assert net.codes(device, one[2]) == ["accepted"]  # of an earlier boot
        assert _flags(net) == ("late",)
        proven = device.envelope([level(50, NOW - 99)], epoch=3, prev=device.identity(two[0]))
        assert net.codes(device, proven) == ["accepted"]
        assert _flags(net) == ()
        assert net.codes(device, three[2]) == ["accepted"]
        assert _flags(net) == ("sequence.gap",)
        assert net.codes(device, three[0], three[1]) == ["accepted"] * 2
        assert net.codes(device, two[1], two[2]) == ["accepted"] * 2
        # What is at an old position and is different is a fork there too.
        other = device.envelope([level(66, NOW - 77)], epoch=1, n=1, prev=device.identity(one[0]))
        assert net.codes(device, other) == ["sequence.forked"]


@pytest.mark.parametrize("together", [True, False])
def test_a_fork_keeps_both_and_suspends_until_rotation(tmp_path: Path, together: bool) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        one = device.next([level(50)])
        two = device.envelope([level(51)])
        if together:
            codes = net.codes(device, one, two)
        else:
            codes = net.codes(device, one)
            net.reopen(forget_snapshot=True)
            codes += net.codes(device, two)
        assert codes == ["accepted", "sequence.forked"]
        stored = [entry.sealed for entry in net.aggregator.journal.entries()][-2:]
        assert all(len(sealed) > len(one) for sealed in stored)  # both are kept
        assert net.send(device, one).duplicates == 1  # the first commit stands
        assert net.codes(device, device.next([level(52, NOW - 9)])) == ["key.suspended"]
        net.reopen(forget_snapshot=not together)
        assert net.codes(device, device.next([level(53, NOW - 10)])) == ["key.suspended"]
        fresh = net.rotate(device)
        assert net.codes(fresh, fresh.next([level(54, NOW - 11)])) == ["accepted"]
        assert net.codes(device, device.next([level(55, NOW - 12)])) == ["key.rotated"]
        # Forks under the old key touch the new one no more.
        assert net.codes(device, device.envelope([level(56)])) == ["sequence.forked"]
        assert net.codes(fresh, fresh.next([level(57, NOW - 13)])) == ["accepted"]
        assert len(net.paid()) == 3


def test_a_chain_breaks_on_both_sides(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        chain = Chain(device, 12)
        assert net.codes(device, chain[0], chain[1]) == ["accepted"] * 2
        wrong = device.envelope([level(60, NOW - 70)], n=2, prev=bytes(16))
        assert net.codes(device, wrong) == ["chain.broken"]
        # It used its position all the same: nobody tries until something fits.
        assert net.codes(device, chain[2]) == ["sequence.forked"]

        other = net.device("other")
        chain = Chain(other, 12)
        assert net.codes(other, chain[0], chain[5], chain[9]) == ["accepted"] * 3
        # A copy of the key fills gaps; the neighbours before and after tell.
        after = other.envelope([level(61, NOW - 71)], n=4, prev=bytes(16))
        assert net.codes(other, after) == ["chain.broken"]
        before = other.envelope([level(62, NOW - 72)], n=6, prev=b"x" * 16)
        assert net.codes(other, before) == ["chain.broken"]
        fits_before = other.envelope([level(63, NOW - 73)], n=8, prev=other.identity(chain[7]))
        assert net.codes(other, fits_before) == ["chain.broken"]
        assert net.codes(other, chain[1]) == ["accepted"]
        assert len([s for s, _, _ in net.paid() if s == other.did]) == 4


def test_whatever_its_verdict_an_envelope_uses_its_position(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device = net.device()
        bad = [
            device.envelope(payload=b"\xff", n=0),
            device.envelope(payload=b"\x80", n=2),
            device.envelope([level()], n=4, claims=Claims(iss="did:key:zX")),
            device.envelope([level()], n=6, clock=9999),
        ]
        refused = net.codes(device, *bad)
        assert refused == [
            "payload.malformed",
            "payload.empty",
            "identity.issuer",
            "time.clock_unusable",
        ]
        better = [device.envelope([level(50, NOW - n)], n=n) for n in (0, 2, 4, 6)]
        assert net.codes(device, *better) == ["sequence.forked"] * 4
        assert not net.paid()


# --- the table ------------------------------------------------------------------------------------

MOBILE = 'default_profile = "mobile-noise"\n'
Way = Callable[[Net], None]


def _raw(device: TestDevice, headers: dict[object, object], payload: bytes = b"\x80") -> bytes:
    protected = cbor.encode(headers)
    aad = cose.external_aad("envelope", device.network, device.key.thumbprint)
    signature = device.signer.sign(cose.sig_structure(protected, aad, payload))
    return cose.assemble(protected, payload, signature)


def _headers(device: TestDevice) -> dict[object, object]:
    return dict(cose.parse_sign1(device.envelope([level()])).headers)


def _bytes(make: Callable[[bytes], bytes]) -> Way:
    def way(net: Net) -> None:
        device = net.device()
        net.send(device, make(device.next([level()])))

    return way


def _payload(payload: bytes) -> Way:
    def way(net: Net) -> None:
        device = net.device()
        net.send(device, device.next(payload=payload))

    return way


def _readings(*readings: Reading, **how: object) -> Way:
    def way(net: Net) -> None:
        device = net.device()
        net.send(device, device.next(list(readings), **how))

    return way


def _fix(lat: float, lon: float, at: float, *more: Reading) -> list[Reading]:
    return [
        reading("lat", lat, "lat", at),
        reading("lon", lon, "lon", at),
        level(50, at),
        *more,
    ]


def _fixes(*readings: Reading) -> Way:
    def way(net: Net) -> None:
        net.policy(MOBILE)
        _readings(*readings)(net)

    return way


def _policy(text: str, then: Way) -> Way:
    def way(net: Net) -> None:
        net.policy(text)
        then(net)

    return way


def _nested(net: Net) -> None:
    gateway, device = net.gateway(), net.device()
    inner = gateway.wrap(device.next([level()]))
    headers = _headers(gateway) | {3: 18, 15: {6: NOW}}
    protected = cbor.encode(headers)
    aad = cose.external_aad("gateway", net.did, gateway.key.thumbprint)
    signature = gateway.signer.sign(cose.sig_structure(protected, aad, inner))
    net.send(gateway, cose.assemble(protected, inner, signature))


def _suspended(net: Net) -> None:
    device = net.device()
    net.send(device, device.next([level()]), device.envelope([level(51)]), device.next([level()]))


def _rotated(net: Net) -> None:
    device = net.device()
    net.rotate(device)
    net.send(device, device.next([level()]))


def _revoked(net: Net) -> None:
    device = net.device()
    net.revoke(device)
    net.send(device, device.next([level()]))


def _erased(net: Net) -> None:
    device = net.device()
    net.erase(device)
    net.send(device, device.next([level()]))


def _not_yet(net: Net) -> None:
    device = net.make()
    net.enrol(device, since=net.now_ms + 1)
    net.send(device, device.next([level()]))


def _unknown(net: Net) -> None:
    stranger = net.make("stranger")
    net.send(stranger, stranger.next([level()]))


def _foreign(net: Net) -> None:
    net.device()
    abroad = TestDevice(TestNetwork("abroad").did, "device", seed="net")
    net.send(abroad, abroad.next([level()]))


def _broken(net: Net) -> None:
    device = net.device()
    net.send(device, device.next([level()]), device.envelope([level()], n=1, prev=bytes(16)))


def _copied(net: Net) -> None:
    content = [level(50 + i % 13, NOW - 60 + i) for i in range(40)]
    for name in ("one", "two"):
        device = net.device(name)
        net.send(device, device.next(content))


def _high_s(net: Net) -> None:
    device = net.device(curve="p256")
    data = device.next([level()])
    s = cose.parse_sign1(data).signature[32:]
    high = (P256_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    net.send(device, data[:-32] + high)


def _algorithm(net: Net) -> None:
    device = net.device()
    net.send(device, _raw(device, _headers(device) | {1: -8}))


def _claims(net: Net) -> None:
    device = net.device()
    net.send(device, _raw(device, _headers(device) | {15: {3: "aud"}}))


def _no_clock(net: Net) -> None:
    device = net.device()
    payload = cbor.encode([{0: "laeq", 1: "dB", 2: 50, 6: NOW}])
    net.send(device, device.next(payload=payload, clock=None))


WAYS: dict[str, Way] = {
    "encoding.malformed": _bytes(lambda data: data[:-1]),
    "encoding.not_deterministic": _bytes(lambda data: b"\xd2\x98\x04" + data[2:]),
    "encoding.too_large": _bytes(lambda data: bytes(131_073)),
    "encoding.too_deep": _bytes(lambda data: b"\xd2" + b"\x81" * 200 + b"\x00"),
    "envelope.malformed": _bytes(lambda data: data[1:]),
    "envelope.claims": _claims,
    "envelope.nested": _nested,
    "device.unknown": _unknown,
    "key.algorithm": _algorithm,
    "signature.invalid": _foreign,
    "signature.malleable": _high_s,
    "device.revoked": _revoked,
    "device.not_yet": _not_yet,
    "device.erased": _erased,
    "key.rotated": _rotated,
    "key.suspended": _suspended,
    "identity.issuer": _readings(level(), claims=Claims(iss="did:key:zOther")),
    "subject.refused": _readings(level(), subject="#other"),
    "level.insufficient": _policy(POLICY + '[levels]\nminimum = "D2"\n', _readings(level())),
    "sequence.forked": _suspended,
    "chain.broken": _broken,
    "quota.exceeded": _policy(
        POLICY + "[quota]\ndevice_per_minute = 1\ndevice_burst = 1\n", _broken
    ),
    "time.future": _readings(level(50, NOW + 3600)),
    "time.stale": _readings(level(50, NOW - 40 * 86_400)),
    "time.no_clock": _no_clock,
    "time.clock_unusable": _readings(level(), clock=3601),
    "payload.malformed": _payload(b"\xff"),
    "payload.empty": _payload(b"\x80"),
    "profile.unknown": _policy("", _readings(level())),
    "profile.required": _readings(reading("lamax", 60, "dB", NOW)),
    "profile.too_many": _payload(b"\x99\x27\x10" + b"\xa2\x00\x64laeq\x02\x01" * 10_000),
    "profile.unit": _readings(level(), reading("lamax", 60, "Cel", NOW)),
    "value.type": _readings(reading("laeq", "loud", "dB", NOW)),
    "value.out_of_range": _readings(level(500)),
    "record.unknown_name": _readings(level(), reading("height", 2, "m", NOW)),
    "record.repeated": _readings(level(), level()),
    "content.repeated": _copied,
    "location.missing": _fixes(level()),
    "location.out_of_range": _fixes(*_fix(95, 20, NOW)),
    "location.stale": _fixes(*_fix(45, 20, NOW, reading("fix-age", 9000, "s", NOW))),
    "location.inaccurate": _fixes(*_fix(45, 20, NOW, reading("accuracy", 90_000, "m", NOW))),
    "location.speed": _fixes(*_fix(45, 20, NOW - 2), *_fix(46, 21, NOW)),
}

UNREACHABLE = {
    "key.not_admissible": "every enrolled key was admitted before; a wrong one has no kid here",
}


def test_every_code_has_a_way_or_a_reason() -> None:
    assert set(WAYS) | set(UNREACHABLE) == set(CODES)
    assert not set(WAYS) & set(UNREACHABLE)


@pytest.mark.parametrize("code", WAYS)
def test_a_code_can_be_reached_and_is_what_the_table_says(tmp_path: Path, code: str) -> None:
    with Net(tmp_path) as net:
        before = net.size
        WAYS[code](net)
        leaves = {leaf.code for leaf in net.leaves()}
        match CODES[code].outcome:
            case "rejected":
                assert code in leaves or code in net.fold.tally.counted
            case "record":
                assert code in net.record_codes()
                assert leaves == {"accepted"}
            case "counted":
                assert net.fold.tally.counted[code] == 1
                assert code not in leaves
            case "indeterminate":
                assert net.fold.tally.counted[code] == 1
                assert net.aggregator.quarantine.counts().parked == 1
        assert net.size > before
        assert all(set(leaf.flags) <= set(FLAGS) for leaf in net.leaves())
        assert all(leaf.code == "accepted" or leaf.code in CODES for leaf in net.leaves())
        _same_after_replay(net)


def _same_after_replay(net: Net) -> None:
    assert picture(net.replayed()) == picture(net.fold)


def test_leaves_tell_nothing_that_can_be_guessed(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        one, two = net.device("one"), net.device("two")
        same = [level(50)]
        net.send(one, one.next(same))
        net.send(two, two.next(same))
        first, second = net.leaves()
        assert isinstance(first, EnvelopeLeaf)
        assert first.records != second.records
        assert first.device != second.device
        for entry in net.aggregator.journal.entries():
            for secret in (one.did.encode(), one.key.thumbprint, two.key.kid):
                assert secret not in entry.leaf
