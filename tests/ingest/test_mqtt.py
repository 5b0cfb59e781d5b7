"""The MQTT source over real brokers: nothing acknowledged before its commit, nothing lost."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import EncodingError, StateError, TransportError
from tests.brokers import mosquitto
from tests.ingest.support import KID, NAME, Recorder, publisher, running, send, wait_for
from verify.ingest import Downlink


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_commits_in_order_answers_and_goes_idle(tmp_path: Path, protocol: str) -> None:
    handler = Recorder()
    kid = bytes.fromhex(KID)
    handler.answer = lambda message: [Downlink(kid, b"ack " + message.data)]
    answers: list[bytes] = []
    with mosquitto(tmp_path) as broker, publisher(broker) as device:
        heard = threading.Event()
        device.on_message = lambda _c, _u, message: answers.append(bytes(message.payload))
        device.on_subscribe = lambda *_: heard.set()
        device.subscribe(f"depin/v1/{NAME}/down/{KID}", qos=1)
        assert heard.wait(60)
        with running(broker, handler, protocol=protocol, clock=lambda: 1234) as source:
            source.subscribed()
            send(broker, numbered(300))
            wait_for(lambda: len(answers) == 300, "the answers")
            wait_for(lambda: handler.idles > 0, "idle")
            assert source.source.counts["committed"] == 300
    assert handler.data == numbered(300)
    assert answers == [b"ack " + item for item in numbered(300)]
    first = handler.batches[0][0]
    assert (first.principal, first.received_at, first.offset) == (KID, 1234, None)
    assert source.error is None


def test_a_message_is_the_brokers_until_it_is_committed(tmp_path: Path) -> None:
    """The handler blocks, the broker is killed: what was not committed is there again."""
    handler = Recorder()
    handler.gate.clear()
    with mosquitto(tmp_path, persistence=True) as broker:
        with running(broker, handler, receive_maximum=10) as source:
            source.subscribed()
            send(broker, numbered(50))
            assert handler.entered.wait(60)
            # Give the broker's file the queue: it saves after each change.
            broker.stop()
            broker.start()
            source.subscribed(2)
            handler.gate.set()
            send(broker, [b"middle"])
            wait_for(lambda: b"middle" in handler.data, "all messages")
            assert set(handler.data) == {*numbered(50), b"middle"}
        assert source.error is None
        again = Recorder()
        with running(broker, again) as source:
            source.subscribed()
            send(broker, [b"last"])
            wait_for(lambda: again.data, "the last message")
    assert again.data == [b"last"], "what was committed and acknowledged does not come again"


def test_nothing_is_acknowledged_when_the_commit_fails(tmp_path: Path) -> None:
    """A transient failure is tried again; a lasting one ends the source, unacknowledged."""
    with mosquitto(tmp_path) as broker:
        handler = Recorder()
        handler.failures = [StateError("state.write", "disk full")]
        with running(broker, handler) as source:
            source.subscribed()
            send(broker, numbered(10))
            wait_for(lambda: len(handler.data) == 10, "the second try")
        assert "commit.failed" in source.kinds()
        for failures in (
            [StateError("state.write", "disk full")] * 2,
            [EncodingError("encoding.malformed", "a bug")],
        ):
            handler = Recorder()
            handler.failures = list(failures)
            with running(broker, handler, commit_tries=2) as source:
                source.subscribed()
                send(broker, [b"kept"])
                wait_for(partial(getattr, source, "error"), "the end")
            assert source.error is failures[-1]
            handler = Recorder()
            with running(broker, handler) as source:
                wait_for(partial(getattr, handler, "data"), "what was not acknowledged")
            assert handler.data == [b"kept"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_refused_messages_are_counted_and_do_not_come_again(tmp_path: Path, protocol: str) -> None:
    up = f"depin/v1/{NAME}/up/"
    with mosquitto(tmp_path) as broker:
        send(broker, [b"retained"], retain=True)
        handler = Recorder()
        with running(broker, handler, protocol=protocol) as source:
            source.subscribed()
            for topic in (KID.upper(), KID[:-1], KID + "0", "zz" * 8, "x" * 16):
                send(broker, [b"topic"], topic=up + topic)
            send(broker, [bytes(MAX_BUNDLE + 1), bytes(MAX_BUNDLE)])
            wait_for(lambda: handler.data, "the good message")
            counts = source.source.counts
        assert handler.data == [bytes(MAX_BUNDLE)]
        assert counts["refused.topic"] == 5
        assert counts["refused.oversized"] == 1
        # MQTT 5 does not even ask for retained messages.
        assert counts.get("refused.retained", 0) == (1 if protocol == "3.1.1" else 0)
        with running(broker, handler, protocol="5") as source:
            source.subscribed()
            send(broker, [b"end"])
            wait_for(lambda: len(handler.data) == 2, "the end")
            assert "refused.topic" not in source.source.counts


def test_a_slow_handler_holds_the_broker_back(tmp_path: Path) -> None:
    """In MQTT 3.1.1, where only the source's own bounds hold an unlimited broker back."""
    handler = Recorder()
    handler.gate.clear()
    data = [b"%04d" % number + bytes(10_000) for number in range(400)]
    with mosquitto(tmp_path, max_inflight=0) as broker:
        with running(
            broker,
            handler,
            protocol="3.1.1",
            batch_messages=8,
            queue_messages=50,
            queue_bytes=200_000,
        ) as source:
            source.subscribed()
            send(broker, data)
            assert handler.entered.wait(60)
            wait_for(lambda: source.source.queued[1] >= 200_000, "a full queue")
            for _ in range(20):
                messages, size = source.source.queued
                assert messages <= 50 and size <= 220_000
            handler.gate.set()
            wait_for(lambda: len(handler.data) >= 400, "everything")
    assert handler.data == data
    assert max(len(batch) for batch in handler.batches) <= 8


