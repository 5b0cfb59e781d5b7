"""Taking evidence: whose it is, for which boot, what it is worth; the result becomes an entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from depin_id.attestation.binding import Binding
from depin_id.attestation.ear import encode_result, result_digest, sign_ear
from depin_id.attestation.message import AttestMessage, read_message
from depin_id.attestation.result import AttestationResult
from depin_id.errors import AttestationError
from depin_id.keys import PublicKey
from verify.attestation.appraisal import Appraisal, appraise_evidence
from verify.attestation.model import Expected, VerifiedClaims
from verify.batch import Summary
from verify.checks.identity import refuse_key
from verify.fold import Fold
from verify.identity.challenges import CHALLENGE_S, check_nonce
from verify.identity.desk import OVER, StatementResult, attempt
from verify.policy import QuotaPolicy
from verify.registry import Device
from verify.requests import hexed
from verify.results.activation import ACTIVATION, Pair, check_opened, pair_in
from verify.results.entries import ResultTaken
from verify.results.materials import materials_of
from verify.results.state import private_part
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

SOFTWARE: Final = "depin-verify/1"
"""Named in results: what appraises, and by which rules."""
_OFTEN: Final = QuotaPolicy(unauthenticated_per_minute=1, unauthenticated_burst=32)
"""How often a key may attest by itself: whenever it does, all that waits for it is looked at."""
_BOOTS: Final = ("resets", "bootcount")
"""Counters that rise when a device starts anew, and not otherwise."""
MAX_HELD: Final = 4096
"""Results of one key that are remembered; a device that attests every hour has them for half a
year."""


class Shown(NamedTuple):
    """What a device showed, verified.

    Attributes:
        device, key: whose it is. appraisal: of its evidence. payload: the result's bytes.
    """

    device: Device
    key: PublicKey
    binding: Binding
    appraisal: Appraisal
    claims: VerifiedClaims
    result: AttestationResult
    payload: bytes


def verify_message(fold: Fold, message: AttestMessage, opened: Pair | None, now: int) -> Shown:
    """Verify what a device shows against the state as it is. Pure: an audit does it again.

    Args:
        opened: which credential its TPM has opened, as the aggregator saw it; None for none.
        now: receipt time, ms since 1970.

    Raises:
        AttestationError: ``attestation.*``, why nothing becomes of it. CredentialError:
            ``possession.*``, another challenge than one of this network's. SignatureInvalid.
    """
    device, key = _signer(fold, message, now)
    binding = message.verify(fold.card.network, key)
    check_nonce(fold, message.nonce, key.thumbprint, now)
    seconds = now // 1000
    if not seconds <= message.expires <= seconds + CHALLENGE_S:
        raise _refuse("expired", "the challenge is over, or says that it lasts longer than any")
    _check_boot(fold, device, key, message.boot)
    birth = fold.identity.births.get(device.did)
    appraisal = appraise_evidence(
        message.media_type,
        message.evidence,
        expected=Expected(challenge=binding.challenge, key=key, activation=opened),
        at=now,
        materials=materials_of(fold, now),
        model="" if birth is None else birth.model,
    )
    claims = appraisal.claims
    if claims is None:
        step = appraisal.steps[-1]
        code = appraisal.reasons[0]
        raise AttestationError(code, f"{step.name}: {step.detail or 'it failed'}")
    _check_root(fold, device, claims, key, message.boot, now)
    result = _result(fold, device, key, binding, appraisal, claims, message)
    return Shown(device, key, binding, appraisal, claims, result, encode_result(result))


def _refuse(code: str, what: str, hint: str = "") -> AttestationError:
    return AttestationError(f"attestation.{code}", what, hint=hint)


def _signer(fold: Fold, message: AttestMessage, now: int) -> tuple[Device, PublicKey]:
    device = fold.registry.device(message.did)
    if device is not None:
        for period in device.keys:
            if period.key.kid == message.kid and refuse_key(device, period, now) is None:
                return device, period.key
    raise _refuse(
        "device",
        "no enrolled device of this DID has this key, or it may not speak now",
        "enrol the device first; a suspended key needs a rotation",
    )


def _check_boot(fold: Fold, device: Device, key: PublicKey, boot: int) -> None:
    """A result is for the boot that the device is in: never for one before it."""
    marks = map(fold.state.streams.mark, _streams(fold, device, key))
    seen = max((mark.epoch for mark in marks if mark is not None), default=0)
    held = fold.identity.results.by_key.get(key.thumbprint, ())
    if len(held) >= MAX_HELD:
        raise _refuse("many", f"the key has {MAX_HELD} results", "rotate the device's key")
    newest = max((item.boot for item in held), default=0)
    if boot < max(seen, newest):
        raise _refuse("boot", f"it is for boot {boot}, boot {max(seen, newest)} was seen since")


def _streams(fold: Fold, device: Device, key: PublicKey) -> list[int]:
    """The streams of a key. A device has its own alone, so not all of them are looked at."""
    if device.enrolment.role == "gateway":
        return fold.state.streams.under(key.thumbprint)
    own = fold.state.streams.find(key.thumbprint, device.subject)
    return [] if own is None else [own]


def _check_root(
    fold: Fold, device: Device, claims: VerifiedClaims, key: PublicKey, boot: int, now: int
) -> None:
    results, registry = fold.identity.results, fold.registry
    limit = fold.policy.attestation.dids_per_root
    if claims.root.unique and limit:
        others = [did for did in results.sharing(claims.root.id) if did != device.did]
        found = [other for did in others if (other := registry.device(did)) is not None]
        # One that is to be revoked some day speaks until then.
        ends = [other.revoked_at for other in found]
        active = sum(end is None or now < end for end in ends)
        if active >= limit:
            raise _refuse(
                "root_shared",
                f"{active} other devices have shown this hardware",
                "a policy may allow more (dids_per_root); revoke those that are gone",
            )
    for held in reversed(results.by_key.get(key.thumbprint, ())):
        if held.root == claims.root.id:
            _check_counters(dict(held.counters), claims.counters, held.boot, boot)
            return


def _check_counters(
    before: Mapping[str, int], now: Mapping[str, int], former: int, boot: int
) -> None:
    for name, least in before.items():
        found = now.get(name)
        if found is None or found < least:
            raise _refuse("rolled_back", f"{name} was {least} before, and is {found}")
    # What counts boots has risen, so the device is not in the boot that it says it is in.
    if boot == former and any(before.get(name) != now.get(name) for name in _BOOTS):
        raise _refuse("boot", f"it has started anew since it attested for boot {former}")


def _result(
    fold: Fold,
    device: Device,
    key: PublicKey,
    binding: Binding,
    appraisal: Appraisal,
    claims: VerifiedClaims,
    message: AttestMessage,
) -> AttestationResult:
    materials, policy = materials_of(fold, appraisal.at), fold.policy.attestation
    ends = min(appraisal.not_after, appraisal.at + policy.max_age_s * 1000)
    return AttestationResult(
        verifier=fold.card.network,
        software=SOFTWARE,
        did=device.did,
        thumbprint=key.thumbprint,
        boot=message.boot,
        nonce=message.nonce,
        challenge=binding.challenge,
        media_type=message.media_type,
        format=appraisal.format,
        model=appraisal.model.name,
        evidence=appraisal.evidence,
        issued=appraisal.at,
        not_after=ends,
        vector=appraisal.vector,
        level=appraisal.level,
        assurance=claims.root.assurance,
        bound=claims.bound_key.how,
        root=claims.root.id,
        unique=claims.root.unique,
        identifiers=tuple(sorted(claims.identifiers)),
        reasons=appraisal.reasons,
        anchors=materials.anchors.digest,
        references=materials.models.digest,
        revocations=materials.revocations.digest,
    )


def take(aggregator: Aggregator, data: bytes) -> dict[str, Any]:
    """Take evidence; what waited for it is taken up.

    Args:
        data: the message (:func:`depin_id.attestation.sign_message`).

    Raises: as :func:`verify_message`.
    """
    fold, now = aggregator.fold, aggregator.now()
    message = read_message(data)
    opened = None
    if message.activation is not None:
        _, key = _signer(fold, message, now)
        opened = pair_in(message.media_type, message.evidence)
        check_opened(
            aggregator.keys.derived(ACTIVATION), key.thumbprint, opened, message.activation
        )
    shown = verify_message(fold, message, opened, now)
    entry = ResultTaken(
        fold.state.subjects.ref(shown.device.subject),
        result_digest(shown.payload),
        message.nonce,
        message.boot,
        shown.result.level,
        shown.result.not_after,
        is_shared(fold, shown.result),
        private_part(shown.payload, data, opened, shown.claims.counters),
    )
    index = aggregator.administer([entry], at=now)
    parked = aggregator.take_parked(shown.key.kid)
    return _answer(aggregator, shown, index, parked)


def _answer(aggregator: Aggregator, shown: Shown, index: int, parked: Summary) -> dict[str, Any]:
    network = aggregator.fold.card.network
    token = sign_ear(shown.payload, network=network, signer=aggregator.ack_signer)
    result, appraisal = shown.result, shown.appraisal
    return {
        "did": result.did,
        "thumbprint": result.thumbprint.hex(),
        "index": index,
        "result": token.hex(),
        "ear": result_digest(shown.payload)[:16].hex(),
        "level": result.level,
        "affirmed": appraisal.affirmed,
        "model": result.model,
        "assurance": result.assurance,
        "boot": result.boot,
        "not_after": result.not_after,
        "reasons": list(result.reasons),
        "steps": [[step.name, step.passed, step.detail] for step in appraisal.steps],
        "shared_with": _shared(aggregator.fold, result),
        "parked": parked.to_json(),
    }


def is_shared(fold: Fold, result: AttestationResult) -> bool:
    """Whether its hardware is one device's alone, and another device has shown it."""
    return result.unique and bool(_shared(fold, result))


def _shared(fold: Fold, result: AttestationResult) -> list[str]:
    return [did for did in fold.identity.results.sharing(result.root) if did != result.did]


def hear(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "attest", message]`` with the signed result."""
    if len(parts) != 1:
        return StatementResult("statement.malformed")
    message = read_message(parts[0])
    _, key = _signer(aggregator.fold, message, now)
    message.verify(aggregator.fold.card.network, key)
    if not aggregator.attesters.allow(key.thumbprint.hex(), now, _OFTEN):
        return StatementResult(OVER, key.thumbprint)

    def work() -> StatementResult:
        answer = take(aggregator, parts[0])
        token = bytes.fromhex(answer["result"])
        return StatementResult(ACCEPTED, key.thumbprint, answer["index"], token)

    return attempt(aggregator, key.thumbprint, work)


def attest_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``attest``: ``message`` in hexadecimal."""
    return take(aggregator, hexed(request, "message"))
