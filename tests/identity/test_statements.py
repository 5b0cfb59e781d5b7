"""Statements by the uplink: heard within a rate, answered where they came from, never a crash."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from depin_id.ack import read_challenge
from depin_id.possession import enrol_statement
from depin_id.statements import CHALLENGE, ENROL, write_statement
from tests.fuzz.mutate import mutated
from tests.identity.factory import Plant, checked, holds_nothing
from tests.verify.net import level
from verify.identity import desk
from verify.verdict import ACCEPTED

# --- statements -------------------------------------------------------------------------------


def test_self_service_can_be_closed_and_challenges_are_given_all_the_same(tmp_path: Path) -> None:
    with Plant(tmp_path, self_service=False) as net:
        device = net.make()
        [down] = net.ask(device)
        read_challenge(down.data, card=net.card, recipient=device.key.thumbprint)
        certificate = net.maker.birth(device.key)
        statement = enrol_statement(net.proof(device, certificate), certificate)
        assert net.say(device, statement) == []
        assert net.fold.tally.counted["statement.closed"] == 1
        holds_nothing(net, device)


def test_who_comes_by_itself_has_only_its_own_word(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        gateway = net.make("gateway", role="gateway")
        owned = net.make("owned", owner="did:example:rich")
        for name, device in (("1", gateway), ("2", owned)):
            certificate = net.maker.birth(device.key, name)
            assert net.apply(device, certificate) == "registry.self_service"
            net.admit(device, certificate)
        checked(net)


def test_statements_that_are_none(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        good = enrol_statement(net.proof(device, certificate), certificate)
        bad = [
            good[:-1],
            good + b"\0",
            write_statement("dance"),
            write_statement(CHALLENGE),
            write_statement(CHALLENGE, b"short"),
            write_statement(ENROL),
            write_statement(ENROL, b"", b""),
            write_statement(ENROL, good, good[:100]),
            b"\x82\x71depin-statement/1\x61",
            b"\x83\x71depin-statement/1\x00\x41a",
        ]
        for statement in bad:
            before = dict(net.fold.tally.counted)
            assert net.say(device, statement) == [], statement
            after = net.fold.tally.counted
            assert sum(after.values()) == sum(before.values()) + 1
        holds_nothing(net, device)
        # A file has nobody to answer: what is no bundle is refused there as before.
        net.send("file:x", good)
        assert net.fold.registry.device(device.did) is None
        assert net.result(device, net.say(device, good), good) == ACCEPTED
        checked(net)


def test_statements_have_the_rate_of_strangers(tmp_path: Path) -> None:
    rate = "[quota]\nunauthenticated_per_minute = 1\nunauthenticated_burst = 3"
    with Plant(tmp_path, more=rate) as net:
        device, other = net.make(), net.make("other")
        told = [len(net.ask(device)) for _ in range(5)]
        assert told == [1, 1, 1, 0, 0]
        assert net.fold.tally.counted["quota.exceeded"] == 2
        assert len(net.ask(other)) == 1
        net.advance(60)
        assert len(net.ask(device)) == 1


def test_answers_go_to_the_topic_that_asked(tmp_path: Path) -> None:
    """A gateway may carry a statement; nobody can have answers sent to another's topic."""
    with Plant(tmp_path) as net:
        device, gateway = net.make(), net.gateway()
        asked = write_statement(CHALLENGE, device.key.thumbprint)
        [down] = net.ingest(net.message(gateway, asked))[1]
        assert down.kid == gateway.key.kid
        read_challenge(down.data, card=net.card, recipient=device.key.thumbprint)


def test_a_device_reads_what_follows_its_own_enrolment(tmp_path: Path) -> None:
    """Statement and envelopes in one batch: the enrolment comes first."""
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        proof = net.proof(device, certificate, earlier=False)
        statement = enrol_statement(proof, certificate)
        messages = [
            net.message(device, statement),
            net.message(device, device.next([level()])),
        ]
        downlinks = net.ingest(*messages)[1]
        codes = [item.code for ack in net.results(device, downlinks) for item in ack.items]
        assert codes == [ACCEPTED, ACCEPTED]
        numbers = [ack.number for ack in net.results(device, downlinks)]
        assert numbers == sorted(set(numbers))
        checked(net)


def test_whatever_comes_the_intake_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements changed anywhere, also inside of what is signed: answered or counted, no crash."""
    monkeypatch.setattr(desk, "_POISON", ())  # not even by the net below the handlers
    draw = Random("statements")
    rate = "[quota]\nunauthenticated_per_minute = 0"
    with Plant(tmp_path, more=rate) as net:
        device = net.make()
        certificate = net.maker.birth(device.key, status=3)
        net.status(net.maker.status_list(1))
        _, (leaf,) = net.maker.lot(device.key)
        nonce = net.challenge(device)
        proof = net.proof(device, certificate, nonce=nonce)
        seeds = [certificate, leaf, proof, write_statement(CHALLENGE, bytes(32))]
        statements = []
        for n in range(400):
            shown = mutated(draw.choice(seeds[:2]), draw, seeds)
            # Signed anew, so that what is behind the digest is looked at as well.
            signed = net.proof(device, shown, nonce=nonce)
            good = enrol_statement(signed, shown)
            statements.append(good if n % 2 else mutated(good, draw, seeds))
        for at in range(0, len(statements), 50):
            net.say(device, *statements[at : at + 50])
        assert sum(net.fold.tally.counted.values()) >= 350
        if net.fold.registry.device(device.did) is None:
            assert net.apply(device, certificate) == ACCEPTED
        checked(net)


def test_a_defect_in_a_handler_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> desk.StatementResult:
        raise KeyError("a defect")

    monkeypatch.setitem(desk.handlers(), CHALLENGE, broken)
    with Plant(tmp_path) as net:
        device, known = net.make(), net.device("known")
        assert net.ask(device) == []
        assert net.fold.tally.counted["statement.malformed"] == 1
        assert net.codes(known, known.next([level()])) == [ACCEPTED]
        checked(net)
