"""airRohr stations over real HTTP and mTLS: bounded, answered when durable, named by their chip.

Shapes: requests of NRZ-2020-129 (with its headers, and an SDS011 with a BME280), NRZ-2020-133 and
NRZ-2024-135 as projects that receive them show them; the DNMS value types, and those of the other
particle sensors, as the firmware's source writes them; ``-65dBm`` from a plan for a fork of it.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Link
from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.sources import airrohr, http_push
from firmware_bridge.sources.http_push import Push
from tests.bridge.certificates import authority, issue
from tests.bridge.sources.hearing import Heard, make, values
from tests.bridge.world import until

BODY = (
    '{"esp8266id": "12331981", "software_version": "NRZ-2020-129", "sensordatavalues":['
    '{"value_type":"SDS_P1","value":"0.40"},{"value_type":"SDS_P2","value":"0.20"},'
    '{"value_type":"BME280_temperature","value":"20.47"},'
    '{"value_type":"BME280_pressure","value":"100613.25"},'
    '{"value_type":"BME280_humidity","value":"69.02"},{"value_type":"samples","value":"4222662"},'
    '{"value_type":"min_micro","value":"32"},{"value_type":"max_micro","value":"3301275"},'
    '{"value_type":"signal","value":"-94"}]}'
)
HEADERS = {
    "User-Agent": "NRZ-2020-129/12331981",
    "Content-Type": "application/json",
    "X-Sensor": "esp8266-12331981",
}
NOISE = {
    "DNMS_noise_LAeq": "52.31",
    "DNMS_noise_LA_min": "41.20",
    "DNMS_noise_LA_max": "66.05",
    "signal": "-65dBm",
}


def body(values: dict[str, Any], **more: Any) -> bytes:
    entries = [{"value_type": kind, "value": value} for kind, value in values.items()]
    return json.dumps({"esp8266id": "12331981", "sensordatavalues": entries, **more}).encode()


def push(data: bytes | str, headers: dict[str, str] | None = None, *names: str) -> Push:
    raw = data.encode() if isinstance(data, str) else data
    return Push({k.lower(): v for k, v in (headers or {}).items()}, raw, frozenset(names))


def source(folder: Path | str = ".", **options: Any) -> airrohr.Airrohr:
    made = make("airrohr", folder, **{"port": 0, **options})
    assert isinstance(made, airrohr.Airrohr)
    return made


def test_captured_requests() -> None:
    item = source().read(push(BODY, HEADERS))
    assert item.sensor == "esp8266-12331981" and item.link == Link(-94, None)
    assert values(item) == {
        "pm10": "0.4 ug/m3",
        "pm2.5": "0.2 ug/m3",
        "temperature": "20.47 Cel",
        "pressure": "100613.25 Pa",
        "humidity": "69.02 %RH",
    }
    item = source(prefix="air.", names={"esp8266-12331981": "roof"}).read(push(body(NOISE)))
    assert item.sensor == "air.roof" and item.link == Link(-65, None)
    assert values(item) == {"LAeq": "52.31 dB", "LAmin": "41.2 dB", "LAmax": "66.05 dB"}
    # What is sent to Sensor.Community itself names the chip only in the header.
    plain = {"sensordatavalues": [{"value_type": "P1", "value": "7.35"}]}
    item = source().read(push(json.dumps(plain), {"X-Sensor": "esp32-A1B2C3"}))
    assert item.sensor == "esp32-a1b2c3" and item.link is None


@pytest.mark.parametrize(
    ("data", "headers", "code"),
    [
        (BODY[:-1] + ',"esp8266id":"2"}', {}, "input.json"),
        (BODY, {"X-Sensor": "esp8266-2"}, "airrohr.sensor"),
        (BODY, {"X-Sensor": "esp8266-12331981/.."}, "sensor.name"),
        (body(NOISE, esp8266id=None), {}, "airrohr.sensor"),
        (body(NOISE, esp8266id={}), {}, "sensor.name"),
        (body({"SDS_P1": "1" + "0" * 400}), {}, "input.number"),
        (body({"SDS_P1": "1e400"}), {}, "input.number"),
        (body({"SDS_P1": "nan"}), {}, "input.number"),
        (body({"SDS_P1": ""}), {}, "input.number"),
        (body({"SDS_P1": True}), {}, "input.type"),
        (body({"SDS_P1": "1", "PMS_P1": "2"}), {}, "airrohr.twice"),
        (body({"SPS30_N1": "1", "signal": "-1"}), {}, "input.missing"),
        (body({"x": "1"}, sensordatavalues=[{"value_type": "P1"}]), {}, "input.type"),
        (body({}, sensordatavalues=[{"value_type": "P1", "value": "1"}] * 2), {}, "airrohr.twice"),
        (body({str(index): "1" for index in range(65)}), {}, "input.type"),
        ("[]", {}, "input.type"),
        (b"\xff", {}, "input.json"),
    ],
)
def test_what_is_no_reading_is_refused(data: Any, headers: dict[str, str], code: str) -> None:
    with pytest.raises(ReadingError) as error:
        source().read(push(data, headers))
    assert error.value.code == code


@contextmanager
def serving(one: airrohr.Airrohr, heard: Heard) -> Iterator[int]:
    stop, emit = threading.Event(), heard
    anything: Any = emit
    thread = threading.Thread(target=one.run, args=(anything, stop))
    thread.start()
    try:
        yield until(lambda: one.port, "listening")
    finally:
        stop.set()
        thread.join(30)


def post(port: int, data: str | bytes = BODY, path: str = "/data", **more: Any) -> int:
    headers = {**HEADERS, **more.pop("headers", {})}
    tls = more.pop("tls", None)
    client: http.client.HTTPConnection
    if tls is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)
    try:
        client.request(more.pop("method", "POST"), path, data, headers)
        return client.getresponse().status
    finally:
        client.close()


def test_an_answer_is_200_only_when_the_reading_is_durable() -> None:
    heard, statuses = Heard(hold=True), []
    with serving(source(), heard) as port:
        first = threading.Thread(target=lambda: statuses.append(post(port)))
        first.start()
        until(lambda: heard.waiting, "the reading")
        # The station gave up waiting and sends the same again: still one reading.
        again = threading.Thread(target=lambda: statuses.append(post(port)))
        again.start()
        until(lambda: heard.refused == ["airrohr.duplicate"], "the copy")
        assert statuses == []
        heard.waiting[0]()
        first.join(30)
        again.join(30)
        assert statuses == [200, 200] and len(heard.items) == 1
        heard.full = True
        assert post(port, body(NOISE)) == 503
        heard.full, heard.hold = False, False
        assert post(port, body(NOISE)) == 200 and len(heard.items) == 2


def test_requests_that_are_not_for_us() -> None:
    heard = Heard()
    with serving(source(), heard) as port:
        assert post(port, path="/other") == 404
        assert post(port, method="PUT") == 405
        assert post(port, method="GET") == 405
        assert post(port, "{") == 400
        assert post(port, b"x" * 16_385) == 413
        assert post(port, headers={"Content-Length": "9" * 12}) == 400
        assert post(port, headers={"Content-Length": "-1"}) == 400
        assert post(port, headers={"Transfer-Encoding": "chunked"}) == 411
        assert post(port, headers={"X-Long": "y" * 9000}) in (408, 431)
        assert post(port, headers={f"X-{n}": "y" for n in range(150)}) == 431
        assert heard.items == []
        assert post(port) == 200 and len(heard.items) == 1


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := sock.recv(4096):
                found += part
        except ConnectionError:
            pass
        return found


def test_slow_many_and_hostile_clients_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = http_push.PushLimits(connections=4, request_s=0.5)
    monkeypatch.setattr(airrohr, "PushLimits", lambda **_: limits)
    heard = Heard()
    with serving(source(), heard) as port:
        head = f"POST /data HTTP/1.1\r\nContent-Length: {len(BODY)}\r\n"
        two = head + f"Content-Length: 5\r\n\r\n{BODY}"
        assert b" 411 " in raw(port, two.encode())
        assert b" 400 " in raw(port, f"{head}\r\n{BODY[:50]}".encode())
        for odd in HOSTILE:
            raw(port, odd)
        # Two requests in one go: the second is never read, so no proxy can smuggle one in.
        request = f"{head}\r\n{BODY}".encode()
        assert raw(port, request + request).count(b"HTTP/1.1 200") == 1
        assert len(heard.items) == 1
        slow = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(4)]
        try:
            for sock in slow:
                sock.sendall(b"POST /data HTTP/1.1\r\nX: ")
            until(lambda: _busy(port, heard), "no room")
            # A byte now and then does not buy more time.
            for _ in range(8):
                for sock in slow:
                    try:
                        sock.send(b"y")
                    except ConnectionError:
                        continue
                time.sleep(0.1)
            until(lambda: _room(port), "room again")
        finally:
            for sock in slow:
                sock.close()


HOSTILE = [
    b"",
    b"\r\n\r\n",
    b"\xff" * 9000,
    b"GET\r\n\r\n",
    b"POST /data HTTP/9.9\r\n\r\n",
    b"POST /data\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"A " * 60_000,
]


def _busy(port: int, heard: Heard) -> bool:
    return b" 503 " in raw(port, b"") and "http.busy" in heard.refused


def _room(port: int) -> bool:
    try:
        return post(port, body({"SDS_P1": "1", "samples": "7"})) == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_password_keeps_strangers_out_and_is_no_authentication(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    options = {"username": "air", "password_file": "password"}
    one, heard = source(tmp_path, **options), Heard()
    right = {"Authorization": "Basic " + base64.b64encode(b"air:secret").decode()}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"air:other").decode()}
    with serving(one, heard) as port:
        assert post(port) == post(port, headers=wrong) == 401 and heard.items == []
        assert post(port, headers=right) == 200
    assert one._options.unauthenticated() is not None
    for bad in (
        {**options, "host": "0.0.0.0"},
        {"username": "air"},
        {"cert": "x"},
        {"client_ca": "x"},
        {"values": ["SPS30_N1"]},
        {"path": "data"},
    ):
        with pytest.raises(ValueError):
            source(tmp_path, **bad)


def test_over_mtls_a_certificate_speaks_for_its_own_chip_only(tmp_path: Path) -> None:
    ca, ca_key = authority(tmp_path / "ca")
    issue(tmp_path / "server", ca, ca_key, "127.0.0.1")
    other_ca, other_key = authority(tmp_path / "other-ca")
    clients = {
        "mine": issue(tmp_path / "mine", ca, ca_key, "esp8266-12331981"),
        "theirs": issue(tmp_path / "theirs", ca, ca_key, "esp8266-2"),
        "stranger": issue(tmp_path / "stranger", other_ca, other_key, "esp8266-12331981"),
    }
    one = source(tmp_path, cert="server.pem", key="server.key", client_ca="ca.pem", level="G1")
    assert one._options.unauthenticated() is None
    heard = Heard()

    def tls(name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(ca.path))
        if name is not None:
            context.load_cert_chain(*clients[name])
        return context

    with serving(one, heard) as port:
        assert post(port, tls=tls("mine")) == 200 and len(heard.items) == 1
        assert post(port, tls=tls("theirs")) == 403
        for name in (None, "stranger"):
            with pytest.raises((OSError, http.client.HTTPException)):
                post(port, tls=tls(name))
        with pytest.raises((OSError, http.client.HTTPException)):
            post(port)
        until(lambda: heard.refused.count("http.tls") >= 3, "three failed handshakes")
    assert len(heard.items) == 1
    with pytest.raises(ConfigError):
        source(tmp_path, cert="ca.pem", key="server.key")


def test_names_of_certificates() -> None:
    found = http_push.certificate_names(
        {
            "subject": ((("organizationName", "esp8266-9"),), (("commonName", "station"),)),
            "subjectAltName": (("DNS", "esp8266-8"), ("URI", "urn:example:esp8266-7")),
        }
    )
    assert found == {"station", "urn:example:esp8266-7"}
    own = source(cert=None)
    assert airrohr._names(found, "esp8266-7") and not airrohr._names(found, "esp8266-9")
    assert not airrohr._names(found, "esp8266-8") and own.describe()


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={"value_type": st.sampled_from(sorted(airrohr.VALUES)) | LEAVES, "value": LEAVES},
)


@given(LEAVES, st.lists(ENTRIES, max_size=5) | LEAVES, st.text(max_size=20))
def test_any_body_is_a_reading_or_a_reason(chip: Any, entries: Any, header: str) -> None:
    document = {"esp8266id": chip, "sensordatavalues": entries}
    for headers in ({}, {"X-Sensor": header}, HEADERS):
        try:
            source().read(push(json.dumps(document), headers))
        except ReadingError as error:
            assert error.code
