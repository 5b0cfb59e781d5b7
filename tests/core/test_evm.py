"""Wallets: Keccak-256, EIP-55 addresses, EIP-191 signatures."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from depin_id import evm
from depin_id.errors import ConfigError, DepinError

KEY = PrivateKey(bytes([0x33]) * 32)
ADDRESS = evm.public_key_address(KEY.public_key.format())


def sign(message: bytes) -> bytes:
    return KEY.sign_recoverable(evm.personal_hash(message), hasher=None)


def code(call: Any, *arguments: Any) -> str:
    with pytest.raises(DepinError) as caught:
        call(*arguments)
    return caught.value.code


def test_keccak_is_the_one_of_ethereum() -> None:
    # The empty code hash of the Ethereum Yellow Paper.
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert evm.keccak256(b"").hex() == empty


@pytest.mark.parametrize(
    "text",
    [  # EIP-55, "Test Cases".
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_addresses_of_eip_55(text: str) -> None:
    assert evm.checksum_address(evm.parse_address(text)) == text
    assert evm.parse_address(text.lower()) == evm.parse_address(text)
    if text[2:] not in (text[2:].upper(), text[2:].lower()):
        assert code(evm.parse_address, text[:2] + text[2:].swapcase()) == "evm.address_malformed"


@pytest.mark.parametrize(
    "text",
    ["", "0x", "0X" + "0" * 40, "0x" + "0" * 39, "0x" + "0" * 41, " 0x" + "0" * 40, "0" * 42,
     "0x" + "0" * 40 + "\n", "0x" + "٠" * 40, None, 5],
)  # fmt: skip
def test_other_addresses_are_refused(text: Any) -> None:
    assert code(evm.parse_address, text) == "evm.address_malformed"


@given(st.binary(max_size=200))
def test_every_message_recovers_its_signer(message: bytes) -> None:
    signature = sign(message)
    assert evm.recover_address(message, signature) == ADDRESS
    with_27 = signature[:64] + bytes((signature[64] + 27,))
    assert evm.recover_address(message, with_27) == ADDRESS
    assert evm.recover_address(message + b"x", signature) != ADDRESS


def test_forms_that_nobody_should_send() -> None:
    signature = sign(b"m")
    high = evm.ORDER - int.from_bytes(signature[32:64], "big")
    flipped = signature[:32] + high.to_bytes(32, "big") + bytes((signature[64] ^ 1,))
    assert code(evm.recover_address, b"m", flipped) == "signature.malleable"
    order = evm.ORDER.to_bytes(32, "big")
    for bad in (
        b"",
        signature[:64],
        signature + b"\0",
        *(signature[:64] + bytes((v,)) for v in (2, 3, 26, 29, 37, 255)),
        bytes(65),
        bytes(32) + signature[32:],
        signature[:32] + bytes(32) + signature[64:],
        order + signature[32:],
        signature[:32] + order + signature[64:],
        (5).to_bytes(32, "big") + signature[32:],  # no point of the curve has x = 5
    ):
        assert code(evm.recover_address, b"m", bad) == "signature.invalid"


def test_keys_that_are_no_points() -> None:
    for bad in (b"", b"\x02" + b"\xff" * 32, b"\x04" + bytes(64), b"\x00", bytes(33), b"\x06" * 65):
        assert code(evm.public_key_address, bad) == "evm.key_malformed"
    point = KEY.public_key.format(compressed=False)
    assert evm.public_key_address(point) == ADDRESS


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] in ("coincurve", "Crypto"):
            raise ImportError(name)
        return real(name, *rest, **named)

    loaders = (evm._keccak, evm._recover, evm._point)
    for loader in loaders:
        loader.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    try:
        for call, argument in (
            (evm.keccak256, (b"",)),
            (evm.recover_address, (b"", bytes(65))),
            (evm.public_key_address, (bytes(33),)),
        ):
            with pytest.raises(ConfigError) as caught:
                call(*argument)
            assert caught.value.code == "config.extra"
            assert "depin-id[wallet]" in caught.value.hint
    finally:
        monkeypatch.undo()
        for loader in loaders:
            loader.cache_clear()
