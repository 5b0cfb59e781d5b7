"""Owners, delegation and succession with the command lines alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depin_id import credentials
from depin_id.ack import read_challenge
from depin_id.cli import main as depin_id
from depin_id.device import Device
from depin_id.did.key import did_key
from depin_id.keyfile import read_key, write_key
from depin_id.network import load_card
from depin_id.owners import ClaimCode
from depin_id.readings import reading
from tests.identity.delegated import signer
from tests.identity.factory import Maker
from tests.owners.people import Evm, bind
from tests.verify.cli_site import Site
from verify.admin import perform
from verify.aggregator import Aggregator

ME, BUYER, GATEWAY = signer("me"), signer("buyer"), signer("gateway of the cli")
ME_DID, BUYER_DID = did_key(ME.public_key), did_key(BUYER.public_key)
IDENTITY = f'[identity]\nsuccession = ["owner"]\nmanufacturers = ["{ME_DID}"]\n'


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    made.init()
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text() + IDENTITY)
    made.ok("policy", made.root, policy)
    for name, key in (("me", ME), ("buyer", BUYER)):
        write_key(tmp_path / f"{name}.key", key)
    yield made
    made.close()


def _id(site: Site, *arguments: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        depin_id([str(item) for item in arguments])
        raise SystemExit(0)
    assert ended.value.code in (0, None), site._capsys.readouterr().err


def _nonce(site: Site, did: str) -> str:
    file = site.folder / "challenge.cbor"
    answer = site.ok("challenge", site.root, "--did", did, "-o", file, "--json").json
    card = load_card(site.folder / "net" / "card.cbor")[0]
    recipient = bytes.fromhex(answer["thumbprint"])
    return read_challenge(file.read_bytes(), card=card, recipient=recipient).nonce.hex()


def test_a_capability_from_owner_to_row(site: Site) -> None:
    folder, card = site.folder, site.folder / "net" / "card.cbor"
    with Device.create(folder / "gw", name="gw", role="gateway", signer=GATEWAY) as gateway:
        write_key(folder / "gw.key", GATEWAY)
        site.ok("enrol", site.root, site.document(gateway))
        chain, proof = folder / "chain.cap", folder / "proof.cbor"
        how = ("--allow", "sign-for", "--all-devices", "--hours", "1", "--count", "1")
        to = ("--to", gateway.did, "--network", card)
        _id(site, "delegate", "new", "--as", folder / "me.key", *to, *how, "-o", chain)
        said = ("--nonce", _nonce(site, gateway.did), "--for", site.network)
        purpose = ("--purpose", "capability", "-o", proof)
        signing = ("--as", folder / "gw.key", "--network", card)
        _id(site, "delegate", "prove", chain, *signing, *said, *purpose)
        answer = site.ok("capability", "add", site.root, chain, "--proof", proof, "--json").json
        assert answer["issuer"] == ME_DID and answer["changed"]
        again = site.run("capability", "add", site.root, chain, "--proof", proof)
        assert again.code == 2 and "possession.replayed" in again.err
        cap = bytes.fromhex(answer["id"])
        file = folder / "packs.cbor"
        now = int(gateway._wall()) - 10
        file.write_bytes(
            b"".join(
                gateway.sign(
                    [reading("laeq", 50, "dB", now + n)],
                    network=site.network,
                    subject=f"{ME_DID}#lobby",
                    capability=cap,
                )
                for n in range(2)
            )
        )
        told = site.ok("ingest", site.root, file, "--json").json
        assert told["accepted"] == 1 and told["rejected"] == {"capability.budget": 1}
        assert "1/1" in site.ok("capability", "list", site.root).out
        site.ok("capability", "withdraw", site.root, answer["id"], "--reason", "sold")
        (listed,) = site.ok("capability", "list", site.root, "--json").json["capabilities"]
        assert listed["standing"] == "capability.withdrawn"
        refused = site.run("capability", "withdraw", site.root, "xyz")
        assert refused.code == 2 and "admin.request" in refused.err
    site.ok("audit", site.root)
    site.ok("verify-dataset", site.root / "public")


def _certified(site: Site, device: Device, code: ClaimCode) -> None:
    """The device shows its birth certificate."""
    maker = Maker(did=ME_DID)
    maker.signer = ME
    certificate = maker.birth(device.public_key, claim=code.digest(device.did))
    card = load_card(site.folder / "net" / "card.cbor")[0]
    with Aggregator(site.root) as aggregator:
        asked = perform(aggregator, {"op": "challenge", "did": device.did})["challenge"]
        proof = device.prove(bytes.fromhex(asked), card=card, certificate=certificate)
        shown = {"proof": proof.hex(), "certificate": certificate.hex()}
        assert perform(aggregator, {"op": "enrol", **shown})["known"]


def test_claim_wallet_transfer_succession_erasure(site: Site) -> None:
    folder, card = site.folder, site.folder / "net" / "card.cbor"
    device = site.device()
    site.ok("enrol", site.root, site.document(device))
    code = ClaimCode(bytes(range(16)))
    _certified(site, device, code)
    net = ("--network", card)
    # Claim.
    owner = ("--owner", folder / "me.key")
    nonce = ("--nonce", _nonce(site, ME_DID), "--device", device.did)
    claim = folder / "claim.cbor"
    _id(site, "claim", "make", code.text, *owner, *net, *nonce, "-o", claim)
    assert site.ok("owner", "claim", site.root, claim, "--json").json["owner"] == ME_DID
    assert "possession.replayed" in site.run("owner", "claim", site.root, claim).err
    # Wallet.
    wallet = Evm("cli")
    asked = bytes.fromhex(_nonce(site, ME_DID))
    binding = bind(wallet, ME_DID, network=site.network, nonce=asked)
    (folder / "wallet.json").write_text(json.dumps(binding.to_json()))
    payout = folder / "payout.cbor"
    _id(site, "payout", folder / "wallet.json", *owner, *net, "-o", payout)
    assert site.ok("owner", "wallet", site.root, payout, "--json").json["wallet"] == wallet.account
    # Transfer.
    moment = credentials.format_moment(int(device._wall()) * 1000)
    subject = credentials.OwnershipSubject(id=device.did, owner=BUYER_DID, previous="00" * 32)
    body = credentials.Ownership(credential_subject=subject, issuer=ME_DID, valid_from=moment)
    signed = credentials.issue(
        body, ME, verification_method=f"{ME_DID}#{ME_DID[8:]}", created=moment
    )
    (folder / "sold.json").write_text(json.dumps(signed))
    site.ok("owner", "transfer", site.root, folder / "sold.json")
    refused = site.run("owner", "transfer", site.root, folder / "sold.json")
    assert refused.code == 2 and "ownership.issuer" in refused.err
    shown = site.ok("owner", "show", site.root, device.did)
    assert BUYER_DID in shown.out and "transfer" in shown.out and "claim" in shown.out
    # Succession.
    fresh = folder / "fresh.key"
    write_key(fresh, signer("fresh"))
    new = did_key(read_key(fresh).public_key)
    offer, succession = folder / "offer.cbor", folder / "succession.cbor"
    about = ("--device", device.did, "--old", device.did, "--reason", "board")
    asks = ("--nonce", _nonce(site, new), "-o", offer)
    _id(site, "succession", "offer", fresh, *about, *net, *asks)
    vouching = ("--key", folder / "buyer.key", "--as", "owner", *net, "-o", succession)
    _id(site, "succession", "vouch", offer, *vouching)
    assert site.ok("succeed", site.root, succession, "--json").json["voucher"] == "owner"
    assert site.run("succeed", site.root, succession).code == 2
    # Erasure, and the operator's word.
    site.ok("erase", site.root, ME_DID, "--yes")
    assert site.ok("owner", "show", site.root, ME_DID, "--json").json["wallet"] is None
    site.ok("owner", "set", site.root, device.did, "--to", ME_DID)
    assert site.ok("owner", "show", site.root, device.did, "--json").json["owner"] == ME_DID
    site.ok("audit", site.root)
