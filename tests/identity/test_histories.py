"""Which key of a DID counts when: rotation under way, backdating, old logs, second logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from depin_id._testing.world import NOW, TestDevice, key_from_seed
from depin_id.did.webvh import History, create, deactivate, rotate, verify_log
from depin_id.did.webvh.authoring import make_document
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, CredentialError, DIDError
from depin_id.keys import PublicKey
from tests.verify.net import Net, level, picture
from verify.admin import enrol, perform
from verify.audit import AuditReport, audit
from verify.dataset import verify_dataset
from verify.identity.entries import HistoryTaken, KeySpan
from verify.identity.issuers import key_at

CONTROL = [key_from_seed("webvh", f"update {n}") for n in range(4)]


class Turning:
    """A device whose DID is a did:webvh, and its controller's log."""

    def __init__(self, net: Net, name: str = "turning") -> None:
        self.net, self.made = net, 0
        self.device = self._next(name)
        self.log = create(
            "example.org",
            CONTROL[0],
            now_ms=net.now_ms - 1000,
            document=make_document("did:webvh:{SCID}:example.org", {"key-1": self.device.key}),
        )
        self.did = self.history.did

    def _next(self, name: str) -> TestDevice:
        self.made += 1
        return self.net.make(f"{name} {self.made}")

    @property
    def history(self) -> History:
        return verify_log(self.log, now_ms=self.net.now_ms)

    def turned(self, *, at_ms: int | None = None, name: str = "next") -> TestDevice:
        """A version with another device key; what is returned signs with it."""
        fresh = self._next(name)
        document = make_document(self.did, {f"key-{self.made}": fresh.key})
        self.log += rotate(
            self.history, CONTROL[0], now_ms=at_ms or self.net.now_ms, document=document
        )
        return fresh

    def take(self, log: bytes | None = None) -> dict[str, object]:
        data = self.log if log is None else log
        return perform(self.net.aggregator, {"op": "history", "log": data.decode()})

    def enrolment(self) -> Enrolment:
        return replace(self.device.enrolment, did=self.did)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


@pytest.fixture
def turning(net: Net) -> Turning:
    made = Turning(net)
    made.take()
    answer = enrol(net.aggregator, [made.enrolment()])
    assert answer["enrolled"] == [made.did], answer
    return made


def _sound(net: Net) -> None:
    """What the journal alone gives is what is known, judged again the same, complete."""
    assert picture(net.replayed()) == picture(net.fold)
    net.reopen()
    assert picture(net.replayed()) == picture(net.fold)
    report = audit(net.root)
    assert report.ok, report
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete


def test_rows_keep_the_version_and_the_head(net: Net, turning: Turning) -> None:
    net.send(turning.device, turning.device.next([level()]))
    first = turning.history.last.version_id
    net.advance(60)
    fresh = turning.turned()
    turning.take()
    second = turning.history.last.version_id
    net.send(fresh, fresh.next([level(51, NOW + 60)]))
    # Within the grace the key before still counts: its version, under the newer head.
    net.send(turning.device, turning.device.next([level(52, NOW + 1)]))
    assert [item.did for item in net.records()] == [
        f"{turning.did}?versionId={first}&head={first}",
        f"{turning.did}?versionId={second}&head={second}",
        f"{turning.did}?versionId={first}&head={second}",
    ]
    assert {item.subject for item in net.records()} == {turning.did}
    _sound(net)


def test_a_rotation_under_way_loses_nothing(net: Net, turning: Turning) -> None:
    """New key first, old key late, in any order around the moment the history is taken."""
    before = turning.device.next([level(50, NOW)])
    net.advance(10)
    fresh = turning.turned()
    early = fresh.next([level(51, NOW + 10)])
    assert net.send(fresh, early).quarantined == 1
    answer = turning.take()
    assert answer["parked"]["accepted"] == 1  # type: ignore[index]
    assert net.last.received_at == net.now_ms and "parked" in net.last.flags
    net.advance(3000)
    assert net.codes(turning.device, before) == ["accepted"]
    _sound(net)


def test_a_backdated_reading_after_the_rotation_is_refused(net: Net, turning: Turning) -> None:
    net.advance(10)
    turning.turned()
    turning.take()
    net.advance(3601)
    # The thief of the old key says that it was measured, and sealed, long before.
    forged = turning.device.next([level(90, NOW - 60)])
    assert net.codes(turning.device, forged) == ["key.rotated"]
    _sound(net)


def test_an_old_log_and_a_second_log_are_refused(net: Net, turning: Turning) -> None:
    first = turning.log
    net.advance(10)
    turning.turned(name="mine")
    mine = turning.log
    turning.take()
    size = net.size
    with pytest.raises(DIDError) as refused:
        turning.take(first)
    assert refused.value.code == "did.log_rolled_back"
    # The same update key signs another second version: a split view.
    turning.log = first
    turning.turned(name="other")
    with pytest.raises(DIDError) as refused:
        turning.take()
    assert refused.value.code == "did.log_forked"
    assert net.size == size
    assert turning.take(mine)["changed"] is False


