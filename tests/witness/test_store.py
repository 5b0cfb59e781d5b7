"""What a witness remembers: durable before it promises, and never begun anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id.errors import DepinError, LogError, StateError
from tests.log.helpers import KEY, ORIGIN, mth
from tests.paths import ROOT
from tests.witness.world import FALSE, TRUE, WAIT_S, live, signer
from verify.log import NoteKey, cosignatures_of
from verify.witness import Witness, WitnessDir
from verify.witness.store import MAX_EVIDENCE, MAX_LOG_KEYS


@pytest.fixture
def made(tmp_path: Path) -> WitnessDir:
    found = WitnessDir.create(tmp_path / "wit", "w0", signer=signer("w0"))
    found.watch(ORIGIN, KEY)
    return found


def head_file(directory: WitnessDir) -> Path:
    [path] = (directory.path / "heads").iterdir()
    return path


def test_it_is_opened_as_it_was_made(made: WitnessDir) -> None:
    again = WitnessDir(made.path)
    assert again.key == made.key and [log.origin for log in again.logs()] == [ORIGIN]
    assert (made.path / "witness.key").stat().st_mode & 0o077 == 0
    assert Witness(again).add_checkpoint(TRUE.request(0, 5)).status == 200
    head = WitnessDir(made.path).head(ORIGIN)
    assert head is not None and head[0].size == 5 and cosignatures_of(head[1], [made.key])


def test_a_second_one_is_not_made_nor_run_beside_it(made: WitnessDir) -> None:
    with pytest.raises(StateError) as caught:
        WitnessDir.create(made.path, "w1")
    assert caught.value.code == "state.exists"
    with made.lock(), pytest.raises(StateError) as caught:
        made.lock()
    assert caught.value.code == "state.locked"


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "bit", "another", "unsigned"])
def test_a_head_that_is_damaged_is_never_a_fresh_start(made: WitnessDir, damage: str) -> None:
    witness = Witness(made)
    assert witness.add_checkpoint(TRUE.request(0, 20)).status == 200
    path = head_file(made)
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "another":
        path.write_bytes(whole.replace(b"log.example", b"log.exampl2"))
    elif damage == "unsigned":
        path.write_text(FALSE.head(20))
    else:
        path.write_bytes(
            {"empty": b"", "cut": whole[:50], "bit": whole.replace(b"\n20\n", b"\n10\n")}[damage]
        )
    for size in (20, 30):
        with pytest.raises(StateError) as caught:
            witness.add_checkpoint(FALSE.request(0, size))
        assert caught.value.code == "state.damaged"
    made.watch(ORIGIN, KEY)
    if damage != "gone":
        with pytest.raises(StateError):
            witness.add_checkpoint(FALSE.request(0, 20))


def test_over_http_a_damaged_head_is_503_and_an_event(tmp_path: Path) -> None:
    with live(tmp_path / "wit") as witness:
        witness.watch()
        assert witness.post(TRUE.request(0, 20)).status_code == 200
        head_file(witness.directory).write_bytes(b"")
        answer = witness.post(TRUE.request(20, 30))
        assert answer.status_code == 503 and str(tmp_path) not in answer.text
        assert witness.events[-1][0] == "failed"
        assert witness.events[-1][1]["code"] == "state.damaged"


def test_what_cannot_be_written_is_not_promised(
    made: WitnessDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order: the head is durable first, whatever happens to the answer."""
    witness = Witness(made)
    synced: list[int] = []
    real = os.fsync

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    def counted(handle: int) -> None:
        synced.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError):
        witness.add_checkpoint(TRUE.request(0, 20))
    monkeypatch.setattr(os, "fsync", counted)
    assert made.head(ORIGIN) is None
    assert witness.add_checkpoint(FALSE.request(0, 20)).status == 200
    assert len(synced) >= 2  # the file, and its name


@pytest.mark.parametrize("name", ["witness.cbor", "logs"])
def test_other_damage_is_an_error_of_ours(made: WitnessDir, name: str) -> None:
    path = made.path / name
    path = next(path.iterdir()) if path.is_dir() else path
    for data in (b"", b"\xff", b"\x80", b"\x83\x01\x02\x03"):
        path.write_bytes(data)
        with pytest.raises(StateError) as caught:
            WitnessDir(made.path).logs()
        assert caught.value.code == "state.damaged"


