"""Power cuts: no position is signed twice, whatever a store that was cut off leaves behind."""

from __future__ import annotations

import ctypes as c
import random

from depin_id.did.key import did_key
from depin_id.envelope import parse_envelope
from depin_id.keys import SoftwareSigner
from tests.firmware.library import STATUS, Board, Random, library

NETWORK = did_key(SoftwareSigner("ed25519", b"the root of a device network ...."[:32]).public_key)
NONCE = bytes(range(16))
SECRET = b"a device that tests sign with..."[:32]


def _board(curve: str = "ed25519") -> Board:
    key = SoftwareSigner("ed25519" if curve == "ed25519" else "p256", SECRET)
    board = Board(key, NETWORK)
    assert board.boot() == 0 and board.call("depin_position_create") == 0
    assert board.boot() == 0
    return board


def _next(board: Board) -> tuple[int, int] | int:
    assert board.add(b"a", None, 1, 0, 0) == 0
    status, data = board.seal()
    if status:
        return status
    at = parse_envelope(data).provenance
    return at.epoch, at.n


def _nonce(board: Board) -> tuple[int, bytes]:
    out = c.create_string_buffer(16)
    fill = Random(lambda _, at, size: c.memmove(at, NONCE, size) is None)
    return board.call("depin_position_resume_nonce", fill, None, out), out.raw


def test_no_position_twice_over_cuts_and_tears() -> None:
    rng = random.Random(4)
    board = _board()
    used: set[tuple[int, int]] = set()
    torn = lost = 0
    for _ in range(1500):
        assert board.boot() == 0
        tear = rng.random() < 0.5

        def store(slot: int, data: bytes, tear: bool = tear) -> bool:
            nonlocal torn
            if not tear:
                return True
            torn += 1
            cut = rng.randint(0, 64)
            old = board.slots.get(slot, b"\xff" * 64)
            board.slots[slot] = rng.choice(
                [old, data, data[:cut] + old[cut:], data[:cut] + rng.randbytes(64 - cut), bytes(64)]
            )
            return False  # nothing that comes after it is done

        board.on_store = store
        for _ in range(rng.randint(0, 3)):
            at = _next(board)
            if isinstance(at, int):
                lost += at == STATUS["LOST"]
                break
            assert at not in used
            used.add(at)
        if rng.random() < 0.02:
            board.slots[rng.randint(0, 1)] = rng.randbytes(64)
        board.on_store = lambda slot, data: True
        if board.call("depin_position_begin") == STATUS["LOST"]:
            status, nonce = _nonce(board)
            assert status == 0
            floor = max(epoch for epoch, _ in used)
            assert board.call("depin_position_resume", nonce, floor) == 0
    assert torn > 200 and len(used) > 500


def test_a_damaged_record_costs_one_epoch_and_both_damaged_all() -> None:
    board = _board()
    assert [_next(board), _next(board)] == [(1, 0), (1, 1)]
    board.boot()
    assert _next(board) == (2, 0)
    newer = 0 if _epoch(board.slots[0]) == 2 else 1
    board.slots[newer] = bytes(64)  # the one left says 1, and 2 was signed under
    board.boot()
    assert _next(board) == (3, 0)
    assert {_epoch(board.slots[slot]) for slot in (0, 1)} == {3}  # both, before it was signed
    board.slots = {0: b"\xff" * 64, 1: bytes(64)}
    board.boot()
    assert _next(board) == STATUS["LOST"]


def _epoch(record: bytes) -> int:
    return int.from_bytes(record[4:8], "little")


def test_a_resume_answers_its_nonce_once_and_goes_above_its_floor() -> None:
    board = _board()
    assert _nonce(board)[0] == STATUS["ARGUMENT"]  # nothing is lost
    board.slots = {}
    board.boot()
    assert _nonce(board) == (0, NONCE)
    board.boot()  # a cut does not change the nonce
    fill = Random(lambda _, at, size: 1)
    out = c.create_string_buffer(16)
    assert board.call("depin_position_resume_nonce", fill, None, out) == 0 and out.raw == NONCE
    assert board.call("depin_position_create") == STATUS["ARGUMENT"]
    assert board.call("depin_position_resume", bytes(16), 7) == -13
    assert board.call("depin_position_resume", NONCE, 2**32 - 1) == STATUS["EXHAUSTED"]
    assert board.call("depin_position_resume", NONCE, 7) == 0
    assert _next(board) == (8, 0)
    assert board.call("depin_position_resume", NONCE, 9) == -13
    board.boot()
    assert _next(board) == (9, 0)


