"""Capabilities that gateways show, and that owners or the operator withdraw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id import cbor
from depin_id.capability import Capability, Operation
from depin_id.errors import ConfigError, CredentialError
from verify.checks.identity import refuse_key
from verify.fold import Fold
from verify.identity.authority import check_bearer, verify_capability
from verify.identity.chains import read, withdrawn_as
from verify.identity.desk import StatementResult, attempt
from verify.identity.entries import CapabilityTaken, Withdrawn
from verify.requests import hexed, text
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

SHOW: Final = "capability"
"""Statement: ``[chain, proof of possession with the purpose "capability"]``."""
WITHDRAW: Final = "withdraw"
"""Statement: ``[chain that allows to administer, proof with the purpose "withdraw <id in hex>", id
of the capability to withdraw]``; both chains are of one owner."""
MAX_HELD: Final = 256
"""Capabilities of one gateway that are not over."""
MAX_SHOWN: Final = 4096
"""Capabilities of one gateway that are remembered: what was under way may still name one."""
MAX_REASON: Final = 200
_ID_BYTES: Final = 16


def show(aggregator: Aggregator, chain: bytes, proof: bytes) -> dict[str, Any]:
    """Take a capability that a gateway showed with proof that it holds its key.

    Raises:
        CredentialError: ``delegation.holder`` (its key is no gateway's that may speak now),
            ``delegation.operation`` (it is not for signing), ``delegation.many``; and as
            :func:`verify.identity.authority.authorised`.
    """
    fold = aggregator.fold
    now = aggregator.now()
    found, ref, nonce = verify_shown(fold, chain, proof, now)
    holder = fold.state.subjects[fold.state.by_ref[ref]].did
    answer = {"id": found.id.hex(), "holder": holder, "issuer": found.issuer}
    if found.id in fold.identity.capabilities:
        return answer | {"changed": False, "index": None}
    held = [data for item, data in fold.identity.capabilities.values() if item == holder]
    if len(held) >= MAX_SHOWN or sum(now < read(data).expires_ms for data in held) >= MAX_HELD:
        raise CredentialError(
            "delegation.many",
            f"{holder} has shown {len(held)} capabilities",
            hint="one of the same owner can be for many devices",
        )
    private = cbor.encode_plain([chain, proof])
    index = aggregator.administer([CapabilityTaken(ref, found.id, nonce, private)], at=now)
    return answer | {"changed": True, "index": index}


def verify_shown(
    fold: Fold, chain: bytes, proof: bytes, now: int
) -> tuple[Capability, bytes, bytes]:
    """Verify what a gateway shows against the state as it is. Changes nothing.

    Args:
        now: receipt time, ms since 1970.

    Returns:
        The capability, its holder's reference, and the nonce of the challenge that was answered.

    Raises: as :func:`show`.
    """
    found = verify_capability(fold, chain, now)
    ref = _holder(fold, found, now)
    if Operation.SIGN_FOR not in found.operations:
        raise CredentialError(
            "delegation.operation",
            "the capability is not for signing",
            hint="for anything else it is shown with the request, each time",
        )
    return found, ref, check_bearer(fold, found, proof, SHOW, now)


def _holder(fold: Fold, found: Capability, now: int) -> bytes:
    """Reference of the gateway whose key is the capability's audience."""
    held = fold.registry.holder(found.audience.thumbprint)
    if held is not None:
        device, period = held
        if device.enrolment.role == "gateway" and refuse_key(device, period, now) is None:
            return fold.state.subjects.ref(device.subject)
    raise CredentialError(
        "delegation.holder",
        "the key that the capability names is no enrolled gateway's that may speak now",
        hint="enrol the gateway, or let the owner name its present key",
    )


def hear_show(aggregator: Aggregator, parts: Sequence[bytes], _now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "capability", chain, proof]``."""
    if len(parts) != 2:
        return StatementResult("statement.malformed")
    recipient = read(parts[0]).audience.thumbprint

    def work() -> StatementResult:
        return StatementResult(ACCEPTED, recipient, show(aggregator, *parts)["index"])

    return attempt(aggregator, recipient, work)


def withdraw_for(
    aggregator: Aggregator, chain: bytes, proof: bytes, identity: bytes
) -> dict[str, Any]:
    """Withdraw a capability for its owner, on the word of whom the owner lets administer.

    Raises:
        CredentialError: ``delegation.operation``, ``capability.unknown``, ``delegation.issuer``
            (another owner's); and as :func:`verify.identity.authority.authorised`.
    """
    fold, now = aggregator.fold, aggregator.now()
    found = verify_capability(fold, chain, now)
    if Operation.ADMINISTER not in found.operations or found.selector.kind != "owner":
        raise CredentialError(
            "delegation.operation", "it does not allow to administer all that is the owner's"
        )
    named = _known(aggregator, identity)
    if named.issuer != found.issuer:
        raise CredentialError("delegation.issuer", "that capability is of another owner")
    # It may be shown again: that withdraws what is withdrawn.
    check_bearer(fold, found, proof, f"{WITHDRAW} {identity.hex()}", now)
    return _withdraw(aggregator, identity, "by its owner")


def hear_withdraw(aggregator: Aggregator, parts: Sequence[bytes], _now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "withdraw", chain, proof, id]``."""
    if len(parts) != 3:
        return StatementResult("statement.malformed")
    recipient = read(parts[0]).audience.thumbprint

    def work() -> StatementResult:
        return StatementResult(ACCEPTED, recipient, withdraw_for(aggregator, *parts)["index"])

    return attempt(aggregator, recipient, work)


def _known(aggregator: Aggregator, identity: bytes) -> Capability:
    """A capability that was shown, alone or as what another was derived from."""
    for _, data in aggregator.fold.identity.capabilities.values():
        found = read(data)
        if identity in found.ids:
            return found
    raise CredentialError(
        "capability.unknown",
        f"no capability {identity.hex()} was shown here",
        hint="`depin-verify capability list DIR` lists them",
    )


def _withdraw(aggregator: Aggregator, identity: bytes, reason: str) -> dict[str, Any]:
    answer = {"id": identity.hex()}
    if identity in aggregator.fold.identity.withdrawn:
        return answer | {"changed": False, "index": None}
    now = aggregator.now()
    index = aggregator.administer([Withdrawn(identity, now, reason[:MAX_REASON])], at=now)
    return answer | {"changed": True, "index": index}


# --- operations -----------------------------------------------------------------------------------


def add(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``capability``: ``chain`` and ``proof``, hexadecimal."""
    return show(aggregator, hexed(request, "chain"), hexed(request, "proof"))


def withdraw(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``capability-withdraw`` of the operator: ``id``, hexadecimal, and ``reason``.

    One that was not shown yet can be withdrawn too: it is never taken then.
    """
    identity = hexed(request, "id")
    if len(identity) != _ID_BYTES:
        raise ConfigError("admin.request", f"the id of a capability has {_ID_BYTES} bytes")
    reason = text(request, "reason") if request.get("reason") else ""
    return _withdraw(aggregator, identity, reason)


def listed(aggregator: Aggregator, _: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``capabilities``: all that were shown, and what is used of them."""
    identity, now = aggregator.fold.identity, aggregator.now()
    policy = aggregator.fold.policy.identity
    return {
        "capabilities": [
            describe(read(data), holder)
            | {
                "used": identity.spent[key].used if key in identity.spent else 0,
                "standing": withdrawn_as(read(data), identity, policy, now)[0]
                or ("capability.expired" if now >= read(data).expires_ms else "good"),
            }
            for key, (holder, data) in identity.capabilities.items()
        ]
    }


def describe(found: Capability, holder: str) -> dict[str, Any]:
    """A capability, JSON-ready."""
    return {
        "id": found.id.hex(),
        "holder": holder,
        "issuer": found.issuer,
        "operations": sorted(item.word for item in found.operations),
        "selector": [found.selector.kind, *found.selector.items],
        "max_count": found.max_count,
        "rate_per_minute": found.rate_per_minute,
        "expires_ms": found.expires_ms,
        "blocks": len(found.ids),
    }
