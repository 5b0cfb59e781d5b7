"""One journal for both ways in; TLS; kill -9; what the command says."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

from depin_id.network import topics
from tests.bridge.certificates import authority, issue
from tests.brokers import mosquitto
from tests.endtoend.world import Process, until
from tests.http.support import (
    SEQUENCE,
    acks_of,
    levels,
    make_site,
    raw,
    running,
    wait_for,
)
from tests.ingest.support import publisher
from verify.audit import audit
from verify.cli import main
from verify.http.front import HttpOptions
from verify.httpd import Limits
from verify.listen import Certificate
from verify.log import leaf_hash
from verify.reading import Reader


def test_what_came_by_one_way_is_known_to_the_other(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    first, second = site.devices
    name = site.card.name
    with mosquitto(tmp_path) as broker, publisher(broker) as client:
        heard: list[bytes] = []
        client.on_message = lambda _c, _d, message: heard.append(bytes(message.payload))
        client.subscribe(topics(name, first.key.kid)[1], qos=1)
        with running(site, f"mqtt://127.0.0.1:{broker.port}") as at:
            wait_for(lambda: "mqtt.subscribed" in at.kinds(), "the subscription")
            one = first.next(levels(1))
            (by_http,) = at.acks(first, one)
            client.publish(topics(name, first.key.kid)[0], one, qos=1)
            wait_for(lambda: heard, "the acknowledgement by MQTT")
            (by_mqtt,) = acks_of(heard[0], site.card, first.key.thumbprint)
            assert by_mqtt.items == by_http.items and by_mqtt.number > by_http.number
            # And the other way round; a request's answer does not go to the topic as well.
            other = second.next(levels(1))
            client.publish(topics(name, second.key.kid)[0], other, qos=1)
            wait_for(lambda: 'depin_messages_total{transport="mqtt"} 2.0' in at.measured(), "MQTT")
            (again,) = at.acks(second, other)
            assert again.items[0].code == "accepted"
            assert len(heard) == 1
            health = httpx2.get(f"{at.metrics}/readyz", timeout=60).json()
            assert health["ok"] and health["broker_connected"] is True
    with Reader(site.root) as reader:
        assert reader.fold.tally.verdicts == {"accepted": 2}
    assert audit(site.root).ok


def test_a_certificate_is_used_and_its_renewal_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verify.httpd._RELOAD_S", 0.05)
    site = make_site(tmp_path, 1)
    device = site.devices[0]
    ca, ca_key = authority(tmp_path / "ca")
    cert, key = issue(tmp_path / "server", ca, ca_key, "127.0.0.1")
    fresh_cert, fresh_key = issue(tmp_path / "renewed", ca, ca_key, "127.0.0.1")
    http = HttpOptions("127.0.0.1", 0, certificate=Certificate(cert, key))
    with running(site, http=http) as at:
        assert at.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(ca.path))

        def serial() -> str:
            with httpx2.Client(verify=trusted) as client:
                with client.stream("GET", f"{at.url}/v1/card") as response:
                    stream = response.extensions["network_stream"]
                    peer = stream.get_extra_info("ssl_object").getpeercert()
                    return str(peer["serialNumber"])

        before = serial()
        with httpx2.Client(verify=trusted) as client:
            answer = client.post(
                f"{at.url}/v1/bundles", content=device.next(levels(1)), headers=SEQUENCE
            )
        assert acks_of(answer.content, site.card, device.key.thumbprint)
        with pytest.raises(httpx2.ConnectError, match="(?i)certificate"):
            httpx2.get(f"{at.url}/v1/card")
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(at.url.replace("https", "http") + "/v1/card")
        # Half a renewal is no renewal, and does no harm.
        shutil.copyfile(fresh_cert, cert)
        wait_for(lambda: "http.tls_failed" in at.kinds(), "the refusal of half a renewal")
        assert serial() == before
        shutil.copyfile(fresh_key, key)
        wait_for(lambda: "http.tls_reloaded" in at.kinds(), "the renewal")
        assert serial() != before


def test_connections_that_never_finish_tls_are_bounded_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verify.httpd._HANDSHAKE_S", 1.0)
    site = make_site(tmp_path, 0)
    ca, ca_key = authority(tmp_path / "ca")
    certificate = Certificate(*issue(tmp_path / "server", ca, ca_key, "127.0.0.1"))
    http = HttpOptions("127.0.0.1", 0, certificate=certificate, limits=Limits(connections=4))
    with running(site, http=http) as at, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(raw(at.port)) for _ in range(60)]
        for sock in socks:
            sock.setblocking(False)

        def open_ones() -> int:
            count = 0
            for sock in socks:
                with contextlib.suppress(ConnectionResetError):
                    try:
                        sock.recv(1)
                    except BlockingIOError:
                        count += 1
            return count

        # 32 more than the limit, so that those who finish can be told that there is no room.
        wait_for(lambda: open_ones() <= 4 + 32, "the refusal of the rest")
        wait_for(lambda: not open_ones(), "the end of their patience")
        trusted = ssl.create_default_context(cafile=str(ca.path))

        def works() -> bool:
            with contextlib.suppress(httpx2.HTTPError):
                return httpx2.get(f"{at.url}/v1/card", verify=trusted).status_code == 200
            return False

        wait_for(works, "room for honest clients")


def _process(root: Path, log: Path, *options: str) -> tuple[Process, str]:
    process = Process(
        "verify.cli",
        *("run", root, "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
        *("--log-format", "json", "--http-rate", "0", *options),
        log=log,
    )

    def url() -> Any:
        return re.search(r'"name": "api", "url": "([^"]+)"', process.log)

    return process, until(url, "the listener", process=process)[1]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    device, log = site.devices[0], tmp_path / "log"
    leaves: dict[int, bytes] = {}
    last = b""
    for n in range(3):
        process, url = _process(site.root, log)
        with process, httpx2.Client(headers=SEQUENCE, timeout=60) as client:
            if last:
                answer = client.post(f"{url}/v1/bundles", content=last)
                (ack,) = acks_of(answer.content, site.card, device.key.thumbprint)
                assert ack.items[0].index in leaves, "accepted a second time"
            for k in range(5):
                last = device.next(levels(1, 5 * n + k))
                answer = client.post(f"{url}/v1/bundles", content=last)
                (ack,) = acks_of(answer.content, site.card, device.key.thumbprint)
                (item,) = ack.items
                assert item.code == "accepted" and item.index is not None
                leaves[item.index] = item.leaf or b""
            process.kill()
    with Reader(site.root) as reader:
        assert len(leaves) == 15 and reader.fold.tally.verdicts == {"accepted": 15}
        for index, leaf in leaves.items():
            assert leaf_hash(reader.journal.entry(index).leaf) == leaf
    assert audit(site.root).ok


def test_the_log_is_one_json_object_a_line_and_says_nothing_of_readings(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    device = site.devices[0]
    process, url = _process(site.root, tmp_path / "log")
    with process, httpx2.Client(headers=SEQUENCE, timeout=60) as client:
        assert client.post(f"{url}/v1/bundles", content=device.next(levels(1))).is_success
        for _ in range(60):
            client.post(f"{url}/v1/bundles", content=b"secret-reading")
        process.finish()
        lines = [json.loads(line) for line in process.log.splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds.count("http.listening") == 2 and "committed" in kinds
    assert all(isinstance(line["time"], int) for line in lines)
    assert "secret-reading" not in process.log and device.did not in process.log


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "usage"),
        (("--http", "nonsense"), "http.address"),
        (("--http", "127.0.0.1:99999"), "http.address"),
        (("--http", "0.0.0.0:0"), "http.insecure"),
        (("--http", "[::]:0"), "http.insecure"),
        (("--http", "127.0.0.1:0", "--metrics", "0.0.0.0:0"), "http.insecure"),
        (("--http", "127.0.0.1:0", "--http-cert", "x.pem"), "usage"),
        (("--http", "127.0.0.1:0", "--http-cert", "x.pem", "--http-key", "y.pem"), "transport.tls"),
        (("--http", "192.0.2.1:1", "--insecure"), "http.listen"),
        (("--http", "127.0.0.1:0", "--log-format", "xml"), "usage"),
        (("--http-cert", "x.pem", "--http-key", "x.pem", "--mqtt", "mqtt://x"), "usage"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: str
) -> None:
    site = make_site(tmp_path, 0)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(site.root), *options])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and f"error: {code}:" in said and "Traceback" not in said