def test_records_of_another_device_or_network_are_no_position() -> None:
    board = _board()
    for other in (
        Board(SoftwareSigner("ed25519", b"another device, of other tests..."[:32]), NETWORK),
        Board(board.key, did_key(board.key.public_key)),
    ):
        other.slots = dict(board.slots)
        assert other.boot() == 0
        assert other.call("depin_position_begin") == STATUS["LOST"]


def test_a_signer_that_fails_burns_the_position() -> None:
    for curve in ("ed25519", "p256"):
        board = _board(curve)
        assert board.add(b"a", None, 1, 0, 0) == 0
        board.broken = lambda what: what == "sign"
        assert board.seal()[0] == STATUS["SIGN"] and board.device.count == 1
        board.broken = lambda what: False
        status, data = board.seal()
        assert status == 0 and parse_envelope(data).provenance.n == 1
        assert board.device.count == 0 and len(set(board.messages)) == 2


def test_nothing_is_signed_while_storage_fails() -> None:
    for what in ("load", "store"):
        board = _board()
        board.broken = what.__eq__
        assert board.add(b"a", None, 1, 0, 0) == 0
        assert board.seal()[0] == STATUS["STORAGE"] and not board.messages
        board.broken = lambda asked: False
        assert board.seal()[0] == 0


def test_what_the_protocol_does_not_allow_is_refused() -> None:
    board = _board()
    refused = STATUS["ARGUMENT"]
    for name in (b"", b"-a", b":a", b"a b", b"a,b", b"a;b", b"x" * 129, b"\xc3\xa4", b"a\x01"):
        assert board.add(name, None, 1, 0, 0) == refused, name
    for unit in (b"", b"x" * 17, b"a b", b"\x7f", b"\xc2\xb5g"):
        assert board.add(b"a", unit, 1, 0, 0) == refused, unit
    for mantissa, exponent in ((1, -19), (1, 37), (12345, 35), (-1, -1000), (2**63 - 1, 19)):
        assert board.add(b"a", None, mantissa, exponent, 0) == refused, (mantissa, exponent)
    assert board.add(b"a", None, 1, 0, -1) == refused
    assert board.add(b"a", None, 1, 0, 2**50 + 1) == refused
    assert board.seal()[0] == STATUS["EMPTY"]
    for _ in range(16):
        assert board.add(b"a", b"dB", 10**18, -36, 0) == 0
    assert board.add(b"a", None, 1, 0, 0) == STATUS["FULL"]
    assert board.seal(room=200)[0] == STATUS["ROOM"] and not board.messages
    assert board.seal()[0] == 0


def test_a_time_since_1970_needs_a_clock_that_was_set() -> None:
    board = _board()
    now = 1_700_000_000_000
    assert board.add(b"a", None, 1, 0, now) == 0
    assert board.seal()[0] == STATUS["ARGUMENT"]
    board.wall = 1000  # a clock that began at 1970 is none
    assert board.seal()[0] == STATUS["ARGUMENT"]
    board.wall, board.error = now, 3
    status, data = board.seal()
    assert status == 0 and parse_envelope(data).provenance.clock == 3


def test_positions_end() -> None:
    board = _board()
    assert _next(board) == (1, 0)
    board.device.next = 2**32 - 1
    assert _next(board) == STATUS["EXHAUSTED"]
    lib = library()
    board.slots = {}
    board.boot()
    assert _nonce(board)[0] == 0
    assert board.call("depin_position_resume", NONCE, 2**32 - 2) == 0
    board.boot()
    assert lib.depin_position_begin(c.byref(board.device)) == STATUS["EXHAUSTED"]
