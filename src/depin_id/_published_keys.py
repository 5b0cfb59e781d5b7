"""Public keys whose private half anyone can know: test suites, standards' examples, trivial seeds.

The list holds truncated SHA-256 digests of the raw keys, so that it copies nobody's vectors; how
it came about stands at its head.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

_DIGEST_BYTES = 12


@cache
def _digests() -> frozenset[bytes]:
    text = resources.files("depin_id").joinpath("published_keys.txt").read_text("ascii")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return frozenset(bytes.fromhex(line) for line in lines)


def is_published(raw: bytes) -> bool:
    """Whether this raw key (32 bytes Ed25519, 33 bytes compressed P-256) is on the list."""
    return hashlib.sha256(raw).digest()[:_DIGEST_BYTES] in _digests()
