"""An aggregator asks its witnesses; receipts carry what they say; a split view comes to light."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import ConfigError, LogError
from depin_id.keys import SoftwareSigner
from depin_id.testing import NOW
from depin_id.witness import WitnessKey, WitnessPolicy
from tests.bridge.certificates import authority, issue
from tests.verify.net import Net, level
from tests.witness.world import WAIT_S, Events, live
from tests.witness.world import signer as witness_signer
from verify.log import (
    Checkpoint,
    NoteKey,
    TileLog,
    compare_checkpoints,
    cosign,
    cosignatures_of,
    sign_checkpoint,
    verify_cosigned,
)
from verify.log.cosigned import (
    CHECKPOINT,
    WITNESSED,
    keep_cosignatures,
    read_note,
    read_witnessed,
)
from verify.reading import Reader
from verify.rebuild import rebuild
from verify.receipt import check_receipt, make_receipt
from verify.service import run as run_service
from verify.witness import Asker, AskingThread, Round, load_settings, parse_settings
from verify.witness import asking as asking_module
from verify.witness.settings import FILE


class Site:
    """An aggregator with entries, and witnesses that listen."""

    def __init__(self, folder: Path, stack: ExitStack, count: int) -> None:
        self.net = stack.enter_context(Net(folder))
        self.device = self.net.device()
        self.key = NoteKey(self.net.card.log_origin, self.net.card.log_key.raw)
        self.log = self.net.root / "public" / "log"
        self.witnesses = [
            stack.enter_context(live(folder / f"w{n}", f"w{n}")) for n in range(count)
        ]
        for witness in self.witnesses:
            witness.watch(self.key)
        self.events: Events = []
        self.publish()

    def publish(self, readings: int = 1) -> int:
        for _ in range(readings):
            self.net.send(self.device, self.device.next([level(50, NOW)]))
        self.net.aggregator.publisher.publish_log()
        return self.net.size

    def write(self, quorum: int, *, urls: dict[int, str] | None = None) -> None:
        rows = "".join(
            f'[[witness]]\nurl = "{(urls or {}).get(n, witness.url)}"\nkey = "{witness.vkey}"\n'
            for n, witness in enumerate(self.witnesses)
        )
        (self.net.root / FILE).write_text(f"quorum = {quorum}\nevery_seconds = 0.05\n{rows}")

    def asker(self, timeout_s: float = WAIT_S) -> Asker:
        def told(kind: str, about: dict[str, object]) -> None:
            self.events.append((kind, dict(about)))

        return Asker(self.net.root, on_event=told, timeout_s=timeout_s)

    def policy(self, quorum: int) -> WitnessPolicy:
        return WitnessPolicy(
            tuple(WitnessKey.parse(witness.vkey) for witness in self.witnesses), quorum
        )

    def size(self, name: str) -> int | None:
        found = read_note(self.log, name, self.key)
        return None if found is None else found[1].size

    def receipt(self, index: int, **how: Any) -> bytes:
        with Reader(self.net.root) as reader:
            return make_receipt(reader, index, **how)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


@pytest.fixture
def site(tmp_path: Path, stack: ExitStack) -> Site:
    return Site(tmp_path, stack, 2)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rounds_follow_the_log_and_receipts_carry_it(site: Site) -> None:
    site.write(2)
    asker = site.asker()
    for _ in range(4):
        size = site.publish(3)
        made = asker.round()
        assert made == Round(size, ("w0", "w1"), True, {})
        assert site.size(CHECKPOINT) == site.size(WITNESSED) == size
    # Nothing new, nobody is asked.
    before = [len(witness.events) for witness in site.witnesses]
    assert asker.round().enough and [len(w.events) for w in site.witnesses] == before
    checked = check_receipt(site.receipt(size - 1), network=site.net.did, witnesses=site.policy(2))
    assert {item.key.name for item in checked.cosignatures} == {"w0", "w1"}
    assert {"name": "w0", "time": 1_700_000_000} in checked.to_json()["witnesses"]


def test_an_asker_that_forgot_learns_the_size_from_409(site: Site) -> None:
    site.write(2)
    assert site.asker().round().enough
    size = site.publish(5)
    assert site.asker().round() == Round(size, ("w0", "w1"), True, {})


def test_a_restart_keeps_cosignatures_and_so_does_a_rebuild(site: Site) -> None:
    site.write(2)
    assert site.asker().round().enough
    before = (site.log / CHECKPOINT).read_bytes()
    site.net.reopen()
    site.net.aggregator.publisher.publish_log()
    assert (site.log / CHECKPOINT).read_bytes() == before
    site.net.aggregator.close()
    rebuild(site.net.root)
    assert (site.log / CHECKPOINT).read_bytes() == before
    site.net.aggregator = site.net._open()


def test_receipts_wait_for_the_quorum_and_old_ones_hold(site: Site) -> None:
    site.write(2)
    early = site.receipt(site.net.size - 1)
    check_receipt(early, network=site.net.did)
    with pytest.raises(LogError) as caught:
        check_receipt(early, network=site.net.did, witnesses=site.policy(1))
    assert caught.value.code == "log.witness_quorum" and "0 of the 2" in caught.value.message
    assert site.asker().round().enough
    witnessed = site.net.size
    site.publish(2)
    # What the quorum has seen comes with it, the newest comes as it is.
    data = site.receipt(witnessed - 1)
    checked = check_receipt(data, network=site.net.did, witnesses=site.policy(2))
    assert checked.checkpoint.size == witnessed
    with pytest.raises(LogError) as caught:
        check_receipt(
            site.receipt(site.net.size - 1), network=site.net.did, witnesses=site.policy(2)
        )
    assert caught.value.code == "log.witness_quorum"


def test_a_cose_receipt_goes_with_the_cosigned_checkpoint(site: Site) -> None:
    site.write(2)
    assert site.asker().round().enough
    signer = site.net.network.log_signer
    data = site.receipt(site.net.size - 1, cose_signer=signer)
    checked = check_receipt(data, network=site.net.did, witnesses=site.policy(2))
    assert checked.index == site.net.size - 1 and checked.envelope is not None
    assert checked.checkpoint.size == site.net.size and len(checked.cosignatures) == 2
    with pytest.raises(LogError) as caught:
        site.receipt(0, cose_signer=site.net.network.ack_signer)
    assert caught.value.code == "receipt.key"


def test_a_witness_behind_tls_with_an_authority_of_its_own(
    tmp_path: Path, stack: ExitStack
) -> None:
    ca, ca_key = authority(tmp_path / "ca")
    certificate, key = issue(tmp_path / "server", ca, ca_key, "127.0.0.1")
    site = Site(tmp_path, stack, 0)
    how: dict[str, Any] = {"certificate": certificate, "private_key": key}
    site.witnesses = [stack.enter_context(live(tmp_path / "w0", "w0", **how))]
    site.witnesses[0].watch(site.key)
    site.write(1)
    assert site.witnesses[0].url.startswith("https://")
    assert site.asker().round().errors["w0"].code == "witness.unreachable"
    settings = site.net.root / FILE
    settings.write_text(f'ca = "{ca.path}"\n' + settings.read_text())
    assert site.asker().round() == Round(site.net.size, ("w0",), True, {})


def test_a_dead_witness_holds_up_nobody(site: Site, stack: ExitStack) -> None:
    """It does not answer at all; the other one's cosignature is there at once."""
    deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    site.write(1, urls={1: f"http://127.0.0.1:{deaf.getsockname()[1]}"})
    asker = site.asker(timeout_s=1.0)
    made: list[Round] = []
    thread = threading.Thread(target=lambda: made.append(asker.round()))
    thread.start()
    until(lambda: site.size(WITNESSED) == site.net.size)
    # The aggregator takes entries and publishes meanwhile.
    site.publish(3)
    thread.join(WAIT_S)
    [only] = made
    assert only.enough and only.cosigned == ("w0",)
    assert only.errors["w1"].code == "witness.timeout"
    assert site.size(CHECKPOINT) == site.net.size > (site.size(WITNESSED) or 0)
    # It is left alone for a while, and asked again after that.
    assert asker.round() == Round(site.net.size, ("w0",), True, {})
    asker._asked[1].not_before = 0
    assert set(asker.round().errors) == {"w1"}


