"""``peaq-os-sdk``: the signed data package of its Stream feature, from JSON to a verified one."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from eth_account import Account
from peaq_os_sdk.stream.signing import build_signed_data_package
from peaq_os_sdk.stream.types.data_package import DataPackage, UnsignedDataPayload
from peaq_os_sdk.stream.types.field_rule import TopicFieldRules
from peaq_os_sdk.stream.types.signing_key import EncryptionContext, SigningContext
from peaq_os_sdk.stream.verification import verify_data_package
from task import READING, budget, measure


def main() -> None:
    """Measure."""
    count, seconds = budget()
    account = Account.create()
    messages = [_signed(account, index) for index in range(min(count, 50))]

    def take(message: Any) -> None:
        result = verify_data_package(DataPackage(**json.loads(message)))
        if not result.valid:
            raise ValueError(result.reason)

    measure(messages, take, seconds)


def _signed(account: Any, number: int) -> str:
    fields_of = {"senml": [READING], "seq": number}
    package = build_signed_data_package(
        unsigned_payload=UnsignedDataPayload("/sensor/noise", fields_of, "2025-10-09T08:53:20Z"),
        topic_rules=TopicFieldRules("/sensor/noise", ()),
        signing_ctx=SigningContext(
            "0x" + bytes(account.key).hex(), "software", f"did:peaq:{account.address}", "key-1"
        ),
        encryption_ctx=EncryptionContext("0x" + "11" * 32, "AES-256-GCM"),
        schema_version="1",
        sequence_number=number,
    )
    return json.dumps({field.name: getattr(package, field.name) for field in fields(package)})


if __name__ == "__main__":
    main()
