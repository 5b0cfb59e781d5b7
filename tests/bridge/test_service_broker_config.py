"""The broker's files: a real mosquitto started with them, with right and wrong clients."""

from __future__ import annotations

import datetime
import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.errors import ConfigError
from firmware_bridge import authority, broker_config
from firmware_bridge.authority import Authority
from firmware_bridge.cli import main
from tests.bridge.world import Net, until
from tests.brokers import Mosquitto

KID = "0123456789abcdef"
UP, DOWN = f"depin/v1/testnet/up/{KID}", f"depin/v1/testnet/down/{KID}"


class Written(Mosquitto):
    """The broker of the folder ``files``, on a port of its own."""

    files: Path

    def _configuration(self) -> str:
        text = (self.files / "mosquitto.conf").read_text()
        assert text.count("listener 8883\n") == 1
        text = text.replace("listener 8883\n", f"listener {self.port} 127.0.0.1\n")
        root = "user root\n" if os.geteuid() == 0 else ""
        return f"{root}{text}\nlog_type information\n"


class Client:
    def __init__(self, port: int, ca: Path, pair: Path | None) -> None:
        self.got: list[str] = []
        self.up, self.ended = threading.Event(), threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        key = None if pair is None else (f"{pair}.pem", f"{pair}.key")
        self.client.tls_set(str(ca), *(key or (None, None)))
        self.client.on_connect = lambda *about: None if about[3].is_failure else self.up.set()
        self.client.on_disconnect = lambda *_: self.ended.set()
        self.client.on_message = lambda *about: self.got.append(about[2].topic)
        try:
            self.client.connect("127.0.0.1", port)
        except (ssl.SSLError, OSError):
            self.ended.set()
        self.client.loop_start()

    @property
    def accepted(self) -> bool:
        return bool(until(lambda: self.up.is_set() or self.ended.is_set()) and self.up.is_set())

    def may_send(self, topic: str) -> bool:
        answers: list[Any] = []
        self.client.on_publish = lambda *about: answers.append(about[3])
        self.client.publish(topic, b"x", 1)
        return not until(lambda: answers, "the answer")[0].is_failure

    def read(self, topic: str) -> None:
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.subscribe(topic, 1)
        assert ready.wait(30)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def command(folder: Path, card: Path, *more: str) -> None:
    arguments = ["broker-config", str(folder), "--network", str(card)]
    main([*arguments, *(more if "--hosts" in more else ("--hosts", "localhost,127.0.0.1", *more))])


def test_who_may_do_what(
    tmp_path: Path, net: Net, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, card = tmp_path / "files", net.write(tmp_path / "card.cbor")
    command(folder, card, "--gateway", KID, "--sensor", "attic")
    assert f"{KID}: " in capsys.readouterr().out
    for key in folder.rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key
    clients = folder / "clients"
    # One whose time is over, and one of another authority with the right name.
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_BACK", datetime.timedelta(days=3))
        Authority(folder, days=-1, renew=False).client(clients / "late", KID)
    (tmp_path / "other").mkdir()
    Authority(tmp_path / "other", days=9, renew=False).client(tmp_path / "other" / "gw", KID)
    broker = Written(tmp_path / "broker")
    broker.files = folder
    opened: list[Client] = []

    def client(pair: Path | None) -> Client:
        opened.append(Client(broker.port, folder / "ca.pem", pair))
        return opened[-1]

    with broker:
        try:
            for wrong in (None, clients / "late", tmp_path / "other" / "gw"):
                assert not client(wrong).accepted, wrong
            aggregator, gateway = client(clients / "aggregator"), client(clients / f"gateway-{KID}")
            attic = client(clients / "sensor-attic")
            assert aggregator.accepted and gateway.accepted and attic.accepted
            aggregator.read("depin/v1/testnet/up/#")
            gateway.read(DOWN)
            gateway.read("sensors/#")
            attic.read("#")
            assert gateway.may_send(UP) and aggregator.may_send(DOWN)
            assert attic.may_send("sensors/attic/SENSOR")
            for who, topic in (
                (gateway, f"{UP[:-1]}0"), (gateway, DOWN), (gateway, "sensors/attic/SENSOR"),
                (gateway, UP.replace("testnet", "othernet")),
                (attic, UP), (attic, "sensors/cellar/SENSOR"), (attic, "other"),
                (aggregator, UP),
            ):  # fmt: skip
                assert not who.may_send(topic), topic
            until(lambda: aggregator.got == [UP])
            until(lambda: sorted(gateway.got) == [DOWN, "sensors/attic/SENSOR"])
            time.sleep(0.05)
            assert attic.got == ["sensors/attic/SENSOR"], "only what is its own"
        finally:
            for each in opened:
                each.close()


def test_again_keeps_keys_and_renews_only_when_asked(tmp_path: Path, net: Net) -> None:
    folder, card = tmp_path / "files", net.write(tmp_path / "card.cbor")
    command(folder, card, "--gateway", KID)

    def content(what: str) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in folder.rglob(f"*.{what}")}

    keys, certificates, access = content("key"), content("pem"), (folder / "acl").read_text()
    command(folder, card)
    assert (content("key"), content("pem")) == (keys, certificates)
    assert (folder / "acl").read_text() == access, "gateways of earlier runs stay"
    command(folder, card, "--renew")
    renewed = content("pem")
    assert content("key") == keys
    ca = str(folder / "ca.pem")
    assert renewed[ca] == certificates[ca]
    assert all(renewed[path] != certificates[path] for path in certificates if path != ca)
    command(folder, card, "--hosts", "broker.example.org")
    changed = {path for path in renewed if content("pem")[path] != renewed[path]}
    assert changed == {str(folder / "server.pem")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": ()},
        {"hosts": ("a b",)},
        {"gateways": ("0123",)},
        {"gateways": ("0123456789ABCDEF",)},
        {"sensors": ("a/b",)},
        {"sensors": ("#",)},
        {"sensors": ("a\nuser b",)},
        {"sensors": ("aggregator",)},
        {"sensors": (KID,)},
    ],
)
def test_names_that_would_be_somebody_elses_are_refused(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigError) as error:
        broker_config.Wanted(**{"network": "testnet", "hosts": ("localhost",), **wrong})  # type: ignore[arg-type]
    assert error.value.code == "config.broker"


def test_a_name_that_went_is_not_given_to_another(
    tmp_path: Path, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had it could come back as the new one: the certificate is still good."""
    folder, card = tmp_path / "files", net.write(tmp_path / "card.cbor")
    command(folder, card, "--sensor", "attic", "--days", "9")
    for kind in ("pem", "key"):
        (folder / "clients" / f"sensor-attic.{kind}").unlink()
    command(folder, card, "--days", "9")
    assert "attic" not in (folder / "acl").read_text()
    with pytest.raises(SystemExit):
        command(folder, card, "--sensor", "attic")
    assert not list((folder / "clients").glob("sensor-attic*"))
    later = time.time() + 10 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    command(folder, card, "--sensor", "attic")
    assert (folder / "clients" / "sensor-attic.key").exists()
