"""``depin-id peaq`` as people use it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from depin_id import evm
from depin_id.cli import main
from depin_id.did.multikey import encode_multikey
from depin_id.keys import SoftwareSigner
from depin_id.peaq.chunks import chunk_id
from depin_id.peaq.document import RECOVERY, DocumentSignature, create_document
from depin_id.peaq.ros2 import challenge
from depin_id.peaq.stream import sign_package
from depin_id.peaq.trust import issuer_message
from tests.paths import ROOT
from tests.peaq.world import OTHER, WALLET_ADDRESS, WALLET_DID, load, personal_sign

ADDRESS = evm.checksum_address(WALLET_ADDRESS)
OTHER_ADDRESS = evm.checksum_address(evm.public_key_address(OTHER.public_key.format()))
SUBJECT = evm.checksum_address(bytes(range(200, 220)))
AT = ("--at", "2025-01-01T00:00:30Z")


class Line:
    """Runs a command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self.folder = folder

    def file(self, name: str, value: Any) -> str:
        """A file, as JSON unless it is text or bytes."""
        path = self.folder / name
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        """What it prints, as JSON where --json was asked for; its errors, where it failed."""
        try:
            main(["peaq", *arguments])
            status: Any = 0
        except SystemExit as stop:
            status = stop.code or 0
        shown = self._capsys.readouterr()
        assert "Traceback" not in shown.err
        assert status == code, shown.err + shown.out
        if code == 2:
            return json.loads(shown.err)["error"]["code"]
        if "--json" in arguments:
            lines = shown.out.splitlines()
            return (
                json.loads(shown.out) if lines[0] == "{" else [json.loads(line) for line in lines]
            )
        return shown.out


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Line:
    return Line(capsys, tmp_path)


def test_documents_and_calls_are_those_of_the_vectors(line: Line) -> None:
    vector = next(v for v in load("did_documents")["vectors"] if v["id"].startswith("machine-did"))
    source = line.file("document.json", vector["input"])
    made = line("document", source, "--json")
    assert made["value"] == vector["document_hex"] and made["did"] == vector["did"]
    assert made["trust"] == "attribute-only"
    name = vector["input"]["name"]
    again = line.file("value", made["value"])
    for form in (source, again):
        call = line("calldata", "add", name, form, "--json")
        assert call["data"] == vector["calldata_addAttribute"] and call["chainId"] == 3338
        call = line("calldata", "update", name, form, "--json")
        assert call["data"] == vector["calldata_updateAttribute"]
    account = vector["did"].removeprefix("did:peaq:")
    call = line("calldata", "remove", account, name, "--json", "--chain-id", "9990")
    assert call["data"] == vector["calldata_removeAttribute"] and call["chainId"] == 9990
    assert line("calldata", "read", account, name, "--json")["reads"] is True
    assert vector["did"] in line("document", source)


def test_storage_roles_machines_and_events(line: Line) -> None:
    storage = load("storage_rbac_address")
    vector = storage["storage"][0]
    key, item = vector["item_type"], vector["item"]
    assert line("calldata", "item-add", key, item, "--json")["data"] == vector["addItem"]
    assert line("calldata", "item-update", key, item, "--json")["data"] == vector["updateItem"]
    assert line("calldata", "item-remove", key, "--json")["data"] == vector["removeItem"]
    role = storage["rbac"][0]
    names = (role["args"]["role_id"], role["args"]["role_name"])
    assert line("calldata", "create", "role", *names, "--json")["data"] == role["data"]
    given = next(v for v in storage["rbac"] if v["fn"] == "assign_role_to_user")
    arguments = ("role", given["args"]["role_id"], "user", given["args"]["user_id"])
    assert line("calldata", "assign", *arguments, "--json")["data"] == given["data"]
    machine = load("peaqos_machine_did")["machine_ids"][0]
    found = line("machine-id", machine["machine_type"], machine["credential_subject_hex"], "--json")
    assert found == {"machineId": machine["machine_id"], "did": machine["machine_did"]}
    call = line("calldata", "machine-document", machine["machine_did"], "--json")
    assert call["data"].startswith("0xec3be542")

    batch = load("peaqos_events")["batch"]
    listed = [
        {name.removesuffix("_hex"): value for name, value in given.items() if value is not None}
        for given in batch["inputs"]
    ]
    assert line("event", line.file("events", listed), "--json")["data"] == batch["calldata"]
    one = line.file("event", listed[1])
    assert line("event", one, "--json")["data"] == batch["inner_calldata"][1]
    solana = load("peaqos_events_solana")["vectors"][0]
    event = {k: v for k, v in solana["input"].items() if v is not None} | {"event_type": 1}
    submitter = solana["accounts"][0][1]
    made = line("event", line.file("solana", event), "--solana", submitter, "--json")
    assert made["data"] == solana["data_hex"] and made["programId"] == solana["program_id"]
    assert "submitter, signs, written" in line("event", one, "--solana", submitter)
    raw = line.file("raw", b"b")
    del listed[1]["raw_data"]
    made = line("event", line.file("event", listed[1]), "--raw", raw, "--json")
    assert made["data"] == batch["inner_calldata"][1]


