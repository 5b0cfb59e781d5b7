"""A way to each code of attestation."""

from __future__ import annotations

from collections.abc import Callable

from tests.results.attesting import REQUIRED, attest, revoke_hardware, trust
from tests.verify.net import Net, level

Way = Callable[[Net], None]


def _attested(then: Callable[[Net], None], *, serial: int | None = 9) -> Way:
    def way(net: Net) -> None:
        trust(net)
        device = net.device(curve="p256")
        attest(net, device, serial=serial)
        then(net)
        net.send(device, device.next([level()]))

    return way


def _required(net: Net) -> None:
    net.policy(REQUIRED)
    device = net.device()
    net.send(device, device.next([level()]))


def _level(net: Net) -> None:
    net.policy(REQUIRED.replace("D2", "D3"))


def _unknown(net: Net) -> None:
    trust(net)
    device = net.device()
    net.send(device, device.next([level()], ear=bytes(16)))


def _boot(net: Net) -> None:
    trust(net)
    device = net.device(curve="p256")
    attest(net, device)
    device.reboot()
    net.send(device, device.next([level()]))


def _contraindicated(net: Net) -> None:
    trust(net)
    revoke_hardware(net, "cert:idevid:9")
    device = net.device(curve="p256")
    attest(net, device, serial=9)
    net.send(device, device.next([level()]))


def _revoked(net: Net) -> None:
    revoke_hardware(net, "cert:idevid:9")


WAYS: dict[str, Way] = {
    "attestation.required": _required,
    "attestation.level": _attested(_level),
    "attestation.unknown": _unknown,
    "attestation.boot": _boot,
    "attestation.expired": _attested(lambda net: net.advance(86_400)),
    "attestation.contraindicated": _contraindicated,
    "attestation.revoked": _attested(_revoked),
}
