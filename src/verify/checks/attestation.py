"""Whether a reading stands on an attestation result that counts, and the level that this gives it.

Nothing is asked on a network that never took a trust anchor and whose policy requires nothing. A
device that has attested is held to it: after a reboot, the end of its result or a revocation its
readings wait until it attests again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from depin_id.attestation.result import CONTRAINDICATED
from verify.checks.identity import LEVELS, source_level
from verify.results.state import Held
from verify.verdict import Indeterminate
from verify.world import Authenticated, Receipt, World

RETRY = "attestation"
_BOOT = attrgetter("boot")


class Ground(NamedTuple):
    """What an envelope stands on.

    Attributes:
        level: how far its source is proven. result: id of the attestation result, or empty.
        flags: sorted.
    """

    level: str
    result: bytes = b""
    flags: tuple[str, ...] = ()


def ground_of(auth: Authenticated, receipt: Receipt, world: World) -> Ground | Indeterminate:
    """The level of an envelope, or why it has to wait.

    A result is for one boot of one key; readings of that boot stand on it, whether they name it,
    an earlier one or none, within the policy's bound also those that came before it.
    """
    results, level = world.identity.results, source_level(auth)
    held = results.by_key.get(auth.thumbprint)
    if held is None:
        return _unattested(auth, world, level)
    boot = auth.envelope.provenance.epoch
    of_boot = _of_boot(held, boot, receipt.at)
    if not of_boot:
        newest = held[-1].boot
        return _wait("boot", f"boot {boot}", f"attested for boot {newest}")
    wait_ms = world.policy.attestation.wait_s * 1000
    good: list[Held] = []
    for item in reversed(of_boot):
        if item.status >= CONTRAINDICATED:
            # A later result says nothing of what came while the device was open, or before.
            break
        if item.counts(receipt.at) and item.since - receipt.at <= wait_ms:
            good.append(item)
    if not good:
        return _why_not(of_boot, receipt)
    # What was measured in a boot only grows, so the best that was said of it holds for all of it.
    found = max(good, key=lambda item: (item.level, item.since))
    if auth.envelope.claims.sub is None and level == "D1":
        level = found.level
    required = _required(auth, world)
    if required and LEVELS.index(level) < LEVELS.index(required):
        return _wait("level", level, required)
    return Ground(level, found.id, _flags(found, receipt))


def _of_boot(held: Sequence[Held], boot: int, at: int) -> list[Held]:
    """The results of a boot that had not ended at a receipt time, newest first; if all had, that.

    However many there are, only those are looked at that came later, and one more.
    """
    found: list[Held] = []
    for place in range(bisect_right(held, boot, key=_BOOT) - 1, -1, -1):
        item = held[place]
        # Each ends with the one after it, at the latest: if it had ended, so had those before it.
        over = item.ended is not None and at >= item.ended
        if item.boot < boot or (found and over):
            break
        found.append(item)
    return found


def _flags(found: Held, receipt: Receipt) -> tuple[str, ...]:
    flags: tuple[str, ...] = ()
    if receipt.at < found.since:
        flags = ("attestation.later",)
    if found.shared:
        flags = (*flags, "attestation.shared_root")
    return flags


def _unattested(auth: Authenticated, world: World, level: str) -> Ground | Indeterminate:
    required = _required(auth, world)
    if required:
        return _wait("required", "no result", required)
    ear = auth.envelope.provenance.ear
    if ear is not None and world.identity.results.anchored:
        return _wait("unknown", ear.hex())
    return Ground(level)


def _required(auth: Authenticated, world: World) -> str:
    """The level that its profile needs of an own envelope of a device; empty for none."""
    rules, minimum = world.policy.attestation, world.policy.levels.minimum
    if auth.envelope.claims.sub is not None:
        return ""
    needed: str = minimum if world.identity.results.anchored and minimum in ("D2", "D3") else ""
    if rules.required:
        profile = auth.device.enrolment.profile or world.policy.default_profile
        own = rules.required.get(profile.partition("@")[0], "")
        needed = max(needed, own)
    return needed


def _why_not(of_boot: Sequence[Held], receipt: Receipt) -> Indeterminate:
    at, newest = receipt.at, of_boot[0]
    if newest.disavowed is not None and at >= newest.disavowed:
        return _wait("revoked", newest.id.hex())
    bad = next((item for item in of_boot if item.status >= CONTRAINDICATED), None)
    if bad is not None or (newest.ended is not None and at >= newest.ended):
        return _wait("contraindicated", (bad or newest).id.hex())
    return _wait("expired", str(at), str(newest.not_after))


def _wait(why: str, measured: str, limit: str = "") -> Indeterminate:
    return Indeterminate(f"attestation.{why}", RETRY, measured, limit)
