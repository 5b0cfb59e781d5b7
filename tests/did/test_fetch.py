"""The fetcher: what it fetches, and each thing it refuses, by just that."""

from __future__ import annotations

import datetime
import io
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from depin_id.did.fetch import Fetcher, Limits, read_answer, system_resolve, tls_dial
from depin_id.did.weburl import check_address, parse_web_url
from depin_id.errors import FetchError
from tests.did.webserver import PUBLIC, answer, redirect, serve

TYPES = ("application/json",)
URL = "https://example.com/did.json"


def code_of(fetcher: Fetcher, url: str = URL, **options: int) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url, types=TYPES, **options)
    return caught.value.code


def test_a_page_is_fetched_and_only_what_is_needed_said() -> None:
    with serve({"/did.json": answer(b'{"a":1}', kind="Application/JSON; charset=utf-8")}) as served:
        assert served.fetcher().fetch(URL, types=TYPES) == b'{"a":1}'
        assert served.dialled == [(PUBLIC, 443, "example.com")]
        assert served.requests == [
            b"GET /did.json HTTP/1.1\r\nHost: example.com\r\nAccept: application/json\r\n"
            b"Accept-Encoding: identity\r\nUser-Agent: depin-id\r\nConnection: close\r\n\r\n"
        ]


def test_off_unless_asked_for() -> None:
    with serve({"/did.json": answer()}) as served:
        for value in (False, 0, 1, None, "yes"):
            assert code_of(served.fetcher(allow_network=value)) == "fetch.off"
        assert code_of(Fetcher()) == "fetch.off"
        assert not served.looked_up


