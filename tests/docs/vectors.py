"""Vectors of the protocol for implementers: ``python -m tests.docs.vectors --write``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.docs.invalid import invalid_cases
from tests.docs.logged import leaf_cases, records_case, salt_cases
from tests.docs.material import Material, kept_signatures
from tests.docs.plain import cbor_cases, pack_cases
from tests.docs.receipts import bad_receipts, receipt_cases
from tests.docs.valid import (
    bundle_case,
    card_cases,
    down_cases,
    envelope_cases,
    nonce_cases,
)

FILE = Path(__file__).resolve().parents[2] / "docs" / "vectors" / "protocol-1.json"
ABOUT = {
    "title": "depin protocol, version 1: test vectors",
    "warning": "The keys are examples. Their private halves stand in this file, so everybody has "
    "them: put them on nobody's device and enrol them in no network.",
    "reading": "Bytes are lower-case hex; numbers of readings are decimal text. 'secret' is the "
    "SHA-256 of 'label': an Ed25519 seed, or a P-256 scalar, big-endian. Ed25519 signatures can be "
    "made again bit for bit; an ESP256 signature is one of many that are valid: make the same "
    "'to_be_signed', and verify this one.",
    "invalid": "Each case has one thing wrong. 'operation' says what has to refuse it: cbor (read "
    "one item), key and cose_key (admit a key), did (admit a did:key), envelope (read its form), "
    "verify (read and verify an envelope for 'network' under the key 'signer'), inside_gateway "
    "(read what a gateway envelope holds), pack (read a SenML pack of 'subject'), card (read and "
    "verify under the pinned 'network'), ack, challenge, resume (read and verify under the card of "
    "this file, for 'recipient'), leaf, records, receipt (check under the pinned 'network').",
}


def build(kept: dict[bytes, bytes]) -> dict[str, Any]:
    """The whole file, with ECDSA signatures that are still good kept."""
    made = Material(kept)
    envelopes = envelope_cases(made)
    return {
        **ABOUT,
        "network": made.network,
        "other_network": made.other_network,
        "keys": made.describe(),
        "cbor": cbor_cases(),
        "packs": pack_cases(made),
        "envelopes": envelopes.cases,
        "bundle": bundle_case(envelopes),
        "card": card_cases(made),
        "down": down_cases(made, envelopes),
        "nonces": nonce_cases(made),
        "salts": salt_cases(made, envelopes),
        "records": records_case(made),
        "leaves": leaf_cases(made, envelopes),
        "receipts": receipt_cases(made, envelopes),
        "refused": [*invalid_cases(made, envelopes), *bad_receipts(made, envelopes)],
    }


def load() -> dict[str, Any]:
    """The file as it is; empty when there is none."""
    if not FILE.exists():
        return {}
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def text_of(content: dict[str, Any]) -> str:
    """The file's text."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def main() -> int:
    """Write the file, or say whether it is up to date."""
    text = text_of(build(kept_signatures(load())))
    if "--write" in sys.argv[1:]:
        FILE.write_text(text)
        return 0
    same = FILE.exists() and FILE.read_text() == text
    print("up to date" if same else f"{FILE.name} is out of date: --write")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