def test_stopping_does_not_wait_for_a_witness(site: Site, stack: ExitStack) -> None:
    deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    site.write(1, urls={1: f"http://127.0.0.1:{deaf.getsockname()[1]}"})
    thread = AskingThread(site.net.root, on_event=lambda *_: None, timeout_s=10 * WAIT_S)
    until(lambda: site.size(WITNESSED) is not None)
    thread.close()
    assert not thread._thread.is_alive()


def test_two_who_ask_at_once_raise_no_alarm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has asked about a newer checkpoint between reading and asking."""
    site.write(2)
    slow = site.asker()
    assert slow.round().enough
    site.publish(2)
    name = "verify.witness.asking.read_note"

    def overtaken(*about: Any) -> Any:
        monkeypatch.setattr(name, read_note)
        found = read_note(*about)
        size = site.publish(2)
        assert site.asker().round() == Round(size, ("w0", "w1"), True, {})
        return found

    monkeypatch.setattr(name, overtaken)
    made = slow.round()
    assert not made.errors and not made.cosigned
    assert slow.round().enough


def test_a_new_log_key_begins_anew_and_old_files_do_no_harm(site: Site) -> None:
    site.write(1)
    assert site.asker().round().enough
    old, settings = site.key, load_settings(site.net.root)
    assert settings is not None
    fresh = SoftwareSigner.generate()
    key = NoteKey(old.name, fresh.public_key.raw)
    note = sign_checkpoint(
        Checkpoint(old.name, site.net.size, TileLog(site.log, old.name).root()),
        old.name,
        key.public_key,
        fresh.sign,
    )
    TileLog(site.log, old.name).publish_checkpoint(note)
    assert read_witnessed(site.log, key) is None and read_witnessed(site.log, old) is not None
    lines = [cosign(note.partition("\n\n")[0] + "\n", "w0", witness_signer("w0"), 5)]
    assert keep_cosignatures(site.log, key, note, lines, settings.policy)
    assert read_witnessed(site.log, key) is not None


def test_a_witness_that_fails_is_left_alone_longer_each_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(asking_module, "time", clock)
    site.write(1, urls={1: "http://127.0.0.1:1"})
    asker, tried = site.asker(), list[int]()
    for second in range(40):
        clock.now = 1000.0 + second
        if asker.round().errors:
            tried.append(second)
    assert tried == [0, 1, 3, 7, 15, 31]
    assert {about["code"] for kind, about in site.events if kind == "witness.failed"} == {
        "witness.unreachable"
    }


def _take_request(connection: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)


class Lying:
    """An HTTP server that answers whatever a test says, a byte at a time if it says so."""

    def __init__(self, answer: bytes, *, drip_s: float = 0) -> None:
        self._drip_s = drip_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/prefix"
        self._answer = answer
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.asked += 1
                with suppress(OSError):
                    _take_request(connection)
                    while self._drip_s:
                        connection.sendall(b"x")
                        time.sleep(self._drip_s)
                    connection.sendall(self._answer)

    def __enter__(self) -> Lying:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


def answer(status: int, body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(200, b""), "witness.answer"),
        (answer(200, b"\xff\n"), "witness.answer"),
        (answer(200, "\u2014 w0 AAAAAAAA\n".encode()), "witness.answer"),
        (answer(200, b"x" * 20_000), "witness.answer"),
        (answer(404, b"no \x1b[2Jsuch log"), "witness.refused"),
        (answer(302, b""), "witness.refused"),
        (answer(409, b"5\n"), "witness.refused"),
        (answer(409, b"five\n", "text/x.tlog.size"), "witness.answer"),
        (answer(409, b"0\n", "text/x.tlog.size"), "witness.conflict"),
        (answer(409, b"99999\n", "text/x.tlog.size"), "witness.ahead"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "witness.unreachable"),
        (b"nonsense", "witness.unreachable"),
        (b"", "witness.unreachable"),
    ],
    ids=range(13),
)
def test_whatever_a_witness_answers_is_an_error_of_ours(
    site: Site, reply: bytes, code: str
) -> None:
    before = (site.log / CHECKPOINT).read_bytes()
    with Lying(reply) as lying:
        site.write(2, urls={0: lying.url})
        made = site.asker().round()
    assert made.errors["w0"].code == code and "\x1b" not in str(made.errors["w0"])
    assert made.cosigned == ("w1",) and not made.enough
    assert (site.log / CHECKPOINT).read_bytes().startswith(before)
    assert site.size(WITNESSED) is None


def test_an_answer_that_never_ends_is_cut_off(site: Site) -> None:
    """Each byte comes in time; the whole does not."""
    with Lying(b"", drip_s=0.05) as lying:
        site.write(1, urls={0: lying.url})
        started = time.monotonic()
        made = site.asker(timeout_s=0.5).round()
        assert time.monotonic() - started < WAIT_S / 2
    assert made.errors["w0"].code in ("witness.timeout", "witness.unreachable")
    assert "w0" not in made.cosigned


def test_a_witness_cannot_answer_with_another_s_cosignature(site: Site) -> None:
    """A cosignature that is good, of the other witness, or of another checkpoint."""
    site.write(2)
    assert site.asker().round().enough
    note = (site.log / CHECKPOINT).read_text()
    lines = [line for line in note.splitlines(keepends=True) if "\u2014 w" in line]
    site.publish()
    for line in lines:
        with Lying(answer(200, line.encode())) as lying:
            site.write(2, urls={0: lying.url})
            assert site.asker().round().errors["w0"].code == "witness.answer"


def test_the_thread_takes_up_settings_and_says_what_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking_module, "_IDLE_S", 0.1)
    codes: list[object] = []
    thread = AskingThread(site.net.root, on_event=lambda _, about: codes.append(about.get("code")))
    try:
        (site.net.root / FILE).write_text("quorum = 0\n")
        until(lambda: "config.witnesses" in codes)
        site.write(2)
        for _ in range(3):
            site.publish(2)
            until(lambda: site.size(WITNESSED) == site.net.size)
    finally:
        thread.close()
        thread.close()
    assert codes.count("config.witnesses") == 1


def test_a_running_aggregator_asks_its_witnesses(site: Site) -> None:
    """Even one whose broker is not there: nothing waits for anything."""
    site.write(2)
    site.net.aggregator.close()
    ended, events = threading.Event(), list[str]()
    thread = threading.Thread(
        target=run_service,
        args=(site.net.root, "mqtt://127.0.0.1:1"),
        kwargs={"on_event": lambda kind, _: events.append(kind), "stop": ended},
    )
    thread.start()
    try:
        until(lambda: "cosigned" in events)
    finally:
        ended.set()
        thread.join(WAIT_S)
    assert not thread.is_alive() and site.size(WITNESSED) is not None
    site.net.aggregator = site.net._open()


# --- a split view -------------------------------------------------------------------------------


class Fork:
    """A dishonest operator's second history: the same key, the same beginning, another end."""

    def __init__(self, site: Site, folder: Path, shared: int, size: int) -> None:
        self.log = TileLog(folder, site.key.name)
        honest = TileLog(site.log, site.key.name)
        self.log.append([honest.leaf(index) for index in range(shared)])
        self.log.append([b"forged %d" % index for index in range(shared, size)])
        self.log.flush()
        self.checkpoint: Checkpoint = self.log.checkpoint()
        self.note = sign_checkpoint(
            self.checkpoint,
            site.key.name,
            site.key.public_key,
            site.net.network.log_signer.sign,
        )
        self.log.publish_checkpoint(self.note)


