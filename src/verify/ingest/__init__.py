"""Where bundles come from: one file a source (``mqtt``, ``files``), all with the same contract.

A source hands a :class:`Handler` batches of :class:`Message` and acknowledges a batch to where it
came from only after :meth:`Handler.commit` has returned: a broker's acknowledgement never comes
before the durable commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Downlink", "Handler", "Message", "offset_of"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transport, as received; nothing in it has been checked but its size.

    Attributes:
        data: one bundle (CBOR Sequence of envelopes), at most 128 KiB.
        principal: who the transport says sent it: the kid of the topic as 16 hex digits, or
            ``file:<name>``. Quotas for what cannot be authenticated count per principal.
        received_at: milliseconds since 1970 by the clock of the source; not monotonic.
        source: name of the source; offsets count within it.
        offset: opaque; where to go on once this message is committed, None when the transport
            keeps that itself.
        reply: number of the request that waits for the answer; 0 when answers go down to the
            publisher's own topic.
    """

    data: bytes
    principal: str
    received_at: int
    source: str
    offset: bytes | None
    reply: int = 0


@dataclass(frozen=True, slots=True)
class Downlink:
    """Bytes for one publisher, who is named by the kid (8 bytes) of its topic.

    Attributes:
        kid: of the publisher; empty where nothing could be authenticated.
        data: a signed message; empty where nothing could be authenticated.
        reply: number of the request that this answers, 0 for a topic.
        code: why there is nothing to acknowledge in a request's message.
        forged: signatures in a request's message that did not verify; with its first answer.
    """

    kid: bytes
    data: bytes
    reply: int = 0
    code: str = ""
    forged: int = 0


class Handler(Protocol):
    """What takes the messages: the aggregator."""

    def commit(self, messages: Sequence[Message]) -> Sequence[Downlink]:
        """Make the messages durable; they are acknowledged when this returns.

        All or nothing: when it raises, nothing was committed, and nothing is acknowledged. The same
        messages may come again.
        """
        ...

    def idle(self, now_ms: int) -> Sequence[Downlink]:
        """Called about once a second while nothing arrives; ``now_ms`` is the source's clock."""
        ...


def offset_of(messages: Sequence[Message]) -> tuple[str, bytes | None]:
    """Source and newest offset of a batch; the sources hand over one source at a time."""
    for message in reversed(messages):
        if message.offset is not None:
            return message.source, message.offset
    return "", None
