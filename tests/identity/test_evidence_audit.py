"""An audit judges evidence again: what an operator writes in without it is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id.possession import prove
from depin_id.testing import TestDevice
from tests.identity.factory import Maker, Plant, checked
from verify.audit import audit
from verify.entries import Admin, Enrolled
from verify.identity.entries import EvidenceTaken
from verify.identity.state import Birth, evidence

Wrong = Callable[[Plant, TestDevice], list[Admin]]


def _evidence(
    net: Plant, device: TestDevice, certificate: bytes, *, proof: bytes = b"", nonce: bytes = b""
) -> list[Admin]:
    nonce = nonce or net.challenge(device)
    proof = proof or prove(
        device.signer,
        device.enrolment,
        nonce=nonce,
        network=net.did,
        certificate=certificate,
    )
    birth = Birth(
        *(device.did, net.maker.did, "1", "Meter 3", "B", "secure-element", b""),
        bytes.fromhex("ab" * 32),
        hashlib.sha256(certificate).digest(),
    )
    ref = net.random(16)
    return [
        Enrolled(ref, net.now_ms, device.enrolment),
        EvidenceTaken(ref, "enrolment", nonce, evidence(birth, proof, certificate)),
    ]


def _bare(net: Plant, device: TestDevice) -> list[Admin]:
    return _evidence(net, device, net.maker.birth(device.key))[:1]


def _stranger(net: Plant, device: TestDevice) -> list[Admin]:
    return _evidence(net, device, Maker("stranger").birth(device.key))


def _other_serial(net: Plant, device: TestDevice) -> list[Admin]:
    return _evidence(net, device, net.maker.birth(device.key, "2"))


def _invented(net: Plant, device: TestDevice) -> list[Admin]:
    return _evidence(net, device, net.maker.birth(device.key), nonce=b"\1" * 16)


def _another_s(net: Plant, device: TestDevice) -> list[Admin]:
    other = net.make("other")
    return [
        _evidence(net, device, net.maker.birth(device.key))[0],
        _evidence(net, other, net.maker.birth(other.key))[1],
    ]


def _not_proven(net: Plant, device: TestDevice) -> list[Admin]:
    entries = _evidence(net, device, net.maker.birth(device.key))
    renamed = net.make(owner="did:example:rich").enrolment
    first = entries[0]
    assert isinstance(first, Enrolled)
    return [Enrolled(first.ref, first.since, renamed), entries[1]]


def _nothing(net: Plant, device: TestDevice) -> list[Admin]:
    first, second = _evidence(net, device, net.maker.birth(device.key))
    assert isinstance(second, EvidenceTaken) and isinstance(first, Enrolled)
    return [first, EvidenceTaken(first.ref, "enrolment", second.nonce, b"\x81\x80")]


@pytest.mark.parametrize(
    "wrong", [_bare, _stranger, _other_serial, _invented, _another_s, _not_proven, _nothing]
)
def test_what_an_operator_wrote_in_is_found(tmp_path: Path, wrong: Wrong) -> None:
    with Plant(tmp_path) as net:
        net.policy(net.text.replace("{more}", "") + 'enrolment = "evidence"\n')
        device = net.make()
        entries = wrong(net, device)
        try:
            net.aggregator.administer(entries)
        except (TypeError, KeyError, IndexError):
            return  # it cannot even be written in
        net.aggregator.idle(net.now_ms + 400_000)
        net.close()
        report = audit(net.root)
        assert not report.ok and report.difference is not None
        assert report.difference.what == "evidence", report.to_json()


def test_the_same_by_the_book_is_silent(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        net.policy(net.text.replace("{more}", "") + 'enrolment = "evidence"\n')
        device, erased = net.make(), net.make("erased")
        net.aggregator.administer(_evidence(net, device, net.maker.birth(device.key)))
        net.admit(erased, net.maker.birth(erased.key, "2"))
        net.erase(erased)
        checked(net)
    with Plant(tmp_path / "word") as net:
        # By the operator's word, where the policy leaves it at that; evidence of another follows.
        first = net.device("first")
        net.device("second")
        net.admit(first, net.maker.birth(first.key))
        checked(net)
