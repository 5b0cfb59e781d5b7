"""Statements and capabilities by whoever likes to break things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from depin_id.attestation.message import ACTIVATE, KIND
from depin_id.capability import Box, Selector
from depin_id.claims import Place
from depin_id.did.jwk import did_jwk
from depin_id.did.key import did_key
from depin_id.statements import write_statement
from depin_id.testing import NOW
from tests.identity.delegated import chain, pack, sound, taken
from tests.identity.factory import Plant, refused
from tests.verify.net import level
from verify.admin import enrol
from verify.identity import showing
from verify.identity.desk import handlers
from verify.identity.entries import HistoryTaken, KeySpan
from verify.policy import IdentityPolicy


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def test_nobody_is_trusted_by_default(tmp_path: Path) -> None:
    rules = IdentityPolicy()
    assert not rules.self_service and not rules.manufacturers
    with Plant(tmp_path, trusted=[], self_service=True) as net:
        device = net.make()
        size = net.size
        for kind in handlers():
            if kind != "challenge":
                net.ingest(net.message(device, write_statement(kind, b"x", b"y")))
        counted = net.fold.tally.counted
        # Attesting is for devices that are in; it asks for no trust in whoever took them in.
        attesting = {KIND, ACTIVATE}
        closed = len(handlers().keys() - attesting - {"challenge"})
        assert counted == {"statement.closed": closed, "statement.malformed": len(attesting)}
        assert net.size <= size + len(handlers())
        sound(net)


POISON = {
    "deep JSON": b"[" * 60_000,
    "deep objects": b'{"a":' * 12_000,
    "a long number": b'{"issuer":' + b"9" * 60_000 + b"}",
    "deep CBOR": b"\x81" * 60_000,
    "a tagged tree": b"\xd2" * 60_000,
    "surrogates": b'{"issuer":"\\ud800"}',
    "NaN": b'{"issuer":NaN}',
    "a null": b"null",
    "nothing": b"",
    "a COSE_Sign1 of nothing": b"\xd2\x84\x40\xa0\x40\x40",
    "a COSE_Sign1 of null": b"\xd2\x84\xf6\xf6\xf6\xf6",
    "an array": b"[1,2]",
}


@pytest.mark.parametrize("name", POISON)
def test_no_bytes_stop_the_desk(net: Plant, name: str) -> None:
    device, data = net.make(), POISON[name]
    for kind in handlers():
        for parts in ((data,), (data, data), (data, data, bytes(16))):
            if sum(map(len, parts)) < 90_000:
                net.ingest(net.message(device, write_statement(kind, *parts)))
    assert not net.aggregator.broken
    holder = net.device("holder")
    assert net.codes(holder, holder.next([level()])) == ["accepted"]
    sound(net)


def test_another_name_of_a_devices_key_is_no_subject(net: Plant) -> None:
    """Named whole under another DID of the same key, a device would be two."""
    gateway, device = net.gateway(), net.device()
    turned = net.rotate(device)
    for subject in (did_jwk(device.key), did_jwk(turned.key), did_key(turned.key)):
        cap = taken(net, gateway, chain(net, gateway, selector=Selector.devices(subject)))
        assert net.codes(gateway, pack(gateway, cap, subject)) == ["capability.subject"]
    free = net.make("free")
    cap = taken(net, gateway, chain(net, gateway, selector=Selector.devices(free.did)))
    assert net.codes(gateway, pack(gateway, cap, free.did)) == ["accepted"]
    sound(net)


def test_a_device_whose_did_moved_is_no_subject_under_its_new_name(net: Plant) -> None:
    gateway, device = net.gateway(), net.make()
    old, new = "did:webvh:Qm:example.org", "did:webvh:Qm:example.net"
    span = KeySpan(device.key.cose_key, 0, None, "1-Qm", f"{old}#k")
    for did in (old, new):
        net.aggregator.administer([HistoryTaken(did, "Qm", 1, "1-Qm", bytes(32), (span,), False)])
        if did == old:
            assert enrol(net.aggregator, [replace(device.enrolment, did=old)])["enrolled"]
    cap = taken(net, gateway, chain(net, gateway, selector=Selector.devices(new)))
    assert net.codes(gateway, pack(gateway, cap, new)) == ["capability.subject"]
    sound(net)


def test_capabilities_that_are_over_do_not_count_as_held(
    net: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that gets one each day would be shut out before the year is over."""
    monkeypatch.setattr(showing, "MAX_HELD", 2)
    gateway = net.gateway()
    for n in (1, 2):
        taken(net, gateway, chain(net, gateway, expires=NOW + 10, max_count=n))
    third = chain(net, gateway, expires=NOW + 500)
    refused("delegation.many", lambda: taken(net, gateway, third))
    net.advance(20)
    cap = taken(net, gateway, third)
    assert net.codes(gateway, pack(gateway, cap, at=NOW + 20)) == ["accepted"]
    monkeypatch.setattr(showing, "MAX_SHOWN", 3)
    refused("delegation.many", lambda: taken(net, gateway, chain(net, gateway)))
    sound(net)


def test_a_refused_place_is_not_open_in_the_journal(net: Plant) -> None:
    """Where somebody was is personal, also where he was not allowed to be."""
    gateway = net.gateway()
    cap = taken(net, gateway, chain(net, gateway, region=(Box(0, 0, 1000, 1000),)))
    there = Place(477_654_321, 88_765_432)
    assert net.codes(gateway, pack(gateway, cap, place=there)) == ["capability.region"]
    entries = list(net.aggregator.journal.entries())
    for part in (b"477654321", b"47.7654321", there.lat_e7.to_bytes(4, "big")):
        assert not any(part in entry.delta + entry.leaf for entry in entries)
    sound(net)
