"""A configuration proposed from what was heard: what is not known stands in comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from firmware_bridge.recognise import Found, Recogniser

_SHOWN = 24
_HEAD = """\
# Proposed by depin-bridge discover. Look through it before you run it:
# what stands behind a # is yours to decide, and units are never guessed.

[bridge]
device = "device"            # depin-bridge init makes it
card = "card.cbor"
spool = "bridge.spool"

[uplink]
url = "mqtts://broker.example:8883"   # towards the aggregator
"""
_DROP = """
# Nothing that was heard could be read as it stands. This source keeps the file valid.
[[source]]
kind = "native_files"
name = "drop"
path = "drop"
"""


def quote(text: str) -> str:
    """A TOML text of printable characters alone: what was heard may hold anything."""
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in json.dumps(text, ensure_ascii=False)
    )


def plain(text: str, limit: int = 100) -> str:
    """Text for a comment, a warning or a terminal, without its quotes."""
    return quote(text[:limit])[1:-1]


def warnings(heard: Recogniser, *, exposed: bool, secure: bool, named: bool) -> list[str]:
    """What whoever runs the bridge should know of this broker.

    Args:
        exposed: bytes travel a network without TLS. secure: there is TLS at all.
        named: we showed the broker who we are.
    """
    found = []
    if exposed:
        found.append("the way to this broker has no TLS: anyone on it can read and change readings")
    elif not secure:
        found.append("this broker has no TLS: keep it on this machine")
    if not named:
        found.append("the broker let us in without a name: so it does everybody, readings are G0")
    if heard.retained:
        shown = ", ".join(plain(topic) for topic in sorted(heard.retained)[:3])
        found.append(
            f"{len(heard.retained)} topics hold retained readings ({shown}): they may be of any "
            "age and are refused; turn retaining off at the sensors"
        )
    owners: dict[str, set[str]] = {}
    for part in heard.sources():
        for topic in part.topics:
            owners.setdefault(topic, set()).add(part.kind)
    for topic, kinds in sorted(owners.items()):
        if len(kinds) > 1:
            both = " and ".join(sorted(kinds))
            found.append(f"{plain(topic)} would be read by two sources ({both}): keep one")
    sensors: dict[str, set[str]] = {}
    for part in heard.sources():
        for sensor in part.sensors:
            sensors.setdefault(sensor, set()).add(f"{part.kind} {plain(part.topic)}")
    for sensor, places in sorted(sensors.items()):
        if len(places) > 1:
            found.append(
                f"the sensor {plain(sensor)} has two sources ({'; '.join(sorted(places)[:3])}): "
                "keep one, or give it another name with names or prefix"
            )
    if heard.left_out:
        found.append(f"{heard.left_out} messages were too many or too large to be looked at")
    return found


def propose(
    sources: Sequence[Found], credentials: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """The configuration, as TOML with comments.

    Args:
        sources: what :meth:`Recogniser.sources` found.
        credentials: the keys that reach this broker (``url``, ``ca``, ...).
        notes: warnings, to stand at the top.
    """
    lines = [f"# warning: {note}" for note in notes]
    text = _HEAD + ("\n" + "\n".join(lines) + "\n" if lines else "")
    if not any(part.ready for part in sources):
        text += _DROP
    taken: set[str] = set()
    for part in sources:
        name = _name(part, taken)
        text += "\n" + "\n".join(_source(part, name, credentials)) + "\n"
    return text


def _name(part: Found, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", part.topic.split("/")[0]).strip("-")[:12]
    name = base = f"{part.kind}-{stem}".strip("-") if part.kind == "mqtt_json" else part.kind
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _source(part: Found, name: str, credentials: Mapping[str, str]) -> Iterator[str]:
    """The lines of a source; commented out as a whole while no value of it has a unit."""
    yield f"# {len(part.sensors)} sensors: {_some(part.sensors)}"
    for key, line in sorted(part.seen.items())[:_SHOWN]:
        yield f"#   {plain(key)}: {plain(line, 200)}"
    if len(part.seen) > _SHOWN:
        yield f"#   and {len(part.seen) - _SHOWN} more"
    off = "" if part.ready else "# "
    if off:
        yield "# Declare the units below, then take the # away; the kind is known, the units not."
    yield f"{off}[[source]]"
    keys = {"kind": part.kind, "name": name, **credentials, "topic": part.topic, **part.extra}
    for key, value in keys.items():
        yield f"{off}{key} = {quote(value)}"
    yield '# level = "G1"            # only if the broker knows who publishes (see the guide)'
    for path, example in list(part.todo.items())[:_SHOWN]:
        yield "# [[source.reading]]"
        yield f"# path = {quote(path)}{'' if example == '?' else f'   # was {plain(example)}'}"
        yield f"# name = {quote(_reading(path))}"
        yield '# unit = ""               # declare it'


def _some(sensors: set[str]) -> str:
    shown = ", ".join(plain(sensor, 64) for sensor in sorted(sensors)[:_SHOWN])
    return shown + (", ..." if len(sensors) > _SHOWN else "")


def _reading(path: str) -> str:
    """A name for what is at a path: its last part, as names of readings are spelt."""
    last = re.split(r"[.\[]", path.rstrip("]0123456789["))[-1] or "value"
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-") or "value"
