"""Reconciliation: every way in which a run does not add up is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from verify.demo.ledger import UNACCOUNTED, Account, Book, Check
from verify.demo.reconcile import reconcile

Run = tuple[Account, Account, Account, Book]


def good_run() -> Run:
    """An honest sensor, a cheat without a key and one with a key, all as it must be."""
    honest = Account(
        "noise-01", 2, outcomes=Counter(accepted=2), records=Counter({"": 10}), readings=10
    )
    tampering = Account(
        "tampered payload",
        3,
        outcomes=Counter({"signature.invalid": 3}),
        expected={"signature.invalid": 3},
        expected_records={},
        answers=0,
        principals=frozenset({"00" * 8}),
    )
    flooder = Account(
        "flooder",
        5,
        outcomes=Counter({"accepted": 2, "quota.exceeded": 3}),
        records=Counter({"": 2}),
        expected={"accepted": 2, "quota.exceeded": 3},
        expected_records={"": 2},
        principals=frozenset({"did:key:z6Mk"}),
    )
    counted = {("00" * 8, "signature.invalid"): 3, ("did:key:z6Mk", "quota.exceeded"): 3}
    return honest, tampering, flooder, Book(0, 12, counted)


def checks(run: Run) -> list[Check]:
    honest, tampering, flooder, book = run
    return reconcile([honest], [tampering, flooder], book)


def test_a_good_run_holds() -> None:
    assert all(check.ok for check in checks(good_run())), checks(good_run())


def test_what_the_broker_delivers_twice_is_no_fault() -> None:
    honest, tampering, flooder, book = good_run()
    tampering.repeated = 1
    tampering.outcomes["signature.invalid"] = 4
    counted = dict(book.counted) | {("00" * 8, "signature.invalid"): 4}
    assert all(c.ok for c in checks((honest, tampering, flooder, replace(book, counted=counted))))


def lost(run: Run) -> Run:
    run[0].outcomes = Counter({"accepted": 1, UNACCOUNTED: 1})
    return run


def missing(run: Run) -> Run:
    run[0].sent = 3
    return run


def unpaid(run: Run) -> Run:
    run[0].records = Counter({"": 9})
    return run


def refused(run: Run) -> Run:
    run[0].records["time.stale"] = 1
    return run


def passed(run: Run) -> Run:
    run[1].outcomes = Counter({"signature.invalid": 2, "accepted": 1})
    return run


def answered(run: Run) -> Run:
    run[1].answers = 1
    return run


def not_sent(run: Run) -> Run:
    run[1].sent = 0
    run[1].outcomes = Counter()
    return run


def paid(run: Run) -> Run:
    run[2].records = Counter({"": 5})
    return run


def unheard_of(run: Run) -> Run:
    return (*run[:3], replace(run[3], strangers=1))


def paid_twice(run: Run) -> Run:
    return (*run[:3], replace(run[3], readings=13))


def uncounted(run: Run) -> Run:
    return (*run[:3], replace(run[3], counted={("00" * 8, "signature.invalid"): 3}))


def harmed(run: Run) -> Run:
    more = {("did:key:honest", "quota.exceeded"): 1}
    return (*run[:3], replace(run[3], counted=dict(run[3].counted) | more))


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lost, {"honest sensors: all accepted", "everything sent is accounted for"}),
        (missing, {"honest sensors: all accepted", "everything sent is accounted for"}),
        (
            unpaid,
            {
                "honest sensors: all accepted",
                "every reading that counts was sent, and counts once",
            },
        ),
        (refused, {"honest sensors: all accepted"}),
        (passed, {"tampered payload"}),
        (answered, {"tampered payload"}),
        (
            not_sent,
            {"tampered payload", "what has no entry is counted, against cheats alone"},
        ),
        (paid, {"flooder", "every reading that counts was sent, and counts once"}),
        (unheard_of, {"nothing in the journal came from nowhere"}),
        (paid_twice, {"every reading that counts was sent, and counts once"}),
        (uncounted, {"what has no entry is counted, against cheats alone"}),
        (harmed, {"what has no entry is counted, against cheats alone"}),
    ],
)
def test_each_count_that_is_off_is_noticed(spoil: Callable[[Run], Run], names: set[str]) -> None:
    assert {check.name for check in checks(spoil(good_run())) if not check.ok} == names


def test_a_run_without_sensors_fails() -> None:
    assert not reconcile([], [], Book(0, 0, {}))[0].ok
