"""did:peaq identifiers: a wallet or an account (generation A), a machine number (generation B)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from depin_id.errors import DepinError, DIDError, EncodingError
from depin_id.evm import checksum_address, keccak256, parse_address
from depin_id.peaq import abi
from depin_id.peaq.account import decode_ss58, encode_ss58

PREFIX: Final = "did:peaq:"
MAX_MACHINE_ID: Final = (1 << 256) - 1
MAX_MACHINE_TYPE: Final = 256
MAX_SUBJECT: Final = 1 << 12
_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,77}")

Form = Literal["evm", "substrate", "machine"]


@dataclass(frozen=True, slots=True)
class PeaqDid:
    """What a did:peaq names. Two spellings of one address are equal.

    Attributes:
        form: ``evm`` (20 bytes), ``substrate`` (32 bytes) or ``machine`` (a number as 32 bytes).
        raw: the bytes.
    """

    form: Form
    raw: bytes

    @property
    def machine_id(self) -> int:
        """The number of a machine."""
        return int.from_bytes(self.raw, "big")

    def __str__(self) -> str:
        if self.form == "evm":
            return PREFIX + checksum_address(self.raw)
        if self.form == "substrate":
            return PREFIX + encode_ss58(self.raw)
        return PREFIX + str(self.machine_id)


def parse_peaq_did(text: str) -> PeaqDid:
    """Read a DID of either generation.

    Raises:
        DIDError: ``did.malformed``.
        ConfigError: ``config.extra``, for an address in mixed case without the extra ``wallet``.
    """
    rest = text[len(PREFIX) :] if type(text) is str and text.startswith(PREFIX) else ""
    if _DECIMAL.fullmatch(rest) and (number := int(rest)) <= MAX_MACHINE_ID:
        return PeaqDid("machine", number.to_bytes(32, "big"))
    try:
        if rest.startswith("0x"):
            return PeaqDid("evm", parse_address(rest))
        return PeaqDid("substrate", decode_ss58(rest))
    except EncodingError as error:
        raise DIDError(
            "did.malformed",
            f"not a did:peaq: {error.message}",
            hint="did:peaq: and 0x with 40 digits, an SS58 account, or a machine's number",
        ) from None


def machine_id(machine_type: str, credential_subject: bytes) -> int:
    """The number of a machine (generation B): keccak256(abi.encode(string, bytes)).

    Args:
        machine_type: such as ``Sensor``, 1 to 256 characters.
        credential_subject: what the registry was given, at most 4096 bytes.

    Raises:
        EncodingError: ``peaq.field``.
        ConfigError: ``config.extra``.
    """
    if type(machine_type) is not str or not 1 <= len(machine_type) <= MAX_MACHINE_TYPE:
        raise EncodingError("peaq.field", f"a machine type has 1 to {MAX_MACHINE_TYPE} characters")
    if len(credential_subject) > MAX_SUBJECT:
        raise EncodingError("peaq.field", f"a credential subject has at most {MAX_SUBJECT} bytes")
    values = [machine_type, bytes(credential_subject)]
    return int.from_bytes(keccak256(abi.encode("(string,bytes)", values)), "big")


def machine_did(number: int) -> str:
    """The DID of a machine's number.

    Raises:
        DIDError: ``did.malformed``, not 1 to 2^256 - 1.
    """
    if type(number) is not int or not 0 < number <= MAX_MACHINE_ID:
        raise DIDError("did.malformed", "a machine's number is 1 to 2^256 - 1")
    return f"{PREFIX}{number}"


def same_subject(first: str, second: PeaqDid) -> bool:
    """Whether a text names this subject; False for what is no did:peaq."""
    try:
        return parse_peaq_did(first) == second
    except DepinError as error:
        if error.code == "did.malformed":
            return False
        raise
