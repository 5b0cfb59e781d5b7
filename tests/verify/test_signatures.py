"""Signatures checked by helpers are checked as if there were none."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterable
from itertools import islice

import pytest
from nacl.signing import SigningKey

from depin_id import cbor
from depin_id.senml import Decimal64, Record, decode_ahead, decode_columns, encode_pack
from verify import signature_helper, signatures
from verify.signature_helper import Answer, Job, verifies
from verify.signatures import AHEAD, CHUNK, FEW, SignatureChecker


def jobs(count: int, wrong: set[int]) -> list[Job]:
    keys = [SigningKey(bytes([number]) * 32) for number in range(5)]
    made = []
    for number in range(count):
        key = keys[number % 5]
        signed = bytearray(key.sign(b"message %d" % number))
        if number in wrong:
            signed[number % len(signed)] ^= 1
        made.append(Job(bytes(key.verify_key), bytes(signed)))
    return made


def verified(answers: Iterable[Answer]) -> list[bool]:
    return [good for good, _ in answers]


WRONG = {0, 63, 64, 300, 511, 699}
MANY = jobs(700, WRONG)
EXPECTED = [number not in WRONG for number in range(700)]


def pids(checker: SignatureChecker) -> list[int]:
    return [helper._process.pid for helper in checker._helpers]


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_the_answers_are_in_order(helpers: int) -> None:
    with SignatureChecker(helpers) as checker:
        for _ in range(2):
            assert verified(checker.check(MANY)) == EXPECTED
        assert len(pids(checker)) == helpers
    assert not pids(checker)


def test_a_few_start_no_helper() -> None:
    with SignatureChecker(2) as checker:
        assert verified(checker.check(MANY[: FEW - 1])) == EXPECTED[: FEW - 1]
        assert list(checker.check([])) == []
        assert not pids(checker)


def test_a_helper_that_dies_is_done_without() -> None:
    with SignatureChecker(2) as checker:
        answers = checker.check(MANY)
        found = verified([next(answers)])
        for pid in pids(checker):
            os.kill(pid, signal.SIGKILL)
        assert found + verified(answers) == EXPECTED
        for helper in checker._helpers:  # whose death nobody has noticed
            helper._process.wait(30)
        # The next time there are helpers again.
        assert verified(checker.check(MANY)) == EXPECTED
        assert len(pids(checker)) == 2


def test_a_helper_that_hangs_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    # More than fits a pipe, so that sending hangs as well as waiting for answers.
    key = SigningKey(bytes(32))
    large = [Job(bytes(key.verify_key), bytes(key.sign(bytes(40_000))))] * (FEW + 2 * CHUNK)
    with SignatureChecker(2) as checker:
        assert verified(checker.check(MANY)) == EXPECTED
        monkeypatch.setattr(signatures, "PATIENCE_S", 0.3)  # they have begun by now
        stopped = pids(checker)
        assert len(stopped) == 2
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert verified(checker.check(MANY)) == EXPECTED
        for pid in stopped:  # gone, and no zombies
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        # None is started for a while; then there are some again.
        assert verified(checker.check(MANY)) == EXPECTED and not pids(checker)
        monkeypatch.setattr(checker, "_paused_until", 0.0)
        monkeypatch.setattr(signatures, "PATIENCE_S", 30.0)
        assert verified(checker.check(MANY)) == EXPECTED
        monkeypatch.setattr(signatures, "PATIENCE_S", 0.3)
        for pid in pids(checker):
            os.kill(pid, signal.SIGSTOP)
        assert verified(checker.check(large)) == [True] * len(large)


def test_helpers_whose_pipes_have_large_numbers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 1300:
        pytest.skip("so many files may not be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1300), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1030:
            held.append(os.open(os.devnull, os.O_RDONLY))
        with SignatureChecker(1) as checker:
            assert verified(checker.check(MANY)) == EXPECTED
    finally:
        for file in held:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_answers_nobody_came_for_are_not_given_to_others() -> None:
    with SignatureChecker(1) as checker:
        before = checker.check(jobs(FEW + CHUNK * AHEAD, set(range(FEW))))
        assert verified(islice(before, 3)) == [False] * 3
        del before
        assert verified(checker.check(MANY)) == EXPECTED


def test_odd_jobs_are_no_signatures() -> None:
    key = MANY[1].key
    odd = [Job(key, b""), Job(key, bytes(63)), Job(bytes(32), bytes(64)), Job(key, bytes(70_000))]
    assert [verifies(job) for job in odd] == [False] * 4
    with SignatureChecker(1) as checker:
        assert verified(checker.check([*odd * FEW, MANY[1]])) == [False] * 4 * FEW + [True]


def test_packs_are_read_where_signatures_are_checked() -> None:
    """What a helper read is what this process would read; what is wrong it leaves to this one."""
    key, times = SigningKey(bytes(32)), range(1_700_000_000, 1_700_000_060)
    records = [Record("laeq", "dB", Decimal64(at % 999, -1), Decimal64(at)) for at in times]
    common = encode_pack(records)
    texts = encode_pack([Record("state", None, "on", Decimal64(1_700_000_000))])
    # Whether such a base name may be, depends on who the subject is.
    foreign = cbor.encode([{0: "laeq", 2: 50, 6: times[0], -2: "did:example:1"}])
    assert decode_ahead(foreign) is None
    signed = []
    for pack in (common, texts, foreign, b"", b"no pack", common[:-1]):
        message = bytes(key.sign(b"head" + pack))
        signed.append(Job(bytes(key.verify_key), message, len(message) - len(pack)))
    forged = signed[0]._replace(signed=bytes([signed[0].signed[0] ^ 1]) + signed[0].signed[1:])
    plain = signed[0]._replace(pack=0)
    with SignatureChecker(1) as checker:
        # Many, so that most are not checked here, where packs are read when they are judged.
        answers = list(checker.check([*signed, forged, plain] * FEW))
    read = [[pack for _, pack in answers[at::8] if pack is not None] for at in range(8)]
    assert read[0] and all(pack == decode_columns(common) for pack in read[0])
    assert read[1:] == [[]] * 7
    assert verified(answers) == ([True] * 6 + [False, True]) * FEW


def test_a_helper_of_another_release_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be replaced under a running process, and its bytes would be read as other ones."""
    monkeypatch.setattr(signature_helper, "FORM", "0" * 64)
    with SignatureChecker(1) as checker:
        assert verified(checker.check(MANY)) == EXPECTED
        assert not pids(checker) and checker._paused_until > time.monotonic()
