"""Administration: enrolment, rotation, revocation, erasure, policy; each is a journal entry.

Requests are plain mappings, so that they can be handed to a running aggregator as files
(:mod:`verify.control`) or carried out directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from depin_id.ack import NONCE_BYTES, Resume, sign_resume
from depin_id.did.key import parse_did_key
from depin_id.durable import replace_file
from depin_id.enrolment import Enrolment, read_enrolments
from depin_id.errors import ConfigError, DepinError
from depin_id.network import read_card
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.entries import CardSet, Enrolled, Revoked, Rotated
from verify.identity import challenges, enrolling, offering, owners_table
from verify.identity.binding import check_bound
from verify.identity.histories import take_history
from verify.identity.rescoring import compromised
from verify.operating import check_successor, retire, settle, stage
from verify.policy import Policy
from verify.profile import find_profile, load_profiles
from verify.registry import Device
from verify.requests import hexed, text
from verify.results import table as results_table
from verify.setup import policy_entry

MAX_REASON = 200


def perform(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one request; gives a JSON-ready answer.

    Args:
        request: ``{"op": "enrol" | "rotate" | "revoke" | "erase" | "policy" | "resume" | "card" |
            "retire" | "challenge" | "batch" | "status-list" | ...}``, and those of
            :mod:`verify.identity.owners_table` and :mod:`verify.results.table`.

    Raises:
        ConfigError: ``admin.request``, ``registry.*``, ``policy.invalid``, ``enrolment.*``.
        StateError: the stores cannot write.
    """
    operations: dict[str, Callable[[Aggregator, Mapping[str, Any]], dict[str, Any]]] = {
        "enrol": _enrol,
        "rotate": _rotate,
        "revoke": _revoke,
        "erase": _erase,
        "policy": _policy,
        "resume": _resume,
        "card": _card,
        "retire": _retire,
        "challenge": challenges.challenge,
        "batch": offering.take_batch,
        "status-list": offering.take_status_list,
        **owners_table.OPERATIONS,
        **results_table.OPERATIONS,
        "history": take_history,
        "compromised": compromised,
    }
    operation = operations.get(str(request.get("op")))
    if operation is None:
        raise ConfigError("admin.request", f"there is no operation {request.get('op')!r}")
    return operation(aggregator, request)


def _device(aggregator: Aggregator, did: str) -> Device:
    return aggregator.fold.registry.known(did)


# --- enrolment ------------------------------------------------------------------------------------


