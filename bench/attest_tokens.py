"""Tokens: whole appraisals beside the raw signatures that they need, turn by turn, on one core."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.settings import Settings
from bench.table import Row, Target
from bench.world import Lab
from tests.attestation import test_cca, test_eat, test_esp_tee, test_psa
from tests.attestation.tokens import sign1
from verify.attestation import Appraisal

_TURN = 10
"""Appraisals in one turn, before the raw signatures have one: both meet the same machine."""
_TOKENS = 50
_NOTE = "keys of anchors and devices were read before; no token comes twice in a turn"
Check = Callable[[], object]


@dataclass(frozen=True)
class _Case:
    """One format: appraisals of different tokens, and the raw verifications that each needs."""

    name: str
    appraisals: Sequence[Callable[[], Appraisal]]
    raw: Sequence[Check]


def _raw(curve: ec.EllipticCurve, count: int) -> list[Check]:
    """Verifications alone: key at hand, signature as the library wants it, 400 bytes."""
    key = ec.generate_private_key(curve)
    public, message = key.public_key(), bytes(400)
    algorithm = ec.ECDSA(SHA384() if isinstance(curve, ec.SECP384R1) else SHA256())
    signature = key.sign(message, algorithm)
    return [lambda: public.verify(signature, message, algorithm)] * count


def _challenges() -> list[bytes]:
    return [hashlib.sha256(number.to_bytes(4)).digest() for number in range(_TOKENS)]


def _psa(challenge: bytes) -> Callable[[], Appraisal]:
    token = sign1(test_psa.CLAIMS | {10: challenge}, test_psa.IAK)
    return lambda: test_psa.appraise(token, challenge=challenge)


def _eat(challenge: bytes) -> Callable[[], Appraisal]:
    claims = test_eat.CLAIMS | {10: challenge}
    token = sign1(claims, test_eat.SIGNER, unprotected={4: test_eat.KID})
    return lambda: test_eat.appraise(token, challenge=challenge)


def _eat_chain(challenge: bytes) -> Callable[[], Appraisal]:
    claims = test_eat.CLAIMS | {10: challenge}
    token = sign1(claims, test_eat.LEAF, unprotected={33: test_eat.CHAIN})
    return lambda: test_eat.appraise(token, challenge=challenge)


def _cca(challenge: bytes) -> Callable[[], Appraisal]:
    token = test_cca.made(realm=test_cca.REALM | {10: challenge + bytes(32)})
    return lambda: test_cca.appraise(token, challenge=challenge)


def _esp_tee(challenge: bytes) -> Callable[[], Appraisal]:
    token = test_esp_tee.token(test_esp_tee.CLAIMS | {"auth_challenge": challenge.hex()})
    return lambda: test_esp_tee.appraise(token, challenge=challenge)


def _cases() -> list[_Case]:
    small, large = ec.SECP256R1(), ec.SECP384R1()
    made = [
        ("PSA token, ES256", _psa, _raw(small, 1)),
        ("EAT by kid, ES256", _eat, _raw(small, 1)),
        ("EAT with a chain of two, ES256", _eat_chain, _raw(small, 3)),
        ("CCA platform and realm, ES384", _cca, _raw(large, 2)),
        ("ESP-TEE token, ES256", _esp_tee, _raw(small, 1)),
    ]
    return [_Case(name, [make(one) for one in _challenges()], raw) for name, make, raw in made]


def _turn(actions: Sequence[Check], times: int = 1) -> float:
    """Processor seconds."""
    start = time.thread_time()
    for _ in range(times):
        for action in actions:
            action()
    return time.thread_time() - start


def _measure(case: _Case, settings: Settings) -> Row:
    assert all(appraise().affirmed for appraise in case.appraisals)
    values, ratios = [], []
    for _ in range(settings.runs):
        ours = theirs = 0.0
        count = 0
        while ours < settings.raw_seconds:
            for start in range(0, _TOKENS, _TURN):
                ours += _turn(case.appraisals[start : start + _TURN])
                theirs += _turn(case.raw, _TURN)
                count += _TURN
        values.append(count / ours)
        ratios.append(theirs / ours)
    return Row(
        "attestation",
        case.name,
        "/s",
        values,
        ratios,
        "the raw verifications that it needs, one core",
        Target(0.6),
        note=_NOTE,
    )


def measure(lab: Lab) -> list[Row]:
    """A whole appraisal of each format."""
    return [_measure(case, lab.settings) for case in _cases()]
