"""Payout wallets: an owner's account on a chain, bound to the owner by the wallet's own signature.

The wallet signs a message of fixed lines that people can read: EIP-191 ``personal_sign`` for EVM
chains, ``signMessage`` for Solana. Accounts are CAIP-10, in one spelling each. Contract wallets
(ERC-1271, ERC-6492, program accounts) have no key that signs: they are refused, and told so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from depin_id import base58, rfc3339, strict_json
from depin_id.did.syntax import parse_did
from depin_id.errors import CredentialError, DepinError, SignatureInvalid
from depin_id.evm import checksum_address, parse_address, recover_address
from depin_id.keys import admit

MAX_MESSAGE: Final = 6144
MAX_ACCOUNT: Final = 128
MAX_DID: Final = 2048
MAX_TIME: Final = 253_402_300_799_000
"""The last second that four digits of a year can say, in milliseconds since 1970."""
_HEAD: Final = (
    "Pay what my devices earn to this wallet.\n"
    "This signature moves nothing and costs nothing; give it only to the network named here.\n"
)
_FORM: Final = re.compile(
    re.escape(_HEAD) + r"\nNetwork: (.+)\nOwner: (.+)\nWallet: (.+)\nNonce: ([0-9a-f]+)"
    r"\nIssued at: ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"
)
_EIP155: Final = re.compile(r"eip155:(0|[1-9][0-9]{0,17}):(0x[0-9a-fA-F]{40})")
_SOLANA: Final = re.compile(r"solana:([1-9A-HJ-NP-Za-km-z]{32}):([1-9A-HJ-NP-Za-km-z]{32,44})")
_WRAPPED: Final = bytes.fromhex("6492") * 16
"""How a signature for a contract wallet that is not deployed yet ends (ERC-6492)."""
_CONTRACT: Final = (
    "a contract or program account has no key of its own: bind an account that signs itself"
)


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def parse_account(text: str) -> str:
    """A CAIP-10 account in its one spelling; EVM addresses with the capitals of EIP-55.

    Takes ``eip155:<chain>:0x...`` and ``solana:<first 32 characters of the genesis hash>:...``.

    Raises:
        CredentialError: ``wallet.account``; also for mixed case that does not check (EIP-55).
        KeyRefused: a Solana address that is no admissible key, such as a program's.
    """
    if type(text) is not str or len(text) > MAX_ACCOUNT:
        _refuse("wallet.account", f"an account is a text of at most {MAX_ACCOUNT} characters")
    if match := _EIP155.fullmatch(text):
        try:
            address = checksum_address(parse_address(match[2]))
        except DepinError as error:
            if error.code.startswith("config."):
                raise
            _refuse("wallet.account", error.message, error.hint)
        return f"eip155:{match[1]}:{address}"
    if match := _SOLANA.fullmatch(text):
        _solana_key(match[2])
        return text
    _refuse(
        "wallet.account",
        f"{text[:60]!r} is not an account that can be paid here",
        "write eip155:<chain>:0x<address> or solana:<genesis hash, 32 characters>:<address>",
    )


def _solana_key(address: str) -> Any:
    raw = base58.decode(address)
    if len(raw) != 32 or base58.encode(raw) != address:
        _refuse("wallet.account", "a Solana address is 32 bytes in base58")
    try:
        return admit("ed25519", raw)
    except DepinError as error:
        raise type(error)(error.code, error.message, hint=_CONTRACT) from error


def _whole(issued_at: int) -> int:
    if type(issued_at) is not int or not 0 <= issued_at <= MAX_TIME:
        _refuse("wallet.malformed", "the time is not milliseconds since 1970")
    return issued_at - issued_at % 1000


def _did(text: Any, what: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_DID:
        _refuse("wallet.malformed", f"the {what} is not a DID")
    return str(parse_did(text))


def _nonce(value: Any) -> bytes:
    if type(value) is not bytes or not 8 <= len(value) <= 32:
        _refuse("wallet.malformed", "the nonce is not 8 to 32 bytes")
    return bytes(value)


@dataclass(frozen=True)
class WalletRequest:
    """What a wallet is asked to sign. Every field is brought into its one spelling.

    Attributes:
        account: CAIP-10.
        owner: DID of whom the devices belong to.
        network: DID of the network that pays.
        nonce: 8 to 32 bytes, from the network's challenge.
        issued_at: milliseconds since 1970, cut to whole seconds.

    Raises:
        CredentialError: ``wallet.account``, ``wallet.malformed``. DIDError, KeyRefused.
    """

    account: str
    owner: str
    network: str
    nonce: bytes
    issued_at: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", parse_account(self.account))
        object.__setattr__(self, "owner", _did(self.owner, "owner"))
        object.__setattr__(self, "network", _did(self.network, "network"))
        object.__setattr__(self, "nonce", _nonce(self.nonce))
        object.__setattr__(self, "issued_at", _whole(self.issued_at))

    @property
    def message(self) -> str:
        """The text to sign, without a line end at its end."""
        when = datetime.fromtimestamp(self.issued_at // 1000, UTC)
        return (
            f"{_HEAD}\nNetwork: {self.network}\nOwner: {self.owner}\nWallet: {self.account}"
            f"\nNonce: {self.nonce.hex()}\nIssued at: {when:%Y-%m-%dT%H:%M:%S}Z"
        )

    @classmethod
    def parse(cls, text: str) -> WalletRequest:
        """Read a message back, exactly as :attr:`message` wrote it.

        Raises:
            CredentialError: ``wallet.message``, or as the class.
        """
        match = _FORM.fullmatch(text) if type(text) is str and len(text) <= MAX_MESSAGE else None
        if match is None or len(match[4]) % 2:
            _refuse("wallet.message", "the text is not the message of a payout wallet")
        issued_at = rfc3339.milliseconds(match[5])
        if issued_at is None:
            _refuse("wallet.message", "the time of the message is none")
        found = cls(match[3], match[2], match[1], bytes.fromhex(match[4]), issued_at)
        if found.message != text:
            _refuse("wallet.message", "the message is not in its one spelling")
        return found


def wallet_message(account: str, *, owner: str, network: str, nonce: bytes, issued_at: int) -> str:
    """The message that binds a wallet to an owner; see :class:`WalletRequest`."""
    return WalletRequest(account, owner, network, nonce, issued_at).message


@dataclass(frozen=True)
class WalletBinding:
    """A request with the wallet's signature, which is not verified yet.

    Attributes:
        request: what was signed.
        signature: 65 bytes with v 27 or 28 (EVM), 64 bytes (Solana).
    """

    request: WalletRequest
    signature: bytes

    @classmethod
    def of(cls, request: WalletRequest, signature: bytes) -> WalletBinding:
        """The binding with a signature as wallets give it (v may be 0 or 1).

        Raises:
            SignatureInvalid: ``signature.invalid``: another length.
            CredentialError: ``wallet.contract``.
        """
        signature = bytes(signature)
        evm = request.account.startswith("eip155:")
        if evm and (signature.endswith(_WRAPPED) or len(signature) > 65):
            _refuse("wallet.contract", "a contract wallet's signature is not taken", _CONTRACT)
        if len(signature) != (65 if evm else 64):
            raise SignatureInvalid(
                "signature.invalid",
                f"a wallet's signature has {len(signature)} bytes instead of {65 if evm else 64}",
            )
        if evm and signature[64] < 2:
            signature = signature[:64] + bytes((signature[64] + 27,))
        return cls(request, signature)

    @classmethod
    def read(cls, message: str, signature: str) -> WalletBinding:
        """A binding from texts: the message as it was signed, the signature as wallets print it.

        Args:
            signature: hexadecimal, with or without ``0x``; for Solana base58 too.

        Raises:
            CredentialError, SignatureInvalid, DIDError, KeyRefused.
        """
        request = WalletRequest.parse(message)
        text = signature.strip() if type(signature) is str else ""
        try:
            if len(text) > 8192:
                raise ValueError
            if request.account.startswith("solana:") and len(text) < 100:
                data = base58.decode(text)
            else:
                data = bytes.fromhex(text.removeprefix("0x"))
        except (ValueError, DepinError):
            raise SignatureInvalid(
                "signature.invalid",
                "the wallet's signature is not hexadecimal" + " (Solana: or base58)",
            ) from None
        return cls.of(request, data)

    def to_list(self) -> list[Any]:
        """An array for a CBOR entry; owner and network stand in the statement around it."""
        return [self.request.account, self.request.nonce, self.request.issued_at, self.signature]

    @classmethod
    def from_list(cls, value: Any, *, owner: str, network: str) -> WalletBinding:
        """Read what :meth:`to_list` gave, in exactly that spelling.

        Raises:
            CredentialError: ``wallet.malformed``, ``wallet.account``, ``wallet.contract``.
            SignatureInvalid, DIDError, KeyRefused.
        """
        if not isinstance(value, list) or len(value) != 4:
            _refuse("wallet.malformed", "a wallet's binding is an array of four")
        account, nonce, issued_at, signature = value
        if type(signature) is not bytes:
            _refuse("wallet.malformed", "the wallet's signature is not bytes")
        found = cls.of(WalletRequest(account, owner, network, nonce, issued_at), signature)
        if found.to_list() != value:
            _refuse("wallet.malformed", "a wallet's binding is not in its one spelling")
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: the message as it was signed, and the signature in hexadecimal."""
        return {"message": self.request.message, "signature": "0x" + self.signature.hex()}

    @classmethod
    def from_json(cls, data: bytes | str) -> WalletBinding:
        """Read a document that :meth:`to_json` is the value of.

        Raises:
            EncodingError: ``json.*``. CredentialError: ``wallet.malformed``; as :meth:`read`.
        """
        value = strict_json.parse(data, max_bytes=4 * MAX_MESSAGE)
        if not isinstance(value, dict) or set(value) != {"message", "signature"}:
            _refuse("wallet.malformed", "it is not an object of message and signature")
        return cls.read(value["message"], value["signature"])


