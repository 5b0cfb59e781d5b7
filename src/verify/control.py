"""Requests to a running aggregator, as files in its directory.

The directory is its owner's alone, so whoever can write a request could as well stop the process
and open the journal. A request is carried out between two batches and answered in a file beside it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depin_id.durable import replace_file
from depin_id.errors import DepinError, StateError
from verify.admin import perform
from verify.aggregator import Aggregator
from verify.workspace import Workspace

MAX_REQUEST = 64 << 20
_WAIT_S = 60.0


def _reply_path(request: Path) -> Path:
    return request.with_suffix(".reply")


def ask(workspace: Workspace, request: Mapping[str, Any], *, wait_s: float = _WAIT_S) -> Any:
    """Hand a request to the running aggregator and wait for its answer.

    Raises:
        StateError: ``state.no_reply``. DepinError: what the aggregator refused it for.
    """
    workspace.control.mkdir(mode=0o700, exist_ok=True)
    path = workspace.control / f"{time.time_ns():020d}-{secrets.token_hex(4)}.request"
    replace_file(path, json.dumps(dict(request)).encode())
    reply = _reply_path(path)
    deadline = time.monotonic() + wait_s
    while not reply.exists():
        if time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            raise StateError(
                "state.no_reply",
                "another process holds the directory and does not answer",
                hint="only `depin-verify run` takes requests; wait for other commands to end",
            )
        time.sleep(0.05)
    answer = json.loads(reply.read_bytes())
    # In this order: a request whose reply is gone would be carried out once more.
    path.unlink(missing_ok=True)
    reply.unlink(missing_ok=True)
    if "error" in answer:
        error = answer["error"]
        raise DepinError(error["code"], error["message"], hint=error["hint"])
    return answer["result"]


def serve(aggregator: Aggregator) -> int:
    """Carry out the requests that wait; gives how many."""
    folder = aggregator.workspace.control
    if not folder.is_dir():
        return 0
    done = 0
    for path in sorted(folder.glob("*.request")):
        if _reply_path(path).exists():
            path.unlink(missing_ok=True)  # an end came between the reply and this
            continue
        try:
            answer: dict[str, Any] = {"result": perform(aggregator, _read(path))}
        except FileNotFoundError:
            continue  # whoever asked has given up and withdrawn it
        except DepinError as error:
            answer = {"error": error.to_json()}
        # The reply first: whoever asked is told, whenever this process ends.
        replace_file(_reply_path(path), json.dumps(answer).encode())
        path.unlink(missing_ok=True)
        done += 1
    return done


def _read(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > MAX_REQUEST:
        raise StateError("admin.request", "the request is too large")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise StateError("admin.request", "the request is not JSON") from None
    if not isinstance(value, dict):
        raise StateError("admin.request", "the request is not an object")
    return value


def perform_on(root: Path, request: Mapping[str, Any]) -> Any:
    """Carry out a request directly, or through the aggregator that runs on the directory."""
    workspace = Workspace(root)
    workspace.check()
    try:
        aggregator = Aggregator(root)
    except StateError as error:
        if error.code != "state.locked":
            raise
        return ask(workspace, request)
    with aggregator:
        return perform(aggregator, request)
