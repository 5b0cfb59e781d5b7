"""What others may know of a running aggregator without touching it: its standing, kept up to date.

The aggregator belongs to the thread that commits. That thread leaves, after every commit and about
once a second while idle, an immutable picture for those that answer requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depin_id.keys import Signer
from depin_id.network import NetworkCard
from verify.fold import Fold
from verify.ingest import Downlink, Handler, Message

if TYPE_CHECKING:
    from verify.service import LiveHandler


@dataclass(frozen=True)
class Standing:
    """An aggregator between two commits.

    Attributes:
        at: monotonic seconds when this was so.
        entries: of the journal. published: of the newest checkpoint, 0 before the first.
        beacon: size and root of the newest checkpoint that a nonce may name, or None.
        card, card_bytes: of the network. signer: the acknowledgement key.
        fold: the state, which goes on changing: only for looking up what never changes.
        failure: why publishing fails, a code; empty when it does not.
        waiting: envelopes that verify and wait for their device to attest.
        quarantined: bytes of everything that waits.
    """

    at: float
    entries: int
    published: int
    beacon: tuple[int, bytes] | None
    card: NetworkCard
    card_bytes: bytes
    signer: Signer
    fold: Fold
    failure: str
    waiting: int
    quarantined: int

    @property
    def unpublished(self) -> int:
        """Entries that no checkpoint covers yet."""
        return max(0, self.entries - self.published)


def standing_of(handler: LiveHandler) -> Standing:
    """How it stands now; only the thread that commits may ask."""
    aggregator = handler.aggregator
    fold, published = aggregator.fold, aggregator.publisher.published
    beacons = fold.state.beacons
    beacon = None
    if beacons:
        size = next(reversed(beacons))
        beacon = (size, beacons[size][1])
    return Standing(
        time.monotonic(),
        fold.size,
        0 if published is None else published.size,
        beacon,
        fold.card,
        fold.card_bytes,
        aggregator.ack_signer,
        fold,
        handler.failure,
        aggregator.quarantine.waiting,
        aggregator.quarantine.cost,
    )


OnCommit = Callable[[Sequence[Message], float, float], None]


def _nothing(_messages: Sequence[Message], _took_s: float, _waited_s: float) -> None:
    pass


class Watched:
    """A handler around the aggregator's that keeps :attr:`standing` and times commits.

    Args:
        handler: the aggregator's.
        clock: milliseconds since 1970, the one that messages are stamped with.
        on_commit: called once a commit with its messages, the seconds it took, and the seconds
            from the receipt of its oldest message to now.

    Attributes:
        standing: the newest. root: the aggregator's directory.
        busy_since: monotonic seconds at which the running commit began, None between commits.
        failing: whether the newest commit failed, or the directory could not be opened again.
    """

    def __init__(
        self,
        handler: LiveHandler,
        *,
        root: Path,
        clock: Callable[[], int],
        on_commit: OnCommit = _nothing,
    ) -> None:
        self._handler = handler
        self._inner: Handler = handler
        self._clock = clock
        self._on_commit = on_commit
        self.root = root
        self.busy_since: float | None = None
        self.failing = False
        self.standing = standing_of(handler)

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """As the aggregator's."""
        began = self.busy_since = time.monotonic()
        try:
            downlinks = self._inner.commit(messages)
        except BaseException:
            # It lives, and a restart would not help: only its newest picture is an old one.
            self.failing = True
            self.standing = replace(self.standing, at=time.monotonic())
            raise
        finally:
            self.busy_since = None
        self.failing = False
        took = time.monotonic() - began
        self.standing = standing_of(self._handler)
        oldest = min((message.received_at for message in messages), default=self._clock())
        self._on_commit(messages, took, max(0, self._clock() - oldest) / 1000)
        return downlinks

    def idle(self, now_ms: int) -> Sequence[Downlink]:
        """As the aggregator's."""
        self.busy_since = time.monotonic()
        try:
            downlinks = self._inner.idle(now_ms)
        except BaseException:
            self.failing = True
            self.standing = replace(self.standing, at=time.monotonic())
            raise
        finally:
            self.busy_since = None
        self.failing = False
        self.standing = standing_of(self._handler)
        return downlinks
