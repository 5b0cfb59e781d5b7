"""Proof of possession: made for one capability, one verifier, one purpose, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from depin_id import cbor, cose
from depin_id.capability import Challenges, prove, verify_possession
from depin_id.capability.possession import KIND, LIFETIME_MS
from depin_id.errors import DepinError
from tests.capability.world import (
    AGENT,
    GATEWAY,
    NETWORK,
    NOW_MS,
    OTHER_DID,
    longer,
    root,
    verify,
)

DATA = root()
PURPOSE = "enrol"


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(DepinError) as caught:
        action()
    return caught.value.code


class Meeting:
    """A verifier that gave out a nonce, and a proof made for it."""

    def __init__(self, **changes: Any) -> None:
        self.challenges = Challenges()
        self.nonce = self.challenges.new(PURPOSE, now_ms=NOW_MS)
        usual: dict[str, Any] = {
            "signer": GATEWAY,
            "nonce": self.nonce,
            "audience": NETWORK,
            "purpose": PURPOSE,
            "network": NETWORK,
        }
        self.proof = prove(DATA, **(usual | changes))

    def verify(self, **changes: Any) -> None:
        usual: dict[str, Any] = {
            "proof": self.proof,
            "capability": verify(DATA),
            "network": NETWORK,
            "audience": NETWORK,
            "purpose": PURPOSE,
            "challenges": self.challenges,
            "now_ms": NOW_MS,
        }
        verify_possession(**(usual | changes))


def test_a_proof_is_good_once() -> None:
    meeting = Meeting()
    meeting.verify()
    assert code_of(meeting.verify) == "possession.nonce"


def test_a_nonce_that_was_never_given() -> None:
    assert code_of(Meeting(nonce=bytes(16)).verify) == "possession.nonce"


def test_a_nonce_lives_shortly() -> None:
    Meeting().verify(now_ms=NOW_MS + LIFETIME_MS - 1)
    late = Meeting()
    assert code_of(lambda: late.verify(now_ms=NOW_MS + LIFETIME_MS)) == "possession.nonce"


def test_a_nonce_is_for_one_purpose() -> None:
    meeting = Meeting(purpose="claim")
    assert code_of(meeting.verify) == "possession.purpose"
    assert code_of(lambda: meeting.verify(purpose="claim")) == "possession.nonce"


def test_a_proof_for_another_verifier() -> None:
    assert code_of(Meeting(audience=OTHER_DID).verify) == "possession.audience"


def test_a_proof_for_another_capability() -> None:
    other = verify(root(max_count=3))
    meeting = Meeting()
    assert code_of(lambda: meeting.verify(capability=other)) == "possession.capability"
    child = verify(longer(DATA))
    assert code_of(lambda: meeting.verify(capability=child)) == "possession.capability"
    meeting.verify()


def test_another_key() -> None:
    assert code_of(lambda: Meeting(signer=AGENT)) == "possession.key"
    nonce = bytes(16)
    payload = cbor.encode({1: verify(DATA).id, 2: nonce, 3: NETWORK, 4: PURPOSE})

    def forged(kid: bytes) -> bytes:
        headers = {cose.HEADER_KID: kid}
        return cose.sign1(headers, payload, kind=KIND, network=NETWORK, signer=AGENT)

    own, borrowed = forged(AGENT.public_key.kid), forged(GATEWAY.public_key.kid)
    assert code_of(lambda: Meeting().verify(proof=own)) == "possession.key"
    assert code_of(lambda: Meeting().verify(proof=borrowed)) == "signature.invalid"


def test_a_proof_of_another_network() -> None:
    assert code_of(Meeting(network=OTHER_DID).verify) == "signature.invalid"


def test_a_bad_proof_does_not_spend_the_nonce() -> None:
    meeting = Meeting()
    changed = bytearray(meeting.proof)
    changed[-1] ^= 1
    assert code_of(lambda: meeting.verify(proof=bytes(changed))) == "signature.invalid"
    meeting.verify()


def test_forms_that_are_no_proof() -> None:
    key = GATEWAY.public_key
    good: dict[int, Any] = {1: verify(DATA).id, 2: bytes(16), 3: NETWORK, 4: PURPOSE}
    payloads: list[Any] = [[], good | {5: 1}, good | {1: 5}, good | {2: "x"}]
    for payload in payloads:
        proof = cose.sign1(
            {cose.HEADER_KID: key.kid},
            cbor.encode(payload),
            kind=KIND,
            network=NETWORK,
            signer=GATEWAY,
        )
        assert code_of(lambda p=proof: Meeting().verify(proof=p)) == "possession.malformed"  # type: ignore[misc]
    bare = cose.sign1({}, cbor.encode(good), kind=KIND, network=NETWORK, signer=GATEWAY)
    assert code_of(lambda: Meeting().verify(proof=bare)) == "possession.malformed"
    assert code_of(lambda: Meeting(nonce=bytes(15))) == "possession.malformed"
    assert code_of(lambda: Meeting(purpose="")) == "possession.malformed"
    assert code_of(lambda: Meeting(audience="a" * 257)) == "possession.malformed"


def test_challenges_are_bounded() -> None:
    challenges = Challenges(bound=2)
    first, *_ = (challenges.new(PURPOSE, now_ms=NOW_MS) for _ in range(3))
    assert code_of(lambda: challenges.take(first, PURPOSE, now_ms=NOW_MS)) == "possession.nonce"
