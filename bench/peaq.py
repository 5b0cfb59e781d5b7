"""Signed data packages of peaq: verified here with a key that the DID names, and by peaq's own SDK.

Both take the same kind of package from JSON to a verified one, in the same run, on one core.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

from coincurve import PrivateKey

from bench.peers import PEERS, PeerMissing, _run, environment
from bench.raw import raw_cost
from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from depin_id import evm
from depin_id.peaq.bounds import Increasing, parse_moment
from depin_id.peaq.stream import sign_package, verify_package
from depin_id.peaq.trust import keys_of_did

WANTED: Final = 20.0
_WHEN: Final = "2025-10-09T08:53:20Z"
_READING: Final = {"n": "laeq", "u": "dB", "v": 55.4, "t": 1_760_000_000}


def measure(lab: Lab) -> list[Row]:
    """Ours, beside peaq's where its environment can be made."""
    settings = lab.settings
    peer = next(peer for peer in PEERS if peer.package == "peaq-os-sdk")
    try:
        python, version = environment(peer)
    except PeerMissing as missing:
        print(f"peaq: {peer.package} is left out: {missing}", file=sys.stderr)
        rows = [(_ours(settings), raw_cost(settings.raw_seconds)) for _ in range(settings.runs)]
        ratios = [raw / ours for ours, raw in rows]
        return [_row([ours for ours, _ in rows], ratios, "raw PyNaCl, one core", None)]
    ours, theirs = [], []
    for _ in range(settings.runs):
        ours.append(_ours(settings))
        found = _run(python, peer, settings)
        theirs.append(found["processor"] / found["count"])
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    return [_row(ours, ratios, f"{peer.package} {version}", Target(WANTED))]


def _row(costs: list[float], ratios: list[float], of: str, target: Target | None) -> Row:
    return Row(
        "peaq",
        "data package, from JSON to verified",
        "/s",
        [1 / cost for cost in costs],
        ratios,
        of,
        target,
        note="with binding to the DID, time window and replay memory, which the peer has not",
    )


def _ours(settings: Settings) -> float:
    """Processor seconds of one package."""
    key = PrivateKey()
    did = "did:peaq:" + evm.checksum_address(evm.public_key_address(key.public_key.format()))
    messages = [_signed(key, did, number) for number in range(min(settings.peer_messages, 50))]
    keys, now = keys_of_did(did), parse_moment(_WHEN)
    count, used, ends = 0, time.process_time(), time.perf_counter() + settings.peer_seconds
    while not count or time.perf_counter() < ends:
        memory = Increasing()
        for message in messages:
            verify_package(message, keys, now_ms=now, memory=memory)
        count += len(messages)
    return (time.process_time() - used) / count


def _signed(key: Any, did: str, number: int) -> str:
    def personal_sign(message: bytes) -> bytes:
        signature: bytes = key.sign_recoverable(evm.personal_hash(message), hasher=None)
        return signature[:64] + bytes((signature[64] + 27,))

    payload = {"senml": [_READING], "seq": number}
    made = sign_package(did, _WHEN, "1", number, payload, personal_sign=personal_sign)
    return json.dumps(made)
