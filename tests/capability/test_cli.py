"""``depin-id delegate``: owner, gateway and agent, with the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depin_id.capability import Challenges, Operation, verify_chain, verify_possession
from depin_id.capability.chain import no_list
from depin_id.commands.identity import wall_ms
from depin_id.did.folder import DidFolder
from depin_id.did.key import did_key
from depin_id.keyfile import write_key
from depin_id.keys import SoftwareSigner
from tests.capability.world import DEVICE, NETWORK, OTHER_DID, owner_key
from tests.status.test_cli import URL, Desk


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    made = Desk(tmp_path, capsys)
    for name in ("gateway", "agent"):
        write_key(tmp_path / f"{name}.key", signer := SoftwareSigner.generate())
        (tmp_path / f"{name}.did").write_text(did_key(signer.public_key))
    return made


def did(desk: Desk, name: str) -> str:
    return (desk.folder / f"{name}.did").read_text()


def made(desk: Desk, *more: str, code: int = 0) -> str:
    return desk.run(
        *("delegate", "new", "--as", desk.path("owner"), "--to", did(desk, "gateway")),
        *("--network", NETWORK, "-o", desk.path("gateway.cap"), *more),
        code=code,
    )


def passed_on(desk: Desk, *more: str, code: int = 0) -> str:
    return desk.run(
        *("delegate", "attenuate", desk.path("gateway.cap"), "--as", desk.path("gateway.key")),
        *("--to", did(desk, "agent"), "--network", NETWORK, "-o", desk.path("agent.cap"), *more),
        code=code,
    )


WHOLE = (
    *("--allow", "sign-for", "--allow", "read-data", "--all-devices", "--depth", "1"),
    *("--hours", "24", "--count", "1000", "--rate", "60", "--box", "48.1,11.4,48.3,11.8"),
)


def test_owner_gateway_agent(desk: Desk) -> None:
    made(desk, *WHOLE)
    passed_on(desk, "--allow", "read-data", "--device", DEVICE, "--hours", "1", "--count", "5")
    shown = desk.json("delegate", "show", desk.path("agent.cap"))
    assert shown["issuer"] == desk.owner.did and not shown["verified"]
    assert [block["count"] for block in shown["blocks"]] == [1000, 5]
    found = desk.json("delegate", "verify", desk.path("agent.cap"), "--network", NETWORK)
    assert found["verified"] and found["operations"] == ["read-data"]
    assert found["devices"] == [DEVICE] and found["audience"] == did(desk, "agent")
    assert found["ids"][-1] == found["id"] and len(found["ids"]) == 2
    assert found["region"] == ["48.1,11.4,48.3,11.8"]
    assert "60 a minute" in desk.run("delegate", "show", desk.path("gateway.cap"))


def test_a_gateway_passes_on_as_its_folder(desk: Desk) -> None:
    shown = desk.json("device", "new", desk.path("gw"), "--name", "roof")
    (desk.folder / "gateway.did").write_text(shown["did"])
    made(desk, *WHOLE)
    desk.run(
        *("delegate", "attenuate", desk.path("gateway.cap"), "--as", desk.path("gw")),
        *("--to", did(desk, "agent"), "--network", NETWORK, "-o", desk.path("agent.cap")),
    )
    found = desk.json("delegate", "verify", desk.path("agent.cap"), "--network", NETWORK)
    assert found["audience"] == did(desk, "agent")


def test_a_proof_that_a_verifier_takes(desk: Desk) -> None:
    made(desk, *WHOLE)
    challenges, now = Challenges(), wall_ms()
    nonce = challenges.new("enrol", now_ms=now)
    desk.run(
        *("delegate", "prove", desk.path("gateway.cap"), "--as", desk.path("gateway.key")),
        *("--network", NETWORK, "--nonce", nonce.hex(), "--for", NETWORK, "--purpose", "enrol"),
        *("-o", desk.path("proof")),
    )
    capability = verify_chain(
        (desk.folder / "gateway.cap").read_bytes(),
        network=NETWORK,
        owner_key=owner_key,
        now_ms=now,
        revoked=no_list,
    )
    assert Operation.SIGN_FOR in capability.operations
    verify_possession(
        (desk.folder / "proof").read_bytes(),
        capability,
        network=NETWORK,
        audience=NETWORK,
        purpose="enrol",
        challenges=challenges,
        now_ms=now,
    )


def test_revocation_by_a_status_list(desk: Desk) -> None:
    book, signed = desk.path("fleet.list"), desk.path("status.json")
    desk.run("status", "new", book, "--url", URL)
    index = json.loads(desk.run("status", "give", book))["statusListIndex"]
    made(desk, *WHOLE, "--status-url", URL, "--status-index", index)
    verify = ("delegate", "verify", desk.path("gateway.cap"), "--network", NETWORK)
    assert "capability.undecided" in desk.run(*verify, code=2)
    desk.run("status", "sign", book, "--as", desk.path("owner"), "-o", signed)
    assert desk.json(*verify, "--status", signed)["verified"]
    desk.run("status", "set", book, index, "revoked")
    desk.run("status", "sign", book, "--as", desk.path("owner"), "-o", signed)
    assert "capability.revoked" in desk.run(*verify, "--status", signed, code=2)
    # A list that somebody else signs for the same URL says nothing of the owner's capabilities.
    other = DidFolder.create(desk.folder / "other")
    assert other.did != desk.owner.did
    desk.run("status", "new", desk.path("other.list"), "--url", URL)
    desk.run("status", "sign", desk.path("other.list"), "--as", desk.path("other"), "-o", signed)
    assert "capability.undecided" in desk.run(*verify, "--status", signed, code=2)


def test_widening_is_refused(desk: Desk) -> None:
    made(desk, *WHOLE)
    for option, value, field in (
        ("--allow", "administer", "operations"),
        ("--count", "1001", "count"),
        ("--rate", "61", "rate"),
        ("--hours", "25", "expiry"),
        ("--box", "48.0,11.4,48.3,11.8", "region"),
        ("--depth", "1", "depth"),
    ):
        assert f"capability.wider_{field}" in passed_on(desk, option, value, code=2)
    made(desk, "--allow", "sign-for", "--device", DEVICE, "--depth", "1")
    assert "capability.wider_selector" in passed_on(desk, "--all-devices", code=2)


def test_another_network_and_wrong_words(desk: Desk) -> None:
    made(desk, *WHOLE)
    verify = ("delegate", "verify", desk.path("gateway.cap"), "--network", OTHER_DID)
    assert "signature.invalid" in desk.run(*verify, code=2)
    for more in (
        (),
        ("--allow", "fly", "--all-devices"),
        ("--allow", "sign-for", "--all-devices", "--device", DEVICE),
        ("--allow", "sign-for", "--all-devices", "--box", "1,2,3"),
        ("--allow", "sign-for", "--all-devices", "--hours", "0"),
        ("--allow", "sign-for", "--all-devices", "--burst", "2"),
        ("--allow", "sign-for", "--all-devices", "--status-index", "2"),
    ):
        assert "error: " in made(desk, *more, code=2)
