"""Operating keys replaced by a newer card: planned, lost, stolen; nothing goes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depin_id.ack import Ack, sign_ack
from depin_id.device import Device
from depin_id.errors import DepinError, NetworkError
from depin_id.keyfile import read_key
from depin_id.keys import SoftwareSigner
from depin_id.network import NetworkCard, load_card, network_did, read_card, sign_card
from depin_id.networkdir import NetworkDir
from depin_id.readings import reading
from depin_id.reissue import CardRequest, reissue
from firmware_bridge import Sender
from tests.brokers import mosquitto
from tests.endtoend.world import aggregator_process, check_audit, make_network, until
from tests.verify.cli_site import Site
from verify import admin, cardchange
from verify.aggregator import Aggregator
from verify.entries import CardSet
from verify.ingest import Message
from verify.log import NoteKey, read_checkpoint
from verify.log.note import split_note
from verify.operating import new_keys
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt
from verify.workspace import Workspace


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    made.init()
    yield made
    made.close()


def _next(site: Site, *make: str, drop: bool = False) -> Path:
    """The way of a new card, by commands: keys here, card by the root; gives the card's file."""
    request = site.folder / "request.json"
    site.ok("keys", "new", site.root, *make, "-o", request)
    assert set(json.loads(request.read_text())) - {"type", "network"} == {m[2:] for m in make}
    text = CardRequest.from_json(request.read_text())
    reissue(site.folder / "net", text, drop_old_ack=drop)
    return site.folder / "net" / "card.cbor"


def _statuses(site: Site) -> dict[tuple[str, int | None], str]:
    keys = site.ok("keys", "list", site.root, "--json").json["keys"]
    return {(item["role"], item["card"]): item["status"] for item in keys}


def _take(site: Site, device: Device, second: int) -> None:
    counts = site.ok("ingest", site.root, site.envelopes(device, 2, second=second), "--json").json
    assert counts["accepted"] == 2


def test_a_planned_change_of_both_keys(site: Site) -> None:
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    _take(site, device, 0)
    old_card, _ = load_card(Workspace(site.root).card)
    with Reader(site.root) as reader:
        old_receipt = make_receipt(reader, 3)

    card = _next(site, "--ack", "--log")
    assert _statuses(site)[("log", None)] == "pending"
    made = site.ok("keys", "activate", site.root, card, "--json").json
    assert made["card"] == 2
    assert _statuses(site) == {
        ("ack", 1): "accepted",
        ("ack", 2): "active",
        ("log", 1): "former",
        ("log", 2): "active",
    }
    # What is published names the new key, and who still has the old card can go on reading.
    work = Workspace(site.root)
    new_card, _ = load_card(work.card)
    assert new_card.number == 2 and new_card.log_key != old_card.log_key
    for known in (old_card, new_card):
        key = NoteKey(known.log_origin, known.log_key.raw)
        assert read_checkpoint(work.log, key.name, [key]) is not None
    assert len(split_note((work.log / "checkpoint").read_bytes())[1]) == 2
    _take(site, device, 60)
    assert site.ok("audit", site.root, "--json").json["ok"] is True
    assert site.ok("verify-dataset", site.root, "--network", site.network).out

    with Reader(site.root) as reader:
        new_receipt = make_receipt(reader, 3)
    assert check_receipt(old_receipt, network=site.network).card.number == 1
    assert check_receipt(new_receipt, network=site.network).card.number == 2

    gone = site.ok("keys", "retire", site.root, "--json").json["removed"]
    assert gone == ["ack-1.key", "log-1.key"]
    _take(site, device, 120)
    assert len(split_note((work.log / "checkpoint").read_bytes())[1]) == 1
    old_key = NoteKey(old_card.log_origin, old_card.log_key.raw)
    with pytest.raises(DepinError) as refused:
        read_checkpoint(work.log, old_key.name, [old_key])
    assert refused.value.code == "log.signature"
    assert check_receipt(old_receipt, network=site.network).index == 3
    assert site.ok("audit", site.root, "--json").json["ok"] is True