def test_wrong_input_is_told(line: Line) -> None:
    empty = line.file("empty", "{}")
    for arguments, expected in (
        (("document", empty), "usage"),
        (("document", line.file("a", '{"controller": 5}')), "usage"),
        (("document", line.file("b", '{"controller": "0x12", "x": 1}')), "usage"),
        (("document", line.file("c", '{"controller": "0x12"}')), "did.malformed"),
        (("document", line.file("d", "zz")), "peaq.source"),
        (("document", line.file("e", b"\xff\xfe")), "peaq.source"),
        (("document", str(line.folder / "none")), "file.missing"),
        (("machine-id", "Sensor", "0xq"), "usage"),
        (("event", empty), "peaq.event"),
        (("event", line.file("f", "[]")), "peaq.event"),
        (("event", line.file("g", '{"machine": 1}')), "usage"),
        (("calldata", "remove", "0x12", "n"), "evm.address_malformed"),
        (("calldata", "machine-document", WALLET_DID), "did.malformed"),
        (("calldata", "assign", "user", "u" * 32, "role", "r" * 32), "peaq.field"),
        (("verify", "package", line.file("h", "\n")), "usage"),
        (("verify", "package", empty, "--keys", line.file("i", "[]")), "config.keys"),
        (("verify", "package", empty, "--keys", line.file("j", '{"did:key:1": 5}')), "config.keys"),
        (("verify", "envelope", empty, "--data", empty), "did.malformed"),
        (("verify", "chain", empty, "--data", str(line.folder), "--last", "x"), "did.malformed"),
        (("verify", "chip", empty, "--nonce", "00", "--root", empty), "config.certificate"),
    ):  # fmt: skip
        assert line(*arguments, "--json", code=2) == expected, arguments