def test_a_log_that_does_not_verify_changes_nothing(net: Net, turning: Turning) -> None:
    size = net.size
    for log in (b"", b"{}\n", turning.log.replace(b"key-1", b"key-9"), b"\xff\n"):
        with pytest.raises((DIDError, ConfigError)):
            perform(
                net.aggregator,
                {"op": "history", "log": log.decode("utf-8", "surrogateescape")},
            )
    assert net.size == size


def test_a_did_that_nothing_binds_is_not_enrolled(net: Net) -> None:
    loose = Turning(net, "loose")
    answer = enrol(net.aggregator, [loose.enrolment()])
    assert [item["code"] for item in answer["refused"]] == ["registry.did_unbound"]
    loose.take()
    stranger = net.make("stranger")
    answer = enrol(net.aggregator, [replace(stranger.enrolment, did=loose.did)])
    assert [item["code"] for item in answer["refused"]] == ["registry.did_unbound"]


def test_a_key_of_another_device_cannot_be_taken_over(net: Net, turning: Turning) -> None:
    other = net.device("other")
    document = make_document(turning.did, {"stolen": other.key})
    net.advance(1)
    turning.log += rotate(turning.history, CONTROL[0], now_ms=net.now_ms, document=document)
    with pytest.raises(ConfigError) as refused:
        turning.take()
    assert refused.value.code == "registry.duplicate_key"
    assert net.codes(other, other.next([level()])) == ["accepted"]
    _sound(net)


def test_an_issuer_is_believed_by_receipt_time(net: Net) -> None:
    maker = Turning(net, "maker")
    maker.take()
    identity = net.fold.identity
    method = f"{maker.did}#key-1"

    def key(at: int) -> PublicKey:
        return key_at(net.fold.identity, method, maker.did, at)

    assert key(net.now_ms) == maker.device.key
    net.advance(60)
    maker.turned()
    maker.take()
    # No grace: nothing of an issuer is under way that he could not sign again.
    assert key(net.now_ms - 1) == maker.device.key
    attempts: tuple[Callable[[], PublicKey], ...] = (
        lambda: key(net.now_ms),
        lambda: key_at(identity, f"{maker.did}#key-9", maker.did, net.now_ms),
        lambda: key_at(identity, f"{maker.did}x#key-1", maker.did, net.now_ms),
        lambda: key_at(identity, "did:web:example.org#a", "did:web:example.org", net.now_ms),
    )
    for wrong in attempts:
        with pytest.raises(CredentialError):
            wrong()


def test_a_deactivated_did_ends_all_keys(net: Net, turning: Turning) -> None:
    net.advance(5)
    turning.log += deactivate(turning.history, CONTROL[0], now_ms=net.now_ms)
    assert turning.take()["deactivated"] is True
    net.advance(3601)
    assert net.codes(turning.device, turning.device.next([level()])) == ["key.rotated"]
    with pytest.raises(CredentialError, match="issuer.unknown"):
        key_at(net.fold.identity, f"{turning.did}#key-1", turning.did, net.now_ms)
    _sound(net)


def test_an_audit_holds_histories_against_their_logs(net: Net, turning: Turning) -> None:
    net.advance(10)
    turning.turned()
    turning.take()
    folder = net.path / "dids" / "turning"
    folder.mkdir(parents=True)
    log = folder / "did.jsonl"
    log.write_bytes(turning.log)
    net.aggregator.publish()

    def found() -> AuditReport:
        return audit(net.root, dids=folder.parent)

    report = found()
    assert report.ok and (report.histories.checked, report.histories.unchecked) == (2, 0)
    without = audit(net.root)
    assert without.ok and without.histories.unchecked == 2
    # What the controller published later changes nothing about what was taken.
    whole = turning.log
    turning.turned(at_ms=net.now_ms + 1)
    log.write_bytes(turning.log)
    assert found().ok
    log.write_bytes(whole.splitlines(keepends=True)[0])
    assert "another than the one" in _difference(found())
    # An operator writes a key of his own into the history of somebody's DID.
    log.write_bytes(whole)
    known = net.fold.identity.histories[turning.did]
    planted = KeySpan(net.make("own").key.cose_key, 0, None, "9-Qm", f"{turning.did}#own")
    net.aggregator.administer(
        [
            HistoryTaken(
                turning.did,
                known.scid,
                known.number,
                known.version_id,
                known.log,
                (*known.spans, planted),
                False,
            )
        ]
    )
    net.aggregator.publish()
    assert audit(net.root).ok
    assert "other keys than its log has" in _difference(found())


def _difference(report: AuditReport) -> str:
    assert report.difference is not None
    return f"{report.difference.what} {report.difference.expected} {report.difference.found}"
