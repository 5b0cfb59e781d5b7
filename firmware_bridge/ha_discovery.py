"""Home Assistant's MQTT discovery: what a message declares, without ever running a template.

A discovery message says where an entity's state is published, in which unit, and how the value is
found in it. Of the template language only what names a value is understood; the rest is refused by
name (see :func:`compile_template`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from depin_id.errors import ReadingError
from firmware_bridge import units
from firmware_bridge.mapping import JsonPath, absent
from firmware_bridge.strict_json import RawNumber, parse
from firmware_bridge.units import Conversion

_MAX_TEXT = 256
_MAX_ID = 64
_MAX_TEMPLATE = 256
_MAX_COMPONENTS = 128
_LONG: Final[Mapping[str, str]] = {
    "stat_t": "state_topic",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
    "dev_cla": "device_class",
    "dev": "device",
    "ids": "identifiers",
    "cmps": "components",
    "p": "platform",
    "ops": "options",
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,18})?([eE][+-]?\d{1,2})?", re.ASCII)
_TEMPLATE = re.compile(
    r"\{\{-?\s*(value_json|value)\b([^|{}]*?)\s*((?:\|[^|{}]*)*)-?\}\}", re.ASCII
)
_STEP = re.compile(
    r"\.([A-Za-z_][A-Za-z0-9_]{0,63})|\[\s*(?:'([^'\\\]]{1,64})'|\"([^\"\\\]]{1,64})\"|(\d{1,4}))\s*\]",
    re.ASCII,
)
_FILTER = re.compile(r"\|\s*(float|int|round)\s*(?:\(\s*(\d{0,2})\s*\))?\s*", re.ASCII)

Extract = Callable[[bytes], str]
"""The characters of the number in a state message. Raises ReadingError."""


@dataclass(frozen=True)
class Entity:
    """A sensor that a discovery message declares.

    Attributes:
        device: what names its device: its first identifier, else the topic's node, else ``id``.
        id: the object's id. topic: where its state is published.
        unit: as the message says, quantity: its device class; template: how the value is found.
    """

    device: str
    id: str
    topic: str
    unit: str | None
    quantity: str | None
    template: str

    def conversion(self) -> Conversion:
        """From its unit to SenML's. Raises ReadingError ``input.unit``."""
        return units.require(self.unit, self.quantity)


def filters(prefix: str) -> tuple[str, ...]:
    """Where discovery messages of sensors are published, under ``prefix``."""
    parts = ("sensor/+", "sensor/+/+", "device/+", "device/+/+")
    return tuple(f"{prefix}/{part}/config" for part in parts)


def read(prefix: str, topic: str, payload: bytes) -> list[Entity]:
    """The sensors that a discovery message declares; none of an empty one, which takes them back.

    Raises:
        ReadingError: ``discovery.topic``, ``discovery.malformed``, ``input.json`` and others.
    """
    component, node, object_id = _place(prefix, topic)
    if not payload.strip():
        return []
    document = _expand(parse(payload))
    if component == "sensor":
        return [_entity(document, document, node, object_id)]
    parts = document.get("components")
    if not isinstance(parts, dict) or len(parts) > _MAX_COMPONENTS:
        raise ReadingError("discovery.malformed", f"no components, or over {_MAX_COMPONENTS}")
    found = []
    for name, part in parts.items():
        part = _expand(part)
        if part.get("platform") == "sensor" and len(part) > 1:
            found.append(_entity({**document, **part}, document, node or object_id, name))
    return found


def _place(prefix: str, topic: str) -> tuple[str, str | None, str]:
    """Component, node and object of a discovery topic."""
    levels = topic.removeprefix(prefix + "/").split("/")
    named = all(_ID.fullmatch(level) for level in levels)
    if not named or len(levels) not in (3, 4) or levels[-1] != "config":
        raise ReadingError("discovery.topic", f"{topic[:80]!r} is no discovery topic")
    return levels[0], levels[1] if len(levels) == 4 else None, levels[-2]


def _expand(document: Any) -> dict[str, Any]:
    """A document with the long names, and the base topic ``~`` put in."""
    if not isinstance(document, dict):
        raise ReadingError("discovery.malformed", "it is no object")
    found: dict[str, Any] = {}
    for key, value in document.items():
        key = _LONG.get(key, key)
        if key in found:
            raise ReadingError("discovery.malformed", f"{key!r} is there twice")
        found[key] = value
    base = found.get("~")
    if type(base) is str:
        for key, value in found.items():
            if key.endswith("_topic") and type(value) is str:
                if value.startswith("~"):
                    value = base + value[1:]
                elif value.endswith("~"):
                    value = value[:-1] + base
                found[key] = value
    return found


