"""Ed25519 signatures checked on all cores: by this process, and by helpers that do nothing else.

Checking is what costs most about an envelope, and it needs no state. So helpers get keys and signed
bytes through a pipe, and give back whether they verify and what the signed packs hold. They keep
nothing, write nothing, and end when their pipe does. Whatever is wrong with one of them, this
process checks itself; one that is there and says nothing for a while counts as wrong, too.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from depin_id.closing import Closing
from verify import signature_helper
from verify.signature_helper import HEAD, JOB, LENGTH, OTHER, Answer, Job, unpacked, verifies

CHUNK: Final = 32
"""Signatures that a helper is given at a time."""
AHEAD: Final = 4
"""Chunks that it is given before it has answered."""
FEW: Final = 256
"""With fewer signatures at once no helper is started."""
PATIENCE_S: Final = 5.0
"""How long a helper may neither take nor give a byte: then it is stopped, or lost."""
PAUSE_S: Final = 60.0
"""How long none is started after one said nothing: the next one might as well."""
_PIPE: Final = 1 << 20


class _Silent(OSError):
    """A helper that is there, and says nothing."""


def _answer(job: Job) -> Answer:
    """By this process: a pack is read when it is judged."""
    return verifies(job), None


class _Helper:
    """A process that checks signatures."""

    def __init__(self) -> None:
        # Not forked: this process may have threads.
        self._process = subprocess.Popen(
            [sys.executable, "-P", signature_helper.__file__, signature_helper.FORM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What interrupts this process must not reach it: it ends with its pipe.
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        with suppress(OSError, AttributeError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)
        for pipe in (self._in, self._out):
            os.set_blocking(pipe, False)
        self.asked: deque[int] = deque()

    def ask(self, number: int, jobs: Sequence[Job]) -> None:
        """Send a chunk. Raises OSError."""
        parts: list[bytes] = []
        for job in jobs:
            parts += (JOB.pack(len(job.signed), job.pack), job.key, job.signed)
        body = b"".join(parts)
        view = memoryview(HEAD.pack(len(jobs), len(body)) + body)
        while view:
            self._await(self._in, select.POLLOUT)
            with suppress(BlockingIOError):
                view = view[os.write(self._in, view) :]
        self.asked.append(number)

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether an answer waits to be read."""
        return bool(self.asked and _poll(self._out, select.POLLIN, 0))

    def answer(self) -> list[Answer]:
        """The answers to the chunk asked first. Raises OSError."""
        size = LENGTH.unpack(self._read(LENGTH.size))[0]
        found = unpacked(self._read(size))
        self.asked.popleft()
        return found

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._await(self._out, select.POLLIN)
            part = os.read(self._out, size - len(found))
            if not part:
                raise OSError("the pipe has ended")
            found += part
        return bytes(found)

    @staticmethod
    def _await(pipe: int, event: int) -> None:
        if not _poll(pipe, event, PATIENCE_S):
            raise _Silent("the helper says nothing")

    @property
    def is_other(self) -> bool:
        """Whether it was of another release; known once it has ended."""
        return self._process.returncode == OTHER

    def kill(self) -> None:
        """End it at once: a process that was stopped does not see that its pipe has ended."""
        self._process.kill()

    def end(self) -> None:
        """Close its pipe, and wait until it is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _poll(pipe: int, event: int, wait_s: float) -> bool:
    """Whether something can be done with a pipe, or it has ended; of any number, unlike select."""
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(wait_s * 1000))


class SignatureChecker(Closing):
    """Checks many signatures, in order.

    Args:
        helpers: how many processes help; by default one less than there are cores.
    """

    def __init__(self, helpers: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self._wanted = max(0, cores - 1 if helpers is None else helpers)
        self._helpers: list[_Helper] = []
        self._paused_until = -PAUSE_S

    def close(self) -> None:
        """End the helpers. Safe to call twice."""
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.end()

    def check(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Whether each signature verifies, as far as it is asked for."""
        if len(jobs) < FEW or not self._wanted:
            return map(_answer, jobs)
        self._start()
        return self._check(jobs)

    def _start(self) -> None:
        for helper in list(self._helpers):
            # Asked by somebody who never came for the answers, or gone.
            if helper.asked or not helper.running:
                self._dismiss(helper)
        if time.monotonic() < self._paused_until:
            return
        with suppress(OSError):
            while len(self._helpers) < self._wanted:
                self._helpers.append(_Helper())

    def _check(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
        found: dict[int, list[Answer]] = {}
        sent = 0
        for number in range(len(chunks)):
            while number not in found:
                sent = self._feed(chunks, sent)
                if self._collect(chunks, found):
                    continue
                asked = next((h for h in self._helpers if number in h.asked), None)
                if asked is not None and sent == len(chunks):
                    self._wait(asked, chunks, found)
                    continue
                # Nobody has it, or there is something else to do until it comes.
                mine = number if asked is None else sent
                found[mine] = [_answer(job) for job in chunks[mine]]
                sent = max(sent, mine + 1)
            sent = self._feed(chunks, sent)
            yield from found.pop(number)

    def _feed(self, chunks: Sequence[Sequence[Job]], sent: int) -> int:
        """Give every helper enough to do; gives the number of the first chunk that nobody has."""
        for helper in list(self._helpers):
            while len(helper.asked) < AHEAD and sent < len(chunks):
                try:
                    helper.ask(sent, chunks[sent])
                except OSError as error:
                    self._dismiss(helper, error)
                    break
                sent += 1
        return sent

    def _collect(self, chunks: Sequence[Sequence[Job]], found: dict[int, list[Answer]]) -> bool:
        """Take the answers that are there; whether there were any."""
        taken = False
        for helper in list(self._helpers):
            while helper in self._helpers and helper.ready:
                self._wait(helper, chunks, found)
                taken = True
        return taken

    def _wait(
        self, helper: _Helper, chunks: Sequence[Sequence[Job]], found: dict[int, list[Answer]]
    ) -> None:
        number = helper.asked[0]
        try:
            found[number] = helper.answer()
        except OSError as error:
            self._dismiss(helper, error)

    def _dismiss(self, helper: _Helper, error: OSError | None = None) -> None:
        """Do without a helper that failed: what it was asked is checked here."""
        self._helpers.remove(helper)
        if isinstance(error, _Silent):
            self._paused_until = time.monotonic() + PAUSE_S
            helper.kill()
        helper.end()
        if helper.is_other:
            self._paused_until = time.monotonic() + PAUSE_S