@pytest.mark.parametrize("role", ["ack", "log"])
def test_a_lost_key_is_replaced_though_nothing_can_start(site: Site, role: str) -> None:
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    _take(site, device, 0)
    (site.root / "network" / f"{role}-1.key").unlink()
    assert site.run("ingest", site.root, site.envelopes(device, 1, second=30)).code == 2
    listed = site.ok("keys", "list", site.root).out
    assert "named by the card, not at hand" in listed
    site.ok("keys", "activate", site.root, _next(site, f"--{role}", drop=role == "ack"))
    _take(site, device, 60)
    assert site.ok("audit", site.root, "--json").json["ok"] is True


def test_a_damaged_key_file_is_replaced(site: Site) -> None:
    (site.root / "network" / "ack-1.key").write_bytes(b"torn")
    assert "unreadable" in site.ok("keys", "list", site.root).out
    site.ok("keys", "activate", site.root, _next(site, "--ack"), "--drop-old")
    assert site.ok("status", site.root, "--json").json["card"]["number"] == 2


# --- what is refused ----------------------------------------------------------------------------


def _card(site: Site, **changes: object) -> bytes:
    """A card by the root that could follow, but for the changes."""
    held = NetworkDir(site.folder / "net")
    fields = {name: getattr(held.card, name) for name in NetworkCard.__dataclass_fields__}
    return sign_card(NetworkCard(**(fields | {"number": 2} | changes)), held.root)


def _foreign(site: Site) -> bytes:
    root = SoftwareSigner.generate()
    held = NetworkDir(site.folder / "net")
    fields = {name: getattr(held.card, name) for name in NetworkCard.__dataclass_fields__}
    fields |= {"network": network_did(root.public_key), "number": 2}
    return sign_card(NetworkCard(**fields), root)


def _tampered(site: Site) -> bytes:
    data = bytearray(_card(site))
    data[-1] ^= 1
    return bytes(data)


REFUSED: dict[str, tuple[str, Callable[[Site], bytes]]] = {
    "the card in force again": ("network.card_old", lambda site: _card(site, number=1)),
    "an older card": ("network.card_old", lambda site: _card(site, number=0)),
    "another network": ("network.foreign", _foreign),
    "expired": ("network.expired", lambda site: _card(site, not_before=1, not_after=2)),
    "not yet": (
        "network.expired",
        lambda site: _card(site, not_before=1 << 39, not_after=1 << 40),
    ),
    "another name": ("network.renamed", lambda site: _card(site, name="other")),
    "another log": ("network.renamed", lambda site: _card(site, log_origin="other/log")),
    "an acknowledgement key that is not here": (
        "network.keys",
        lambda site: _card(site, ack_keys=(SoftwareSigner.generate().public_key,)),
    ),
    "a log key that is not here": (
        "network.keys",
        lambda site: _card(site, log_key=SoftwareSigner.generate().public_key),
    ),
    "a changed signature": ("signature.invalid", _tampered),
}


def test_cards_that_may_not_follow(site: Site) -> None:
    file = site.folder / "offered.cbor"
    before = load_card(Workspace(site.root).card)
    offered = {what: (code, make(site)) for what, (code, make) in REFUSED.items()}
    wrong: list[object] = []
    for what, (code, data) in offered.items():
        file.write_bytes(data)
        told = site.run("keys", "activate", site.root, file)
        if told.code != 2 or not told.err.startswith(f"error: {code}"):
            wrong.append((what, told))
    with Aggregator(site.root) as aggregator:
        size = aggregator.fold.size
        for what, (code, data) in offered.items():
            with pytest.raises(DepinError) as refused:
                admin.perform(aggregator, {"op": "card", "card": data.hex()})
            if refused.value.code != code or aggregator.broken:
                wrong.append((what, refused.value))
        assert aggregator.fold.size == size
    assert not wrong
    assert load_card(Workspace(site.root).card) == before
    assert site.ok("status", site.root, "--json").json["card"]["number"] == 1


def test_the_journal_takes_no_lower_card(site: Site) -> None:
    """Whoever writes such an entry: no fold of the journal goes back."""
    lower = _card(site, number=1)
    site.ok("keys", "activate", site.root, _next(site, "--ack"))
    with Aggregator(site.root) as aggregator:
        with pytest.raises(NetworkError) as refused:
            aggregator.administer([CardSet(lower)])
        assert refused.value.code == "network.card_old"


