"""What edge nodes and their devices were born with (Sparkplug 3.0, sections 5 and 6.4).

A data message says little: an alias, a value. What it means was said at birth. So births are kept,
within bounds, sequence numbers are checked, and what cannot be understood for sure is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from depin_id.errors import ReadingError
from firmware_bridge.sources.sparkplug_wire import MAX_METRICS, Metric, Payload

MAX_NODES = 256
MAX_DEVICES = 256
MAX_TOTAL = 100_000
_SEQ = 256
_BDSEQ = "bdSeq"


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric as its birth defined it."""

    name: str
    datatype: int
    unit: str | None


@dataclass
class Node:
    """An edge node since its last birth; the device "" is the node itself."""

    bdseq: int | None
    seq: int
    gap: bool = False
    devices: dict[str, dict[str, Definition]] = field(default_factory=dict)
    aliases: dict[int, tuple[str, Definition]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Metrics it holds."""
        return sum(len(metrics) for metrics in self.devices.values())


def number(payload: Payload) -> int:
    """A payload's sequence number. Raises ReadingError ``sparkplug.seq``."""
    if payload.seq is None or payload.seq >= _SEQ:
        raise ReadingError("sparkplug.seq", f"the sequence number is {payload.seq}")
    return payload.seq


class Nodes:
    """All nodes that were born."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def born(self, name: str, payload: Payload) -> None:
        """A node's birth: it and its devices begin anew. Raises ReadingError."""
        seq = number(payload)
        node = Node(_bdseq(payload), seq)
        self._nodes.pop(name, None)
        if len(self._nodes) >= MAX_NODES:
            raise ReadingError("sparkplug.too_many", f"{name} is one node more than {MAX_NODES}")
        self._define(node, "", payload)
        self._nodes[name] = node

    def device_born(self, name: str, device: str, payload: Payload) -> bool:
        """A device's birth. Returns whether nothing is missing before it. Raises ReadingError."""
        node = self._node(name)
        whole = _follow(node, payload)
        self._forget(node, device)
        if len(node.devices) > MAX_DEVICES:
            raise ReadingError("sparkplug.too_many", f"{name} has over {MAX_DEVICES} devices")
        self._define(node, device, payload)
        return whole

    def died(self, name: str, payload: Payload) -> None:
        """A node's death, unless it is that of an earlier session. Raises ReadingError."""
        node = self._node(name)
        bdseq = _bdseq(payload)
        if node.bdseq is not None and bdseq is not None and bdseq != node.bdseq:
            raise ReadingError("sparkplug.old_death", f"{name}: the death of session {bdseq}")
        del self._nodes[name]

    def device_died(self, name: str, device: str, payload: Payload) -> bool:
        """A device's death; as :meth:`device_born`."""
        node = self._node(name)
        whole = _follow(node, payload)
        self._forget(node, device)
        return whole

    def data(self, name: str, device: str, payload: Payload) -> bool:
        """A data message came; as :meth:`device_born`."""
        node = self._node(name)
        whole = _follow(node, payload)
        if device not in node.devices:
            raise ReadingError("sparkplug.unborn", f"{name}/{device}: data before its birth")
        return whole

    def resolve(
        self, name: str, device: str, payload: Payload
    ) -> Iterator[tuple[Metric, Definition]]:
        """Each metric of a data message with what it was born as. Raises ReadingError."""
        node = self._node(name)
        for metric in payload.metrics:
            yield metric, _definition(node, device, metric)

    def _node(self, name: str) -> Node:
        node = self._nodes.get(name)
        if node is None:
            raise ReadingError("sparkplug.unborn", f"{name}: there was no birth")
        return node

    def _forget(self, node: Node, device: str) -> None:
        node.devices.pop(device, None)
        for alias in [key for key, (owner, _) in node.aliases.items() if owner == device]:
            del node.aliases[alias]

    def _define(self, node: Node, device: str, payload: Payload) -> None:
        total = sum(other.size for other in self._nodes.values()) + len(payload.metrics)
        if total > MAX_TOTAL or node.size + len(payload.metrics) > 4 * MAX_METRICS:
            raise ReadingError("sparkplug.too_many", f"{total} metrics were born")
        defined: dict[str, Definition] = {}
        aliases: dict[int, tuple[str, Definition]] = {}
        for metric in payload.metrics:
            if not metric.name or metric.datatype is None:
                raise ReadingError("sparkplug.birth", "a metric has no name or no datatype")
            found = Definition(metric.name, metric.datatype, metric.unit)
            if metric.name in defined:
                raise ReadingError("sparkplug.birth", f"{metric.name!r} is born twice")
            defined[metric.name] = found
            if metric.alias is not None:
                if metric.alias in aliases or metric.alias in node.aliases:
                    raise ReadingError("sparkplug.birth", f"the alias {metric.alias} is taken")
                aliases[metric.alias] = device, found
        node.devices[device] = defined
        node.aliases |= aliases


def _bdseq(payload: Payload) -> int | None:
    for metric in payload.metrics:
        if metric.name == _BDSEQ and metric.field in ("int_value", "long_value"):
            return int(metric.value)
    return None


def _follow(node: Node, payload: Payload) -> bool:
    """Check a message's number; a gap makes aliases doubtful until the next birth.

    What is missing may have been a birth, under which an alias means something else.
    """
    seq = number(payload)
    if seq == node.seq:
        raise ReadingError("sparkplug.duplicate", f"the sequence number {seq} again")
    whole = seq == (node.seq + 1) % _SEQ
    node.seq = seq
    node.gap = node.gap or not whole
    return whole


def _definition(node: Node, device: str, metric: Metric) -> Definition:
    if metric.name:
        found = node.devices[device].get(metric.name)
        if found is None:
            raise ReadingError("sparkplug.unborn", f"metric {metric.name!r} was not born")
        return found
    if metric.alias is None:
        raise ReadingError("sparkplug.payload", "a metric has neither name nor alias")
    if node.gap:
        raise ReadingError(
            "sparkplug.doubtful",
            f"the alias {metric.alias} after a gap: it may mean another metric now",
            hint="let the node be born again, or set rebirth",
        )
    owner, found = node.aliases.get(metric.alias, ("", None))
    if found is None or owner != device:
        raise ReadingError("sparkplug.unborn", f"the alias {metric.alias} was not born")
    return found