def test_a_broker_that_dies_again_and_again_loses_nothing(tmp_path: Path) -> None:
    handler = Recorder()
    with mosquitto(tmp_path, persistence=True) as broker:
        with running(broker, handler) as source:
            for turn in range(3):
                source.subscribed(turn + 1)
                send(broker, numbered(40, turn * 40))
                broker.stop()
                broker.start()
            wait_for(lambda: set(handler.data) == set(numbered(120)), "everything")
        assert source.error is None
        assert source.kinds().count("mqtt.disconnected") >= 3


def test_no_right_to_read_is_an_error(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o600)
    with mosquitto(tmp_path, allow_anonymous=False, extra=[f"password_file {passwords}"]) as broker:
        url = f"mqtt://me:s3cret@127.0.0.1:{broker.port}"
        with running(broker, Recorder(), url=url) as source:
            wait_for(lambda: source.error, "the refusal")
    assert isinstance(source.error, TransportError)
    assert source.error.code == "transport.refused"
    assert "s3cret" not in f"{source.error} {source.events}"


def test_a_full_inbox_does_not_make_commits_wait_for_answers_that_nobody_reads(
    tmp_path: Path,
) -> None:
    """The broker's answers to downlinks stand behind the messages that are not read."""
    handler = Recorder()
    handler.answer = lambda _: [Downlink(bytes.fromhex(KID), b"ack")] * 3
    options = {"batch_messages": 1, "queue_messages": 2, "downlink_limit": 20}
    with mosquitto(tmp_path) as broker, running(broker, handler, **options) as source:
        source.subscribed()
        began = time.monotonic()
        send(broker, [b"%d" % n for n in range(200)])
        wait_for(lambda: len(handler.data) == 200, "all commits")
        # One wait in vain alone would take five seconds.
        assert time.monotonic() - began < 5
        assert source.source.counts.get("downlink.dropped", 0) == 0
