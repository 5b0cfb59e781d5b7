"""Asking one witness for its cosignature (c2sp.org/tlog-witness), bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import httpx2

from depin_id.errors import LogError, TransportError
from depin_id.printable import printable
from verify.log.cosignature import cosignatures_of, with_cosignatures
from verify.log.note import Checkpoint, split_note
from verify.log.text import decode_decimal
from verify.witness.request import SIZE_TYPE, format_request
from verify.witness.settings import Asked

MAX_ANSWER: Final = 16 * 1024
TIMEOUT_S: Final = 10.0
_TRIES = 3

Prove = Callable[[int], Sequence[bytes]]
"""Gives the consistency proof from a size to the checkpoint that is asked about."""


class WitnessClient:
    """One witness, and how large it knows the log to be.

    Args:
        asked: its URL and key.
        timeout_s: for one call of :meth:`ask`, everything included.
    """

    def __init__(self, asked: Asked, *, timeout_s: float = TIMEOUT_S) -> None:
        self.asked = asked
        self._timeout_s = timeout_s
        self._size = 0

    async def ask(
        self, http: httpx2.AsyncClient, note: str, checkpoint: Checkpoint, prove: Prove
    ) -> str:
        """Ask for a cosignature.

        Args:
            http: what carries it; follows no redirects.
            note: the signed checkpoint.
            checkpoint: the same, read.
            prove: the consistency proof from the size that the witness knows.

        Returns:
            The line of the cosignature, which verified.

        Raises:
            TransportError: ``witness.unreachable``, ``witness.timeout``, ``witness.refused``,
                ``witness.answer``; ``witness.conflict`` when it knows another history,
                ``witness.ahead`` when it knows a longer one.
            LogError: ``log.tile`` when the proof cannot be made.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(http, note, checkpoint, prove)
        except TimeoutError:
            self._fail("timeout", f"no answer within {self._timeout_s:g} s")
        except httpx2.HTTPError as error:
            self._fail("unreachable", f"{type(error).__name__} {error}")
        except httpx2.InvalidURL as error:
            self._fail("unreachable", str(error))

    async def _ask(
        self, http: httpx2.AsyncClient, note: str, checkpoint: Checkpoint, prove: Prove
    ) -> str:
        for _ in range(_TRIES):
            old = min(self._size, checkpoint.size)
            body = format_request(old, () if old == 0 else prove(old), note)
            status, kind, answer = await self._post(http, body)
            if status == 200:
                line = self._line(note, checkpoint, answer)
                self._size = checkpoint.size
                return line
            if status != 409 or kind != SIZE_TYPE:
                text = answer[:200].decode("utf-8", "replace").strip()
                self._fail("refused", f"status {status}: {printable(text)}")
            self._size = self._learn(old, checkpoint, answer)
        self._fail("answer", "it names another size each time")

    async def _post(self, http: httpx2.AsyncClient, body: bytes) -> tuple[int, str, bytes]:
        url = f"{self.asked.url}/add-checkpoint"
        headers = {"content-type": "text/plain; charset=utf-8", "accept-encoding": "identity"}
        async with http.stream("POST", url, content=body, headers=headers) as response:
            parts, size = [], 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > MAX_ANSWER:
                    self._fail("answer", f"the answer is over {MAX_ANSWER} bytes")
                parts.append(part)
            kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
            return response.status_code, kind, b"".join(parts)

    def _line(self, note: str, checkpoint: Checkpoint, answer: bytes) -> str:
        """The witness's own line of an answer; what other lines there are is nobody's concern."""
        key = self.asked.key
        try:
            lines = split_note(checkpoint.body.encode() + b"\n" + answer)[1]
            text = answer.decode().splitlines(keepends=True)
            for line, (name, key_id, _) in zip(text, lines, strict=True):
                if (name, key_id) == (key.name, key.key_id):
                    if cosignatures_of(f"{checkpoint.body}\n{line}", [key]):
                        with_cosignatures(note, [line])  # it has room there
                        return line
        except (LogError, ValueError) as error:
            self._fail("answer", f"its cosignature does not hold: {error}")
        self._fail("answer", f"no cosignature of {key.name} is in its answer")

    def _learn(self, old: int, checkpoint: Checkpoint, answer: bytes) -> int:
        try:
            text = answer.decode("ascii").removesuffix("\n")
            known = decode_decimal(text, "witness.answer", "the size in its answer")
        except (LogError, UnicodeDecodeError):
            self._fail("answer", "status 409 without a size")
        if known > checkpoint.size:
            self._fail(
                "ahead",
                f"it cosigned {known} entries of this log, which has {checkpoint.size}",
                "an older copy of the log runs here, or a second one elsewhere: stop one of them",
            )
        if known == old:
            self._fail(
                "conflict",
                f"it knows another root for {known} entries of this log",
                "the log was rewritten, or its key signs a second one: compare the checkpoints",
            )
        return known

    def _fail(self, code: str, what: str, hint: str = "") -> NoReturn:
        raise TransportError(
            f"witness.{code}", f"{self.asked.key.name} at {self.asked.url}: {what}", hint=hint
        )
