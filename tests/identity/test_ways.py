"""A device that nobody knows takes itself in: over a real broker, over HTTP, by command lines."""

from __future__ import annotations

import hashlib
import json
import queue
from pathlib import Path

import httpx2
import pytest

from depin_id.ack import read_ack, read_challenge
from depin_id.device import Device
from depin_id.did.jwk import did_jwk
from depin_id.network import topics
from depin_id.possession import enrol_statement
from depin_id.statements import CHALLENGE, write_statement
from tests.brokers import mosquitto
from tests.http.support import SEQUENCE, Site, acks_of, levels, make_site, running, wait_for
from tests.identity.factory import Maker
from tests.ingest.support import publisher
from tests.verify.cli_site import Site as Commands
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.reading import Reader
from verify.verdict import ACCEPTED

CBOR = {"content-type": "application/cbor"}


def trusting(folder: Path, maker: Maker) -> Site:
    policy = (
        'default_profile = "noise"\n[identity]\nself_service = true\n'
        f'manufacturers = ["{maker.did}"]\n'
    )
    return make_site(folder, 0, policy)


def looked_at(site: Site, device: Device, received: int) -> None:
    """Accepted at its original receipt time; all of it proven."""
    with Reader(site.root) as reader:
        assert reader.fold.tally.verdicts == {ACCEPTED: received}
        assert reader.fold.identity.births[device.did].serial == "1"
        known = reader.fold.registry.device(device.did)
        assert known is not None and known.keys[0].since < reader.fold.last_received_at
    assert audit(site.root).ok
    network = site.card.network
    assert verify_dataset(site.root / "public", keys=None, network=network).complete


def test_over_a_broker(tmp_path: Path) -> None:
    maker = Maker()
    site = trusting(tmp_path, maker)
    with (
        Device.create(tmp_path / "device", profile="noise") as device,
        mosquitto(tmp_path) as broker,
        publisher(broker) as client,
    ):
        certificate = maker.birth(device.public_key)
        up, down = topics(site.card.name, device.public_key.kid)
        heard: queue.Queue[bytes] = queue.Queue()
        client.on_message = lambda _c, _d, message: heard.put(bytes(message.payload))
        client.subscribe(down, qos=1)
        with running(site, f"mqtt://127.0.0.1:{broker.port}") as at:
            wait_for(lambda: "mqtt.subscribed" in at.kinds(), "the subscription")
            early = device.sign(levels(1), network=site.card.network)
            client.publish(up, early, qos=1)
            client.publish(up, write_statement(CHALLENGE, device.public_key.thumbprint), qos=1)
            proof = device.prove(heard.get(timeout=60), card=site.card, certificate=certificate)
            statement = enrol_statement(proof, certificate)
            for _ in range(2):  # brokers deliver again
                client.publish(up, statement, qos=1)
                ack = device.take_ack(heard.get(timeout=60), card=site.card)
                (item,) = ack.items
                assert (item.id, item.code) == (hashlib.sha256(statement).digest(), ACCEPTED)
                assert item.index is not None and item.leaf is not None
            client.publish(up, early, qos=1)
            (item,) = device.take_ack(heard.get(timeout=60), card=site.card).items
            assert item.code == ACCEPTED
            # Noise on the same topic: counted, not answered, and the intake goes on.
            client.publish(up, statement[:-1], qos=1)
            client.publish(up, write_statement("dance"), qos=1)
            client.publish(up, device.sign(levels(1, 9), network=site.card.network), qos=1)
            assert device.take_ack(heard.get(timeout=60), card=site.card).items[0].code == ACCEPTED
    looked_at(site, device, 2)
    with Reader(site.root) as reader:
        assert reader.fold.tally.counted["statement.unknown"] == 1


