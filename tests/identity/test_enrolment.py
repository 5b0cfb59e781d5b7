"""Enrolment with proof: what lets a device in, what keeps it out, and what the journal keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id.ack import read_challenge
from depin_id.errors import DepinError
from depin_id.possession import enrol_statement, prove, read_proof
from depin_id.testing import NOW, TestDevice
from tests.identity.factory import Maker, Plant, checked, holds_nothing, refused
from tests.verify.net import level, picture
from verify.admin import perform
from verify.identity.entries import EvidenceTaken
from verify.replay import Opener
from verify.store import NewBatch
from verify.verdict import ACCEPTED

# --- from a stranger to a device --------------------------------------------------------------


def test_unknown_today_enrolled_tomorrow(tmp_path: Path) -> None:
    """Parked bytes are taken up at their receipt time, in order, once; everything audits."""
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        sent = []
        for n in range(5):
            sent.append(device.next([level(50 + n, NOW - 60 + n)]))
            assert net.send(device, sent[-1]).quarantined == 1
            net.advance(10)
        assert not net.leaves()
        net.advance(86_400)
        assert net.apply(device, certificate) == ACCEPTED

        leaves = net.leaves()
        assert [leaf.code for leaf in leaves] == [ACCEPTED] * 5
        assert [leaf.received_at for leaf in leaves] == [(NOW + 10 * n) * 1000 for n in range(5)]
        assert [leaf.n for leaf in leaves] == list(range(5))
        assert all("parked" in leaf.flags for leaf in leaves)
        assert net.aggregator.quarantine.counts().parked == 0
        assert net.codes(device, *sent) == [ACCEPTED] * 5
        assert len(net.leaves()) == 5
        net.reopen(forget_snapshot=True)
        assert picture(net.replayed()) == picture(net.fold)
        assert net.replayed().identity.pack() == net.fold.identity.pack()
        net.reopen()
        assert net.fold.identity.births[device.did].serial == "1"
        checked(net)


def test_what_was_sent_before_counts_only_if_the_proof_asks_and_the_policy_allows(
    tmp_path: Path,
) -> None:
    with Plant(tmp_path, more="[time]\nmax_age_s = 3600") as net:
        old, late = net.make("old"), net.make("late")
        net.send(old, old.next([level()]))
        net.advance(7200)
        for device in (old, late):
            device.now = net.now_ms // 1000
            net.send(device, device.next([level(50, device.now)]))
        net.advance(10)
        net.admit(old, net.maker.birth(old.key, "old"))
        assert [leaf.code for leaf in net.leaves()] == ["device.not_yet", ACCEPTED]
        net.admit(late, net.maker.birth(late.key, "late"), earlier=False)
        assert net.last.code == "device.not_yet"
        checked(net)


def test_enrolment_and_evidence_are_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill finds both entries or none: they are written by one append."""
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        proof = net.proof(device, certificate)
        before, appends = net.size, []
        append = net.aggregator.journal.append

        def counted(batch: NewBatch) -> int:
            appends.append(batch)
            return append(batch)

        monkeypatch.setattr(net.aggregator.journal, "append", counted)
        answer = net.request(proof, certificate)
        assert answer["index"] == before and len(appends) == 1
        entries = list(net.aggregator.journal.entries(before))
        opened = [Opener(net.fold, net.aggregator.keys).open(entry).entry for entry in entries[:2]]
        assert type(opened[0]).__name__ == "Enrolled"
        assert isinstance(opened[1], EvidenceTaken) and opened[1].private is not None
        assert proof in opened[1].private and certificate in opened[1].private
        # Neither leaves nor deltas say whose it is.
        for entry in entries[:2]:
            for open_part in (entry.leaf, entries[1].delta):
                assert device.did.encode() not in open_part
                assert net.maker.did.encode() not in open_part
        checked(net)


