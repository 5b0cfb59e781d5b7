"""Reads a case of the vectors with the library, as an implementer of another language would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depin_id import cbor
from depin_id.ack import read_ack, read_challenge, read_resume
from depin_id.did.key import parse_did_key
from depin_id.envelope import open_gateway_payload, parse_envelope
from depin_id.keys import PublicKey, admit
from depin_id.network import NetworkCard, read_card
from depin_id.senml import decode_pack
from verify.leaf import RecordsContent, parse_leaf
from verify.receipt import check_receipt

Case = dict[str, Any]


class Reader:
    """The operations that the file names, over the keys and the card of the file."""

    def __init__(self, file: dict[str, Any]) -> None:
        self.keys: dict[str, PublicKey] = {
            key["name"]: PublicKey.from_cose_key(bytes.fromhex(key["cose_key"]))
            for key in file["keys"]
        }
        self.card: NetworkCard = read_card(bytes.fromhex(file["card"][0]["bytes"]))
        self._operations: dict[str, Callable[[bytes, Case], Any]] = {
            "cbor": lambda data, _: cbor.decode(data),
            "key": lambda data, case: admit(case["curve"], data),
            "cose_key": lambda data, _: PublicKey.from_cose_key(data),
            "did": lambda _, case: parse_did_key(case["text"]),
            "envelope": lambda data, _: parse_envelope(data),
            "verify": self._verify,
            "inside_gateway": lambda data, _: open_gateway_payload(data),
            "pack": lambda data, case: decode_pack(data, subject=case["subject"]),
            "card": lambda data, case: read_card(data, network=case["network"]),
            "ack": lambda data, case: read_ack(data, card=self.card, recipient=self._to(case)),
            "challenge": self._challenge,
            "resume": self._resume,
            "leaf": lambda data, _: parse_leaf(data),
            "records": lambda data, _: RecordsContent.decode(data),
            "receipt": lambda data, case: check_receipt(data, network=case["network"]),
        }

    def run(self, operation: str, case: Case) -> Any:
        data = bytes.fromhex(case.get("bytes", "")) + bytes(case.get("zeros", 0))
        return self._operations[operation](data, case)

    def _to(self, case: Case) -> bytes:
        return self.keys[case["recipient"]].thumbprint

    def _verify(self, data: bytes, case: Case) -> bytes:
        return parse_envelope(data).verify(case["network"], self.keys[case["signer"]])

    def _challenge(self, data: bytes, case: Case) -> Any:
        return read_challenge(data, card=self.card, recipient=self._to(case))

    def _resume(self, data: bytes, case: Case) -> Any:
        nonce = bytes.fromhex(case["nonce"])
        return read_resume(data, card=self.card, recipient=self._to(case), nonce=nonce)