def _entity(
    document: dict[str, Any], whole: dict[str, Any], node: str | None, object_id: str
) -> Entity:
    topic = _text(document, "state_topic")
    if not topic or set(topic) & set("+#\0") or not 0 < len(object_id) <= _MAX_ID:
        raise ReadingError(
            "discovery.malformed", f"{object_id[:64]}: it has no id, or no state topic"
        )
    template = _text(document, "value_template") or "{{ value }}"
    compile_template(template)
    return Entity(
        _device(whole.get("device")) or node or object_id,
        object_id,
        topic,
        _text(document, "unit_of_measurement"),
        _text(document, "device_class"),
        template,
    )


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is None:
        return None
    if type(value) is not str or len(value) > _MAX_TEXT:
        raise ReadingError("discovery.malformed", f"{key} is no text of at most {_MAX_TEXT}")
    return value


def _device(device: Any) -> str | None:
    """The first identifier of a device."""
    if device is None:
        return None
    identifiers = _expand(device).get("identifiers")
    first = identifiers[0] if isinstance(identifiers, list) and identifiers else identifiers
    return first[:256] if isinstance(first, str) and first else None


# --- templates ---


def compile_template(template: str) -> Extract:
    """What finds a number as a template says, if the template does no more than name it.

    Understood: ``{{ value }}``, ``{{ value_json.a.b }}``, ``{{ value_json['a'][0] }}``, followed by
    ``float``, ``int`` or ``round(n)``: then a value that these would change is refused.

    Raises:
        ReadingError: ``discovery.template``: it does more than that.
    """
    match = _TEMPLATE.fullmatch(template.strip()) if len(template) <= _MAX_TEMPLATE else None
    if match is None:
        raise _unsupported(template)
    root, path, rest = match[1], match[2], match[3]
    steps = tuple(_steps(path, template))
    if root == "value" and steps:
        raise _unsupported(template)
    places = list(_places(rest, template))
    where = None if root == "value" else JsonPath(template, steps)

    def extract(payload: bytes) -> str:
        text = plain_number(payload) if where is None else _inside(where, payload)
        for most in places:
            _check_exact(text, most)
        return text

    return extract


def _unsupported(template: str) -> ReadingError:
    return ReadingError(
        "discovery.template",
        f"the template {template[:80]!r} does more than name a value",
        hint="templates are never run: map the topic with a source of kind mqtt_json",
    )


def _steps(path: str, template: str) -> Iterator[str | int]:
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise _unsupported(template)
        yield int(match[4]) if match[4] is not None else match[1] or match[2] or match[3]
        at = match.end()


def _places(rest: str, template: str) -> Iterator[int]:
    """Digits behind the point that each filter leaves as they are."""
    at = 0
    while at < len(rest):
        match = _FILTER.match(rest, at)
        # An argument of float or int is what stands in for a value that is not there: no reading.
        if match is None or (match[1] != "round" and match[2]):
            raise _unsupported(template)
        if match[1] != "float":
            yield int(match[2] or 0)
        at = match.end()


def plain_number(payload: bytes) -> str:
    """The characters of a number that is all of a message. Raises ReadingError ``input.number``."""
    text = payload[:65].decode("utf-8", "replace").strip()
    # Of a longer one the rest is not known: blanks may hide what comes after them.
    if len(payload) > 64 or _NUMBER.fullmatch(text) is None:
        raise ReadingError("input.number", f"{text[:40]!r} is no number")
    return text


def _inside(where: JsonPath, payload: bytes) -> str:
    value = where.find(parse(payload))
    if absent(value):
        raise ReadingError("input.missing", f"nothing at {where.text[:80]}")
    if isinstance(value, RawNumber) or (type(value) is str and _NUMBER.fullmatch(value)):
        return str(value)
    raise ReadingError("input.type", f"{where.text[:80]} is no number")


def _check_exact(text: str, places: int) -> None:
    """Refuse what a rounding filter would change: then the source means another number."""
    _, _, fraction = text.partition(".")
    if "e" in text.lower() or len(fraction.rstrip("0")) > places:
        raise ReadingError("discovery.inexact", f"{text[:40]} has over {places} decimals")
