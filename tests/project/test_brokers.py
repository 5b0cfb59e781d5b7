"""The broker helper itself: ports, restarts, persistence, TLS, and nothing left behind."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from tests import brokers
from tests.brokers import Mosquitto, Tls, free_port, mosquitto

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def client() -> mqtt.Client:
    return mqtt.Client(CallbackAPIVersion.VERSION2)


def publish(broker: Mosquitto, topic: str, payload: bytes, *, retain: bool = False) -> None:
    sender = client()
    sender.connect(broker.host, broker.port)
    sender.loop_start()
    try:
        sender.publish(topic, payload, qos=1, retain=retain).wait_for_publish(SECONDS)
    finally:
        sender.disconnect()
        sender.loop_stop()


def receive(broker: Mosquitto, topic: str, act: Callable[[], None] = lambda: None) -> bytes:
    got: list[bytes] = []
    subscribed, arrived = threading.Event(), threading.Event()
    listener = client()
    listener.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
    listener.on_subscribe = lambda *_: subscribed.set()

    def took(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        got.append(bytes(message.payload))
        arrived.set()

    listener.on_message = took
    listener.connect(broker.host, broker.port)
    listener.loop_start()
    try:
        assert subscribed.wait(SECONDS)
        act()
        assert arrived.wait(SECONDS), broker.log
    finally:
        listener.disconnect()
        listener.loop_stop()
    return got[0]


def test_carries_a_message_and_is_gone_afterwards(tmp_path: Path) -> None:
    with mosquitto(tmp_path, max_inflight=5) as broker:
        pid = broker.pid
        assert broker.running and alive(pid)
        assert receive(broker, "a/b", lambda: publish(broker, "a/b", b"\x00\xff")) == b"\x00\xff"
        assert "max_inflight_messages 5" in (broker.folder / "mosquitto.conf").read_text()
    assert not alive(pid) and not broker.running


def test_brokers_side_by_side_have_their_own_port_and_folder(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as one, mosquitto(tmp_path) as two:
        assert one.port != two.port
        assert one.folder != two.folder


@pytest.mark.parametrize("end", [Mosquitto.stop, Mosquitto.kill], ids=["stop", "kill"])
def test_what_is_persisted_is_back_on_the_same_port(
    tmp_path: Path, end: Callable[[Mosquitto], None]
) -> None:
    with mosquitto(tmp_path, persistence=True) as broker:
        port, pid = broker.port, broker.pid
        publish(broker, "kept", b"value", retain=True)
        saved = broker.folder / "mosquitto.db"
        wait_for(lambda: saved.exists() and b"kept" in saved.read_bytes(), "the state was saved")
        end(broker)
        assert not broker.running and not alive(pid)
        broker.start()
        assert broker.port == port and broker.pid != pid
        assert receive(broker, "kept") == b"value"


def test_without_persistence_nothing_is_back(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        publish(broker, "kept", b"old", retain=True)
        broker.stop()
        broker.start()
        assert receive(broker, "kept", lambda: publish(broker, "kept", b"new")) == b"new"


def test_a_lost_race_for_the_port_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mosquitto(tmp_path) as first:
        ports = iter([first.port, first.port, free_port()])
        monkeypatch.setattr(brokers, "free_port", lambda: next(ports))
        with mosquitto(tmp_path) as second:
            assert second.port != first.port
            assert first.running and second.running


def test_a_bad_configuration_says_what_the_broker_said(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="no_such_option"),
        mosquitto(tmp_path, extra=["no_such_option 1"]),
    ):
        pass


def test_ends_with_its_parent_even_when_that_just_dies(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib\n"
        "from tests.brokers import Mosquitto\n"
        "broker = Mosquitto(pathlib.Path(sys.argv[1]))\n"
        "broker.start()\n"
        "print(broker.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "orphan")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == -9, ran.stderr
    pid = int(ran.stdout)
    wait_for(lambda: not alive(pid), "the orphaned broker ended")


def test_a_missing_broker_skips_at_home_and_fails_on_the_build_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.brokers.shutil.which", lambda *_a, **_k: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        Mosquitto(tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed"):
        Mosquitto(tmp_path)


def certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(brokers.HOST))]),
            critical=False,
        )
    )
    made = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made, key


def test_tls_asks_for_a_certificate_when_told_to(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "ca", None)
    certificate(tmp_path, "server", authority)
    certificate(tmp_path, "device", authority)
    tls = Tls(
        ca=tmp_path / "ca.pem",
        cert=tmp_path / "server.pem",
        key=tmp_path / "server.key",
        require_certificate=True,
    )

    def outcome(broker: Mosquitto, *, with_certificate: bool) -> str:
        context = ssl.create_default_context(cafile=str(tls.ca))
        if with_certificate:
            context.load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")
        ended: list[str] = []
        seen = threading.Event()
        device = client()
        device.tls_set_context(context)

        def end(how: str) -> None:
            ended.append(how)
            seen.set()

        device.on_connect = lambda *_: end("connected")
        device.on_disconnect = lambda *_: end("refused")
        try:
            device.connect(broker.host, broker.port)
            device.loop_start()
            assert seen.wait(SECONDS), broker.log
        except (ssl.SSLError, OSError):
            return "refused"
        finally:
            device.disconnect()
            device.loop_stop()
        return ended[0]

    with mosquitto(tmp_path, tls=tls) as broker:
        assert outcome(broker, with_certificate=True) == "connected"
        assert outcome(broker, with_certificate=False) == "refused"


def test_this_area_runs_where_proc_exists() -> None:
    """The tests above look into /proc: without it they would prove nothing."""
    assert alive(os.getpid())
