"""Payout wallets: one message, one account, one owner, one network, one challenge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depin_id import base58
from depin_id.errors import CredentialError, DepinError, KeyRefused, SignatureInvalid
from depin_id.evm import ORDER, checksum_address, keccak256, parse_address, recover_address
from depin_id.owners import (
    Wallet,
    WalletBinding,
    WalletRequest,
    parse_account,
    verify_wallet,
    wallet_message,
)
from tests.owners.people import NETWORK, NONCE, NOW, WALLETS, Evm, Solana, bind, party

OWNER = party("owner").did
OTHER = party("other").did

# EIP-55, "Test Cases": all capitals, all small, and mixed.
EIP55 = """
0x52908400098527886E0F7030069857D2E4169EE7 0x8617E340B3D01FA5F11F306F4090FD50E238070D
0xde709f2102306220921060314715629080e2fb77 0x27b1fdb04752bbc536007a920d24acb045561c26
0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed 0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359
0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB 0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb
""".split()


def test_published_figures_of_others() -> None:
    for address in EIP55:
        assert checksum_address(parse_address(address)) == address
        assert parse_account(f"eip155:1:{address.lower()}") == f"eip155:1:{address}"
    # web3.js documentation, web3.eth.accounts.sign("Some data", 0x4c0883a6...362318).
    signature = bytes.fromhex(
        "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
        "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
    )
    found = recover_address(b"Some data", signature)
    assert checksum_address(found) == "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
    # The Keccak team's vector of the empty message.
    assert keccak256(b"").hex().startswith("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8")
    # CAIP-10 examples of the Chain Agnostic namespaces eip155 and solana.
    for account in (
        "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb",
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
    ):
        assert parse_account(account) == account


def test_the_message_is_fixed_lines() -> None:
    text = wallet_message(
        WALLETS["eip155"].account, owner=OWNER, network=NETWORK, nonce=NONCE, issued_at=NOW
    )
    assert text.split("\n")[2:] == [
        "",
        f"Network: {NETWORK}",
        f"Owner: {OWNER}",
        f"Wallet: {WALLETS['eip155'].account}",
        "Nonce: 101112131415161718191a1b1c1d1e1f",
        "Issued at: 2026-11-18T11:06:40Z",
    ]
    assert WalletRequest.parse(text).message == text
    for wrong in (
        text + "\n",
        text.replace("Nonce: 10", "Nonce: 1"),
        text.replace("T11", "T25"),
        text.replace("Owner: did", "Owner: dId"),
        text.replace(WALLETS["eip155"].account, WALLETS["eip155"].account.lower()),
        text.replace("moves nothing", "moves everything"),
        text.replace("2026-11", "\u0662026-11"),
        "",
        "x" * 10_000,
    ):
        with pytest.raises(DepinError):
            WalletRequest.parse(wrong)


@pytest.mark.parametrize("kind", WALLETS)
def test_a_wallet_is_bound(kind: str) -> None:
    binding = bind(WALLETS[kind], OWNER)
    wallet = verify_wallet(binding, owner=OWNER, network=NETWORK, nonce=NONCE)
    assert wallet == Wallet(WALLETS[kind].account, OWNER, NETWORK, NOW - NOW % 1000)
    again = WalletBinding.from_list(binding.to_list(), owner=OWNER, network=NETWORK)
    said = binding.to_json()
    assert again == binding == WalletBinding.read(said["message"], said["signature"])
    if kind == "solana":
        assert WalletBinding.read(said["message"], base58.encode(binding.signature)) == binding


@pytest.mark.parametrize("kind", WALLETS)
def test_a_binding_is_good_for_nothing_else(kind: str) -> None:
    binding = bind(WALLETS[kind], OWNER)
    expected = {"owner": OWNER, "network": NETWORK, "nonce": NONCE}
    for change in ({"owner": OTHER}, {"network": OTHER}, {"nonce": bytes(16)}):
        with pytest.raises(CredentialError, match="wallet.foreign"):
            verify_wallet(binding, **{**expected, **change})  # type: ignore[arg-type]
        # Nor under a request that says so and a signature for another.
        moved = replace(binding, request=replace(binding.request, **change))
        with pytest.raises(DepinError, match="wallet.not_signer|signature.invalid"):
            verify_wallet(moved, **{**expected, **change})  # type: ignore[arg-type]
    later = replace(binding, request=replace(binding.request, issued_at=NOW + 1000))
    other = replace(
        binding, request=replace(binding.request, account=type(WALLETS[kind])("x").account)
    )
    for forged in (later, other):
        with pytest.raises(DepinError, match="wallet.not_signer|signature.invalid"):
            verify_wallet(forged, owner=OWNER, network=NETWORK, nonce=None)


def test_the_chain_is_part_of_what_is_signed() -> None:
    wallet = WALLETS["eip155"]
    binding = bind(wallet, OWNER)
    account = wallet.account.replace("eip155:1:", "eip155:137:")
    moved = replace(binding, request=replace(binding.request, account=account))
    with pytest.raises(CredentialError, match="wallet.not_signer"):
        verify_wallet(moved, owner=OWNER, network=NETWORK, nonce=NONCE)


def test_signatures_have_one_form() -> None:
    binding = bind(WALLETS["eip155"], OWNER)
    r, s, v = binding.signature[:32], binding.signature[32:64], binding.signature[64]
    assert WalletBinding.of(binding.request, r + s + bytes((v - 27,))) == binding
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    malleable = WalletBinding.of(binding.request, r + high + bytes((55 - v,)))
    with pytest.raises(SignatureInvalid, match="signature.malleable"):
        verify_wallet(malleable, owner=OWNER, network=NETWORK, nonce=NONCE)
    spelled = binding.to_list()
    spelled[3] = r + s + bytes((v - 27,))
    with pytest.raises(CredentialError, match="one spelling"):
        WalletBinding.from_list(spelled, owner=OWNER, network=NETWORK)
    for wrong in (b"", r + s, bytes(65), r + s + b"\x1d"):
        with pytest.raises(SignatureInvalid):
            made = WalletBinding.of(binding.request, wrong)
            verify_wallet(made, owner=OWNER, network=NETWORK, nonce=NONCE)


def test_contract_wallets_are_refused_and_told_so() -> None:
    request = WalletRequest(WALLETS["eip155"].account, OWNER, NETWORK, NONCE, NOW)
    for signature in (bytes(130), bytes(64) + bytes.fromhex("6492") * 16):
        with pytest.raises(CredentialError, match="wallet.contract") as caught:
            WalletBinding.of(request, signature)
        assert "contract" in caught.value.hint
    # A Safe's address with the signature of one of its owners.
    signature = WALLETS["eip155"].sign(request.message)
    safe = replace(request, account=Evm("its address is no key's").account)
    with pytest.raises(CredentialError, match="wallet.not_signer") as caught:
        verify_wallet(WalletBinding.of(safe, signature), owner=OWNER, network=NETWORK, nonce=NONCE)
    assert "contract" in caught.value.hint
    # The identity point, which verifies anything under lenient libraries: no key of a wallet.
    identity = base58.encode(b"\x01" + bytes(31))
    with pytest.raises(KeyRefused):
        parse_account(f"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{identity}")


@pytest.mark.parametrize(
    "account",
    [
        "",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "eip155:01:0x52908400098527886E0F7030069857D2E4169EE7",
        "eip155:1:0x52908400098527886E0F7030069857D2E4169EE",
        "eip155:1:0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7\n",
        "bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6",
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:1",
        "solana:short:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + "1" * 33,
        "e" * 1000,
    ],
)
def test_accounts_that_cannot_be_paid(account: str) -> None:
    with pytest.raises(DepinError):
        parse_account(account)


def test_requests_that_cannot_be_signed() -> None:
    good = bind(Solana("w"), OWNER).request
    for change in (
        {"owner": "nobody"},
        {"owner": "did:key:x\nWallet: eip155:1:0x0"},
        {"network": 5},
        {"nonce": b"short"},
        {"nonce": "0" * 16},
        {"issued_at": -1},
        {"issued_at": 1 << 60},
        {"issued_at": True},
    ):
        with pytest.raises(DepinError):
            replace(good, **change)
    for value in (None, [], [1, 2, 3, 4], [good.account, NONCE, NOW, b""], [0] * 5):
        with pytest.raises(DepinError):
            WalletBinding.from_list(value, owner=OWNER, network=NETWORK)
    for text in ("", "0xzz", "ab", "1" * 100_000):
        with pytest.raises(DepinError):
            WalletBinding.read(good.message, text)
