"""A new policy for a running aggregator: an entry, no restart; a bad one changes nothing."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

from depin_id.device import Device
from depin_id.readings import reading
from firmware_bridge import Sender
from tests.brokers import mosquitto
from tests.endtoend.world import Process, aggregator_process, check_audit, make_network, until
from verify.control import perform_on
from verify.entries import POLICY
from verify.leaf import AdminLeaf, EnvelopeLeaf, parse_leaf
from verify.reading import Reader
from verify.workspace import Workspace

STRICT = 'default_profile = "noise"\n[levels]\nminimum = "D3"\n'
OPEN = 'default_profile = "noise"\n'


def _events(log: str, kind: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [item for item in read if item["event"] == kind]


def _refused(process: Process, count: int) -> bool:
    return len(_events(process.log, "policy.refused")) == count


def test_it_is_taken_up_between_two_batches(tmp_path: Path) -> None:
    with Device.create(tmp_path / "device", profile="noise") as device:
        root, card = make_network(tmp_path, device.enrolment)
        work = Workspace(root)
        with mosquitto(tmp_path) as broker, aggregator_process(root, broker) as process:
            until(lambda: "mqtt.subscribed" in process.log, "the start", process=process)
            url = f"mqtt://127.0.0.1:{broker.port}"
            with Sender(device, card, url, spool=tmp_path / "spool") as sender:

                def send(value: int) -> None:
                    sender.send([reading("laeq", value, "dB")])
                    until(lambda: sender.flush(1), "the answer", process=process)

                send(50)
                made = perform_on(root, {"op": "policy", "toml": STRICT})
                assert made["changed"] and process.running
                send(51)
                # The file in the directory and a signal, as service managers reload.
                work.policy.write_text(OPEN)
                process._process.send_signal(signal.SIGHUP)
                until(lambda: _events(process.log, "policy"), "the reload", process=process)
                send(52)
                for count, bad in enumerate(("nonsense = 1\n", "[", "rules = 99\n", "\0"), 1):
                    work.policy.write_text(bad)
                    process._process.send_signal(signal.SIGHUP)
                    refused = partial(_refused, process, count)
                    until(refused, "the refusal", process=process)
                assert {item["code"] for item in _events(process.log, "policy.refused")} == {
                    "policy.invalid"
                }
                send(53)
            process.finish()
        with Reader(root) as reader:
            leaves = [parse_leaf(entry.leaf) for entry in reader.journal.entries()]
            in_force = reader.fold.policy.digest
        judged = [leaf for leaf in leaves if isinstance(leaf, EnvelopeLeaf)]
        assert [leaf.code == "accepted" for leaf in judged] == [True, False, True, True]
        assert judged[0].policy == judged[2].policy == judged[3].policy == in_force[:16]
        assert judged[1].policy != in_force[:16]
        assert sum(1 for leaf in leaves if isinstance(leaf, AdminLeaf) and leaf.kind == POLICY) == 3
        check_audit(root)
