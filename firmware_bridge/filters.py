"""MQTT's topic filters: what matches, and whether two of them can match the same topic."""

from __future__ import annotations

from itertools import zip_longest


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter matches a topic (MQTT 5, 4.7); no wildcard reaches ``$SYS``."""
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both: a broker may deliver its messages twice then."""
    for left, right in zip_longest(one.split("/"), other.split("/")):
        if "#" in (left, right):
            return True
        if left is None or right is None or (left != right and "+" not in (left, right)):
            return False
    return True
