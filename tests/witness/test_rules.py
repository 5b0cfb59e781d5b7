"""The rules of c2sp.org/tlog-witness, over real HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from tests.log.helpers import KEY, ORIGIN, signed
from tests.witness.world import FALSE, TRUE, WAIT_S, Live, live
from verify.log import Checkpoint, Equivocation, NoteKey, cosignatures_of
from verify.witness import format_request
from verify.witness.request import MAX_BODY, AddCheckpoint
from verify.witness.server import PER_ADDRESS

SIZE = "text/x.tlog.size"


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path / "wit") as made:
        made.watch()
        yield made


def cosigned(witness: Live, answer: httpx2.Response, note: str) -> int:
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("\u2014 w0 ") and answer.text.endswith("\n")
    [found] = cosignatures_of(note + answer.text, [witness.directory.key])
    return found.time


def test_a_log_that_grows_is_cosigned(witness: Live) -> None:
    old = 0
    for size in (1, 2, 2, 7, 16, 40, 40):
        witness.now += 1
        answer = witness.post(TRUE.request(old, size))
        assert cosigned(witness, answer, TRUE.head(size)) == witness.now
        old = size
    head = witness.directory.head(ORIGIN)
    assert head is not None and head[0].size == 40


def test_the_request_that_the_reference_witness_is_tested_with() -> None:
    """A log of size 1 that a Go witness accepts (litewitness, multi-cosigs-ed25519)."""
    origin = "sigsum" + ".org/v1/tree/"
    origin += "985ea163f5af026723561354f51f2ebcdcf2af809ce254ccfb64aa9aadd80f90"
    note = (
        f"{origin}\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u2014 {origin} "
        "7BKT0gOfNZ1J0So9unY3BZtm2YkPIoNYM/dce0Z2avJDs8dxN6ts9bOSwwrVrbjm6P9K3ZxpK6jJngOG6YvGGzV/lwo=\n"
    )
    request = AddCheckpoint.parse(f"old 0\n\n{note}".encode())
    assert (request.old_size, request.proof) == (0, ())
    assert (request.checkpoint.origin, request.checkpoint.size) == (origin, 1)
    key = bytes.fromhex("52c05edad1bf5feffa81354faae59a655d9a9a1a793ed2f62c39c26c0be2aecd")
    assert NoteKey(origin, key).key_id == bytes.fromhex("ec1293d2")
    assert format_request(0, (), note) == f"old 0\n\n{note}".encode()


def test_404_for_a_log_that_is_not_known(witness: Live) -> None:
    other = Checkpoint("log.example/other", 1, bytes(32))
    assert witness.post(format_request(0, [], signed(other))).status_code == 404


def test_403_without_a_signature_of_a_trusted_key(witness: Live) -> None:
    good = TRUE.head(3)
    body, _, line = good.partition("\n\n")
    for note in (
        good.replace("\n3\n", "\n4\n"),
        f"{body}\n\n\u2014 {ORIGIN} {'A' * 90}=\n".replace("AAA=", "AA=="),
        f"{body}\n\n{line.replace(ORIGIN, 'log.example/other')}",
    ):
        answer = witness.post(format_request(0, [], note))
        assert answer.status_code in (400, 403), answer.text
    answer = witness.post(format_request(0, [], good.replace("\n3\n", "\n4\n")))
    assert answer.status_code == 403
    assert witness.directory.head(ORIGIN) is None


def test_signatures_of_strangers_are_ignored(witness: Live) -> None:
    note = TRUE.head(3) + "\u2014 stranger " + "A" * 91 + "=\n"
    assert witness.post(format_request(0, [], note)).status_code == 200
    head = witness.directory.head(ORIGIN)
    assert head is not None and "stranger" not in head[1]


def test_400_for_an_old_size_above_the_checkpoint_s(witness: Live) -> None:
    assert witness.post(format_request(4, [], TRUE.head(3))).status_code == 400


GOOD = TRUE.request(2, 7).decode()
HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n",
        b"old 0\n\n",
        GOOD.replace("old 2", "old 02").encode(),
        GOOD.replace("old 2", "old -2").encode(),
        GOOD.replace("old 2", "old  2").encode(),
        GOOD.replace("old 2", "Old 2").encode(),
        GOOD.replace("old 2", "old 2 ").encode(),
        GOOD.replace("old 2", f"old {2**64}").encode(),
        GOOD.replace("old 2\n", "old 2\n\n").encode(),
        GOOD.replace("old 2\n", "old 2\nAAAA\n").encode(),
        GOOD.replace("\n", "\r\n").encode(),
        f"old 2\n{(HASH + chr(10)) * 64}\n{TRUE.head(7)}".encode(),
        GOOD[:-1].encode(),
        GOOD.encode() + b"\xff\n",
        GOOD.replace("\n7\n", "\n\n").encode(),
        GOOD.replace("\n7\n", "\n+7\n").encode(),
    ],
    ids=range(18),
)
def test_400_for_another_form(witness: Live, body: bytes) -> None:
    assert witness.post(body).status_code == 400


def test_409_says_the_size_that_is_known(witness: Live) -> None:
    assert witness.post(TRUE.request(0, 7)).status_code == 200
    for old, size in ((0, 7), (0, 16), (6, 16), (8, 16), (3, 5)):
        answer = witness.post(TRUE.request(old, size))
        assert answer.status_code == 409
        assert answer.headers["content-type"].split(";")[0] == SIZE and answer.text == "7\n"
    assert witness.post(TRUE.request(7, 16)).status_code == 200


def test_409_for_another_root_of_one_size_and_the_proof_is_kept(witness: Live) -> None:
    assert witness.post(TRUE.request(0, 20)).status_code == 200
    for old in (20, 0):
        answer = witness.post(format_request(old, [], FALSE.head(20)))
        assert answer.status_code == 409 and answer.text == "20\n"
    [path] = witness.directory.evidence()
    first, second = Equivocation.parse(path.read_bytes()).check(KEY)
    assert first.size == second.size == 20
    assert {kind for kind, _ in witness.events} == {"cosigned", "equivocation"}


def test_422_for_a_proof_that_does_not_hold(witness: Live) -> None:
    assert witness.post(format_request(0, [bytes(32)], TRUE.head(7))).status_code == 422
    assert witness.directory.head(ORIGIN) is None
    assert witness.post(TRUE.request(0, 12)).status_code == 200
    good = TRUE.proof(12, 30)
    for proof in ([], good[:-1], [*good, bytes(32)], [bytes(32), *good[1:]], good[::-1]):
        assert witness.post(format_request(12, proof, TRUE.head(30))).status_code == 422
    # A second history, with every proof that it has.
    for proof in (FALSE.proof(12, 30), good):
        assert witness.post(format_request(12, proof, FALSE.head(30))).status_code == 422
    assert witness.post(format_request(12, [bytes(32)], TRUE.head(12))).status_code == 422
    head = witness.directory.head(ORIGIN)
    assert head is not None and head[0].size == 12
    assert witness.post(format_request(12, good, TRUE.head(30))).status_code == 200


def test_other_calls_are_not_there(witness: Live) -> None:
    assert httpx2.get(f"{witness.url}/add-checkpoint", trust_env=False).status_code == 405
    assert httpx2.post(f"{witness.url}/other", trust_env=False).status_code == 404


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(witness: Live) -> None:
    assert witness.post(b"x" * (MAX_BODY + 1)).status_code == 413
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    try:
        answer = httpx2.post(
            f"{witness.url}/add-checkpoint", content=endless(), timeout=WAIT_S, trust_env=False
        )
        assert answer.status_code == 413
    except httpx2.TransportError:
        pass  # it was cut off while it still sent
    assert sent < 1 << 28
    assert witness.post(TRUE.request(0, 3)).status_code == 200


def test_slow_senders_are_cut_off(witness: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.witness.server.BODY_S", 0.3)
    monkeypatch.setattr("verify.witness.server.IDLE_S", 0.3)
    host, port = witness.url.removeprefix("http://").split(":")
    head = b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\n"
    for begun in (b"", head, head + b"content-length: 1000\r\n\r\nold 0"):
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as connection:
            connection.sendall(begun)
            started, got = time.monotonic(), b""
            try:
                while part := connection.recv(4096):
                    got += part
            except ConnectionResetError:
                pass
            assert time.monotonic() - started < WAIT_S / 2
            assert (b" 408 " in got) == (b"content-length" in begun)
    assert witness.post(TRUE.request(0, 3)).status_code == 200


def test_a_log_s_new_key_counts_beside_the_old_one_or_alone(witness: Live) -> None:
    other = NoteKey(
        ORIGIN, bytes.fromhex("52c05edad1bf5feffa81354faae59a655d9a9a1a793ed2f62c39c26c0be2aecd")
    )
    assert witness.post(TRUE.request(0, 3)).status_code == 200
    assert witness.directory.watch(ORIGIN, other).keys == (KEY, other)
    assert witness.post(TRUE.request(3, 4)).status_code == 200
    assert witness.directory.watch(ORIGIN, other, only=True).keys == (other,)
    assert witness.post(TRUE.request(4, 5)).status_code == 403
    # What was cosigned is remembered whoever signs next.
    head = witness.directory.head(ORIGIN)
    assert head is not None and head[0].size == 4


def test_one_address_does_not_have_all_connections(witness: Live) -> None:
    with ExitStack() as stack:
        host, port = witness.url.removeprefix("http://").split(":")
        held = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=WAIT_S))
            for _ in range(PER_ADDRESS + 1)
        ]
        with suppress(ConnectionResetError):
            assert held[-1].recv(1) == b""
        other = ("127.0.0.2", 0)
        with socket.create_connection((host, int(port)), WAIT_S, source_address=other) as last:
            last.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert last.recv(4096).startswith(b"HTTP/1.1 404")
