"""The worked examples in docs/protocol.md: ``python -m tests.docs.examples --write``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from tests.docs.annotate import annotate
from tests.docs.vectors import load

FILE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
BLOCK = re.compile(r"(<!-- example: (.+?) -->\n```text\n)(.*?)(\n```\n)", re.DOTALL)

_SIGN1 = {
    "/0~": "protected header",
    "/1": "unprotected header, empty",
    "/2": "payload",
    "/3": "signature",
    "/0/1": "alg",
    "/0/3": "content type",
    "/0/4": "kid",
    "/0/-65537": "provenance",
    "/0/-65537/0": "epoch",
    "/0/-65537/1": "n",
    "/0/-65537/2": "prev",
    "/0/-65537/3": "uptime, s",
    "/0/-65537/4": "clock error, s",
    "/0/-65537/5": "ear",
    "/0/15": "CWT claims",
    "/0/15/6": "iat",
    "/0/15/-65537": "link",
    "/0/15/-65537/0": "RSSI, dBm",
    "/0/15/-65537/1": "SNR, 0.1 dB",
    "/0/15/-65538": "place",
    "/0/15/-65538/0": "latitude, 1e-7 degree",
    "/0/15/-65538/1": "longitude, 1e-7 degree",
    "/0/15/-65539": "level",
}
_PACK = {
    "/2~": "payload, a SenML pack",
    "/2/0/0": "n",
    "/2/0/1": "u",
    "/2/0/2": "v",
    "/2/0/2/0": "exponent",
    "/2/0/2/1": "mantissa",
    "/2/0/6": "t",
}
_ACK = {
    "/2~": "payload, an acknowledgement",
    "/2/1": "recipient",
    "/2/2": "number",
    "/2/3": "time, ms",
    "/2/4": "echoed nonce",
    "/2/5": "origin",
    "/2/6": "items",
    "/2/7": "beacon",
    **{
        f"/2/6/{index}/{field}": name
        for index in range(3)
        for field, name in enumerate(("id", "code", "index", "leaf hash"))
    },
}
NAMES = {
    "Ed25519, readings: 1": {**_SIGN1, **_PACK},
    "gateway envelope around a device's envelope": {
        **_SIGN1,
        "/2": "payload, the device's envelope as it was received",
    },
    "acknowledgement": {**_SIGN1, **_ACK},
}


def example(name: str, vectors: dict[str, Any]) -> str:
    """One case of the vectors as hex with comments."""
    cases = {case["name"]: case for case in [*vectors["envelopes"], *vectors["down"]]}
    return annotate(bytes.fromhex(cases[name]["bytes"]), NAMES[name])


def filled(text: str) -> str:
    """The document with its examples made anew."""
    vectors = load()
    return BLOCK.sub(
        lambda match: match[1] + example(match[2], vectors) + match[4],
        text,
    )


def main() -> int:
    """Write the examples, or say whether they are up to date."""
    text = FILE.read_text()
    if "--write" in sys.argv[1:]:
        FILE.write_text(filled(text))
        return 0
    same = filled(text) == text
    print("up to date" if same else f"{FILE.name} is out of date: --write")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
