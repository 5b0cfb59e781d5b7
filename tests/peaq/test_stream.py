"""Stream packages and chunk chains: peaq's own verify, its forgeries and replays do not."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.evm import parse_address
from depin_id.keys import SoftwareSigner, admit
from depin_id.peaq import canonical
from depin_id.peaq.bounds import Increasing, Window, parse_moment
from depin_id.peaq.chunks import chunk_id, verify_chain
from depin_id.peaq.stream import (
    Package,
    package_of,
    parse_package,
    sign_package,
    signing_input,
    verify_package,
)
from depin_id.peaq.trust import MachineKeys, keys_of_did, trusted_keys
from tests.peaq.world import (
    OTHER,
    WALLET_ADDRESS,
    WALLET_DID,
    code,
    high_s,
    load,
    personal_sign,
)

NOW = parse_moment("2025-01-01T00:00:30Z")
KEYS = keys_of_did(WALLET_DID)
MACHINE = "did:peaq:42"


def signed(key: Any = None, **change: Any) -> dict[str, Any]:
    """A package, with parts of it changed before it is signed."""
    parts: dict[str, Any] = {
        "did": WALLET_DID,
        "timestamp": "2025-01-01T00:00:00Z",
        "schema_version": "1.0.0",
        "sequence_number": 7,
        "payload": {"temp": 21.5},
    }
    sign = personal_sign if key is None else lambda message: personal_sign(message, key)
    return sign_package(**(parts | change), personal_sign=sign)


def verify(package: dict[str, Any], keys: MachineKeys = KEYS, **named: Any) -> Any:
    return verify_package(json.dumps(package), keys, **({"now_ms": NOW, "memory": None} | named))


def test_packages_of_peaq_verify_and_are_made_equal() -> None:
    found = load("peaqos_stream")["data_packages"]
    assert len(found) == 5
    portable = []
    for vector in found:
        given = vector["package"]
        package = parse_package(json.dumps(given))
        assert package.message().decode() == vector["canonical_envelope"]
        result = verify_package(package, KEYS, now_ms=NOW, memory=Increasing())
        assert result.signer == WALLET_ADDRESS and result.trust == "did"
        made = sign_package(
            given["did"],
            given["timestamp"],
            given["schema_version"],
            given["sequence_number"],
            given["payload"],
            personal_sign=personal_sign,
            signing_key_id=given["signing_key_id"],
        )
        assert made == given
        portable.append(package.portable)
    # A small number, and a sequence number beyond 2^53, are other bytes in JavaScript.
    assert portable == [True, False, True, True, False]


def test_machines_that_are_numbers_verify_with_the_key_that_their_did_names() -> None:
    package = signed(did=MACHINE)
    named = trusted_keys(MACHINE, addresses=[WALLET_ADDRESS])
    assert verify(package, named).trust == "caller"
    # The number itself names no key, and an attribute on the chain is not enough.
    assert code(verify, package, keys_of_did(MACHINE)) == "peaq.key_not_named"
    attribute = replace(named, trust="attribute-only")
    assert code(verify, package, attribute) == "peaq.attribute_only"
    assert verify(package, attribute, allow_attribute=True).trust == "attribute-only"


def test_keys_that_the_did_does_not_name() -> None:
    assert code(verify, signed(OTHER)) == "peaq.key_not_named"
    forged = signed(OTHER, did=MACHINE)
    named = trusted_keys(MACHINE, addresses=[WALLET_ADDRESS])
    assert code(verify, forged, named) == "peaq.key_not_named"
    assert code(verify, signed(did="did:peaq:777"), named) == "peaq.another_did"
    assert code(verify, signed(did="did:web:example.org"), named) == "peaq.another_did"
    tampered = signed() | {"payload": {"temp": 21.6}}
    assert code(verify, tampered) == "peaq.key_not_named"
    # The spelling of an address does not matter, and is signed as it stands.
    assert verify(signed(did=WALLET_DID.lower())).trust == "did"


def test_replays_are_refused_and_leave_no_trace_when_they_fail() -> None:
    memory = Increasing()
    assert code(verify, signed(OTHER, sequence_number=99), memory=memory) == "peaq.key_not_named"
    assert verify(signed(), memory=memory).package.sequence_number == 7
    assert code(verify, signed(), memory=memory) == "peaq.replayed"
    assert code(verify, signed(sequence_number=6), memory=memory) == "peaq.replayed"
    again = Increasing(state=memory.state())
    lower = signed(did=WALLET_DID.lower())
    assert code(verify, lower, memory=again) == "peaq.replayed"
    assert verify(signed(sequence_number=8), memory=again)
    full = Increasing(limit=0)
    assert code(verify, signed(), memory=full) == "peaq.memory_full"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("1999-12-31T23:59:59Z", "peaq.timestamp_old"),
        ("2024-12-25T00:00:29Z", "peaq.timestamp_old"),
        ("2025-01-01T00:02:31Z", "peaq.timestamp_future"),
        ("9999-12-31T23:59:59Z", "peaq.timestamp_future"),
        ("not a time", "peaq.timestamp_malformed"),
        ("2025-01-01T00:00:00", "peaq.timestamp_malformed"),
        ("2025-01-01T00:00:00+02:00", "peaq.timestamp_malformed"),
        ("2025-02-30T00:00:00Z", "peaq.timestamp_malformed"),
        ("2025-01-01T00:00:00Z\n", "peaq.timestamp_malformed"),
        ("٢٠٢٥-01-01T00:00:00Z", "peaq.timestamp_malformed"),
        ("0000-01-01T00:00:00Z", "peaq.timestamp_malformed"),
    ],
)
def test_timestamps_out_of_bounds(when: str, expected: str) -> None:
    assert code(verify, signed(timestamp=when)) == expected


def test_moments() -> None:
    assert parse_moment("1970-01-01T00:00:01.25Z") == 1250
    assert parse_moment("2025-01-01T00:00:00.123456789+00:00") % 1000 == 123
    package = signed(timestamp="2024-12-31T23:59:00.5Z")
    assert verify(package).time_ms == NOW - 89_500
    assert code(verify, package, window=Window(age_ms=60_000)) == "peaq.timestamp_old"


def test_other_forms_of_one_signature() -> None:
    package = signed()
    raw = bytes.fromhex(package["signature"][2:])
    twin = package | {"signature": "0x" + high_s(raw).hex()}
    assert code(verify, twin) == "signature.malleable"
    for other in (
        package["signature"].upper(), package["signature"][2:], "0x" + raw[:64].hex(),
        "0x" + raw[:64].hex() + "00", "0x" + raw.hex() + "00", package["signature"] + "\n", 5, None,
        "0x" + "00" * 64 + "1b",
    ):  # fmt: skip
        assert code(verify, package | {"signature": other}) == "signature.invalid"


@pytest.mark.parametrize("number", [-5, -1, 1 << 64, 1.0, True, "7", None])
def test_sequence_numbers_that_are_none(number: Any) -> None:
    assert code(verify, signed() | {"sequence_number": number}) == "peaq.sequence"


def test_packages_of_another_form() -> None:
    good = signed()
    for name in good:
        assert code(verify, {k: v for k, v in good.items() if k != name}) == (
            "peaq.package_malformed"
        )
    changes: dict[str, Any] = {"topic": "x", "payload": [], "did": "", "timestamp": "x" * 257}
    for name, value in changes.items():
        assert code(verify, good | {name: value}) == "peaq.package_malformed"
    text = json.dumps(good)
    for wrong in (
        text.replace('"temp": 21.5', '"temp": NaN'),
        text.replace('"temp": 21.5', '"temp": 1e999'),
        text.replace('"temp": 21.5', '"temp": 20, "temp": 21.5'),
        text.replace('"temp": 21.5', '"temp": ' + "9" * 79),
        text.replace('"temp": 21.5', '"temp": "\\ud800"'),
        text.replace('"temp": 21.5', '"temp": ' + "[" * 40 + "]" * 40),
        text.replace('"temp": 21.5', '"temp": ' + "[" * 100_000),
        text[:-1], "[]", "", b"\xff",
    ):  # fmt: skip
        assert code(parse_package, wrong) == "json.malformed"
    assert code(parse_package, " " * (1 << 19)) == "json.too_large"


def test_what_languages_write_differently() -> None:
    """Signed in JavaScript; the numbers have another text there, and -0.0 and big ones no text."""
    payload: dict[str, Any] = {"v": 1e-7, "w": 20.0, "e": "é", "big": 1e21}
    parts = (WALLET_DID, "2025-01-01T00:00:00Z", "1.0.0", 7)
    script = signing_input(*parts, payload, dialect="javascript")
    assert b'"v":1e-7' in script and b'"w":20}' in script and "é".encode() in script
    python = signing_input(*parts, payload)
    assert b'"v":1e-07' in python and b'"w":20.0' in python and b"\\u00e9" in python
    package = signed(payload=payload)
    package["signature"] = "0x" + personal_sign(script).hex()
    assert code(verify, package) == "peaq.key_not_named"
    both: dict[str, Any] = {"dialects": ("python", "javascript")}
    assert verify(package, **both).dialect == "javascript"
    assert verify(signed(payload=payload), **both).dialect == "python"
    assert not package_of(package).portable
    for value in (-0.0, [[-0.0]], (1 << 53) + 1, {"a": -(1 << 60)}):
        odd = package_of(signed(payload={"v": value}))
        assert not odd.portable
        assert code(odd.message, "javascript") == "json.not_canonical"
        only: dict[str, Any] = {"now_ms": NOW, "memory": None, "dialects": ("javascript",)}
        assert code(verify_package, odd, KEYS, **only) == "peaq.dialect"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text(max_size=5) | FLOATS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_portable_means_the_same_bytes_everywhere(value: Any) -> None:
    text = json.dumps({"v": value})
    parsed = canonical.parse(text)
    try:
        portable = canonical.check(parsed)
    except Exception as error:
        assert getattr(error, "code", "") == "json.malformed"  # a lone surrogate
        return
    if portable:
        assert canonical.write(parsed, "python") == canonical.write(parsed, "javascript")


def chain() -> tuple[dict[str, Any], dict[int, bytes]]:
    example = load("peaqos_stream")["chunk_chain_example"]
    data = {int(at): bytes.fromhex(text) for at, text in example["encrypted_data_hex"].items()}
    return example["chain"], data


def chain_keys(did: str = MACHINE) -> MachineKeys:
    raw = bytes.fromhex(chain()[0]["chunks"][0]["signature"]["public_key_hex"])
    return trusted_keys(did, keys=[admit("ed25519", raw, allow_published=True)])


def check(value: Any, data: Any, keys: MachineKeys | None = None, **named: Any) -> Any:
    last = named.pop("last_chunk_id", chain()[0]["chunks"][-1]["chunk_id"])
    return verify_chain(
        value, data, keys or chain_keys(), last_chunk_id=last, allow_published=True, **named
    )


def test_chunk_ids_and_chains_of_peaq() -> None:
    for vector in load("peaqos_stream")["chunk_ids"]:
        made = chunk_id(vector["previous_chunk_id"], vector["encrypted_data_hash"], vector["index"])
        assert made == vector["chunk_id"]
    found = check(*chain())
    assert len(found.chunk_ids) == 5 and found.trust == "caller"
    assert "plaintext_hash" in found.unsigned
    attribute = replace(chain_keys(), trust="attribute-only")
    assert code(check, *chain(), attribute) == "peaq.attribute_only"


def test_a_chain_forged_with_any_key_is_refused() -> None:
    value, data = chain()
    forger = SoftwareSigner.generate()
    for chunk in value["chunks"]:
        chunk["signature"]["public_key_hex"] = forger.public_key.raw.hex()
        chunk["signature"]["value"] = forger.sign(chunk["encrypted_data_hash"].encode()).hex()
    assert code(check, value, data) == "peaq.key_not_named"
    # A signature that the named key did not make.
    value["chunks"] = [
        chunk | {"signature": chunk["signature"] | {"public_key_hex": chain_keys_hex()}}
        for chunk in value["chunks"]
    ]
    assert code(check, value, data) == "signature.invalid"


def chain_keys_hex() -> str:
    return next(iter(chain_keys().keys)).raw.hex()


def test_cut_relabelled_and_reordered_chains_are_refused() -> None:
    value, data = chain()
    cut = value | {"chunks": value["chunks"][:2]}
    assert code(check, cut, data) == "peaq.chain_cut"
    relabelled = copy.deepcopy(value) | {"did": "did:peaq:777"}
    for chunk in relabelled["chunks"]:
        chunk["signature"]["machine_did"] = "did:peaq:777"
    assert code(check, relabelled, data) == "peaq.another_did"
    stranger = trusted_keys("did:peaq:777", keys=[SoftwareSigner.generate().public_key])
    assert code(check, relabelled, data, stranger) == "peaq.key_not_named"
    # The same machine's chunks in another order, with ids that fit.
    swapped = copy.deepcopy(value)
    first, second, *_ = swapped["chunks"]
    swapped["chunks"][:2] = [second | {"index": 0}, first | {"index": 1}]
    other = {**data, 0: data[1], 1: data[0]}
    previous = None
    for chunk in swapped["chunks"]:
        chunk["previous_chunk_id"] = previous
        previous = chunk_id(previous, chunk["encrypted_data_hash"], chunk["index"])
        chunk["chunk_id"] = previous
    assert code(check, swapped, other) == "peaq.chain_cut"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("index",), 1, "peaq.chain_broken"),
        (("index",), False, "peaq.chain_broken"),
        (("previous_chunk_id",), "0x" + "00" * 32, "peaq.chain_broken"),
        (("chunk_id",), "0x" + "00" * 32, "peaq.chain_broken"),
        (("encrypted_data_hash",), "0x" + "00" * 32, "peaq.chain_broken"),
        (("encrypted_data_hash",), "0X" + "00" * 32, "peaq.chain_malformed"),
        (("schema_version",), "v2", "peaq.chain_malformed"),
        (("signature",), None, "peaq.chain_malformed"),
        (("signature", "algorithm"), "none", "peaq.chain_malformed"),
        (("signature", "machine_did"), "did:peaq:43", "peaq.another_did"),
        (("signature", "machine_did"), None, "peaq.another_did"),
        (("signature", "public_key_hex"), "01" + "00" * 31, "key.not_admissible"),
        (("signature", "public_key_hex"), 5, "peaq.chain_malformed"),
        (("signature", "value"), "00" * 64, "signature.invalid"),
        (("signature", "value"), "00" * 63, "peaq.chain_malformed"),
    ],
)
def test_one_wrong_member_of_a_chunk(path: tuple[str, ...], value: Any, expected: str) -> None:
    given, data = chain()
    at = given["chunks"][0]
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    assert code(check, given, data) == expected


def test_chains_that_are_none() -> None:
    value, data = chain()
    odd: list[Any] = [{}, [], None, {"chunks": []}, {"chunks": 5}, {"did": MACHINE, "chunks": [5]}]
    for wrong in odd:
        assert code(check, wrong, data) == "peaq.chain_malformed"
    assert code(check, value, {}) == "peaq.chain_broken"
    assert code(check, value, {**data, 3: b"x"}) == "peaq.chain_broken"


def test_a_parsed_package_is_what_it_was() -> None:
    package = parse_package(json.dumps(signed()))
    assert isinstance(package, Package) and package.portable
    assert parse_address(package.did.removeprefix("did:peaq:")) == WALLET_ADDRESS
