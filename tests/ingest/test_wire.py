"""What goes over the wire: fallback to 3.1.1, order of acknowledgements, TLS, addresses."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from depin_id.errors import TransportError
from tests.brokers import Tls, mosquitto
from tests.ingest.support import UP, Recorder, running, send, wait_for
from verify.ingest.mqtt import MqttSource, TlsOptions
from verify.ingest.options import parse_broker_url


def packet(sock: socket.socket) -> tuple[int, bytes]:
    """One MQTT packet: first byte and body."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = sock.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    first, length, shift = exactly(1)[0], 0, 0
    while True:
        byte = exactly(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, exactly(length)


class Script:
    """A broker that does as told; ``levels`` are the protocol levels that clients asked for."""

    def __init__(self, refuse: bytes | None, mids: list[int]) -> None:
        self.levels: list[int] = []
        self.acknowledged: list[int] = []
        self._refuse, self._mids = refuse, mids
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with sock:
                try:
                    self._serve(sock)
                except (EOFError, OSError):
                    continue

    def _serve(self, sock: socket.socket) -> None:
        self.levels.append(packet(sock)[1][6])
        if self.levels[-1] == 5:
            sock.sendall(self._refuse or b"")
            return
        sock.sendall(b"\x20\x02\x00\x00")
        while True:
            first, body = packet(sock)
            if first >> 4 == 8:
                sock.sendall(b"\x90\x03" + body[:2] + b"\x01")
                for mid in self._mids:
                    topic = UP.encode()
                    rest = struct.pack(">H", len(topic)) + topic + struct.pack(">H", mid) + b"data"
                    sock.sendall(bytes((0x32, len(rest))) + rest)
            elif first >> 4 == 4:
                self.acknowledged.append(struct.unpack(">H", body[:2])[0])


@pytest.mark.parametrize("refuse", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", None])
def test_falls_back_to_3_1_1_and_acknowledges_in_order(refuse: bytes | None) -> None:
    """Refused with a return code of 3.1.1, a reason code of 5, or a closed connection."""
    mids = [7, 3, 65_535, 1, 20, 2]
    script = Script(refuse, mids)
    handler = Recorder()
    handler.gate.clear()
    try:
        with running(script.port, handler, batch_messages=2) as source:
            assert handler.entered.wait(60)
            assert script.acknowledged == [], "acknowledged before the commit"
            handler.gate.set()
            wait_for(lambda: len(script.acknowledged) == len(mids), "the acknowledgements")
        assert script.acknowledged == mids
        assert script.levels[0] == 5 and script.levels[-1] == 4
        assert "mqtt.version" in source.kinds()
    finally:
        script.close()


def test_a_malformed_packet_only_costs_the_connection() -> None:
    script = Script(b"\x20\xff\xff\xff\xff\xff" + bytes(64), [])
    try:
        with running(script.port, Recorder(), protocol="5") as source:
            wait_for(lambda: source.kinds().count("mqtt.disconnected") >= 3, "new tries")
        assert source.error is None
    finally:
        script.close()


def certificates(folder: Path) -> None:
    """An authority, a broker for 127.0.0.1, a broker for elsewhere, a client."""
    now = datetime.datetime.now(datetime.UTC)

    def make(
        name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None, ip: str
    ) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer_name, issuer_key = issuer or (subject, key)
        address = x509.IPAddress(ipaddress.ip_address(ip))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return subject, key

    authority = make("ca", None, "127.0.0.1")
    make("broker", authority, "127.0.0.1")
    make("elsewhere", authority, "10.0.0.1")
    make("client", authority, "127.0.0.1")
    make("other-ca", None, "127.0.0.1")


def test_mutual_tls(tmp_path: Path) -> None:
    certificates(tmp_path)
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "client.pem", "client.key"))
    tls = Tls(ca, tmp_path / "broker.pem", tmp_path / "broker.key", require_certificate=True)
    with mosquitto(tmp_path, tls=tls) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        handler = Recorder()
        with running(broker, handler, url=url, tls=TlsOptions(ca, cert, key)) as source:
            source.subscribed()
        assert source.error is None
        with running(broker, handler, url=url, tls=TlsOptions(ca)) as source:
            wait_for(lambda: "mqtt.disconnected" in source.kinds(), "no way in without certificate")
            assert "mqtt.connected" not in source.kinds()
        stranger = TlsOptions(tmp_path / "other-ca.pem", cert, key)
        with running(broker, handler, url=url, tls=stranger) as source:
            wait_for(lambda: source.error, "the authority is not trusted")
        assert isinstance(source.error, TransportError) and source.error.code == "transport.tls"
    wrong = Tls(ca, tmp_path / "elsewhere.pem", tmp_path / "elsewhere.key")
    with mosquitto(tmp_path, tls=wrong) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        with running(broker, handler, url=url, tls=TlsOptions(ca)) as source:
            wait_for(lambda: source.error, "the name is not the broker's")
        assert isinstance(source.error, TransportError) and source.error.code == "transport.tls"


def test_two_sources_share_a_broker(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    with mosquitto(tmp_path) as broker:
        with running(broker, first, client_id="a", protocol="3.1.1") as one:
            with running(broker, second, client_id="b", protocol="3.1.1") as two:
                one.subscribed()
                two.subscribed()
                send(broker, [b"x", b"y"])
                wait_for(lambda: first.data == second.data == [b"x", b"y"], "both")


def test_addresses() -> None:
    address = parse_broker_url("mqtts://us%40er:p%3Ass@example.org")
    assert (address.host, address.port, address.tls) == ("example.org", 8883, True)
    assert (address.username, address.password) == ("us@er", "p:ss")
    assert "p:ss" not in repr(address) and str(address) == "mqtts://example.org:8883"
    assert str(parse_broker_url("mqtt://[::1]:1")) == "mqtt://[::1]:1"
    for bad in (
        "", "mqtt://", "http://x", "mqtt://h:0", "mqtt://h:99999", "mqtt://h:x", "mqtt://:pw@h",
        "mqtt://h/path", "mqtt://h?q", "mqtt://h#f", "mqtt://[::1", "mqtt://a b", "mqtt://me:hush@h/p",
    ):  # fmt: skip
        with pytest.raises(TransportError) as refused:
            parse_broker_url(bad)
        assert refused.value.code == "transport.url" and "hush" not in str(refused.value)


def test_options_are_checked(tmp_path: Path) -> None:
    handler = Recorder()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"client_id": ""}, "transport.options"),
        ({"protocol": "4"}, "transport.options"),
        ({"receive_maximum": 0}, "transport.options"),
        ({"batch_messages": 0}, "transport.options"),
        ({"tls": TlsOptions()}, "transport.url"),
    ]
    for options, code in cases:
        with pytest.raises(TransportError) as refused:
            MqttSource("mqtt://h", "net", handler, **{"client_id": "a", **options})
        assert refused.value.code == code
    (tmp_path / "bad.pem").write_text("not a certificate")
    for tls in (
        lambda: TlsOptions(cert_file=tmp_path / "bad.pem"),
        lambda: TlsOptions(tmp_path / "missing.pem").context(),
        lambda: TlsOptions(tmp_path / "bad.pem").context(),
        lambda: TlsOptions(None, tmp_path / "bad.pem", tmp_path / "bad.pem").context(),
    ):
        with pytest.raises(TransportError) as refused:
            tls()
        assert refused.value.code == "transport.tls"
