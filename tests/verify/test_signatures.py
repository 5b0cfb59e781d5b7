"""Signatures checked by helpers are checked as if there were none."""

from __future__ import annotations

import os
import signal
from itertools import islice

import pytest
from nacl.signing import SigningKey

from verify.signature_helper import Job, verifies
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


WRONG = {0, 63, 64, 300, 511, 699}
MANY = jobs(700, WRONG)
EXPECTED = [number not in WRONG for number in range(700)]


def pids(checker: SignatureChecker) -> list[int]:
    return [helper._process.pid for helper in checker._helpers]


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_the_answers_are_in_order(helpers: int) -> None:
    with SignatureChecker(helpers) as checker:
        for _ in range(2):
            assert list(checker.check(MANY)) == EXPECTED
        assert len(pids(checker)) == helpers
    assert not pids(checker)


def test_a_few_start_no_helper() -> None:
    with SignatureChecker(2) as checker:
        assert list(checker.check(MANY[: FEW - 1])) == EXPECTED[: FEW - 1]
        assert list(checker.check([])) == []
        assert not pids(checker)


def test_a_helper_that_dies_is_done_without() -> None:
    with SignatureChecker(2) as checker:
        answers = checker.check(MANY)
        found = [next(answers)]
        for pid in pids(checker):
            os.kill(pid, signal.SIGKILL)
        assert found + list(answers) == EXPECTED
        # The next time there are helpers again.
        assert list(checker.check(MANY)) == EXPECTED
        assert len(pids(checker)) == 2


def test_answers_nobody_came_for_are_not_given_to_others() -> None:
    with SignatureChecker(1) as checker:
        before = checker.check(jobs(FEW + CHUNK * AHEAD, set(range(FEW))))
        assert list(islice(before, 3)) == [False] * 3
        del before
        assert list(checker.check(MANY)) == EXPECTED


def test_odd_jobs_are_no_signatures() -> None:
    key = MANY[1].key
    odd = [Job(key, b""), Job(key, bytes(63)), Job(bytes(32), bytes(64)), Job(key, bytes(70_000))]
    assert [verifies(job) for job in odd] == [False] * 4
    with SignatureChecker(1) as checker:
        assert list(checker.check([*odd * FEW, MANY[1]])) == [False] * 4 * FEW + [True]
