"""The device library makes the bytes that Python makes, in every part of it."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id.did.key import did_key
from depin_id.envelope import parse_envelope
from depin_id.keys import SoftwareSigner
from depin_id.senml import decode_pack
from tests.firmware import corpus
from tests.firmware.library import Board, replay


def test_thousands_of_cases_byte_for_byte() -> None:
    met = set()
    for number, case in enumerate(corpus.generate(3000)):
        answer = case.answer()
        assert replay(case.to_bytes()) == answer, (number, case)
        met.add((case.curve, case.kind, case.flags & 7))
    assert len(met) == 2 * 8 * 8


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_any_case(rng: random.Random) -> None:
    case = corpus.make(rng)
    assert replay(case.to_bytes()) == case.answer()


def test_a_file_of_cases_is_read_as_it_was_written() -> None:
    cases = [case.to_bytes() for case in corpus.generate(20)]
    data = corpus.join(b"DPC1", cases)
    assert corpus.split(data) == cases and data[:4] == b"DPC1"


def test_a_boot_from_provisioning_on_is_what_a_reader_takes() -> None:
    key, root = SoftwareSigner.generate(), SoftwareSigner.generate()
    network = did_key(root.public_key)
    board = Board(key, network)
    assert board.boot() == 0 and board.call("depin_position_create") == 0
    heads = [bytes(16)]
    for boot in (1, 2):
        assert board.boot() == 0
        heads = [bytes(16)]
        for n in range(3):
            board.uptime = 61_000 + n
            assert board.add(b"LAeq", b"dB", 5231, -2, board.uptime - 1500) == 0
            bound = board.call("depin_sealed_bound")
            status, data = board.seal()
            envelope = parse_envelope(data)
            at = envelope.provenance
            assert status == 0 and len(data) <= bound
            assert (at.epoch, at.n, at.prev, at.uptime) == (boot, n, heads[-1], 61)
            heads.append(envelope.verify(network, key.public_key)[:16])
            (record,) = decode_pack(envelope.payload)
            assert (str(record.value), str(record.time)) == ("52.31", "-1.5")
