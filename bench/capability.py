"""Capabilities: verifying a chain, and finding the verdict of one that was verified before."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.raw import raw_cost
from bench.table import Row
from bench.world import Lab
from depin_id.capability import (
    CapabilityVerifier,
    Grant,
    Operation,
    Selector,
    attenuate,
    issue,
    no_list,
    verify_chain,
)
from depin_id.did.key import did_key
from depin_id.keys import PublicKey, SoftwareSigner

NOW_S = 1_795_000_000
CHAINS = 300


def _cost(count: int, action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return (time.process_time() - start) / count


def measure(lab: Lab) -> list[Row]:
    """Chains of one and of three blocks, and verdicts that are kept."""
    settings = lab.settings
    count = CHAINS if settings.runs > 2 else 10
    owner, gateway, agent = (SoftwareSigner.generate() for _ in range(3))
    issuer = did_key(owner.public_key)

    def owner_key(_: str) -> PublicKey:
        return owner.public_key

    def chain(number: int) -> bytes:
        grant = Grant(
            audience=gateway.public_key,
            selector=Selector.owned(),
            operations=frozenset((Operation.SIGN_FOR,)),
            expires=NOW_S + 3600,
            depth=2,
            max_count=1000 + number,
            issuer=issuer,
        )
        return issue(grant, signer=owner, network=lab.did)

    def longer(data: bytes) -> bytes:
        first = attenuate(data, signer=gateway, network=lab.did, audience=agent.public_key)
        return attenuate(first, signer=agent, network=lab.did, audience=gateway.public_key)

    single = [chain(number) for number in range(count)]
    triple = [longer(data) for data in single]

    def verify(chains: list[bytes]) -> None:
        for data in chains:
            verify_chain(
                data,
                network=lab.did,
                owner_key=owner_key,
                now_ms=NOW_S * 1000,
                revoked=no_list,
            )

    kept = CapabilityVerifier(network=lab.did, owner_key=owner_key)

    def again() -> None:
        for data in triple:
            kept.verify(data, now_ms=NOW_S * 1000)

    again()
    held = [kept.verify(data, now_ms=NOW_S * 1000) for data in triple]

    def permit() -> None:
        for capability in held:
            capability.permits(Operation.SIGN_FOR, issuer, at_ms=NOW_S * 1000)

    rows = []
    for name, action, signatures, note in (
        ("chain of 1 block verified", lambda: verify(single), 1, f"{len(single[0])} bytes"),
        ("chain of 3 blocks verified", lambda: verify(triple), 3, f"{len(triple[0])} bytes"),
        ("verdict that was kept", again, 1, "time and revocation are looked at again"),
        ("one use permitted", permit, 1, "3 blocks, each asked"),
    ):
        rates, ratios = [], []
        for _ in range(settings.runs):
            raw = raw_cost(settings.raw_seconds)
            cost = _cost(count, action)
            rates.append(1 / cost)
            ratios.append(signatures * raw / cost)
        of = f"{signatures} raw verification{'s' if signatures > 1 else ''}"
        rows.append(Row("capability", name, "/s", rates, ratios, of, note=note))
    return rows
