"""Challenges: nonces that whoever answers must have got after a checkpoint, each good once.

A nonce is derived from a checkpoint that a tick entry names and from the thumbprint of the key that
answers, so nothing is stored when one is given out, and none can be known before its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id.ack import NONCE_BYTES, Challenge, challenge_nonce, read_challenge, sign_challenge
from depin_id.did.literal import literal_key
from depin_id.errors import ConfigError, CredentialError, DepinError, DIDError, StateError
from depin_id.keys import PublicKey
from verify.fold import Fold
from verify.identity.desk import StatementResult, attempt
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

CHALLENGE_S: Final = 600
"""How long a challenge is good for, seconds."""
FRESH_MS: Final = 60_000
"""A challenge is made from a checkpoint of at most this age, if one can be made."""
MAX_AGE_MS: Final = 960_000
"""How old the checkpoint of an answered challenge may be: when idle, one is made every five
minutes, and a challenge from the oldest of them is good for ten more."""
_BEFORE: Final = 8


def make_challenge(aggregator: Aggregator, thumbprint: bytes) -> bytes:
    """A signed challenge for the key with this thumbprint (32 bytes), good for ten minutes.

    It is a fresh one unless no checkpoint can be made now.

    Raises:
        StateError: ``challenge.none``, or the stores cannot write.
    """
    now, fold = aggregator.now(), aggregator.fold
    newest = _newest(fold)
    stale = newest is None or now - newest[1] > FRESH_MS
    if newest is None or stale or _nonce(newest, thumbprint) in fold.identity.nonces:
        try:
            aggregator.tick(now)
        except DepinError:
            if aggregator.broken:
                raise
    newest = _newest(fold)
    if newest is None or now - newest[1] > MAX_AGE_MS - CHALLENGE_S * 1000:
        raise StateError(
            "challenge.none",
            "no checkpoint could be made for a challenge",
            hint="see why the log cannot be published: `depin-verify status`",
        )
    challenge = Challenge(thumbprint, _nonce(newest, thumbprint), now // 1000 + CHALLENGE_S)
    return sign_challenge(challenge, network=fold.card.network, signer=aggregator.ack_signer)


def check_nonce(fold: Fold, nonce: bytes, thumbprint: bytes, now: int) -> None:
    """Whether a nonce is one of this network's challenges for this key, fresh and not used before.

    Whoever takes an answer commits an entry that carries the nonce: that uses it up.

    Args:
        thumbprint: of the key that answered, 32 bytes. now: receipt time in ms.

    Raises:
        CredentialError: ``possession.replayed``, ``possession.challenge`` (none of this key's, or
            of another network), ``possession.expired``.
    """
    if nonce in fold.identity.nonces:
        raise CredentialError(
            "possession.replayed",
            "the challenge was answered before",
            hint="ask for a new challenge; each is good once",
        )
    size = int.from_bytes(nonce[:_BEFORE], "big")
    beacon = fold.state.beacons.get(size)
    made = None if beacon is None else challenge_nonce(size, beacon[1], thumbprint)
    if beacon is None or len(nonce) != NONCE_BYTES or made != nonce:
        raise CredentialError(
            "possession.challenge",
            "it answers no challenge of this network for this key",
            hint="ask this network for a challenge, for the key that signs",
        )
    if now - beacon[0] > MAX_AGE_MS:
        raise CredentialError(
            "possession.expired",
            f"the challenge is of {(now - beacon[0]) // 1000} seconds ago",
            hint="ask for a new one, and answer it within ten minutes",
        )


def hear(aggregator: Aggregator, parts: Sequence[bytes], _now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "challenge", thumbprint]``."""
    if len(parts) != 1 or len(parts[0]) != 32:
        return StatementResult("statement.malformed")
    who = parts[0]
    return attempt(
        aggregator,
        who,
        lambda: StatementResult(ACCEPTED, who, None, make_challenge(aggregator, who)),
    )


def challenge(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``challenge``: for the key of a did:key or did:jwk, or for a thumbprint."""
    thumbprint = _asked(request)
    data = make_challenge(aggregator, thumbprint)
    made = read_challenge(data, card=aggregator.fold.card, recipient=thumbprint)
    return {
        "thumbprint": thumbprint.hex(),
        "nonce": made.nonce.hex(),
        "challenge": data.hex(),
        "seconds": CHALLENGE_S,
    }


def _asked(request: Mapping[str, Any]) -> bytes:
    did, thumbprint = request.get("did"), request.get("thumbprint")
    if isinstance(did, str) and thumbprint is None:
        return key_in(did).thumbprint
    if isinstance(thumbprint, str) and did is None and len(thumbprint) == 64:
        try:
            return bytes.fromhex(thumbprint)
        except ValueError:
            pass
    raise ConfigError(
        "admin.request", "a challenge is for a did:key, a did:jwk or a thumbprint of 64 hex digits"
    )


def key_in(did: str) -> PublicKey:
    """The key of a did:key or did:jwk. Raises DIDError, KeyRefused."""
    key = literal_key(did)
    if key is None:
        raise DIDError(
            "did.method_not_supported",
            f"{did[:80]} does not hold its key",
            hint="give a did:key or did:jwk of the key that answers, or its thumbprint",
        )
    return key


def _newest(fold: Fold) -> tuple[int, int, bytes] | None:
    beacons = fold.state.beacons
    if not beacons:
        return None
    size = next(reversed(beacons))
    return size, *beacons[size]


def _nonce(beacon: tuple[int, int, bytes], thumbprint: bytes) -> bytes:
    return challenge_nonce(beacon[0], beacon[2], thumbprint)
