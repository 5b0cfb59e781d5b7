"""Keys of histories, attacked: old keys that go on, a name for two keys, a key of two names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from depin_id.capability import StatusReference, uri_hash
from depin_id.credentials.status import StatusList, issue_bitstring
from depin_id.did.webvh import rotate
from depin_id.did.webvh.authoring import make_document
from depin_id.errors import DepinError
from depin_id.testing import NOW
from tests.identity.delegated import chain, done, pack, shown, sound
from tests.identity.factory import Maker, Plant, refused
from tests.identity.test_histories import CONTROL, Turning
from tests.verify.net import Net, level, picture
from verify.admin import enrol
from verify.entries import Enrolled
from verify.identity import statuses
from verify.identity.entries import HistoryTaken, KeySpan
from verify.identity.issuers import key_at, key_by_kid

COMPANY = "did:example:maker"
METHOD = f"{COMPANY}#key-1"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Plant]:
    """It trusts a manufacturer whose key has the same name before and after it is replaced."""
    with Plant(tmp_path, trusted=[COMPANY]) as made:
        made.maker = Maker("company", COMPANY, METHOD)
        made.history(COMPANY, (METHOD, made.maker.signer.public_key, 0, None))
        yield made


def _replaced(net: Plant, grace_ms: int = 0) -> Maker:
    """The company has another key of the same name now."""
    fresh = Maker("company, later", COMPANY, METHOD)
    old, now = net.maker.signer.public_key, net.now_ms
    net.history(
        COMPANY,
        (METHOD, old, 0, now + grace_ms),
        (METHOD, fresh.signer.public_key, now, None),
    )
    return fresh


def test_a_key_that_was_rotated_away_does_not_enrol_for_ever(net: Net) -> None:
    turning = Turning(net)
    turning.take()
    net.advance(10)
    turning.turned()
    turning.take()
    # The grace is for what was under way, not for who comes in with it.
    (told,) = enrol(net.aggregator, [turning.enrolment()])["refused"]
    assert told["code"] == "registry.did_unbound"
    # However it came in, it counts no longer than its history says.
    enrolled = Enrolled(net.random(16), 0, turning.enrolment())
    net.aggregator.administer([enrolled])
    net.advance(7200)
    late = turning.device.next([level(50, NOW + 7200)])
    assert net.codes(turning.device, late) == ["key.rotated"]
    sound(net)


def test_a_stolen_key_of_an_owner_has_no_grace(net: Net) -> None:
    """Who notices the theft rotates; from then on the thief passes nothing on."""
    owner = Turning(net)
    method = f"{owner.did}#key-1"
    owner.take()
    assert key_at(net.fold.identity, method, owner.did, net.now_ms) == owner.device.key
    net.advance(10)
    fresh = owner.turned()
    owner.take()
    refused("issuer.key", lambda: key_at(net.fold.identity, method, owner.did, net.now_ms))
    kid = owner.device.key.kid
    refused("issuer.key", lambda: key_by_kid(net.fold.identity, owner.did, kid, net.now_ms))
    found = key_by_kid(net.fold.identity, owner.did, fresh.key.kid, net.now_ms)
    assert found == fresh.key
    sound(net)


def test_what_was_taken_stays_good_when_another_key_gets_its_name(company: Plant) -> None:
    net = company
    first, second = net.make("first"), net.make("second")
    lot, certificates = net.maker.lot(first.key, second.key)
    net.batch(lot)
    net.admit(first, certificates[0])
    status = net.make("status")
    certificate = net.maker.birth(status.key, "s", status=3)
    net.status(net.maker.status_list())
    net.advance(5)
    fresh = _replaced(net)
    net.admit(second, certificates[1])
    # Its list was signed by the old key; what is signed anew is by the new one.
    net.admit(status, fresh.birth(status.key, "s", status=3))
    refused("signature.invalid", lambda: net.admit(net.make("late"), certificate))
    net.status(fresh.status_list(9, at_s=NOW + 5))
    sound(net)


def _list(url: str, by: Maker) -> bytes:
    return issue_bitstring(
        StatusList(bytes(16_384)),
        uri=url,
        purpose="revocation",
        issuer=by.did,
        signer=by.signer,
        verification_method=by.method,
        now_ms=NOW * 1000,
    )


def test_a_list_says_the_same_before_and_after_a_restart(company: Plant) -> None:
    net, gateway, url = company, company.gateway(), "https://example.org/status/owner"
    net.status(_list(url, net.maker), url)
    data = chain(
        net,
        gateway,
        by=net.maker.signer,
        issuer=COMPANY,
        status=StatusReference(uri_hash(url), 7),
    )
    proof = shown(net, gateway.signer, data)
    cap = bytes.fromhex(done(net, "capability", chain=data.hex(), proof=proof.hex())["id"])
    net.advance(5)
    _replaced(net)
    subject = f"{COMPANY}#lobby"
    assert net.codes(gateway, pack(gateway, cap, subject, at=NOW + 5)) == ["accepted"]
    statuses._held.clear()  # as a restart does, or 64 other lists
    assert net.codes(gateway, pack(gateway, cap, subject, at=NOW + 4)) == ["accepted"]
    statuses._held.clear()
    sound(net)


def test_in_its_grace_the_old_key_does_not_hide_the_new_one(company: Plant) -> None:
    net = company
    fresh = _replaced(net, grace_ms=60_000)
    found = key_at(net.fold.identity, METHOD, COMPANY, net.now_ms)
    assert found == fresh.signer.public_key
    device = net.make("new")
    net.admit(device, fresh.birth(device.key, "new"))
    sound(net)


def test_one_key_under_two_names_is_one_key(net: Net) -> None:
    turning = Turning(net)
    key = turning.device.key
    turning.take()
    enrol(net.aggregator, [turning.enrolment()])
    net.advance(10)
    fresh = turning.net.make("fresh")
    turning.log += rotate(
        turning.history,
        CONTROL[0],
        now_ms=net.now_ms,
        document=make_document(turning.did, {"a": fresh.key, "b": fresh.key, "c": key}),
    )
    turning.take()
    held = net.fold.registry.device(turning.did)
    assert held is not None
    assert sorted(p.key.thumbprint for p in held.keys) == sorted(
        {key.thumbprint, fresh.key.thumbprint}
    )
    assert net.fold.registry.candidates(fresh.key.kid) == (fresh.key.thumbprint,)
    # Under one name it ends, under the other it goes on.
    net.advance(10)
    turning.log += rotate(
        turning.history,
        CONTROL[0],
        now_ms=net.now_ms,
        document=make_document(turning.did, {"b": fresh.key}),
    )
    turning.take()
    net.advance(7200)
    at = NOW + 7220
    assert net.codes(fresh, fresh.next([level(50, at)])) == ["accepted"]
    assert net.codes(turning.device, turning.device.next([level(50, at)])) == ["key.rotated"]
    # The operator's rotation ends the one that there is.
    done(net, "rotate", did=turning.did, new_key=net.make("last").did, at_once=True)
    assert net.codes(fresh, fresh.next([level(50, at - 1)])) == ["key.rotated"]
    sound(net)


def test_a_history_that_fits_one_of_two_devices_changes_neither(net: Net) -> None:
    old, new = net.device("old"), net.device("new")
    other = net.make("other")
    first, moved = old.did, new.did
    net.aggregator.administer([HistoryTaken(first, "Qm", 1, "1-Qm", bytes(32), (), False)])
    before = picture(net.fold)
    span = KeySpan(other.key.cose_key, net.now_ms, None, "2-Qm", f"{moved}#k")
    with pytest.raises(DepinError):
        net.aggregator.administer([HistoryTaken(moved, "Qm", 2, "2-Qm", bytes(32), (span,), False)])
    assert picture(net.fold) == before
    assert net.codes(old, old.next([level()])) == ["accepted"]
    sound(net)


def test_documents_that_fit_alone_and_not_together_stop_nothing(net: Net) -> None:
    """One refusal among many enrolments leaves the others, and the aggregator, as they are."""
    turning, second = Turning(net), net.make("second")
    keys = {"key-1": turning.device.key, "key-2": second.key}
    turning.log += rotate(
        turning.history,
        CONTROL[0],
        now_ms=net.now_ms,
        document=make_document(turning.did, keys),
    )
    turning.take()
    honest = net.make("honest")
    twin = replace(second.enrolment, did=turning.did)
    together = [turning.enrolment(), second.enrolment, twin, honest.enrolment]
    answer = enrol(net.aggregator, together)
    assert answer["enrolled"] == [turning.did, honest.did]
    assert [item["code"] for item in answer["refused"]] == [
        "registry.duplicate_key",
        "registry.duplicate_key",
    ]
    assert net.codes(honest, honest.next([level()])) == ["accepted"]
    sound(net)


def test_a_history_with_anothers_key_stops_nothing(net: Net) -> None:
    other, honest = net.device("other"), net.make("honest")
    turning = Turning(net)
    keys = {"key-1": turning.device.key, "key-2": other.key}
    turning.log += rotate(
        turning.history, CONTROL[0], now_ms=net.now_ms, document=make_document(turning.did, keys)
    )
    turning.take()
    answer = enrol(net.aggregator, [honest.enrolment, turning.enrolment()])
    assert answer["enrolled"] == [honest.did]
    assert answer["refused"][0]["code"] == "registry.duplicate_key"
    assert net.codes(honest, honest.next([level()])) == ["accepted"]
    sound(net)