REQUESTS = [
    (b"{", "network.request"),
    (b"[]", "network.request"),
    (b"[" * 9000, "network.request"),
    (b'{"type": "x"}', "network.request"),
    (b'{"type": "depin-card-request/1", "network": "NET"}', "network.request"),
    (b'{"type": "depin-card-request/1", "network": "NET", "ack": 5}', "network.request"),
    (b'{"type": "depin-card-request/1", "network": "NET", "ack": "zz"}', "network.request"),
    (b'{"type": "depin-card-request/1", "network": "NET", "ack": "a0"}', "key."),
    (b'{"type": "depin-card-request/1", "network": "NET", "log": "P256"}', "network.card"),
    (b'{"type": "depin-card-request/1", "network": "x", "ack": "KEY"}', "network.foreign"),
    (b'{"type": "depin-card-request/1", "network": "NET", "ack": "KEY", "x": 1}', "network."),
]


def test_requests_that_no_card_is_signed_for(tmp_path: Path) -> None:
    network = NetworkDir.create(tmp_path / "net", "testnet").card.network
    key = SoftwareSigner.generate().public_key.cose_key.hex().encode()
    p256 = SoftwareSigner.generate("p256").public_key.cose_key.hex().encode()
    for text, code in REQUESTS:
        text = text.replace(b"NET", network.encode()).replace(b"KEY", key).replace(b"P256", p256)
        with pytest.raises(DepinError) as refused:
            reissue(tmp_path / "net", CardRequest.from_json(text))
        assert refused.value.code.startswith(code), text
    assert load_card(tmp_path / "net" / "card.cbor")[0].number == 1


def test_who_has_not_the_root_key_signs_no_card(site: Site) -> None:
    request = CardRequest.from_json(json.dumps(new_keys(Workspace(site.root), ("ack",))))
    other = NetworkDir.create(site.folder / "other", "testnet")
    (site.folder / "net" / "root.key").write_bytes((other.path / "root.key").read_bytes())
    with pytest.raises(NetworkError) as refused:
        reissue(site.folder / "net", request)
    assert refused.value.code == "network.keys"


def test_asking_twice_asks_for_the_same_key(site: Site) -> None:
    first = new_keys(Workspace(site.root), ("ack",))
    assert new_keys(Workspace(site.root), ("ack", "log"))["ack"] == first["ack"]


# --- interrupted --------------------------------------------------------------------------------


def test_cut_off_after_the_entry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has the new card, the files the old one: the next start puts them right."""
    data = _next(site, "--ack", "--log").read_bytes()

    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(cardchange, "Aggregator", cut)
        with pytest.raises(Cut):
            cardchange.activate(site.root, data)
    work = Workspace(site.root)
    assert load_card(work.card)[0].number == 1
    assert load_card(work.operating / "card.cbor")[0].number == 1
    with Aggregator(site.root) as aggregator:
        assert aggregator.ack_signer.public_key in read_card(data).ack_keys[:1]
    assert load_card(work.card)[1] == data == load_card(work.operating / "card.cbor")[1]
    assert not (work.operating / "pending-ack.key").exists()
    assert site.ok("audit", site.root, "--json").json["ok"] is True


def test_cut_off_before_the_entry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are staged, nothing is in force; doing it again finishes it."""
    data = _next(site, "--ack").read_bytes()

    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(cardchange, "seal_all", cut)
        with pytest.raises(Cut):
            cardchange.activate(site.root, data)
    assert site.ok("status", site.root, "--json").json["card"]["number"] == 1
    assert cardchange.activate(site.root, data)["card"] == 2


def test_a_card_put_into_the_folder_by_hand_is_no_change(site: Site) -> None:
    data = _next(site, "--ack").read_bytes()
    (site.root / "network" / "card.cbor").write_bytes(data)
    with pytest.raises(NetworkError) as refused:
        Aggregator(site.root)
    assert refused.value.code == "network.card_ahead"


# --- over a broker ------------------------------------------------------------------------------


