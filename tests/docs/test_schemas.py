"""The JSON schemas of credentials are those of the models."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.credentials.world import ANNA, LAB, MAKER, birth, calibration, location, ownership
from tests.docs.schemas import FOLDER, stale

SIGNED: dict[str, dict[str, Any]] = {
    "DeviceBirthCertificate": MAKER.sign(birth(claim_digest="ab" * 32)),
    "DeviceOwnership": MAKER.sign(ownership(MAKER, ANNA, bytes(32))),
    "DeviceCalibration": LAB.sign(calibration()),
    "DeviceLocation": ANNA.sign(location()),
}


def test_the_schemas_are_current() -> None:
    assert stale() == [], "python -m tests.docs.schemas --write"


def _wrong(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> list[str]:
    """What a value breaks of a schema, for as much of JSON Schema as these files use."""
    if "$ref" in schema:
        return _wrong(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], value, root)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and all(_wrong(choice, value, root) for choice in choices):
        return ["no choice fits"]
    found = []
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if "type" in schema and type(value) is not kinds[schema["type"]]:
        return [f"{value!r} is no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{value!r} is not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    if "pattern" in schema and "\\p{" not in schema["pattern"]:
        found += [] if re.search(schema["pattern"], value) else [f"{value!r}: pattern"]
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{name} is missing" for name in schema["required"] if name not in value]
        for name, item in value.items():
            if name not in schema["properties"]:
                found.append(f"{name} is unknown")
            else:
                found += _wrong(schema["properties"][name], item, root)
    for part, item in zip(schema.get("prefixItems", ()), value, strict=False):
        found += _wrong(part, item, root)
    return found


@pytest.mark.parametrize("name", SIGNED)
def test_what_is_issued_fits_its_schema(name: str) -> None:
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    signed = SIGNED[name]
    assert _wrong(schema, signed, schema) == []
    for member in signed:
        if member != "proof":
            left = {n: item for n, item in signed.items() if n != member}
            assert _wrong(schema, left, schema), member
    assert _wrong(schema, {**signed, "more": 1}, schema)
    assert _wrong(schema, {**signed, "type": ["VerifiableCredential", "Other"]}, schema)
