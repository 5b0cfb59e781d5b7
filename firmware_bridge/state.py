"""What a running bridge says of itself: counts, health, and one line for people."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from depin_id.errors import DepinError

if TYPE_CHECKING:
    from firmware_bridge.service import Bridge

_LEAST_FREE = 1 << 20


def counts_of(bridge: Bridge) -> dict[str, Any]:
    """Everything counted, JSON-ready."""
    spool, uplink = bridge.spool.counts, bridge.uplink.counts
    taken, refused = bridge.gateway.snapshot()
    return {
        "connected": bridge.uplink.connected,
        "spool": {
            "envelopes": spool.envelopes,
            "bytes": spool.bytes,
            "released": spool.released,
            "dropped": spool.dropped,
            "reported": spool.reported,
            "unreported": bridge.spool.unreported,
            "damaged": spool.damaged,
        },
        "uplink": {
            "messages": uplink.messages,
            "released": uplink.released,
            "resends": uplink.resends,
            "retries": uplink.retries,
            "too_large": uplink.too_large,
            "verdicts": dict(uplink.verdicts.copy()),
            "refused": dict(uplink.refused.copy()),
        },
        "taken": taken,
        "spooled": bridge.gateway.counts.spooled,
        "timed_by_receipt": bridge.gateway.counts.by_receipt,
        "refused": {f"{name}: {code}": n for (name, code), n in refused.items()},
    }


def health_of(bridge: Bridge) -> dict[str, Any]:
    """Whether it can do its work; ``ok`` as long as the spool takes what comes."""
    spool, uplink, clock = _spool(bridge), bridge.uplink, bridge.clock
    since = None if uplink.since is None else round(time.monotonic() - uplink.since, 1)
    return {
        "ok": spool["writable"],
        "spool": spool,
        "uplink": {"connected": uplink.connected, "since_s": since, "problem": uplink.problem},
        "clock": {"believed": clock.believed, "error_s": clock.claim},
        "sources": bridge.sources.alive(),
        "reload": {
            "taken": bridge.reloads,
            "failed": bool(bridge.reload_problem),
            "problem": bridge.reload_problem,
        },
    }


def _spool(bridge: Bridge) -> dict[str, Any]:
    spool, counts, problem = bridge.spool, bridge.spool.counts, bridge.spool.problem
    oldest: int | None = None
    try:
        oldest = spool.oldest()
        if shutil.disk_usage(spool.path.parent).free < _LEAST_FREE:
            problem = problem or "no space left on the disk"
    except (DepinError, OSError) as error:
        problem = problem or str(error)
    full = spool.policy == "refuse" and (
        counts.bytes >= spool.max_bytes or counts.envelopes >= spool.max_envelopes
    )
    if full:
        problem = problem or "full: sources are held back until the uplink is up"
    age = None if not oldest else max(0, int(bridge.clock.timeline()) - oldest)
    return {
        "writable": not problem,
        "problem": problem,
        "envelopes": counts.envelopes,
        "bytes": counts.bytes,
        "max_bytes": spool.max_bytes,
        "max_envelopes": spool.max_envelopes,
        "policy": spool.policy,
        "oldest_s": age,
    }


def status_line(bridge: Bridge) -> str:
    """The counts in one line, for people."""
    spool, uplink, gateway = bridge.spool.counts, bridge.uplink.counts, bridge.gateway.counts
    state = "connected" if bridge.uplink.connected else f"offline ({bridge.uplink.problem})"
    return (
        f"{state}; taken {gateway.taken.total()}, refused {gateway.refused.total()}, "
        f"spooled {gateway.spooled}, waiting {spool.envelopes} ({spool.bytes} B), "
        f"acknowledged {uplink.released}, dropped {spool.dropped}"
    )
