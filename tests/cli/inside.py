"""The command line within this process: as ``test_cli.run``, and a hundred times as fast."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from depin_id.cli import main


class Done(NamedTuple):
    """What came out."""

    stdout: bytes
    stderr: bytes


def run(*arguments: str, cwd: Path, data: bytes = b"", code: int = 0) -> Done:
    """Run ``depin-id`` with arguments; the exit status has to be ``code``."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    source = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    status: object = 0
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "stdin", source),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(list(arguments))
        except SystemExit as stop:
            status = stop.code
    for stream in (out, err):
        stream.flush()
    found = Done(*(stream.buffer.getvalue() for stream in (out, err)))
    assert (status or 0) == code, found.stderr.decode()
    return found
