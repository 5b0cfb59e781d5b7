"""Every code of the verdict table is reached by some input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.capability import Box, Selector, StatusReference
from depin_id.claims import Claims
from depin_id.keys import P256_ORDER
from depin_id.readings import Reading, reading
from depin_id.testing import NOW, TestDevice, TestNetwork
from tests.identity.delegated import chain, pack, put
from tests.results import ways as attested
from tests.verify.net import POLICY, Net, level, picture
from verify.admin import perform
from verify.identity.entries import Withdrawn
from verify.verdict import CODES, FLAGS

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


def _compromised(net: Net) -> None:
    device = net.device()
    perform(net.aggregator, {"op": "compromised", "did": device.did, "since": net.now_ms})
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


def _capability(**grant: Any) -> Way:
    """A gateway signs for an owner's sensor, under a capability that grants this."""

    def way(net: Net) -> None:
        gateway = net.gateway()
        cap = put(net, gateway, chain(net, gateway, **grant))
        net.send(gateway, pack(gateway, cap))

    return way


def _unshown(net: Net) -> None:
    gateway = net.gateway()
    net.send(gateway, pack(gateway, bytes(16)))


def _withdrawn(net: Net) -> None:
    gateway = net.gateway()
    cap = put(net, gateway, chain(net, gateway))
    net.aggregator.administer([Withdrawn(cap, net.now_ms, "test")])
    net.send(gateway, pack(gateway, cap))


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
    "key.compromised": _compromised,
    "identity.issuer": _readings(level(), claims=Claims(iss="did:key:zOther")),
    "subject.refused": _readings(level(), subject="#other"),
    "capability.unknown": _unshown,
    "capability.subject": _capability(selector=Selector.devices("did:example:1#x")),
    "capability.expired": _capability(expires=NOW),
    "capability.withdrawn": _withdrawn,
    "capability.undecided": _capability(status=StatusReference(bytes(16), 0)),
    "capability.region": _capability(region=(Box(0, 0, 1, 1),)),
    "capability.budget": _capability(max_count=0),
    "level.insufficient": _policy(POLICY + '[levels]\nminimum = "D2"\n', _readings(level())),
    **attested.WAYS,
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
