"""A process that checks Ed25519 signatures until its pipe ends.

It is run by its path and imports nothing of this project, so it is small and starts at once.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import Final, NamedTuple

import nacl.bindings
import nacl.exceptions

HEAD: Final = struct.Struct(">II")
"""Before a chunk: number of jobs, bytes that follow."""
LENGTH: Final = struct.Struct(">I")
"""Before a job: bytes that are signed, with the signature; the key comes before them."""
_KEY: Final = 32


class Job(NamedTuple):
    """A public key of 32 bytes, and a signature of 64 bytes with what is signed behind it."""

    key: bytes
    signed: bytes


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
            answer = bytearray()
            at = 0
            for _ in range(count):
                start = at + LENGTH.size + _KEY
                end = start + LENGTH.unpack_from(body, at)[0]
                answer.append(verifies(Job(body[start - _KEY : start], body[start:end])))
                at = end
            write(target, bytes(answer))


if __name__ == "__main__":
    help_checking(0, 1)