def test_keys_and_evidence_are_bounded(made: WitnessDir) -> None:
    for number in range(1, MAX_LOG_KEYS):
        made.watch(ORIGIN, NoteKey(ORIGIN, signer(str(number)).public_key.raw))
    made.watch(ORIGIN, KEY)
    with pytest.raises(LogError) as caught:
        made.watch(ORIGIN, NoteKey(ORIGIN, signer("more").public_key.raw))
    assert caught.value.code == "witness.log_keys"
    for number in range(MAX_EVIDENCE):
        (made.path / "evidence" / f"{number}.json").write_bytes(b"")
    witness = Witness(made)
    assert witness.add_checkpoint(TRUE.request(0, 20)).status == 200
    assert witness.add_checkpoint(FALSE.request(0, 20)).status == 409
    assert len(made.evidence()) == MAX_EVIDENCE


def test_two_at_once_never_roll_back(made: WitnessDir) -> None:
    """The race that the standard warns of: checked for N, stored after N + K."""
    witness, answers = Witness(made), list[tuple[int, int]]()

    def ask(size: int) -> None:
        known = 0
        for _ in range(50):
            reply = witness.add_checkpoint(TRUE.request(known, size))
            if reply.status != 409:
                answers.append((size, reply.status))
                return
            known = int(reply.body)
            if known > size:
                answers.append((size, 409))
                return

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(5, 41, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads) and {status for _, status in answers} <= {200, 409}
    head = made.head(ORIGIN)
    assert head is not None and head[0].size == 40


GOOD = TRUE.request(7, 30)


def mutated(change: tuple[int, int]) -> bytes:
    data = bytearray(GOOD)
    data[change[0]] = change[1]
    return bytes(data)


@settings(max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)).map(mutated),
        st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
    )
)
def test_whatever_is_asked_the_head_stays(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = WitnessDir.create(Path(folder) / "wit", "w0", signer=signer("w0"))
        directory.watch(ORIGIN, KEY)
        witness = Witness(directory)
        assert witness.add_checkpoint(TRUE.request(0, 7)).status == 200
        reply = witness.add_checkpoint(data)
        head = directory.head(ORIGIN)
        assert head is not None
        if reply.status == 200:
            assert head[0].size == 30 and head[0].root == mth(TRUE.leaves[:30])
        else:
            assert reply.status in (400, 403, 404, 409, 422) and head[0].size == 7


KILLED = """
import os, signal, sys
from verify.commands.witness import commands
from verify.witness import WitnessDir

if sys.argv[2] == "after":
    real = WitnessDir.keep_head
    def keep(self, origin, note):
        real(self, origin, note)
        os.kill(os.getpid(), signal.SIGKILL)
    WitnessDir.keep_head = keep
elif sys.argv[2] == "before":
    WitnessDir.keep_head = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
commands(["run", sys.argv[1], "--port", "0", "--json-logs"])
"""


def started(directory: Path, when: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), when],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    assert child.stderr is not None
    for line in child.stderr:
        if '"listening"' in line:
            return child, line.split('"url": "')[1].split('"')[0]
    raise AssertionError(f"the witness ended with {child.wait()}")


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_around_the_write_is_harmless(made: WitnessDir, when: str) -> None:
    """Killed before or after the head is durable: nothing was promised that is not remembered."""
    child, url = started(made.path, when)
    try:
        with pytest.raises(httpx2.TransportError):
            httpx2.post(
                f"{url}/add-checkpoint",
                content=TRUE.request(0, 20),
                timeout=WAIT_S,
                trust_env=False,
            )
        assert child.wait(WAIT_S) == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()
    child, url = started(made.path, "never")
    try:

        def post(body: bytes) -> httpx2.Response:
            return httpx2.post(
                f"{url}/add-checkpoint", content=body, timeout=WAIT_S, trust_env=False
            )

        # The log asks again, as it would after any answer that it did not get.
        first = post(TRUE.request(0, 20))
        if when == "after":
            assert first.status_code == 409 and first.text == "20\n"
            assert post(FALSE.request(20, 20)).status_code == 409
            first = post(TRUE.request(20, 20))
        assert first.status_code == 200
        assert post(TRUE.request(20, 30)).status_code == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(WAIT_S) == 0
    finally:
        child.kill()
        child.wait()


def test_names_and_origins_are_checked(tmp_path: Path, made: WitnessDir) -> None:
    for name in ("", "with space", "with+plus", "\u00e9", "x" * 129):
        with pytest.raises(LogError) as caught:
            WitnessDir.create(tmp_path / "other", name)
        assert caught.value.code == "log.key"
    with pytest.raises(DepinError):
        made.watch("two\nlines", KEY)
    with pytest.raises(StateError) as missing:
        WitnessDir(tmp_path / "nothing")
    assert missing.value.code == "state.missing"