@pytest.mark.parametrize("longer", [0, 7])
def test_a_second_history_gets_no_cosignature_and_no_client(
    site: Site, tmp_path: Path, longer: int
) -> None:
    """The same origin and key, two histories: of one size, and a fork that is longer."""
    site.publish(5)
    site.write(2)
    assert site.asker().round().enough
    size = site.net.size
    fork = Fork(site, tmp_path / "fork", size - 3, size + longer)
    # The operator has its second history cosigned, with the same settings and the same key.
    root = tmp_path / "second"
    (root / "public").mkdir(parents=True)
    shutil.copy(site.net.root / "public" / "card.cbor", root / "public" / "card.cbor")
    shutil.copytree(tmp_path / "fork", root / "public" / "log")
    shutil.copy(site.net.root / FILE, root / FILE)
    made = Asker(root, timeout_s=WAIT_S).round()
    assert made.cosigned == () and not made.enough
    expected = "witness.refused" if longer else "witness.conflict"
    assert {error.code for error in made.errors.values()} == {expected}
    # A client who asks for a quorum takes the one history and not the other.
    good = (site.log / WITNESSED).read_text()
    assert len(cosignatures_of(good, site.policy(2).keys)) == 2
    assert verify_cosigned(good, [site.key], site.policy(2))[0].size == size
    with pytest.raises(LogError) as caught:
        verify_cosigned(fork.note, [site.key], site.policy(1))
    assert caught.value.code == "log.witness_quorum"
    # Cosignatures do not move to it.
    lines = "".join(good.splitlines(keepends=True)[-2:])
    with pytest.raises(LogError) as caught:
        verify_cosigned(fork.note + lines, [site.key], site.policy(1))
    assert caught.value.code == "log.signature"
    # And who has both has a proof, which anyone checks with the log's key.
    proof = compare_checkpoints(good, fork.note, site.key, directory=fork.log.directory)
    assert proof is not None
    assert {item.size for item in proof.check(site.key)} == {size, size + longer}
    if not longer:
        [kept] = site.witnesses[0].directory.evidence()
        assert kept.stat().st_size > 500