def test_over_http(tmp_path: Path) -> None:
    maker = Maker()
    site = trusting(tmp_path, maker)
    with Device.create(tmp_path / "device", profile="noise", curve="p256") as device:
        certificate = maker.birth(device.public_key)
        thumbprint = device.public_key.thumbprint
        with running(site) as at:

            def say(data: bytes, headers: dict[str, str] = CBOR) -> httpx2.Response:
                return httpx2.post(
                    f"{at.url}/v1/statements", content=data, headers=headers, timeout=60
                )

            envelope = device.sign(levels(1), network=site.card.network)
            assert at.post(envelope).status_code == 403
            asked = say(write_statement(CHALLENGE, thumbprint))
            assert asked.headers["content-type"].startswith("application/cose")
            read_challenge(asked.content, card=site.card, recipient=thumbprint)
            proof = device.prove(asked.content, card=site.card, certificate=certificate)
            statement = enrol_statement(proof, certificate)

            def code(answer: httpx2.Response) -> str:
                assert answer.status_code == 200, answer.text
                (item,) = read_ack(answer.content, card=site.card, recipient=thumbprint).items
                assert item.id == hashlib.sha256(statement).digest()
                return item.code

            statement = enrol_statement(proof, maker.birth(device.public_key, "2"))
            assert code(say(statement)) == "possession.certificate"
            statement = enrol_statement(proof, certificate)
            assert code(say(statement)) == code(say(statement)) == ACCEPTED
            (ack,) = acks_of(at.post(envelope).content, site.card, thumbprint)
            assert ack.items[0].code == ACCEPTED

            used = httpx2.get(f"{at.url}/v1/challenge?did={device.did}", timeout=60)
            assert used.status_code == 503 and used.json()["code"] == "challenge.used"
            jwk = f"{at.url}/v1/challenge?did={did_jwk(device.public_key)}"
            assert httpx2.get(jwk, timeout=60).json()["code"] == "challenge.used"
            fresh = say(write_statement(CHALLENGE, thumbprint))
            asked_again = read_challenge(fresh.content, card=site.card, recipient=thumbprint)
            assert asked_again.nonce not in proof

            wrong = say(statement[:-1])
            assert wrong.status_code == 422 and "code" in wrong.json()
            assert say(write_statement("dance")).json()["code"] == "statement.unknown"
            assert say(envelope).json()["code"] == "statement.address"
            assert at.post(statement).json()["code"] == "statement.address"
            assert say(statement, SEQUENCE).status_code == 415
            assert say(b"").status_code == 400
            assert say(bytes(100_000)).status_code == 413
    looked_at(site, device, 1)


def test_too_many_over_http(tmp_path: Path) -> None:
    site = make_site(
        tmp_path,
        0,
        "[quota]\nunauthenticated_per_minute = 1\nunauthenticated_burst = 2\n",
    )
    asked = write_statement(CHALLENGE, bytes(32))
    with running(site) as at:
        url = f"{at.url}/v1/statements"
        answers = [httpx2.post(url, content=asked, headers=CBOR, timeout=60) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "quota.exceeded" and answers[2].headers["retry-after"]


def test_by_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from depin_id.cli import main as device_main

    site, maker = Commands(tmp_path, capsys), Maker()
    policy = tmp_path / "evidence.toml"
    policy.write_text(
        'default_profile = "noise"\n[identity]\nenrolment = "evidence"\n'
        f'manufacturers = ["{maker.did}"]\n'
    )
    site.init()
    site.ok("policy", site.root, policy)
    device = site.device()
    device.close()
    key = device.public_key
    whole, (birth,) = maker.lot(key)
    files = {name: tmp_path / name for name in ("batch.json", "birth.json", "c.cbor", "p.cbor")}
    files["batch.json"].write_bytes(whole)
    files["birth.json"].write_bytes(birth)
    assert site.run("enrol", site.root, site.document(device)).code == 2
    site.ok("batch", "add", site.root, files["batch.json"])
    lists = tmp_path / "list.json"
    lists.write_bytes(maker.status_list(at_s=device._wall() - 60))
    url = ("--url", "https://example.org/status/1")
    assert site.ok("status-list", "add", site.root, lists, *url, "--json").json["changed"]
    site.ok("challenge", site.root, "--did", device.did, "-o", files["c.cbor"])
    proving = ["device", "prove", "meter", "--challenge", "c.cbor", "--network", "net"]
    proving += ["--certificate", "birth.json", "-o", "p.cbor"]
    at = [str(tmp_path / item) if (tmp_path / item).exists() else item for item in proving[:-1]]
    device_main([*at, str(files["p.cbor"])])
    shown = ("--proof", files["p.cbor"], "--certificate", files["birth.json"])
    answer = site.ok("enrol", site.root, *shown, "--json").json
    assert answer["did"] == device.did and answer["known"] is False
    again = site.run("enrol", site.root, *shown, "--json")
    assert json.loads(again.err)["error"]["code"] == "possession.replayed"
    for wrong in (shown[:2], (*shown, site.document(device)), ()):
        assert site.run("enrol", site.root, *wrong).code == 2
    for looking in ("status", "enrolments", "rebuild", "audit"):
        site.ok(looking, site.root)
    site.ok("whatif", site.root, "--policy", policy)
    site.ok("backup", site.root, tmp_path / "copy")
    site.ok("erase", site.root, device.did, "--yes")
    site.ok("audit", site.root)
