"""Clients that send too much, too slowly, too often, or not what they should."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from depin_id.envelope import MAX_BUNDLE
from tests.http.support import (
    SEQUENCE,
    Running,
    Site,
    code_of,
    ended,
    levels,
    make_site,
    raw,
    running,
    wait_for,
)
from verify.http.api import ApiOptions
from verify.http.front import HttpOptions
from verify.httpd import Limits
from verify.service import LiveHandler

HEAD = b"POST /v1/bundles HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor-seq\r\n"
SHORT = Limits(connections=8, per_address=6, header_s=1, idle_s=2, unread_s=2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"), 3)


@pytest.fixture(scope="module")
def at(site: Site) -> Iterator[Running]:
    http = HttpOptions("127.0.0.1", 0, api=ApiOptions(body_s=1, per_minute=0), limits=SHORT)
    with running(site, http=http) as made:
        yield made


def _quiet(at: Running) -> None:
    """Wait until nobody is connected."""
    wait_for(lambda: "depin_http_connections 0.0" in at.measured(), "an idle server")


def _works(at: Running) -> None:
    """Honest clients still get through."""
    device = at.site.devices[0]
    _quiet(at)
    assert len(at.acks(device, device.next(levels(1)))) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_unread(at: Running, chunked: bool) -> None:
    data = b"\x00" * (MAX_BUNDLE + 1)
    content = iter([data[:70_000], data[70_000:]]) if chunked else data
    response = httpx2.post(f"{at.url}/v1/bundles", content=content, headers=SEQUENCE, timeout=60)
    assert response.status_code == 413 and code_of(response) == "http.too_large"
    with raw(at.port) as sock:
        # Not a byte of the body has to come for the answer.
        sock.sendall(HEAD + b"content-length: 99999999999999999\r\n\r\n")
        assert sock.recv(4096).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    _works(at)


def test_who_goes_on_sending_after_a_refusal_is_cut_off(at: Running) -> None:
    with raw(at.port) as sock, contextlib.suppress(OSError):
        sock.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            sock.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
            time.sleep(0.001)
        pytest.fail("garbage was taken without end")
    _works(at)


def test_headers_that_are_too_large_or_too_slow_end_the_connection(at: Running) -> None:
    with raw(at.port) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(HEAD + b"x: " + b"y" * 100_000 + b"\r\n\r\n")
        assert not ended(sock).startswith(b"HTTP/1.1 2")
    for beginning in (b"", b"GET /v1/card HT", HEAD + b"a: b\r\n"):
        with raw(at.port) as sock:
            began = time.monotonic()
            sock.sendall(beginning)
            assert ended(sock) == b""
            assert time.monotonic() - began < 10
    _works(at)


def test_the_second_request_of_a_connection_may_not_dawdle_either(at: Running) -> None:
    with raw(at.port) as sock:
        sock.sendall(b"GET /v1/card HTTP/1.1\r\nhost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /v1/card HTTP/1.1\r\n" + b"a: b\r\n" * 100:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        ended(sock)
        assert time.monotonic() - began < 15
    _works(at)


def test_a_slow_body_is_given_up(at: Running) -> None:
    with raw(at.port) as sock:
        sock.sendall(HEAD + b"content-length: 1000\r\n\r\n\x00")
        said = ended(sock)
    assert said.startswith(b"HTTP/1.1 408") and b"http.slow" in said
    _works(at)


def test_a_body_that_ends_early_is_nothing(at: Running) -> None:
    envelope = at.site.devices[1].next(levels(1))
    with raw(at.port) as sock:
        told = str(len(envelope) + 10).encode()
        sock.sendall(HEAD + b"content-length: " + told + b"\r\n\r\n" + envelope)
    _works(at)
    (ack,) = at.acks(at.site.devices[1], envelope)
    assert ack.items[0].code == "accepted"


def test_who_does_not_read_is_cut_off(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    with running(site, metrics=HttpOptions("127.0.0.1", 0, limits=SHORT)) as at:
        began = time.monotonic()
        with socket.socket() as sock:
            # Before connecting, or the other side is told of a larger window.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(at.metrics.rpartition(":")[2])))
            sock.settimeout(SHORT.unread_s / 4)
            while time.monotonic() < began + 50:
                try:
                    sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
                except TimeoutError:
                    continue
                except OSError:
                    break
            else:
                pytest.fail("requests without a reader were taken without end")


def test_connections_are_bounded_in_all_and_for_one_address(at: Running) -> None:
    _quiet(at)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(raw(at.port)) for _ in range(20)]
        refused = 0
        for sock in socks:
            sock.settimeout(0.2)
            with contextlib.suppress(OSError):
                refused += sock.recv(4096).startswith(b"HTTP/1.1 503")
        assert refused >= 20 - SHORT.per_address
    _works(at)


def test_a_proxy_may_have_all_connections_and_names_its_clients(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    api = ApiOptions(per_minute=60, burst=2, proxies=("127.0.0.1",))
    http = HttpOptions("127.0.0.1", 0, api=api, limits=replace(SHORT, per_address=1, header_s=9))
    with running(site, http=http) as at:
        with raw(at.port), raw(at.port):
            for n in range(4):
                # What the client itself wrote there counts for nothing.
                headers = {"x-forwarded-for": f"9.9.9.9, 10.0.0.{n}"}
                assert at.get("/v1/card", headers=headers).status_code == 200
            same = [
                at.get("/v1/card", headers={"x-forwarded-for": f"9.9.9.{n}, 10.0.0.1"}).status_code
                for n in range(3)
            ]
            assert same[-1] == 429


def test_signatures_that_do_not_verify_count_as_requests(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    api = ApiOptions(per_minute=600, burst=40)
    with running(site, http=HttpOptions("127.0.0.1", 0, api=api)) as at:
        device = site.devices[0]
        good = device.next(levels(1))
        forged = [good[:-1] + bytes([good[-1] ^ 1 + n % 255]) for n in range(640)]
        # One that is real must not hide the others.
        assert at.post(good, *forged[:160]).status_code == 200
        assert code_of(at.post(*forged)) == "signature.invalid"
        refused = at.post(device.next(levels(1)))
        assert code_of(refused) == "http.rate" and 1 <= int(refused.headers["retry-after"]) <= 5
        time.sleep(int(refused.headers["retry-after"]))
        assert at.post(good).status_code == 200


def test_an_address_has_its_rate(tmp_path: Path) -> None:
    site = make_site(tmp_path, 1)
    http = HttpOptions("127.0.0.1", 0, api=ApiOptions(per_minute=60, burst=3))
    with running(site, http=http) as at:
        # Whoever is no trusted proxy names nobody.
        answers = [at.get("/v1/card", headers={"x-forwarded-for": f"10.0.0.{n}"}) for n in range(6)]
        assert [answer.status_code for answer in answers][:3] == [200] * 3
        refused = answers[-1]
        assert refused.status_code == 429 and code_of(refused) == "http.rate"
        time.sleep(int(refused.headers["retry-after"]) + 0.1)
        assert at.get("/v1/card").status_code == 200
        assert 'route="other",status="429"' in at.measured()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Commits wait while it is closed, as behind a slow disk."""
    opened = threading.Event()
    opened.set()
    commit = LiveHandler.commit

    def slow(self: LiveHandler, messages: object) -> object:
        assert opened.wait(60)
        return commit(self, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(LiveHandler, "commit", slow)
    yield opened
    opened.set()


def test_when_commits_do_not_keep_up_requests_are_told_to_come_later(
    tmp_path: Path, gate: threading.Event
) -> None:
    site = make_site(tmp_path, 1)
    device = site.devices[0]
    envelopes = [device.next(levels(1, n)) for n in range(3)]
    limits = Limits(connections=200, per_address=200)
    http = HttpOptions("127.0.0.1", 0, api=ApiOptions(commit_s=1, per_minute=0), limits=limits)
    with running(site, http=http) as at:
        gate.clear()
        slow = at.post(envelopes[0])
        assert slow.status_code == 503 and code_of(slow) == "http.slow_commit"
        assert int(slow.headers["retry-after"]) >= 1
        with concurrent.futures.ThreadPoolExecutor(150) as pool:
            answers = list(pool.map(lambda _: at.post(b"\x00" * MAX_BUNDLE), range(150)))
        codes = Counter((answer.status_code, code_of(answer)) for answer in answers)
        assert set(codes) == {(503, "http.slow_commit"), (429, "http.busy")}, codes
        # 16 MiB wait, and no more: 128 of these, or 127 beside the first.
        assert codes[503, "http.slow_commit"] <= 128 and codes[429, "http.busy"] >= 22
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        gate.set()
        # What was given up was committed all the same, once, and is acknowledged when it is sent.
        wait_for(lambda: 'depin_inbox_messages{transport="http"} 0.0' in at.measured(), "room")
        (ack,) = at.acks(device, *envelopes)
        assert [item.code for item in ack.items] == ["accepted"] * 3


def test_stopping_answers_those_that_wait(tmp_path: Path, gate: threading.Event) -> None:
    site = make_site(tmp_path, 1)
    device = site.devices[0]
    first, second = device.next(levels(1)), device.next(levels(1, 1))
    answers = dict[bytes, httpx2.Response]()

    with running(site) as at:

        def send(envelope: bytes) -> None:
            answers[envelope] = at.post(envelope)

        gate.clear()
        threads = [threading.Thread(target=send, args=(data,)) for data in (first, second)]
        threads[0].start()
        wait_for(lambda: 'depin_inbox_messages{transport="http"} 0.0' in at.measured(), "a commit")
        time.sleep(0.3)
        threads[1].start()
        wait_for(lambda: 'depin_inbox_messages{transport="http"} 1.0' in at.measured(), "a wait")
        at.stop.set()
        gate.set()
        for thread in threads:
            thread.join(60)
    assert answers[first].status_code == 200
    assert answers[second].status_code == 503 and code_of(answers[second]) == "http.stopping"


def test_a_loop_that_hangs_is_not_alive_and_a_full_disk_is_not_ready(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, 1)
    with running(site) as at:
        monkeypatch.setattr("verify.http.health.disk_free", lambda _root: 1000)
        ready = httpx2.get(f"{at.metrics}/readyz", timeout=60)
        assert ready.status_code == 503 and ready.json()["checks"]["disk"] is False
        assert httpx2.get(f"{at.metrics}/livez", timeout=60).status_code == 200
        gate.clear()
        monkeypatch.setattr("verify.http.health.STUCK_S", 0.2)
        sender = threading.Thread(target=at.post, args=(b"\x00",))
        sender.start()
        wait_for(lambda: httpx2.get(f"{at.metrics}/livez", timeout=60).status_code == 503, "a hang")
        gate.set()
        sender.join(60)
