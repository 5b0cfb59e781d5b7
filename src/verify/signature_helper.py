"""A process that checks Ed25519 signatures until its pipe ends, and reads the packs they sign."""

from __future__ import annotations

import hashlib
import marshal
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import nacl.bindings
import nacl.exceptions

from depin_id.senml import Columns, decode_ahead

HEAD: Final = struct.Struct(">II")
"""Before a chunk: number of jobs, bytes that follow."""
JOB: Final = struct.Struct(">II")
"""Before a job: how many bytes are signed, with the signature, and where in them a pack begins; the
key comes before them."""
LENGTH: Final = struct.Struct(">I")
"""Before an answer: bytes that follow."""
FORM: Final = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
"""Of this file as it was loaded: a helper of another release, put in its place since, helps not."""
OTHER: Final = 3
"""Exit status of such a one."""
_KEY: Final = 32


class Job(NamedTuple):
    """What has to be checked.

    Attributes:
        key: public key, 32 bytes.
        signed: the signature, 64 bytes, and what is signed behind it.
        pack: where in it a SenML pack begins, which is its end; 0 for none.
    """

    key: bytes
    signed: bytes
    pack: int = 0


Answer = tuple[bool, Columns | None]
"""Whether the signature verifies; the pack, if it was read already (:func:`decode_ahead`)."""


def verifies(job: Job) -> bool:
    """Whether the signature is that of the key. Which keys are admitted is decided before."""
    try:
        nacl.bindings.crypto_sign_open(job.signed, job.key)
    except (nacl.exceptions.CryptoError, ValueError, TypeError):
        return False
    return True


def write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def read(file: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(file, size - len(parts))
        if not part:
            raise OSError("the pipe has ended")
        parts += part
    return bytes(parts)


def help_checking(source: int, target: int) -> None:
    """What a helper does, until its pipe ends."""
    with suppress(OSError):
        while True:
            count, size = HEAD.unpack(read(source, HEAD.size))
            body = read(source, size)
            answers, at = [], 0
            for _ in range(count):
                size, pack = JOB.unpack_from(body, at)
                start = at + JOB.size + _KEY
                at = start + size
                answers.append(_answer(Job(body[start - _KEY : start], body[start:at], pack)))
            packed = marshal.dumps(answers)
            write(target, LENGTH.pack(len(packed)) + packed)


def _answer(job: Job) -> tuple[bool, tuple[Any, ...] | None]:
    """An answer in plain types."""
    if not verifies(job):
        return False, None
    found = decode_ahead(job.signed[job.pack :]) if job.pack else None
    return True, None if found is None else tuple(found)


def unpacked(data: bytes) -> list[Answer]:
    """The answers to a chunk; for what a helper of one's own has sent only."""
    return [
        (verified, None if columns is None else Columns(*columns))
        for verified, columns in marshal.loads(data)
    ]


if __name__ == "__main__":
    if sys.argv[1:] != [FORM]:
        sys.exit(OTHER)
    help_checking(0, 1)
