"""Prometheus metrics of a bridge: looked up when somebody asks, so that they cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from firmware_bridge.web import Page

MAX_SERIES = 512
"""Label values of one metric; what comes after them is counted as ``other``."""
_SPOOLED = ("released", "dropped", "damaged", "reported")
_UPLINK = ("messages", "released", "resends", "retries", "too_large")


class Metrics:
    """The page ``/metrics``.

    Args:
        counts, health: of :class:`firmware_bridge.service.Bridge`.
    """

    def __init__(
        self, counts: Callable[[], dict[str, Any]], health: Callable[[], dict[str, Any]]
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_States(counts, health))

    def page(self) -> Page:
        """Everything, in Prometheus' text format."""
        return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)


class _States(Collector):
    def __init__(
        self, counts: Callable[[], dict[str, Any]], health: Callable[[], dict[str, Any]]
    ) -> None:
        self._counts, self._health = counts, health

    def describe(self) -> list[Metric]:
        """Nothing is asked for before somebody asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The states now."""
        counts, health = self._counts(), self._health()
        spool, uplink = counts["spool"], counts["uplink"]
        yield _gauge("uplink_connected", "Whether the uplink is up.", health["uplink"]["connected"])
        yield _gauge("spool_writable", "Whether the spool takes more.", health["spool"]["writable"])
        yield _gauge("spool_envelopes", "Envelopes that wait.", spool["envelopes"])
        yield _gauge("spool_bytes", "Bytes that wait.", spool["bytes"])
        yield _gauge("spool_limit_bytes", "Bound on them.", health["spool"]["max_bytes"])
        yield _gauge(
            "spool_oldest_seconds", "Age of the oldest that waits.", health["spool"]["oldest_s"]
        )
        yield _gauge(
            "spool_unreported_ranges", "Dropped ranges not reported yet.", spool["unreported"]
        )
        yield _gauge("clock_believed", "Whether the wall clock is.", health["clock"]["believed"])
        yield _gauge("reload_failed", "Whether the last reload was.", health["reload"]["failed"])
        yield _counter(
            "spool_fate", "Envelopes that left the spool, by why.", "why", _some(spool, _SPOOLED)
        )
        yield _counter("uplink", "What the uplink did.", "what", _some(uplink, _UPLINK))
        yield _counter("verdicts", "Acknowledged envelopes.", "code", uplink["verdicts"])
        yield _counter("downlink_refused", "Messages down.", "code", uplink["refused"])
        yield _counter("taken", "Items that sources handed over.", "source", counts["taken"])
        yield _counter("spooled", "Envelopes put into the spool.", "by", {"": counts["spooled"]})
        yield _refused(counts["refused"])


def _some(counts: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: counts[name] for name in names}


def _gauge(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"depin_bridge_{name}", text, value=float(value or 0))


def _bounded(counts: Mapping[str, int]) -> dict[str, int]:
    """At most so many label values: nobody can make series without end."""
    found = dict(list(counts.items())[:MAX_SERIES])
    rest = sum(counts.values()) - sum(found.values())
    return found | {"other": found.get("other", 0) + rest} if rest else found


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    metric = CounterMetricFamily(f"depin_bridge_{name}", text, labels=[label])
    for value, count in _bounded(counts).items():
        metric.add_metric([value], count)
    return metric


def _refused(counts: Mapping[str, int]) -> CounterMetricFamily:
    metric = CounterMetricFamily(
        "depin_bridge_refused", "Input that was refused.", labels=["source", "code"]
    )
    for key, count in _bounded(counts).items():
        source, _, code = key.partition(": ")
        metric.add_metric([source, code], count)
    return metric