def test_an_old_copy_that_runs_again_is_told_so(site: Site, tmp_path: Path) -> None:
    site.write(2)
    copy = tmp_path / "copy"
    shutil.copytree(site.net.root, copy)
    site.publish(4)
    assert site.asker().round().enough
    made = Asker(copy, timeout_s=WAIT_S).round()
    assert {error.code for error in made.errors.values()} == {"witness.ahead"}


# --- settings -----------------------------------------------------------------------------------

VKEY = "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv"
ROW = f'[[witness]]\nurl = "https://127.0.0.1/w"\nkey = "{VKEY}"\n'


def test_settings_are_read(tmp_path: Path) -> None:
    found = parse_settings(f'quorum = 1\nca = "ca.pem"\n{ROW}', folder=tmp_path)
    assert found.ca == tmp_path / "ca.pem" and found.every_s == 5
    assert found.policy.quorum == 1 and found.policy.keys[0].vkey == VKEY
    assert load_settings(tmp_path) is None
    with pytest.raises(ConfigError):
        found.context()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum",
        ROW,
        f"quorum = 2\n{ROW}",
        f"quorum = true\n{ROW}",
        f"quorum = 1\n{ROW}{ROW}",
        f"quorum = 1\nmore = 1\n{ROW}",
        f"quorum = 1\nevery_seconds = 0\n{ROW}",
        f"quorum = 1\nevery_seconds = nan\n{ROW}",
        f"quorum = 1\nca = 1\n{ROW}",
        "quorum = 1\nwitness = 5\n",
        f"quorum = 1\n{ROW}more = 1\n",
        f"quorum = 1\n{ROW.replace('https', 'ftp')}",
        f"quorum = 1\n{ROW.replace('127.0.0.1', 'me:pw@127.0.0.1')}",
        f"quorum = 1\n{ROW.replace('/w', ':x/w')}",
        f"quorum = 1\n{ROW.replace('/w', '/w?a=b')}",
        f"quorum = 1\n{ROW.replace('67f7aea0', '67f7aea1')}",
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, folder=tmp_path)
    assert caught.value.code == "config.witnesses"
