"""Chains of ownership: who owns a device at a time; forks, gaps and strangers are refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from depin_id.credentials import Verified, parse_moment, verify_chain
from depin_id.errors import CredentialError
from tests.credentials.world import (
    ANNA,
    BERT,
    BORN,
    CARL,
    LAB,
    MAKER,
    THIEF,
    Party,
    birth,
    calibration,
    check,
    ownership,
)

BIRTH = check(MAKER.sign(birth()))
DAYS = [f"2026-11-{day}T00:00:00Z" for day in range(20, 30)]
LATE = parse_moment("2026-12-31T00:00:00Z")


def _give(giver: Party, taker: Party, previous: Verified, day: int = 0, **more: Any) -> Verified:
    made = ownership(giver, taker, previous.digest, DAYS[day], **more)
    return check(giver.sign(made), now_ms=LATE)


FIRST = _give(MAKER, ANNA, BIRTH, 1)
SECOND = _give(ANNA, BERT, FIRST, 3)
THIRD = _give(BERT, CARL, SECOND, 5)
CHAIN = [FIRST, SECOND, THIRD]


def _refused(code: str, transfers: list[Verified], **more: Any) -> None:
    with pytest.raises(CredentialError) as caught:
        verify_chain(BIRTH, transfers, **more)
    assert caught.value.code == code, caught.value


def test_the_owner_at_a_time_whatever_the_order() -> None:
    for order in permutations(CHAIN):
        owners = verify_chain(BIRTH, [*order, FIRST])
        assert [link.did for link in owners.links] == [ANNA.did, BERT.did, CARL.did]
        assert owners.manufacturer == MAKER.did
        for day, owner in enumerate([None, ANNA, ANNA, BERT, BERT, CARL, CARL]):
            at = parse_moment(DAYS[day])
            assert owners.owner_at(at) == (owner and owner.did)
        assert owners.owner_at(parse_moment(DAYS[3]) - 1) == ANNA.did
    assert verify_chain(BIRTH, []).owner_at(LATE) is None


def test_a_fork_is_refused_wherever_it_is() -> None:
    for giver, previous in ((MAKER, BIRTH), (ANNA, FIRST), (BERT, SECOND)):
        _refused("ownership.forked", [*CHAIN, _give(giver, THIEF, previous, 6)])


def test_a_gap_is_refused() -> None:
    for left in ([SECOND, THIRD], [FIRST, THIRD], [THIRD]):
        _refused("ownership.gap", left)
    _refused("ownership.gap", [_give(MAKER, ANNA, check(MAKER.sign(birth(serial="2"))))])


def test_only_the_owner_before_can_transfer() -> None:
    stolen = _give(THIEF, THIEF, FIRST, 3)
    _refused("ownership.issuer", [FIRST, stolen])
    _refused("ownership.issuer", [*CHAIN, stolen])
    # Who owned it earlier, or made it, owns it no more.
    _refused("ownership.issuer", [FIRST, SECOND, _give(ANNA, THIEF, SECOND, 5)])
    _refused("ownership.issuer", [FIRST, _give(MAKER, THIEF, FIRST, 5)])
    _refused("ownership.issuer", [_give(THIEF, ANNA, BIRTH)])


def test_a_first_owner_without_the_manufacturer_needs_a_claim() -> None:
    own = _give(ANNA, ANNA, BIRTH, 1)
    _refused("ownership.claim", [own])
    _refused("ownership.claim", [own], claimed=lambda _birth, _first: False)
    asked: list[tuple[Verified, Verified]] = []

    def claimed(certificate: Verified, first: Verified) -> bool:
        asked.append((certificate, first))
        return True

    owners = verify_chain(BIRTH, [own, _give(ANNA, BERT, own, 2)], claimed=claimed)
    assert owners.owner_at(LATE) == BERT.did and asked == [(BIRTH, own)]
    # A claim beside a transfer by the manufacturer, and two claims, are forks.
    _refused("ownership.forked", [own, FIRST], claimed=claimed)
    _refused("ownership.forked", [own, _give(THIEF, THIEF, BIRTH)], claimed=claimed)
    # A claim is for the first owner only.
    _refused("ownership.issuer", [FIRST, _give(THIEF, THIEF, FIRST)], claimed=claimed)


def test_time_does_not_run_backwards() -> None:
    _refused("ownership.time", [FIRST, _give(ANNA, BERT, FIRST, 0)])
    verify_chain(BIRTH, [FIRST, _give(ANNA, BERT, FIRST, 1)])
    early = ownership(MAKER, ANNA, BIRTH.digest, "2026-11-19T23:59:59Z")
    _refused("ownership.time", [check(MAKER.sign(early))])


def test_other_devices_and_other_credentials_do_not_belong() -> None:
    _refused("credential.subject", [_give(MAKER, ANNA, BIRTH, device=THIEF)])
    _refused("credential.type", [check(LAB.sign(calibration()))])
    with pytest.raises(CredentialError, match=r"credential\.type"):
        verify_chain(FIRST, [SECOND])
    assert BORN == DAYS[0]
