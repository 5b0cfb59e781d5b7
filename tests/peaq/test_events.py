"""Generation B: machines, events on both kinds of chain, and the ABI below them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from depin_id import base58
from depin_id.errors import DepinError
from depin_id.evm import checksum_address, parse_address
from depin_id.peaq import abi, events, machine, solana
from depin_id.peaq.events import Event, data_hash
from depin_id.peaq.identifier import machine_did, machine_id, parse_peaq_did
from tests.peaq.world import code, load


def test_machines_have_the_numbers_and_calls_of_peaq() -> None:
    found = load("peaqos_machine_did")
    assert checksum_address(machine.REGISTRY) == found["machine_registry_peaq_mainnet"]
    for name, signature in found["function_signatures"].items():
        assert "0x" + abi.selector(signature).hex() == found["selectors"][name]
    for vector in found["machine_ids"]:
        kind, subject = vector["machine_type"], bytes.fromhex(vector["credential_subject_hex"])
        assert abi.encode("(string,bytes)", [kind, subject]).hex() == vector["abi_encoded_hex"]
        number = machine_id(kind, subject)
        assert str(number) == vector["machine_id"] and machine_did(number) == vector["machine_did"]
        assert parse_peaq_did(vector["machine_did"]).machine_id == number
        made = machine.compute_token_id(kind, subject)
        assert "0x" + made.data.hex() == vector["calldata_computeTokenId"]
    setting, asking, naming, answer = found["did_calls"]
    number = int(setting["token_id"])
    methods = [
        machine.MachineMethod(name, kind, parse_address(controller), key)
        for name, kind, controller, key in setting["methods"]
    ]
    made = machine.set_verification_methods(number, methods)
    assert "0x" + made.data.hex() == setting["calldata"]
    assert "0x" + machine.did_document(number).data.hex() == asking["calldata"]
    assert "0x" + machine.token_id_from_did(naming["did"]).data.hex() == naming["calldata"]
    data = bytes.fromhex(answer["return_data"][2:])
    document = machine.decode_machine_document(data)
    assert document.methods == tuple(methods) and document.authentication == (0, 1)
    assert machine.encode_machine_document(document) == data
    for call, name in (
        (machine.set_authentication(number, [0, 1]), "setAuthentication"),
        (machine.set_controller(number, bytes(20)), "setController"),
        (machine.set_service_endpoints(number, document.services), "setServiceEndpoints"),
    ):
        assert "0x" + call.data[:4].hex() == found["selectors"][name]
    for wrong in (
        replace(document, id="did:peaq:0x9858EfFD232B4033E47d90003D41EC34EcaEda94"),
        replace(document, id="did:peaq:" + "9" * 78),
        replace(document, id="did:peaq:٣"),
        replace(document, authentication=(2,)),
        replace(document, authentication=(0, 0)),
        replace(document, services=document.services * 65),
    ):
        encoded = machine.encode_machine_document(wrong)
        assert code(machine.decode_machine_document, encoded) == "peaq.document_malformed"
    assert code(machine.did_document, 0) == "peaq.field"
    assert code(machine_did, 1 << 256) == "did.malformed"
    assert code(machine_id, "", b"") == "peaq.field"


def event_of(given: dict[str, Any]) -> Event:
    kind, currency = int(given["event_type"]), given["currency"]
    raw = given.get("raw_data_hex", given.get("raw_data"))
    source = given["source_tx_hash"]
    return Event(
        machine_id=int(given["machine_id"]),
        event_type=kind,
        value=int(given["value"]),
        timestamp=int(given["timestamp"]),
        currency=("USD" if kind == events.REVENUE else "") if currency is None else currency,
        data_hash=data_hash(None if raw is None else bytes.fromhex(raw)),
        trust_level=int(given["trust_level"]),
        source_chain_id=int(given["source_chain_id"]),
        source_tx_hash=events.ZERO if source is None else bytes.fromhex(source.removeprefix("0x")),
        metadata=bytes.fromhex(given.get("metadata_hex") or given.get("metadata") or ""),
    )


def test_events_are_those_of_peaq_both_ways() -> None:
    found = load("peaqos_events")
    assert "0x" + abi.selector(found["submitEvent"]).hex() == found["selector"]
    for vector in found["vectors"]:
        event = event_of(vector["input"])
        assert "0x" + event.data_hash.hex() == vector["data_hash"]
        call = events.submit_event(event).to_json()
        assert call["data"] == vector["calldata"] and call["to"] == vector["to"]
        assert events.decode_event(bytes.fromhex(vector["calldata"][2:])) == event
    batch = found["batch"]
    inside = [event_of(given) for given in batch["inputs"]]
    made = events.submit_batch(inside)
    assert made.to_json()["data"] == batch["calldata"] and made.to_json()["to"] == batch["to"]
    assert events.decode_batch(made.data) == inside
    assert ["0x" + events.event_data(event).hex() for event in inside] == batch["inner_calldata"]


GOOD: dict[str, Any] = {
    "machine_id": 1,
    "event_type": events.REVENUE,
    "value": 5,
    "timestamp": 1_735_000_000,
    "currency": "USD",
}


def test_what_peaq_refuses_is_refused_and_more() -> None:
    refused: dict[str, dict[str, Any]] = {
        "machine_id 0": {"machine_id": 0},
        "event_type 2": {"event_type": 2},
        "float value": {"value": 1.5},
        "bool value": {"value": True},
        "negative": {"value": -1},
        "trust 3": {"trust_level": 3},
        "trust 1 without tx": {"trust_level": 1},
        "ts 0": {"timestamp": 0},
        "activity with currency": {"event_type": 1},
        "revenue lower-case": {"currency": "usd"},
        "revenue trailing newline": {"currency": "USD\n"},
        # Taken by peaq's client, refused by its contract, or shown by nothing.
        "metadata 5000 bytes not checked client-side": {"metadata": bytes(5000)},
        "trust 2 without data": {"trust_level": 2},
    }
    listed = {vector["id"]: vector["accepted"] for vector in load("peaqos_events")["validation"]}
    for name, change in refused.items():
        assert code(Event, **GOOD | change) == "peaq.event"
        listed.pop(name, None)
    for name, chain in (("unknown chain 10000", 10000), ("chain 9990 agung rejected", 9990)):
        elsewhere = Event(**GOOD, source_chain_id=chain)
        assert code(events.submit_event, elsewhere) == "peaq.event" and not listed.pop(name)
    assert code(data_hash, b"") == "peaq.event" and not listed.pop("empty raw")
    assert all(listed.values()), "something that peaq refuses is not looked at here"
    assert code(events.submit_batch, []) == "peaq.event"
    assert code(events.submit_batch, [Event(**GOOD)] * 257) == "peaq.event"


def test_a_batch_that_does_something_else_is_no_batch_of_events() -> None:
    inner, types = events.event_data(Event(**GOOD)), "(address[],uint256[],bytes[],uint64[])"
    head = abi.selector("batchAll" + types)
    home = [events.REGISTRY]
    batches: list[list[Any]] = [
        [[bytes(20)], [0], [inner], [0]],
        [home, [1], [inner], [0]],
        [home, [0], [inner], [1]],
        [home, [], [inner], [0]],
        [[], [], [], []],
        [home, [0], [inner[:-1]], [0]],
    ]
    for values in batches:
        data = head + abi.encode(types, values)
        assert code(events.decode_batch, data) in ("peaq.event", "abi.malformed")
    assert code(events.decode_batch, inner) == "peaq.event"
    assert code(events.decode_event, head) == "peaq.event"


def test_solana_instructions_are_those_of_peaq_both_ways() -> None:
    for vector in load("peaqos_events_solana")["vectors"]:
        event = event_of(vector["input"])
        submitter = solana.parse_key(vector["accounts"][0][1])
        made = solana.submit_event(event, submitter)
        assert base58.encode(made.program) == vector["program_id"]
        assert made.data.hex() == vector["data_hex"]
        shown = [[a.role, base58.encode(a.address), a.signs, a.written] for a in made.accounts]
        assert shown == vector["accounts"]
        assert solana.decode_event(made.data) == event
        for wrong in (
            made.data[:-1],
            made.data + b"\0",
            b"\0" + made.data[1:],
            made.data[:50],
            b"",
        ):
            assert code(solana.decode_event, wrong) == "peaq.event"
    assert code(solana.encode_event, Event(**GOOD, metadata=bytes(257))) == "peaq.event"
    assert code(solana.submit_event, Event(**GOOD), bytes(31)) == "peaq.account_malformed"
    assert code(solana.program_address, [bytes(33)], bytes(32)) == "peaq.account_malformed"
    for text in ("", "1" * 31, "1" * 33, "0" * 32, "l" * 44):
        assert code(solana.parse_key, text) == "peaq.account_malformed"


VALUES = st.tuples(
    st.integers(0, (1 << 256) - 1),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.binary(min_size=20, max_size=20),
    st.lists(st.tuples(st.binary(max_size=70), st.integers(0, 255)), max_size=4),
    st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=3), max_size=3),
)
TYPES = "(uint256,string,address,(bytes,uint8)[],string[][])"


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@given(VALUES, st.data())
def test_abi_has_one_encoding_for_one_value(values: Any, data: st.DataObject) -> None:
    encoded = bytearray(abi.encode(TYPES, values))
    assert abi.decode(TYPES, bytes(encoded)) == plain(values)
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        found = abi.decode(TYPES, bytes(encoded))
    except DepinError as error:
        assert error.code == "abi.malformed"
    else:
        assert found != plain(values) and abi.encode(TYPES, found) == encoded


def test_abi_of_hostile_data() -> None:
    word = (32).to_bytes(32, "big")
    # Every offset points at the same list: without a budget this doubles with each level.
    bomb = word + (64).to_bytes(32, "big") + word * 64
    for types in ("(string[])", "(string[][][][][][])", "(bytes)", "((string,string)[])"):
        assert code(abi.decode, types, bomb) == "abi.malformed"
        assert code(abi.decode, types, b"\xff" * 320) == "abi.malformed"
        assert code(abi.decode, types, b"") == "abi.malformed"
    assert code(abi.decode, "(bytes)", bytes(1 << 19)) == "abi.too_large"
    for types in (
        "",
        "(",
        "(int)",
        "(uint256",
        "(uint256))",
        "bool",
        "((((",
        "(,)",
        "()",
        "(uint264)",
        "(uint08)",
    ):
        assert code(abi.parse_type, types) == "abi.malformed"
    for types, value in (
        ("(uint8)", [256]), ("(uint8)", [True]), ("(uint8)", []), ("(uint8)", ["1"]),
        ("(address)", [b""]), ("(bytes32)", [bytes(31)]), ("(string)", ["\ud800"]),
        ("(string)", [b""]), ("(bytes)", [""]), ("(uint8[])", [3]),
    ):  # fmt: skip
        assert code(abi.encode, types, value) == "abi.malformed"
