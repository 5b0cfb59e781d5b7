"""Requests to a running aggregator: whatever lies there is answered, and nothing stops the loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.device import Device
from depin_id.errors import DepinError, StateError
from depin_id.networkdir import NetworkDir
from verify import control
from verify.aggregator import Aggregator
from verify.setup import init
from verify.workspace import Workspace

JUNK: list[tuple[bytes, str]] = [
    (b"", "admin.request"),
    (b"[]", "admin.request"),
    (b"{", "admin.request"),
    (b"\xff\xfe", "admin.request"),
    (b"[" * 100_000, "admin.request"),
    (b'{"op": "nonsense"}', "admin.request"),
    (b'{"op": ["enrol"]}', "admin.request"),
    (b'{"op": "enrol"}', "admin.request"),
    (b'{"op": "enrol", "documents": 5}', "admin.request"),
    (b'{"op": "enrol", "documents": "x"}', "enrolment.malformed"),
    (b'{"op": "enrol", "documents": "DOCUMENT", "effective_from": "x"}', "registry.effective_from"),
    (
        b'{"op": "enrol", "documents": "DOCUMENT", "effective_from": 1e400}',
        "registry.effective_from",
    ),
    (
        b'{"op": "enrol", "documents": "DOCUMENT", "effective_from": true}',
        "registry.effective_from",
    ),
    (b'{"op": "enrol", "documents": "DOCUMENT", "effective_from": -1}', "registry.effective_from"),
    (b'{"op": "rotate", "did": [], "new_key": "x"}', "admin.request"),
    (b'{"op": "rotate", "did": "x", "new_key": "x"}', "did."),
    (b'{"op": "revoke", "did": "x", "reason": {"a": 1}}', "registry.unknown_device"),
    (b'{"op": "erase", "did": "\\ud800"}', "registry.unknown_device"),
    (b'{"op": "policy", "toml": "\\u0000"}', "policy.invalid"),
]


@pytest.fixture
def aggregator(tmp_path: Path) -> Any:
    NetworkDir.create(tmp_path / "net", "testnet")
    init(tmp_path / "agg", tmp_path / "net", policy_text='default_profile = "noise"\n')
    with Aggregator(tmp_path / "agg") as opened:
        yield opened


def _asked(aggregator: Aggregator, content: bytes) -> dict[str, Any]:
    folder = aggregator.workspace.control
    folder.mkdir(exist_ok=True)
    request = folder / "1.request"
    request.write_bytes(content)
    assert control.serve(aggregator) == 1
    assert not request.exists()
    reply = folder / "1.reply"
    answer: dict[str, Any] = json.loads(reply.read_bytes())
    reply.unlink()
    return answer


def test_junk_is_answered(aggregator: Aggregator, tmp_path: Path) -> None:
    size = aggregator.fold.size
    with Device.create(tmp_path / "device") as device:
        document = json.dumps(json.dumps(device.enrolment.to_json()))[1:-1].encode()
        did = device.did.encode()
        wrong = []
        for content, code in JUNK:
            filled = content.replace(b"DOCUMENT", document).replace(b"DID", did)
            try:
                answer = _asked(aggregator, filled)
                found = answer.get("error", {}).get("code", str(answer))
            except Exception as error:
                found = repr(error)
                for path in aggregator.workspace.control.iterdir():
                    path.unlink()
            if not found.startswith(code):
                wrong.append((content[:80], code, found))
        assert not wrong, "\n".join(map(str, wrong))
        assert aggregator.fold.size == size
        taken = _asked(aggregator, b'{"op": "enrol", "documents": "%s"}' % document)
        assert taken["result"]["enrolled"] == [device.did]
        for nonce in (b"zz", b"00", b"0" * 1_000_000):
            request = b'{"op": "resume", "did": "%s", "nonce": "%s"}' % (did, nonce)
            assert "error" in _asked(aggregator, request)


def test_nobody_answers(aggregator: Aggregator) -> None:
    """Another command holds the directory: the request is withdrawn, not left for later."""
    workspace = Workspace(aggregator.workspace.root)
    with pytest.raises(StateError) as error:
        control.ask(workspace, {"op": "revoke", "did": "x"}, wait_s=0.1)
    assert error.value.code == "state.no_reply"
    assert list(workspace.control.iterdir()) == []


def test_a_request_withdrawn_at_that_moment(
    aggregator: Aggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = aggregator.workspace.control
    folder.mkdir()
    gone = [folder / "1.request"]
    monkeypatch.setattr(Path, "glob", lambda *_: gone)
    assert control.serve(aggregator) == 0
    assert list(folder.iterdir()) == []


def test_direct_when_nobody_runs(tmp_path: Path) -> None:
    NetworkDir.create(tmp_path / "net", "testnet")
    init(tmp_path / "agg", tmp_path / "net")
    with pytest.raises(DepinError) as error:
        control.perform_on(tmp_path / "agg", {"op": "revoke", "did": "x"})
    assert error.value.code == "registry.unknown_device"