def test_a_stolen_acknowledgement_key_while_everything_runs(tmp_path: Path) -> None:
    """The device hears of the new card by itself; what the thief signs frees nothing any more."""
    with Device.create(tmp_path / "device", profile="noise") as device:
        root, card = make_network(tmp_path, device.enrolment)
        thief = read_key(root / "network" / "ack-1.key")
        with (
            mosquitto(tmp_path) as broker,
            aggregator_process(root, broker) as process,
            Sender(
                device,
                card,
                f"mqtt://127.0.0.1:{broker.port}",
                spool=tmp_path / "spool",
            ) as sender,
        ):
            until(lambda: "mqtt.subscribed" in process.log, "the start", process=process)
            sender.send([reading("laeq", 50, "dB")])
            assert until(lambda: sender.flush(1), "the first", process=process)
            request = CardRequest.from_json(json.dumps(new_keys(Workspace(root), ("ack", "log"))))
            reissue(tmp_path / "net", request, drop_old_ack=True)
            data = (tmp_path / "net" / "card.cbor").read_bytes()
            # By command beside the running process, which holds the directory.
            assert cardchange.activate(root, data)["card"] == 2
            assert process.running
            assert load_card(Workspace(root).card)[1] == data
            sender.send([reading("laeq", 51, "dB")])
            assert until(lambda: sender.flush(1), "under the new key", process=process)
            assert sender.uplink.card.number == 2
            forged = sign_ack(
                Ack(
                    device.public_key.thumbprint,
                    1 << 61,
                    int(time.time() * 1000),
                    None,
                    card.log_origin,
                    (),
                    None,
                ),
                network=card.network,
                signer=thief,
            )
            with pytest.raises(NetworkError) as refused:
                device.take_ack(forged, card=sender.uplink.card)
            assert refused.value.code == "network.key_unknown"
            with pytest.raises(NetworkError) as refused:
                # Nor does the old card come back.
                device.take_ack(forged, card=card)
            assert refused.value.code == "network.card_old"
        check_audit(root)


def test_who_missed_the_card_gets_it_again(tmp_path: Path) -> None:
    """A downlink may be lost: what comes a second time was not understood the first time."""
    with Device.create(tmp_path / "device", profile="noise") as device:
        root, card = make_network(tmp_path, device.enrolment)
        request = CardRequest.from_json(json.dumps(new_keys(Workspace(root), ("ack",))))
        reissue(tmp_path / "net", request, drop_old_ack=True)
        cardchange.activate(root, (tmp_path / "net" / "card.cbor").read_bytes())
        with Aggregator(root) as aggregator:
            principal = device.public_key.kid.hex()
            envelopes = [
                device.sign([reading("laeq", 50 + n, "dB")], network=card.network) for n in range(2)
            ]

            def send(envelope: bytes) -> list[int]:
                _, down = aggregator.ingest(
                    [Message(envelope, principal, aggregator.now(), "test", None)]
                )
                for item in down[:-1]:
                    assert read_card(item.data).number == 2
                return [len(item.data) for item in down]

            assert len(send(envelopes[0])) == 2
            assert len(send(envelopes[1])) == 1
            assert len(send(envelopes[1])) == 2


def test_the_devices_of_one_network_are_taken_into_another(site: Site) -> None:
    """Under their present keys; without those that were revoked."""
    kept, turned, gone = (site.device(name) for name in ("kept", "turned", "gone"))
    for device in (kept, turned, gone):
        site.ok("enrol", site.root, site.document(device))
    fresh = site.device("fresh")
    site.ok("rotate", site.root, turned.did, fresh.did)
    revoked = site.ok("revoke", site.root, gone.did, "--json").json
    again = site.ok("revoke", site.root, gone.did, "--json").json
    assert revoked["changed"] and again == {"did": gone.did, "changed": False}
    documents = site.folder / "devices.jsonl"
    documents.write_text(site.ok("enrolments", site.root).out)
    NetworkDir.create(site.folder / "net2", "testnet-2")
    site.ok("init", site.folder / "agg2", "--network", site.folder / "net2")
    policy = site.folder / "policy.toml"
    site.ok("policy", site.folder / "agg2", policy)
    taken = site.ok("enrol", site.folder / "agg2", documents, "--json").json
    assert taken["enrolled"] == [kept.did, fresh.did] and not taken["refused"]
