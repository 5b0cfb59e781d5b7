"""What a wallet sends for DIDs, storage and roles of generation A: address and call data.

Nothing here signs a transaction: the wallet does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from depin_id.errors import EncodingError
from depin_id.evm import checksum_address
from depin_id.peaq import abi
from depin_id.peaq.document import Document, decode_value

MAINNET: Final = 3338
DID: Final = (0x800).to_bytes(20, "big")
STORAGE: Final = (0x801).to_bytes(20, "big")
RBAC: Final = (0x802).to_bytes(20, "big")
BATCH: Final = (0x805).to_bytes(20, "big")

MAX_NAME: Final = 64
MAX_KEY: Final = 64
MAX_ITEM: Final = 256
ID_BYTES: Final = 32
_ATTRIBUTE: Final = "(bytes,bytes,uint32,uint256)"
_ENTITIES: Final = {"role": "addRole", "permission": "addPermission", "group": "addGroup"}
_LINKS: Final = {
    ("permission", "role"): "assignPermissionToRole",
    ("role", "user"): "assignRoleToUser",
    ("user", "group"): "assignUserToGroup",
    ("role", "group"): "assignRoleToGroup",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a contract.

    Attributes:
        to: the contract, 20 bytes. data: call data. value: coins sent, in the smallest unit.
        chain_id: EIP-155.
        reads: whether it changes nothing (eth_call).
    """

    to: bytes
    data: bytes
    chain_id: int = MAINNET
    value: int = 0
    reads: bool = False

    def to_json(self) -> dict[str, Any]:
        """``to``, ``data``, ``value`` and ``chainId`` as wallets take them, and ``reads``."""
        return {
            "to": checksum_address(self.to),
            "data": "0x" + self.data.hex(),
            "value": hex(self.value),
            "chainId": self.chain_id,
            "reads": self.reads,
        }


def _bounded(what: str, value: str | bytes, limit: int) -> bytes:
    try:
        data = value.encode() if isinstance(value, str) else bytes(value)
    except UnicodeEncodeError:
        raise EncodingError("peaq.field", f"{what} holds half a character") from None
    if len(data) > limit:
        raise EncodingError("peaq.field", f"{what} has {len(data)} bytes, at most {limit} fit")
    return data


def add_attribute(
    account: bytes, name: str, document: Document, *, chain_id: int = MAINNET
) -> Call:
    """Write a document under a name (at most 64 bytes of UTF-8), for good.

    Args:
        account: the DID's address, 20 bytes.

    Raises:
        EncodingError: ``peaq.field``, ``peaq.document_malformed``, ``abi.malformed``.
        ConfigError: ``config.extra``.
    """
    return _write("addAttribute", account, name, document, chain_id)


def update_attribute(
    account: bytes, name: str, document: Document, *, chain_id: int = MAINNET
) -> Call:
    """Replace the document under a name. As :func:`add_attribute`."""
    return _write("updateAttribute", account, name, document, chain_id)


def _write(function: str, account: bytes, name: str, document: Document, chain_id: int) -> Call:
    values = [account, _bounded("a name", name, MAX_NAME), document.on_chain(), 0]
    return Call(DID, abi.call(f"{function}(address,bytes,bytes,uint32)", values), chain_id)


def remove_attribute(account: bytes, name: str, *, chain_id: int = MAINNET) -> Call:
    """Remove the document under a name."""
    values = [account, _bounded("a name", name, MAX_NAME)]
    return Call(DID, abi.call("removeAttribute(address,bytes)", values), chain_id)


def read_attribute(account: bytes, name: str, *, chain_id: int = MAINNET) -> Call:
    """Read the document under a name; the answer goes to :func:`decode_attribute`."""
    values = [account, _bounded("a name", name, MAX_NAME)]
    return Call(DID, abi.call("readAttribute(address,bytes)", values), chain_id, reads=True)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What precompile 0x800 answers. Anybody may have written it: see :mod:`depin_id.peaq.trust`.

    Attributes:
        name: its name. value: as on the chain. validity: in blocks, 0 for ever.
        created: the chain's time.
    """

    name: bytes
    value: bytes
    validity: int
    created: int

    @property
    def document(self) -> Document:
        """The document in it. Raises EncodingError."""
        return decode_value(self.value)


def decode_attribute(data: bytes) -> Attribute:
    """Read the answer to ``readAttribute``.

    Raises:
        EncodingError: ``abi.malformed``, ``abi.too_large``.
    """
    # Solidity wraps a struct that it returns; a plain tuple begins with another offset.
    wrapped = int.from_bytes(data[: abi.WORD], "big") == abi.WORD
    found = abi.decode(f"({_ATTRIBUTE})" if wrapped else _ATTRIBUTE, data)
    return Attribute(*(found[0] if wrapped else found))


def add_item(key: str, item: str | bytes, *, chain_id: int = MAINNET) -> Call:
    """Store an item (at most 256 bytes) under a key (at most 64 bytes).

    An item that is no text is encoded by the caller: peaq writes objects as Python's
    ``json.dumps`` does.

    Raises:
        EncodingError: ``peaq.field``.
        ConfigError: ``config.extra``.
    """
    return _store("addItem", key, item, chain_id)


def update_item(key: str, item: str | bytes, *, chain_id: int = MAINNET) -> Call:
    """Replace the item under a key. As :func:`add_item`."""
    return _store("updateItem", key, item, chain_id)


def _store(function: str, key: str, item: str | bytes, chain_id: int) -> Call:
    values = [_bounded("a key", key, MAX_KEY), _bounded("an item", item, MAX_ITEM)]
    return Call(STORAGE, abi.call(f"{function}(bytes,bytes)", values), chain_id)


def remove_item(key: str, *, chain_id: int = MAINNET) -> Call:
    """Remove the item under a key. As :func:`add_item`."""
    data = abi.call("removeItem(bytes)", [_bounded("a key", key, MAX_KEY)])
    return Call(STORAGE, data, chain_id)


def _identifier(kind: str, value: str | bytes) -> bytes:
    data = _bounded(f"the id of a {kind}", value, ID_BYTES)
    if len(data) != ID_BYTES:
        raise EncodingError("peaq.field", f"the id of a {kind} has 32 bytes, not {len(data)}")
    return data


def create_entity(
    kind: str, identifier: str | bytes, name: str, *, chain_id: int = MAINNET
) -> Call:
    """Make a ``role``, ``permission`` or ``group`` with an id of 32 bytes.

    Raises:
        EncodingError: ``peaq.field``.
        ConfigError: ``config.extra``.
    """
    if kind not in _ENTITIES:
        raise EncodingError("peaq.field", f"{kind!r} is none of {', '.join(_ENTITIES)}")
    values = [_identifier(kind, identifier), _bounded("a name", name, MAX_NAME)]
    return Call(RBAC, abi.call(f"{_ENTITIES[kind]}(bytes32,bytes)", values), chain_id)


def assign(
    kind: str, identifier: str | bytes, to: str, target: str | bytes, *, chain_id: int = MAINNET
) -> Call:
    """Assign a permission to a role, a role to a user or group, or a user to a group.

    Raises:
        EncodingError: ``peaq.field``.
        ConfigError: ``config.extra``.
    """
    function = _LINKS.get((kind, to))
    if function is None:
        raise EncodingError("peaq.field", f"a {kind} cannot be assigned to a {to}")
    values = [_identifier(kind, identifier), _identifier(to, target)]
    return Call(RBAC, abi.call(f"{function}(bytes32,bytes32)", values), chain_id)