WITHOUT = """
import sys
sys.modules["coincurve"] = sys.modules["Crypto"] = None
from depin_id.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--help"], 0, b"peaq"),
        (["peaq", "machine-id", "Sensor", "00"], 2, b"install depin-id[wallet]"),
        (["peaq", "calldata", "item-remove", "k"], 2, b"install depin-id[wallet]"),
    ],
)
def test_without_the_extra_the_rest_works(arguments: list[str], code: int, expected: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        timeout=120,
    )
    assert done.returncode == code and expected in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


def package(number: int, did: str = "did:peaq:42") -> str:
    made = sign_package(
        did, "2025-01-01T00:00:00Z", "1", number, {"v": 1}, personal_sign=personal_sign
    )
    return json.dumps(made)


def test_packages_with_a_file_of_keys(line: Line) -> None:
    keys = line.file("keys.json", {"did:peaq:42": {"addresses": [ADDRESS]}})
    good = line.file("packages", "\n".join([package(1), package(2), "", package(3, WALLET_DID)]))
    found = line("verify", "package", good, "--keys", keys, *AT, "--json")
    assert [(one["ok"], one["trust"]) for one in found] == [
        (True, "caller"), (True, "caller"), (True, "did")
    ]  # fmt: skip
    bad = line.file("packages", "\n".join([package(2), package(2), package(1), "{", package(9)]))
    found = line("verify", "package", bad, "--keys", keys, *AT, "--json", code=1)
    codes = [one.get("code") for one in found]
    assert codes == [None, "peaq.replayed", "peaq.replayed", "json.malformed", None]
    seen = ("--seen", str(line.folder / "seen"))
    once = line.file("packages", package((1 << 53) + 1))
    assert line("verify", "package", once, "--keys", keys, *AT, *seen, "--json")[0]["ok"]
    again = line("verify", "package", once, "--keys", keys, *AT, *seen, "--json", code=1)
    assert again[0]["code"] == "peaq.replayed"
    line.file("seen", '{"a": "b"}')
    arguments = ("verify", "package", once, "--keys", keys, *AT, *seen, "--json")
    assert line(*arguments, code=2) == "state.damaged"
    line.file("packages", "\n".join([package(2), package(2), package(1), "{", package(9)]))
    assert "REFUSED peaq.key_not_named" in line("verify", "package", good, *AT, code=1)
    text = line("verify", "package", good, "--keys", keys, code=1)
    assert text.count("REFUSED peaq.timestamp_old") == 4


def test_packages_with_values_of_the_chain(line: Line) -> None:
    did = f"did:peaq:{SUBJECT}"
    document = create_document(ADDRESS, subject=SUBJECT, methods=[{"type": RECOVERY}])
    packages = line.file("packages", package(1, did))
    values = line.file("values", {did: document.on_chain().decode()})
    command = ("verify", "package", packages, "--values", values, *AT, "--json")
    assert line(*command, code=1)[0]["code"] == "peaq.attribute_only"
    assert line(*command, "--believe-attribute")[0]["trust"] == "attribute-only"
    text = "0x" + personal_sign(issuer_message(document), OTHER).hex()
    signature = DocumentSignature(RECOVERY, "did:peaq:900", text)
    signed = create_document(
        ADDRESS, subject=SUBJECT, methods=[{"type": RECOVERY}], signature=signature
    )
    line.file("values", {did: signed.on_chain().decode()})
    issuers = line.file("issuers", {"did:peaq:900": {"addresses": [OTHER_ADDRESS]}})
    assert line(*command, "--issuers", issuers)[0]["trust"] == "issuer"
    assert line(*command, code=1)[0]["code"] == "peaq.attribute_only"
    others = line.file("issuers", {"did:peaq:900": {"addresses": [ADDRESS]}})
    assert line(*command, "--issuers", others, code=1)[0]["code"] == "peaq.key_not_named"


def test_chains_and_envelopes(line: Line) -> None:
    device = SoftwareSigner.generate()
    named = {"did:peaq:42": {"keys": [encode_multikey(device.public_key)]}}
    keys = line.file("keys.json", named)
    line.file("0", b"cipher")
    digest = "0x" + hashlib.sha256(b"cipher").hexdigest()
    last = chunk_id(None, digest, 0)
    chunk = {
        "schema_version": "peaq.stream.chunks.v1",
        "chunk_id": last,
        "previous_chunk_id": None,
        "index": 0,
        "encrypted_data_hash": digest,
        "signature": {
            "algorithm": "ed25519",
            "machine_did": "did:peaq:42",
            "public_key_hex": device.public_key.raw.hex(),
            "value": device.sign(digest.encode()).hex(),
        },
    }
    source = line.file("chain", {"did": "did:peaq:42", "chunks": [chunk]})
    command = ("verify", "chain", source, "--data", str(line.folder), "--json")
    assert line(*command, "--keys", keys, "--last", last)["chunks"] == 1
    assert line(*command, "--keys", keys, "--last", "0x00", code=2) == "peaq.chain_cut"
    assert line(*command, "--last", last, code=2) == "peaq.key_not_named"

    data = hashlib.sha256(b"data").hexdigest()
    signature = device.sign(challenge(data, 1_735_689_600, "did:peaq:42")).hex()
    envelope = {
        "schema": "peaq-ipfs-envelope@v1",
        "header": {"contentType": "a", "createdAt": 1_735_689_600, "robotId": "did:peaq:42"},
        "payload": {"dataCid": "b", "dataSha256": data},
        "proof": {
            "algorithm": "ed25519",
            "publicKeyHex": device.public_key.raw.hex(),
            "signatureHex": signature,
        },
    }
    source, raw = line.file("envelope", envelope), line.file("raw", b"data")
    asked = ("verify", "envelope", source, "--data", raw, *AT, "--json")
    assert line(*asked, "--keys", keys)["sha256"] == data
    assert line(*asked, code=2) == "peaq.key_not_named"
