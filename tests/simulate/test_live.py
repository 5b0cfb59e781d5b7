"""The simulated fleet as traffic: through a real broker, and to an HTTP intake that says wait."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from depin_id.envelope import split_bundle
from depin_id.errors import ConfigError, TransportError
from depin_id.networkdir import NetworkDir
from tests.brokers import mosquitto
from tests.endtoend.world import journal, until
from verify.aggregator import Aggregator
from verify.cli import cli
from verify.ingest.mqtt import MqttSource
from verify.simulate import Plan, read_shares
from verify.simulate.live import CONTENT_TYPE, HttpSink, MqttSink, play
from verify.simulate.writer import write


@contextmanager
def _running(root: Path, url: str, name: str) -> Iterator[None]:
    stop, ready = threading.Event(), threading.Event()

    def work() -> None:
        with Aggregator(root) as aggregator:
            MqttSource(
                url,
                name,
                aggregator,
                client_id="aggregator",
                on_event=lambda kind, _: ready.set() if kind == "mqtt.subscribed" else None,
            ).run(stop)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(ready.is_set, "the aggregator's subscription")
        yield
    finally:
        stop.set()
        thread.join()


def test_a_fleet_on_a_real_broker(tmp_path: Path) -> None:
    """Ten minutes in two seconds: what arrives is judged as the truth says."""
    plan = Plan(20, 10, shares=read_shares("tampered=0.05,clock-ahead=0.05,copied=0.05"))
    plan = replace(plan, start=int(time.time()) - plan.run_s)
    # Only for its network, and the aggregator in which the fleet is enrolled.
    write(replace(plan, minutes=0), tmp_path / "run")
    network, root = tmp_path / "run" / "network", tmp_path / "run" / "aggregator"
    card = NetworkDir(network).card
    about = tmp_path / "truth.jsonl"
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(tmp_path))
        url = f"mqtt://127.0.0.1:{broker.port}"
        with _running(root, url, card.name):
            sink = MqttSink(url, card.name)
            counts = play(plan, card.network, sink, speed=300, about=about)
            sink.close()
            until(lambda: _settled(root, counts.outcomes), "the verdicts")
    sent = [json.loads(line) for line in about.read_text().splitlines()]
    assert len(sent) == counts.envelopes
    codes = Counter(entry.code for entry in journal(root))
    expected = Counter(line["outcomes"][0] for line in sent if len(line["outcomes"]) == 1)
    assert codes["content.repeated"] >= expected["content.repeated"] > 0
    assert codes["accepted"] >= expected["accepted"] > 0
    logged = {entry.id.hex(): entry for entry in journal(root)}
    for line in sent:
        if line["cheat"] == "tampered":
            assert line["id"] not in logged
        elif line["records"]:
            assert {row.code for row in logged[line["id"]].rows} == {line["records"]}


def _settled(root: Path, outcomes: Counter[str]) -> bool:
    wanted = sum(
        count for name, count in outcomes.items() if name not in ("duplicate", "signature.invalid")
    )
    return sum(1 for _ in journal(root)) >= wanted


@contextmanager
def _intake(answers: list[int]) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP server that answers as told, then 200."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            status = answers.pop(0) if answers else 200
            assert self.headers["Content-Type"] == CONTENT_TYPE
            assert self.path == "/v1/up?x=1"
            if status == 200:
                taken.append(data)
            self.send_response(status)
            # The second is a digit in Unicode, and no number.
            self.send_header("Retry-After", "\xb2" if status == 429 else "0")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/up?x=1", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_http_waits_when_it_is_told_to_and_loses_nothing(tmp_path: Path) -> None:
    network = NetworkDir.create(tmp_path / "net", "test").card.network
    plan = Plan(6, 3, kind="noise", pack=20, bundle=2)
    waited: list[float] = []
    with _intake([429, 503, 200, 429]) as (url, taken):
        sink = HttpSink(url)
        counts = play(plan, network, sink, speed=1, sleep=waited.append)
        sink.close()
    assert counts.envelopes == sum(len(list(split_bundle(data))) for data in taken) > 40
    # It would have taken as long as the run, had it waited.
    assert waited and max(waited) == pytest.approx(plan.run_s, abs=90)


def test_a_refusal_ends_it_with_the_reason(tmp_path: Path) -> None:
    network = NetworkDir.create(tmp_path / "net", "test").card.network
    with _intake([401]) as (url, _), pytest.raises(TransportError, match="401") as refused:
        play(Plan(1, 2, kind="noise"), network, HttpSink(url), speed=0)
    assert refused.value.code == "simulate.http"
    for wrong in ("ftp://127.0.0.1/", "http://", "http://[::", "http://a:99999/"):
        with pytest.raises(TransportError, match="HTTP address"):
            HttpSink(wrong)
    with pytest.raises(TransportError) as refused:
        MqttSink("mqtt://127.0.0.1:1", "test")
    assert refused.value.code == "simulate.mqtt"
    (tmp_path / "truth").write_text("")
    with _intake([]) as (url, _), pytest.raises(ConfigError, match="exists"):
        play(Plan(1, 1), network, HttpSink(url), speed=0, about=tmp_path / "truth")


def test_the_command(tmp_path: Path) -> None:
    """Files for an aggregator in one line, and the next line to type is given."""
    run = CliRunner().invoke
    run_dir = tmp_path / "run"
    made = run(
        cli,
        ["simulate", "--devices", "8", "--minutes", "2", "--kind", "noise", "--to", str(run_dir)]
        + ["--cheats", "out-of-range=0.1", "--json"],
    )
    assert made.exit_code == 0, made.output
    summary = json.loads(made.stdout)
    assert summary["enrolled"] == 8 and summary["cheats"]["out-of-range"]["devices"] == 1
    taken = run(cli, [*summary["next"].split()[1:], "--json"])
    assert taken.exit_code == 0, taken.output
    assert json.loads(taken.stdout)["accepted"] == summary["expected"]["accepted"]

    listed = run(cli, ["simulate", "--cheats", "help", "--json"])
    assert json.loads(listed.stdout)["teleport"]["code"] == "location.speed"
    assert "not caught" in run(cli, ["simulate", "--cheats", "help"]).stdout
    for wrong in ([], ["--mqtt", "mqtt://127.0.0.1", "--to", "x"], ["--http", "http://127.0.0.1"]):
        failed = run(cli, ["simulate", *wrong])
        assert isinstance(failed.exception, ConfigError) and failed.exception.code == "usage"