def test_erasure_takes_the_evidence_along(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device = net.make()
        net.admit(device, net.maker.birth(device.key))
        index = net.size - 1
        net.erase(device)
        assert not net.fold.identity.births and not net.fold.identity.serials
        net.reopen(forget_snapshot=True)
        entry = net.aggregator.journal.entry(index)
        opened = Opener(net.fold, net.aggregator.keys).open(entry)
        assert opened.erased and isinstance(opened.entry, EvidenceTaken)
        assert opened.entry.private is None
        assert net.fold.identity.nonces  # what was used once stays used
        checked(net)


def test_a_device_of_the_operator_can_show_evidence_later(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device = net.device()
        certificate = net.maker.birth(device.key)
        answer = net.admit(device, certificate)
        assert answer["known"] and net.fold.identity.births[device.did].model == "Meter 3"
        refused("registry.duplicate_device", lambda: net.admit(device, certificate))
        checked(net)


# --- proofs -----------------------------------------------------------------------------------


def test_a_replayed_proof(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        proof = net.proof(device, certificate)
        net.request(proof, certificate)
        refused("possession.replayed", lambda: net.request(proof, certificate))
        net.reopen(forget_snapshot=True)
        refused("possession.replayed", lambda: net.request(proof, certificate))
        net.erase(device)
        refused("possession.replayed", lambda: net.request(proof, certificate))
        statement = enrol_statement(proof, certificate)
        assert net.result(device, net.say(device, statement), statement) == "possession.replayed"
        checked(net)


def test_a_statement_that_is_sent_again_is_told_the_same(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        statement = enrol_statement(net.proof(device, certificate), certificate)
        assert net.result(device, net.say(device, statement), statement) == ACCEPTED
        size = net.size
        assert net.result(device, net.say(device, statement), statement) == ACCEPTED
        assert net.size == size


def test_proofs_that_prove_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, other = net.make(), net.make("other")
        certificate = net.maker.birth(device.key)
        nonce = net.challenge(device)

        def by(signer: TestDevice, **how: object) -> Callable[[], object]:
            return lambda: net.admit(signer, certificate, **how)

        # Of another key: with its own enrolment the certificate is not its.
        refused("credential.subject", by(other))
        # Of another network: the signature is not for this one.
        elsewhere = Maker("elsewhere").did
        refused("signature.invalid", by(device, nonce=nonce, network=elsewhere))
        # Another's challenge, an invented one, an old one.
        theirs = net.challenge(other)
        refused("possession.challenge", by(device, nonce=theirs))
        refused("possession.challenge", by(device, nonce=b"\xff" * 16))
        # Shown with another certificate than it was made with, or made with none.
        proof = net.proof(device, net.maker.birth(device.key, "2"), nonce=nonce)
        refused("possession.certificate", lambda: net.request(proof, certificate))
        none = prove(device.signer, device.enrolment, nonce=nonce, network=net.did)
        refused("possession.certificate", lambda: net.request(none, certificate))
        net.advance(961)
        refused("possession.expired", by(device, nonce=nonce))
        holds_nothing(net, device)
        assert net.admit(device, certificate)["did"] == device.did
        checked(net)


def test_a_proof_of_one_key_in_the_name_of_another(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, thief = net.make(), net.make("thief")
        nonce = net.challenge(thief)
        refused(
            "possession.key",
            lambda: prove(thief.signer, device.enrolment, nonce=nonce, network=net.did),
        )
        own = prove(thief.signer, thief.enrolment, nonce=nonce, network=net.did)
        # The enrolment exchanged in what was signed.
        theirs = own.replace(thief.key.cose_key, device.key.cose_key)
        refused("possession.key", lambda: read_proof(theirs, network=net.did))
        both = theirs.replace(thief.key.kid, device.key.kid)
        refused("signature.invalid", lambda: read_proof(both, network=net.did))


def test_a_challenge_is_fresh_and_for_one_key(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, other = net.make(), net.make("other")
        first = net.challenge(device)
        assert net.challenge(device) == first != net.challenge(other)
        net.admit(device, net.maker.birth(device.key), nonce=first)
        assert net.challenge(device) != first  # a used one is not given out again
        net.advance(61)
        assert net.challenge(other) != first
        data = perform(net.aggregator, {"op": "challenge", "thumbprint": "ab" * 32})["challenge"]
        read = read_challenge(bytes.fromhex(data), card=net.card, recipient=b"\xab" * 32)
        assert read.expires == net.now_ms // 1000 + 600
        for asked in ({}, {"did": "did:key:zNone"}, {"thumbprint": "ab"}, {"thumbprint": "x" * 64}):
            with pytest.raises(DepinError):
                perform(net.aggregator, {"op": "challenge", **asked})
