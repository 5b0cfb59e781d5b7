"""Certificates, batches, status lists and DIDs: what counts as evidence, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id import credentials
from depin_id.did.jwk import did_jwk
from depin_id.enrolment import Enrolment
from depin_id.errors import DepinError
from depin_id.possession import enrol_statement
from depin_id.statements import ENROL, write_statement
from depin_id.testing import NOW, TestDevice
from tests.identity.factory import LIST_URL, Maker, Plant, checked, holds_nothing, refused
from tests.verify.net import level
from verify.admin import perform
from verify.identity.state import IdentityState
from verify.verdict import ACCEPTED

# --- certificates -----------------------------------------------------------------------------


def test_certificates_that_do_not_count(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, other = net.make(), net.make("other")
        maker, stranger = net.maker, Maker("stranger")

        def with_(certificate: bytes) -> Callable[[], object]:
            return lambda: net.admit(device, certificate)

        refused("credential.untrusted", with_(stranger.birth(device.key)))
        # In the trusted one's name, by another's key.
        forger = Maker("stranger", did=maker.did, method=maker.method)
        refused("signature.invalid", with_(forger.birth(device.key)))
        refused("credential.subject", with_(maker.birth(other.key)))
        ended = maker.birth(device.key, valid_until="2025-10-09T00:00:00Z")
        refused("credential.expired", with_(ended))
        refused("credential.unsigned", with_(credentials.write(maker.body(device.key))))
        refused("json.malformed", with_(b"{"))
        refused("credential.type", with_(b"{}"))
        holds_nothing(net, device)


def test_an_empty_list_trusts_nobody(tmp_path: Path) -> None:
    with Plant(tmp_path, trusted=[]) as net:
        device = net.make()
        certificate = net.maker.birth(device.key)
        refused("credential.untrusted", lambda: net.admit(device, certificate))
        statement = write_statement(ENROL, net.proof(device, certificate), certificate)
        assert net.say(device, statement) == []
        assert net.fold.tally.counted["statement.closed"] == 1
        holds_nothing(net, device)


def test_a_serial_is_one_device_s(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        one, two, three = (net.make(name) for name in ("one", "two", "three"))
        net.admit(one, net.maker.birth(one.key, "7"))
        copy = net.maker.birth(two.key, "7")
        refused("registry.serial", lambda: net.admit(two, copy))
        net.reopen()
        refused("registry.serial", lambda: net.admit(two, copy))
        net.admit(three, net.maker.birth(three.key, "8"))
        net.revoke(one)
        net.admit(two, copy)
        state = net.fold.identity
        assert state.serials == IdentityState.unpack(state.pack()).serials
        assert state.serials[net.maker.did, "7"] == two.did
        checked(net)


DID = "did:webvh:QmScid:example.org:maker"


def test_a_manufacturer_that_rotates_its_key(tmp_path: Path) -> None:
    """The old key signs nothing more; the batch that was taken before stays good."""
    maker = Maker("first", did=DID, method=f"{DID}#first")
    newer = Maker("second", did=DID, method=f"{DID}#second")
    with Plant(tmp_path, trusted=[DID]) as net:
        devices = [net.make(f"d{n}") for n in range(4)]
        whole, certificates = maker.lot(*[device.key for device in devices[:2]])
        lone = maker.birth(devices[2].key, "lone")
        refused("issuer.unknown", lambda: net.batch(whole))
        first = (maker.method, maker.signer.public_key, NOW * 1000, None)
        net.history(DID, first)
        refused("batch.unknown", lambda: net.admit(devices[0], certificates[0]))
        assert net.batch(whole)["devices"] == 2
        assert net.batch(whole)["changed"] is False
        net.admit(devices[0], certificates[0])

        net.advance(3600)
        ended = (*first[:3], net.now_ms)
        net.history(DID, ended, (newer.method, newer.signer.public_key, net.now_ms, None))
        net.advance(1)
        assert net.admit(devices[1], certificates[1])["did"] == devices[1].did
        refused("issuer.key", lambda: net.admit(devices[2], lone))
        # Whoever stole the old key dates what he signs back; the receipt time decides.
        refused("issuer.key", lambda: net.batch(maker.lot(devices[3].key)[0]))
        assert net.admit(devices[2], newer.birth(devices[2].key, "lone"))["did"]
        birth = net.fold.identity.births[devices[1].did]
        assert birth.batch.hex() in whole.decode() or birth.batch in net.fold.identity.batches
        assert net.replayed().identity.pack() == net.fold.identity.pack()
        checked(net)


def test_a_leaf_that_is_not_under_the_root(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        one, two, more = (net.make(name) for name in ("one", "two", "more"))
        whole, certificates = net.maker.lot(one.key, two.key)
        net.batch(whole)
        swapped = certificates[0].replace(b'"lot-0"', b'"lot-9"')
        refused("batch.not_included", lambda: net.admit(one, swapped))
        refused("credential.subject", lambda: net.admit(more, certificates[0]))
        other = Maker("stranger")
        refused("credential.untrusted", lambda: net.batch(other.lot(more.key)[0]))
        refused("credential.type", lambda: net.batch(net.maker.birth(one.key)))


def test_revoked_certificates_and_lists_that_are_too_old(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, bad = net.make(), net.make("bad")
        good = net.maker.birth(device.key, "1", status=5)
        gone = net.maker.birth(bad.key, "2", status=6)
        net.send(device, device.next([level()]))
        # Without a list it cannot be decided: nothing changes, and the proof stays good.
        proof = net.proof(device, good)
        statement = enrol_statement(proof, good)
        undecided = "credential.status_unknown"
        assert net.result(device, net.say(device, statement), statement) == undecided
        assert net.aggregator.quarantine.counts().parked == 1
        holds_nothing(net, device)
        net.status(net.maker.status_list(6))
        assert net.result(device, net.say(device, statement), statement) == ACCEPTED
        assert net.last.code == ACCEPTED
        refused("credential.revoked", lambda: net.admit(bad, gone))
        net.advance(8 * 86_400)
        late = net.make("late")
        certificate = net.maker.birth(late.key, "3", status=7)
        refused(undecided, lambda: net.admit(late, certificate))
        net.status(net.maker.status_list(6, at_s=net.now_ms / 1000))
        net.admit(late, certificate)
        net.reopen(forget_snapshot=True)
        checked(net)


def test_status_lists_that_are_not_taken(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        maker = net.maker
        net.advance(60)
        net.status(maker.status_list(1, at_s=NOW + 50))
        assert net.status(maker.status_list(1, at_s=NOW + 50))["changed"] is False
        refused("status.older", lambda: net.status(maker.status_list()))
        refused("status.issuer", lambda: net.status(Maker("x").status_list(at_s=NOW + 55)))
        refused("status.url", lambda: net.status(maker.status_list(), "https://example.org/2"))
        refused("status.stale", lambda: net.status(maker.status_list(at_s=NOW - 9 * 86_400)))
        forged = maker.status_list(at_s=NOW + 55).replace(LIST_URL.encode(), LIST_URL.encode())
        with pytest.raises(DepinError):
            net.status(forged[:-40] + forged[-39:])
        checked(net)


# --- other DIDs -------------------------------------------------------------------------------


def test_a_did_is_bound_to_its_key(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        device, thief = net.make(), net.make("thief")
        web = "did:webvh:QmOther:example.org:device"

        def under(did: str, who: TestDevice) -> Enrolment:
            return Enrolment(did, who.key, profile="noise")

        def admit(did: str, who: TestDevice, named: TestDevice) -> object:
            certificate = net.maker.birth(named.key, did[:24], did=did)
            return net.admit(who, certificate, enrolment=under(did, who))

        # The operator's word alone binds nothing.
        document = json.dumps(under(web, device).to_json())
        answer = perform(net.aggregator, {"op": "enrol", "documents": document})
        assert answer["refused"][0]["code"] == "registry.did_unbound"
        refused("credential.subject_key", lambda: admit(web, thief, device))
        assert admit(web, device, device)
        jwk = net.make("jwk", curve="p256")
        assert admit(did_jwk(jwk.key), jwk, jwk)
        # With a history: the key that counts now, never one that was replaced.
        known = "did:webvh:QmKnown:example.org:device"
        old, new = net.make("old"), net.make("new")
        at = net.now_ms
        net.history(
            known, (f"{known}#1", old.key, at - 1000, at), (f"{known}#2", new.key, at, None)
        )
        refused("registry.did_unbound", lambda: admit(known, old, old))
        assert net.admit(new, net.maker.birth(old.key, "9", did=known), enrolment=under(known, new))
        checked(net)


def test_a_policy_of_evidence_refuses_the_operator_s_word(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        net.policy(net.text.replace("{more}", "") + 'enrolment = "evidence"\n')
        device = net.make()
        document = json.dumps(device.enrolment.to_json())
        request = {"op": "enrol", "documents": document}
        refused("registry.evidence_required", lambda: perform(net.aggregator, request))
        holds_nothing(net, device)
        net.admit(device, net.maker.birth(device.key))
        checked(net)