@pytest.mark.parametrize(
    "url, code",
    [
        ("http:|example.com/", "fetch.scheme"),
        ("file:|example.com/x", "fetch.scheme"),
        ("ftp:|example.com/", "fetch.scheme"),
        ("https:example.com/", "fetch.url"),
        ("//example.com/", "fetch.url"),
        ("https:|example.com/#x", "fetch.url"),
        ("https:|example.com/?a b", "fetch.url"),
        (" https:|example.com/", "fetch.url"),
        ("https:|example.com/" + "a" * 2048, "fetch.url"),
        ("https:|user@example.com/", "fetch.userinfo"),
        ("https:|example.org:443@example.com/", "fetch.userinfo"),
        ("https:|127.0.0.1/", "fetch.literal"),
        ("https:|8.8.8.8/", "fetch.literal"),
        ("https:|127.1/", "fetch.literal"),
        ("https:|2130706433/", "fetch.literal"),
        ("https:|0177.0.0.1/", "fetch.literal"),
        ("https:|0x7f.0.0.0x1/", "fetch.literal"),
        ("https:|0x7f000001/", "fetch.literal"),
        ("https:|example.0x/", "fetch.literal"),
        ("https:|[::1]/", "fetch.literal"),
        ("https:|[::ffff:127.0.0.1]:443/", "fetch.literal"),
        ("https:|exam%70le.net/", "fetch.host"),
        ("https:|example%2ecom/", "fetch.host"),
        ("https:|example.com%00.example.net/", "fetch.host"),
        ("https:|example.com\\.example.net/", "fetch.host"),
        ("https:|example\u3002com/", "fetch.host"),
        ("https:|ex\u00e4mple.net/", "fetch.host"),
        ("https:|\u2460\u2461\u2462.net/", "fetch.host"),
        ("https:|localhost/", "fetch.host"),
        ("https:|printer.local/", "fetch.host"),
        ("https:|metadata.google.internal/", "fetch.host"),
        ("https:|a.LOCALHOST/", "fetch.host"),
        ("https:|example.com./", "fetch.host"),
        ("https:|.example.net/", "fetch.host"),
        ("https:|example/", "fetch.host"),
        ("https:|/x", "fetch.host"),
        ("https:|exa_mple.com/", "fetch.host"),
        ("https:|" + "a." * 130 + "com/", "fetch.host"),
        ("https:|example.com:/", "fetch.port"),
        ("https:|example.com:0/", "fetch.port"),
        ("https:|example.com:0443/", "fetch.port"),
        ("https:|example.com:65536/", "fetch.port"),
        ("https:|example.com:4 4/", "fetch.port"),
        ("https:|example.com:80:80/", "fetch.port"),
        ("https:|example.com/a/../b", "fetch.path"),
        ("https:|example.com/./b", "fetch.path"),
        ("https:|example.com/a/..", "fetch.path"),
        ("https:|example.com//b", "fetch.path"),
        ("https:|example.com/%2e%2e/b", "fetch.path"),
        ("https:|example.com/a%2Fb", "fetch.path"),
        ("https:|example.com/a%5cb", "fetch.path"),
        ("https:|example.com/a%00b", "fetch.path"),
        ("https:|example.com/a%0d%0aHost:%20b", "fetch.path"),
        ("https:|example.com/a\\b", "fetch.path"),
        ("https:|example.com/a b", "fetch.path"),
        ("https:|example.com/a\r\nHost: b", "fetch.path"),
        ("https:|example.com/%zz", "fetch.path"),
    ],
)
def test_addresses_that_are_refused_before_anything_is_looked_up(url: str, code: str) -> None:
    with serve({}) as served:
        assert code_of(served.fetcher(), url.replace("|", "//")) == code
        assert not served.looked_up and not served.dialled


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/a", "https://example.com/a"),
        ("https:|xn--e1afmkfd.example.net:8443/a%20b/?q=%2e", None),
    ],
)
def test_plain_addresses_are_taken(url: str, shown: str | None) -> None:
    url = url.replace("|", "//")
    assert str(parse_web_url(url)) == (shown or url)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.0.9",
        "0.0.0.0", "0.1.2.3", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8",
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "192.88.99.1", "224.0.0.1",
        "168.63.129.16",
        "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1",
        "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0",
        "fec0::1", "ff02::1", "2606:4700::1%1", "nonsense", "0177.0.0.1", "2130706433", "",
    ],
)  # fmt: skip
def test_names_of_addresses_that_are_not_public_are_refused(address: str) -> None:
    with serve({"/did.json": answer()}) as served:
        for found in ([address], [PUBLIC, address], [address, PUBLIC]):
            assert code_of(served.fetcher({"example.com": found})) == "fetch.address"
        assert not served.dialled


