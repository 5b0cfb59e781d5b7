"""Succession: the key of a device is replaced on the word of somebody whom the policy lets say so.

The device stays who it is: DID, history, owner, slots, tracks and quotas go on. What the rotation
stands on and the rotation itself become two entries of one commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id import cbor
from depin_id.capability import Operation
from depin_id.errors import ConfigError, CredentialError
from depin_id.owners.succession import Succession, read_succession
from verify.checks.identity import refuse_key
from verify.entries import Admin, Rotated
from verify.fold import Fold
from verify.identity.authority import check_operation, owner_now, verify_capability
from verify.identity.challenges import check_nonce
from verify.identity.desk import StatementResult, attempt
from verify.identity.entries import Succeeded
from verify.identity.owning import keys_of, living
from verify.policy import Voucher
from verify.registry import Device
from verify.requests import hexed
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

SUCCESSION: Final = "succession"
"""Statement: ``[succession]`` (:mod:`depin_id.owners.succession`), and as second part the
capability of a delegate whom the owner lets administer."""
AT_ONCE: Final = frozenset(("compromised", "lost"))
"""Reasons for which the key before gets no time for what is under way."""
_VOUCHERS: Final[dict[str, Voucher]] = {
    "old": "key",
    "owner": "owner",
    "manufacturer": "manufacturer",
}


def _refuse(code: str, what: str, hint: str = "") -> CredentialError:
    return CredentialError(f"succession.{code}", what, hint=hint)


def succeed(aggregator: Aggregator, data: bytes, chain: bytes | None = None) -> dict[str, Any]:
    """Take a new key of a device.

    The statement answers a challenge of this network for the new key.

    Args:
        data: the statement. chain: the capability of a delegate of the owner, who vouches as
            ``owner`` with the key that it names.

    Raises:
        CredentialError: ``succession.policy`` (nobody of this kind may vouch here),
            ``succession.old`` (that is not the device's key), ``succession.key`` (the old key may
            not speak itself), ``succession.owner``, ``succession.manufacturer``,
            ``succession.history`` (the DID's own history names its keys); ``possession.*``,
            ``statement.*``, ``capability.*``, ``issuer.*``.
        ConfigError: ``registry.*``. SignatureInvalid, EncodingError, EnvelopeError, KeyRefused,
            DIDError.
    """
    now = aggregator.now()
    return _succeed(aggregator, read_statement(aggregator.fold, data, now), data, chain, now)


def read_statement(fold: Fold, data: bytes, now: int) -> Succession:
    """A succession, its signatures verified by the keys that count at a receipt time (ms)."""
    return read_succession(data, network=fold.card.network, key_of=keys_of(fold, now))


def check_succession(
    fold: Fold, found: Succession, chain: bytes | None, now: int
) -> tuple[Device, Voucher, int]:
    """Verify a succession against the state as it is. Raises as :func:`succeed`.

    Returns:
        The device, who vouched, and how long (ms) the key before still counts.
    """
    check_nonce(fold, found.nonce, found.new_key.thumbprint, now)
    device = living(fold, found.device)
    if device.did in fold.identity.histories:
        raise _refuse(
            "history",
            "the keys of this device are those of its DID's history",
            "rotate there, and give the new log: `depin-verify history`",
        )
    if found.old != device.keys[-1].key.thumbprint:
        raise _refuse("old", "the key that ends is not the newest one of the device")
    voucher = _VOUCHERS[found.role]
    if voucher not in fold.policy.identity.succession:
        raise _refuse(
            "policy",
            f"the policy does not let the {voucher} vouch for a device's next key",
            "[identity] succession in policy.toml names who may",
        )
    _check_voucher(fold, found, device, voucher, chain, now)
    fold.registry.check_new_key(found.new_key)
    grace = 0 if found.reason in AT_ONCE else fold.policy.identity.rotation_grace_s * 1000
    return device, voucher, grace


def _succeed(
    aggregator: Aggregator, found: Succession, data: bytes, chain: bytes | None, now: int
) -> dict[str, Any]:
    fold = aggregator.fold
    device, voucher, grace = check_succession(fold, found, chain, now)
    shown = cbor.encode_plain([data] if chain is None else [data, chain])
    entries: list[Admin] = [
        Succeeded(fold.state.subjects.ref(device.subject), voucher, found.nonce, shown),
        Rotated(device.did, found.new_key, now, now + grace if grace else None),
    ]
    index = aggregator.administer(entries, at=now)
    parked = aggregator.take_parked(found.new_key.kid)
    return {
        "device": device.did,
        "thumbprint": found.new_key.thumbprint.hex(),
        "voucher": voucher,
        "until": now + grace,
        "index": index,
        "parked": parked.to_json(),
    }


def _check_voucher(
    fold: Fold,
    found: Succession,
    device: Device,
    voucher: Voucher,
    chain: bytes | None,
    now: int,
) -> None:
    if voucher == "key":
        # Two parties hold a key that forked; which of them vouches, nobody can say.
        refused = refuse_key(device, device.keys[-1], now)
        if refused is not None:
            raise _refuse(
                "key",
                f"the old key may not speak itself: {refused.code}",
                "let the owner or the manufacturer vouch, if the policy takes it",
            )
    elif voucher == "manufacturer":
        birth = fold.identity.births.get(device.did)
        if birth is None or found.voucher != birth.issuer:
            raise _refuse("manufacturer", "who vouches is not who made the device")
        if found.voucher not in fold.policy.identity.manufacturers:
            raise _refuse("manufacturer", "the policy does not trust this manufacturer any more")
    elif chain is not None:
        _check_delegate(fold, found, device, chain, now)
    elif found.voucher != owner_now(fold, device.did, now):
        raise _refuse(
            "owner", "who vouches is not the owner of the device", "its owner claims it first"
        )


def _check_delegate(fold: Fold, found: Succession, device: Device, chain: bytes, now: int) -> None:
    """The statement itself is the proof of possession: its signer is the capability's audience."""
    capability = verify_capability(fold, chain, now)
    if capability.audience != found.voucher_key:
        raise _refuse("owner", "who vouches is not the one whom the capability names")
    check_operation(fold, capability, Operation.ADMINISTER, device.did, now)


def hear(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "succession", statement, capability or nothing]``."""
    if not 1 <= len(parts) <= 2:
        return StatementResult("statement.malformed")
    found = read_statement(aggregator.fold, parts[0], now)
    recipient, chain = found.new_key.thumbprint, parts[1] if len(parts) == 2 else None

    def work() -> StatementResult:
        answer = _succeed(aggregator, found, parts[0], chain, now)
        return StatementResult(ACCEPTED, recipient, answer["index"])

    return attempt(aggregator, recipient, work)


def succeed_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``succeed``: ``statement``, perhaps ``capability``; hexadecimal."""
    chain = hexed(request, "capability") if request.get("capability") else None
    if not request.get("statement"):
        raise ConfigError("admin.request", "the request has no statement")
    return succeed(aggregator, hexed(request, "statement"), chain)