@dataclass(frozen=True)
class Wallet:
    """A payout wallet whose own signature was verified.

    Attributes:
        account: CAIP-10, in its one spelling.
        owner: DID of whom it is bound to.
        network: DID of the network it is bound for.
        issued_at: what the message says, milliseconds since 1970.
    """

    account: str
    owner: str
    network: str
    issued_at: int


def verify_wallet(
    binding: WalletBinding, *, owner: str, network: str, nonce: bytes | None
) -> Wallet:
    """Verify that the wallet itself signed for this owner and this network.

    Args:
        owner, network: whom it has to be bound to.
        nonce: of the challenge that it has to answer; None when the caller looks at
            ``binding.request.nonce`` himself.

    Raises:
        CredentialError: ``wallet.foreign`` (another owner, network or nonce),
            ``wallet.not_signer`` (another key signed, or the account is a contract).
        SignatureInvalid: ``signature.invalid``, ``signature.malleable``.
        ConfigError: ``config.extra``, the extra ``wallet`` is not installed.
    """
    request = binding.request
    for what, has, should in (
        ("owner", request.owner, owner),
        ("network", request.network, network),
        ("nonce", request.nonce, request.nonce if nonce is None else nonce),
    ):
        if has != should:
            _refuse(
                "wallet.foreign",
                f"the wallet signed for another {what}",
                "let the wallet sign the message of this owner, network and challenge",
            )
    message = request.message.encode()
    address = request.account.rpartition(":")[2]
    if request.account.startswith("eip155:"):
        if recover_address(message, binding.signature) != parse_address(address):
            _refuse("wallet.not_signer", f"{address} did not sign this message", _CONTRACT)
    else:
        _solana_key(address).verify(message, binding.signature)
    return Wallet(request.account, request.owner, request.network, request.issued_at)
