"""The log as it comes in: what is shown, over rotations, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import StateError
from depin_id.testing import NOW
from tests.endtoend.world import environment
from tests.paths import ROOT
from tests.verify.cli_site import Site
from tests.verify.net import Net, level
from verify.tail import NEWEST, Wanted, references, tail


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as made:
        yield made


def _all(net: Net, **how: Any) -> list[dict[str, Any]]:
    return list(tail(net.root, wait=lambda _: True, **how))


def test_what_is_shown(net: Net) -> None:
    device, other = net.device(), net.device("other")
    net.send(device, device.next([level(50, NOW)]))
    net.send(other, other.next([level(50, NOW)], epoch=5, n=3))
    net.policy("")
    net.send(device, device.next([level(51, NOW)]))
    shown = _all(net, start=0)
    assert [item["index"] for item in shown] == list(range(net.size))
    assert [item["kind"] for item in shown[:2]] == ["genesis", "policy"]
    envelopes = [item for item in shown if item["kind"] == "envelope"]
    assert envelopes[0]["verdict"] == "accepted" and envelopes[0]["level"] == "D1"
    assert envelopes[1]["position"] == [5, 3] and "sequence.gap" in envelopes[1]["flags"]
    assert envelopes[-1]["policy"] == net.fold.policy.digest[:16].hex()
    json.dumps(shown)
    assert len(_all(net)) == min(net.size, NEWEST)
    assert [item["index"] for item in _all(net, start=net.size - 1)] == [net.size - 1]
    assert _all(net, start=net.size + 5) == []

    rejected = _all(net, start=0, wanted=Wanted(("rejected",)))
    assert rejected and all(item["verdict"] != "accepted" for item in rejected)
    code = rejected[0]["verdict"]
    for wanted in (code, f"{code.split('.')[0]}."):
        assert _all(net, start=0, wanted=Wanted((wanted,))) == rejected
    assert _all(net, start=0, wanted=Wanted(("key.",))) == []
    refs = references(net.root, [other.did])
    assert [i["position"] for i in _all(net, start=0, wanted=Wanted((), refs))] == [[5, 3]]


def test_it_follows_over_rotations_and_misses_nothing(net: Net) -> None:
    device = net.device()
    steps = iter(range(9))

    def write(_: float) -> bool:
        """Instead of waiting: the writer goes on, and begins a new file now and then."""
        step = next(steps, None)
        if step is None:
            return True
        if step > 5:
            return False
        if step % 2:
            net.aggregator.journal.rotate()
        net.send(device, device.next([level(50 + step, NOW + step)]))
        return False

    found = list(tail(net.root, start=0, follow=True, wait=write))
    assert [item["index"] for item in found] == list(range(net.size))
    assert len(net.aggregator.journal.files()) == 4


def test_a_journal_that_became_shorter_is_no_news(net: Net, tmp_path: Path) -> None:
    device = net.device()
    net.close()
    kept = {path.name: path.read_bytes() for path in (net.root / "journal").iterdir()}
    net.reopen()
    net.send(device, device.next([level(50, NOW)]))

    def restore(_: float) -> bool:
        net.close()
        for path in (net.root / "journal").iterdir():
            path.unlink()
        for name, data in kept.items():
            (net.root / "journal" / name).write_bytes(data)
        return False

    with pytest.raises(StateError) as rewound:
        list(tail(net.root, start=0, follow=True, wait=restore))
    assert rewound.value.code == "state.rewound"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])
def test_it_ends_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: signal.Signals
) -> None:
    site = Site(tmp_path, capsys)
    try:
        site.init()
        device = site.device()
        site.ok("enrol", site.root, site.document(device))
        process = subprocess.Popen(
            [sys.executable, "-m", "verify.cli", "tail", site.root, "--follow", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None and process.stderr is not None
            assert json.loads(process.stdout.readline())["index"] == 0
            began = time.monotonic()
            site.ok("ingest", site.root, site.envelopes(device, 1))
            while json.loads(process.stdout.readline())["kind"] != "envelope":
                pass
            assert time.monotonic() - began < 30
            if how == signal.SIGPIPE:
                process.stdout.close()
                site.ok("ingest", site.root, site.envelopes(device, 1, second=9))
                site.ok("ingest", site.root, site.envelopes(device, 1, second=19))
            else:
                process.send_signal(how)
            assert process.wait(60) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    finally:
        site.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path, capsys)
    try:
        site.init()
        device = site.device()
        site.ok("enrol", site.root, site.document(device))
        site.ok("ingest", site.root, site.envelopes(device, 3))
        lines = site.ok("tail", site.root, "--from", "0", "--json").out.splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
        text = site.ok("tail", site.root, "--device", device.did, "--verdict", "accepted").out
        assert len(text.splitlines()) == 3 and all(" accepted D1" in t for t in text.splitlines())
        assert site.run("tail", site.root, "--device", "did:key:zNobody").code == 2
    finally:
        site.close()