@pytest.mark.parametrize("address", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111"])
def test_public_addresses_are_taken(address: str) -> None:
    assert check_address(address) == address


def test_a_name_that_changes_its_mind_changes_nothing() -> None:
    """The address that was checked is the one that is dialled, and there is one look-up."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    with serve({"/did.json": answer()}) as served:
        fetcher = served.fetcher(resolve=lambda host, port: next(answers))
        assert fetcher.fetch(URL, types=TYPES) == b"{}"
        assert served.dialled == [(PUBLIC, 443, "example.com")]
        assert code_of(fetcher) == "fetch.address"
        assert len(served.dialled) == 1


@pytest.mark.parametrize(
    "location, code",
    [
        ("http://example.org/", "fetch.scheme"),
        ("https:|127.0.0.1/", "fetch.literal"),
        ("https:|inside.example.net/", "fetch.address"),
        ("https://localhost/", "fetch.host"),
        ("https://user:pass@example.org/", "fetch.userinfo"),
        ("//example.org/", "fetch.url"),
        ("other", "fetch.url"),
        ("/../up", "fetch.path"),
        ("", "fetch.url"),
        ("/did.json", "fetch.redirects"),
    ],
)
def test_redirects_are_checked_like_first_addresses(location: str, code: str) -> None:
    with serve({"/did.json": redirect(location.replace("|", "//"))}) as served:
        fetcher = served.fetcher({"inside.example.net": ["10.0.0.1"]})
        assert code_of(fetcher) == code
        assert all(found == (PUBLIC, 443, "example.com") for found in served.dialled)
        assert len(served.dialled) == (4 if code == "fetch.redirects" else 1)


def test_a_redirect_is_followed() -> None:
    pages = {
        "/did.json": redirect("/a"),
        "/a": redirect("https:" + "//www.example.net:8443/b?c=d"),
        "/b?c=d": answer(b"[1]"),
    }
    with serve(pages) as served:
        assert served.fetcher().fetch(URL, types=TYPES) == b"[1]"
        assert served.dialled[-1] == (PUBLIC, 8443, "www.example.net")
        assert b"Host: www.example.net:8443\r\n" in served.requests[-1]


BODY = b"x" * 2000
TWICE = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "page, code",
    [
        (answer(BODY), "fetch.too_large"),
        (OPEN + BODY, "fetch.too_large"),
        (CHUNKS + b"7d0\r\n" + BODY + b"\r\n0\r\n\r\n", "fetch.too_large"),
        (CHUNKS + b"ffffffffffff\r\n" + BODY, "fetch.too_large"),
        (answer(Content_Length="9" * 5000), "fetch.too_large"),
        (b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"y" * 9000 + b"\r\n") * 20, "fetch.too_large"),
        (answer(Content_Encoding="gzip"), "fetch.encoded"),
        (answer(Transfer_Encoding="gzip, chunked"), "fetch.encoded"),
        (answer(kind="text/html"), "fetch.content"),
        (answer(kind="application/jsonx"), "fetch.content"),
        (answer(kind="image/svg+xml; a=application/json"), "fetch.content"),
        (answer(status="404 Not Found"), "fetch.not_found"),
        (answer(status="410 Gone"), "fetch.not_found"),
        (answer(status="500 Oh"), "fetch.status"),
        (answer(status="204 None"), "fetch.status"),
        (answer(status="206 Part"), "fetch.status"),
        (answer(status="304 Same"), "fetch.status"),
        (TWICE, "fetch.redirect"),
        (answer(Content_Length="3"), "fetch.malformed"),
        (answer(Content_Length="-2"), "fetch.malformed"),
        (answer(Content_Length="+2"), "fetch.malformed"),
        (answer(Transfer_Encoding="chunked"), "fetch.malformed"),
        # A space that is none to others: the body would be taken with its chunks' lengths.
        (CHUNKS[:-4] + b"\x0b\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "fetch.malformed"),
        (CHUNKS + b"2\r\n{}\r\n", "fetch.malformed"),
        (CHUNKS + b"zz\r\n{}\r\n", "fetch.malformed"),
        (b"SSH-2.0-x\r\n", "fetch.malformed"),
        (b"", "fetch.malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", "fetch.malformed"),
    ],
)  # fmt: skip
def test_answers_that_are_refused(page: bytes, code: str) -> None:
    with serve({"/did.json": page}) as served:
        assert code_of(served.fetcher(), max_bytes=1000) == code


@pytest.mark.parametrize(
    "page, body",
    [
        (OPEN + BODY, BODY),
        (CHUNKS + b"3E8\r\n" + BODY[:1000] + b"\r\n3e8\r\n" + BODY[1000:] + b"\r\n0\r\n\r\n", BODY),
        (answer(BODY, kind=None), BODY),
        (answer(BODY, Content_Encoding="identity"), BODY),
        (answer(BODY) + b"more", BODY),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(BODY), BODY),
    ],
)
def test_answers_that_are_taken(page: bytes, body: bytes) -> None:
    with serve({"/did.json": page}) as served:
        assert served.fetcher().fetch(URL, types=TYPES, max_bytes=2000) == body


@pytest.mark.parametrize("head", [b"", OPEN, answer(b"", Content_Length="1000"), b"HTTP/1.1 200"])
def test_one_deadline_for_everything(head: bytes) -> None:
    """Bytes that keep coming, each in time, do not add up to an answer without end."""

    def drip(stream: socket.socket) -> None:
        stream.sendall(head)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            stream.sendall(b" ")
            time.sleep(0.02)

    with serve({"/did.json": drip}) as served:
        started = time.monotonic()
        assert code_of(served.fetcher(limits=Limits(seconds=0.3))) == "fetch.slow"
        assert time.monotonic() - started < 10


def test_look_ups_and_hosts_that_hang_are_left() -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(30)
        return [PUBLIC]

    def late(address: str, port: int, host: str, seconds: float) -> socket.socket:
        raise TimeoutError

    limits = Limits(seconds=0.2)
    try:
        assert code_of(Fetcher(allow_network=True, resolve=hang, limits=limits)) == "fetch.slow"
    finally:
        release.set()
    with serve({}) as served:
        assert code_of(served.fetcher(dial=late)) == "fetch.slow"


def test_another_address_is_tried_when_one_does_not_answer() -> None:
    with serve({"/did.json": answer(b"[]")}) as served:
        tried = []

        def dial(address: str, port: int, host: str, seconds: float) -> socket.socket:
            tried.append(address)
            if len(tried) < 3:
                raise OSError("no route")
            return served.dial(address, port, host, seconds)

        hosts = {"example.com": ["2606:4700::1", "2606:4700::2", "1.1.1.1", PUBLIC]}
        assert served.fetcher(hosts, dial=dial).fetch(URL, types=TYPES) == b"[]"
        assert tried == hosts["example.com"][:3]


def test_hosts_that_cannot_be_found_or_reached() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    def closed(address: str, port: int, host: str, seconds: float) -> socket.socket:
        raise ConnectionRefusedError("refused")

    with serve({}) as served:
        assert code_of(served.fetcher(resolve=unknown)) == "fetch.lookup"
        assert code_of(served.fetcher({"example.com": []})) == "fetch.lookup"
        assert code_of(served.fetcher(dial=closed)) == "fetch.connect"
        assert code_of(served.fetcher()) == "fetch.not_found"


def test_the_systems_resolver_gives_addresses() -> None:
    found = system_resolve("localhost", 443)
    assert found and "127.0.0.1" in found or "::1" in found
    with pytest.raises(FetchError):
        check_address(found[0])


def _certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def test_certificates_are_checked_against_the_name(tmp_path: Path) -> None:
    file = _certificate(tmp_path, "example.com")
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.load_cert_chain(file)
    trusting = tls_dial(ssl.create_default_context(cafile=str(file)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def run() -> None:
            for _ in range(4):
                stream, _ = listener.accept()
                try:
                    with here.wrap_socket(stream, server_side=True) as secure:
                        page = answer(b"[]") if secure.recv(4096) else b""
                        if number.pop() == "whole":
                            secure.sendall(page)
                            secure.unwrap()
                        else:  # cut off by somebody in between: no end of the TLS stream
                            secure.sendall(OPEN + b"[")
                except OSError:
                    continue

        number = ["cut", "whole"]
        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def led(dial: object) -> Fetcher:
            assert callable(dial)
            return Fetcher(
                allow_network=True,
                resolve=lambda host, _: [PUBLIC],
                dial=lambda address, _, host, seconds: dial("127.0.0.1", port, host, seconds),
            )

        assert led(trusting).fetch(URL, types=TYPES) == b"[]"
        assert code_of(led(trusting)) == "fetch.connect"
        assert code_of(led(trusting), "https://example.org/") == "fetch.connect"
        assert code_of(led(tls_dial())) == "fetch.connect"
        thread.join(30)


@given(st.binary(max_size=200), st.sampled_from([b"", OPEN, CHUNKS, b"HTTP/1.1 200 OK\r\n"]))
def test_whatever_comes_is_an_answer_or_an_error_of_ours(data: bytes, head: bytes) -> None:
    try:
        body, location = read_answer(io.BytesIO(head + data), types=TYPES, max_bytes=64)
    except FetchError:
        return
    assert (body is None) != (location is None) and (body is None or len(body) <= 64)