def _enrol(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    since = request.get("effective_from")
    if "proof" in request:
        return enrolling.enrol_with_evidence(aggregator, request)
    documents = read_enrolments(text(request, "documents"))
    return enrol(aggregator, documents, effective_from=since)


def enrol(
    aggregator: Aggregator,
    enrolments: Iterable[Enrolment],
    *,
    effective_from: int | None = None,
) -> dict[str, Any]:
    """Enrol devices; what is wrong with one does not keep out the others.

    Args:
        effective_from: receipt time (ms since 1970) from which their keys count, at most the
            policy's ``max_age_s`` ago; parked envelopes from then on are taken up. By default now,
            or always where receipt times may be asserted.

    Raises ConfigError ``registry.evidence_required``: the policy asks for more than documents.

    Returns:
        ``{"enrolled": [...], "known": [...], "refused": [{"did", "code", "message"}], "parked"}``.
    """
    if aggregator.fold.policy.identity.enrolment == "evidence":
        raise ConfigError(
            "registry.evidence_required",
            "the policy takes devices in by evidence only",
            hint="`depin-verify enrol DIR --proof FILE --certificate FILE`",
        )
    now = aggregator.now()
    since = bounded(aggregator, effective_from, now)
    entries: list[Enrolled] = []
    known: list[str] = []
    refused: list[dict[str, str]] = []
    taken: set[bytes | str] = set()
    for enrolment in enrolments:
        try:
            if _already(aggregator, enrolment):
                known.append(enrolment.did)
                continue
            check_bound(aggregator.fold.identity, enrolment, now)
            taken |= check_enrolment(aggregator, enrolment, taken) | {enrolment.did}
        except DepinError as error:
            refused.append({"did": enrolment.did, "code": error.code, "message": error.message})
            continue
        entries.append(Enrolled(aggregator.randomness(16), since, enrolment))
    if entries:
        aggregator.administer(entries)
    parked = Summary()
    for entry in entries:
        parked.add(aggregator.take_parked(entry.enrolment.key.kid))
    return {
        "enrolled": [entry.enrolment.did for entry in entries],
        "known": known,
        "refused": refused,
        "parked": parked.to_json(),
    }


def bounded(aggregator: Aggregator, effective_from: Any, now: int, *, earlier: bool = False) -> int:
    """From when a new key counts (receipt time in ms), within the policy's ``max_age_s``.

    Args:
        effective_from: what was asked for; None is now, or as far back as may be if ``earlier``.

    Raises ConfigError ``registry.effective_from``.
    """
    asserted = aggregator.fold.asserted_time
    earliest = 0 if asserted else max(0, now - aggregator.fold.policy.time.max_age_s * 1000)
    if effective_from is None:
        # Recordings are older than their enrolment.
        return earliest if earlier or asserted else now
    if type(effective_from) is not int or not earliest <= effective_from <= now:
        raise ConfigError(
            "registry.effective_from",
            f"an enrolment cannot take effect at {effective_from}",
            hint=f"choose a time from {earliest} to {now} (ms since 1970)",
        )
    return effective_from


def _already(aggregator: Aggregator, enrolment: Enrolment) -> bool:
    device = aggregator.fold.registry.device(enrolment.did)
    return (
        device is not None
        and device.enrolment == enrolment
        and not device.erased
        and device.revoked_at is None
    )


def check_enrolment(
    aggregator: Aggregator, enrolment: Enrolment, taken: Set[bytes | str] = frozenset()
) -> frozenset[bytes]:
    """Refuse a device that is in already, or whose profile is unknown. Raises ConfigError.

    Args:
        taken: thumbprints of keys, and DIDs, that come in with it.

    Returns:
        Thumbprints of the keys that it brings.
    """
    keys = aggregator.fold.check_enrolment(enrolment)
    if keys & taken or enrolment.did in taken:
        raise ConfigError("registry.duplicate_key", "another document has the same key or DID")
    profiles = aggregator.fold.profiles
    if enrolment.profile and find_profile(profiles, enrolment.profile) is None:
        raise ConfigError(
            "profile.unknown",
            f"the profile {enrolment.profile!r} is not one of the policy's",
            hint=f"use one of {', '.join(sorted(profiles))}",
        )
    return keys


def _rotate(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    did = text(request, "did")
    key = parse_did_key(text(request, "new_key"))
    _device(aggregator, did)
    aggregator.fold.registry.check_new_key(key)
    now, policy = aggregator.now(), aggregator.fold.policy
    since = request.get("effective_from")
    since = now if since is None else bounded(aggregator, since, now)
    until = None if request.get("at_once") else now + policy.identity.rotation_grace_s * 1000
    index = aggregator.administer([Rotated(did, key, since, until)])
    parked = aggregator.take_parked(key.kid)
    return {"did": did, "thumbprint": key.thumbprint.hex(), "index": index} | {
        "parked": parked.to_json()
    }


def _revoke(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    did = text(request, "did")
    if _device(aggregator, did).revoked_at is not None:
        # A second entry would change nothing: a revocation takes effect once, and for ever.
        return {"did": did, "changed": False}
    reason = str(request.get("reason") or "")[:MAX_REASON]
    index = aggregator.administer([Revoked(did, aggregator.now(), reason)])
    return {"did": did, "changed": True, "index": index}


# --- erasure --------------------------------------------------------------------------------------


def _erase(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    did = text(request, "did")
    if aggregator.fold.registry.device(did) is None:
        return {"did": did, "index": aggregator.erase_owner(did)}
    index = aggregator.erase(_device(aggregator, did))
    return {"did": did, "index": index}


# --- card and operating keys ---------------------------------------------------------------------


def _card(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    data = hexed(request, "card")
    workspace, current = aggregator.workspace, aggregator.fold.card
    card = read_card(data, network=current.network)
    check_successor(current, card, aggregator.now() // 1000)
    stage(workspace.operating, card)
    index = aggregator.administer([CardSet(data)])
    aggregator.use_keys(settle(workspace, aggregator.fold.card_bytes))
    return {"card": card.number, "index": index}


def _retire(aggregator: Aggregator, _: Mapping[str, Any]) -> dict[str, Any]:
    gone = retire(aggregator.workspace)
    aggregator.use_keys(settle(aggregator.workspace, aggregator.fold.card_bytes))
    return {"removed": gone}


# --- policy and resume ----------------------------------------------------------------------------


def _policy(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    folder = aggregator.workspace.profiles
    profiles = load_profiles(folder if folder.is_dir() else None)
    policy = Policy.from_toml(text(request, "toml"), profiles=profiles)
    if policy.digest == aggregator.fold.policy.digest:
        return {"digest": policy.digest.hex(), "changed": False}
    index = aggregator.administer([policy_entry(policy, profiles)])
    replace_file(aggregator.workspace.policy, policy.to_toml().encode(), mode=0o644)
    answer = {"digest": policy.digest.hex(), "changed": True, "index": index}
    # What waited for an attestation may be asked for less now.
    parked = aggregator.retry()
    return answer | ({"parked": parked.to_json()} if parked != Summary() else {})


def _resume(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    did = text(request, "did")
    device = _device(aggregator, did)
    nonce = hexed(request, "nonce")
    if len(nonce) != NONCE_BYTES:
        raise ConfigError(
            "admin.request",
            f"the nonce has {len(nonce)} bytes, a device makes {NONCE_BYTES}",
            hint="copy it whole from what the device's owner sent",
        )
    key = device.keys[-1].key
    streams = aggregator.fold.state.streams
    floor = 0
    for stream in streams.under(key.thumbprint):
        mark = streams.mark(stream)
        if mark is not None:
            floor = max(floor, mark.epoch)
    resume = Resume(key.thumbprint, nonce, floor)
    card = aggregator.fold.card
    data = sign_resume(resume, network=card.network, signer=aggregator.ack_signer)
    return {"did": did, "epoch_floor": floor, "resume": data.hex()}
