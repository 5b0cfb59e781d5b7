"""The next card of a network: signed where the root key is, for keys that were made elsewhere.

Only public keys travel: whoever runs the aggregator makes the new keys there and sends a request,
the root's holder compares the kids over another way, and sends back the card.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depin_id.durable import DirectoryLock, replace_file
from depin_id.errors import DepinError, NetworkError
from depin_id.keyfile import read_key
from depin_id.keys import PublicKey
from depin_id.network import MAX_ACK_KEYS, NetworkCard, load_card, network_did, sign_card
from depin_id.networkdir import CARD_FILE, ROOT_FILE, validity

REQUEST_TYPE: Final = "depin-card-request/1"
MAX_REQUEST: Final = 16_384
_FIELDS: Final = {"type", "network", "ack", "log"}


@dataclass(frozen=True)
class CardRequest:
    """Which keys the next card should name; None keeps the card's own.

    Attributes:
        network: the network's DID.
        ack: the new acknowledgement key.
        log: the new log key.
    """

    network: str
    ack: PublicKey | None
    log: PublicKey | None

    @classmethod
    def from_json(cls, text: str | bytes) -> CardRequest:
        """Read a request. Raises NetworkError ``network.request``, KeyRefused."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise _wrong("it is not JSON") from None
        if not isinstance(value, dict) or value.get("type") != REQUEST_TYPE:
            raise _wrong("it is not a request for a card")
        if set(value) - _FIELDS or not isinstance(value.get("network"), str):
            raise _wrong("its fields are not those of a request")
        ack, log = (_key(value.get(role)) for role in ("ack", "log"))
        if ack is None and log is None:
            raise _wrong("it names no key")
        return cls(value["network"], ack, log)

    def to_json(self) -> dict[str, Any]:
        """The request, JSON-ready; keys as COSE_Keys in hexadecimal."""
        found: dict[str, Any] = {"type": REQUEST_TYPE, "network": self.network}
        for role, key in (("ack", self.ack), ("log", self.log)):
            if key is not None:
                found[role] = key.cose_key.hex()
        return found


def _wrong(what: str) -> NetworkError:
    return NetworkError(
        "network.request",
        f"the request for a card cannot be used: {what}",
        hint="`depin-verify keys new DIR -o request.json` writes one",
    )


def _key(value: Any) -> PublicKey | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 512:
        raise _wrong("a key is not hexadecimal")
    try:
        data = bytes.fromhex(value)
    except ValueError:
        raise _wrong("a key is not hexadecimal") from None
    try:
        return PublicKey.from_cose_key(data)
    except DepinError as error:
        raise type(error)(error.code, f"a key of the request: {error.message}") from error


def reissue(
    directory: Path,
    request: CardRequest,
    *,
    drop_old_ack: bool = False,
    days: int = 3650,
    passphrase: str | None = None,
    wall: Callable[[], float] = time.time,
) -> NetworkCard:
    """Sign the card after the one in ``directory``, and put it there in its place.

    Args:
        directory: holds ``root.key`` and ``card.cbor``; the operating keys are not needed.
        request: the keys to name.
        drop_old_ack: do not name the acknowledgement keys of the card before: they were stolen, or
            every device has had the time to hear of the new one.
        days: how long the card is valid.
        passphrase: of the root key's file.

    Returns:
        The new card.

    Raises:
        NetworkError: ``network.request``, ``network.foreign``, ``network.card``, ``network.days``.
        StateError: the root key's file.
    """
    lock = DirectoryLock(directory)
    try:
        old, _ = load_card(directory / CARD_FILE)
        if request.network != old.network:
            raise NetworkError("network.foreign", "the request is for another network")
        root = read_key(directory / ROOT_FILE, passphrase=passphrase)
        if network_did(root.public_key) != old.network:
            raise NetworkError("network.keys", "the root key is not that of this network's DID")
        not_before, not_after = validity(days, wall)
        card = NetworkCard(
            network=old.network,
            name=old.name,
            number=old.number + 1,
            not_before=not_before,
            not_after=not_after,
            ack_keys=_acks(old, request, drop_old_ack),
            log_origin=old.log_origin,
            log_key=request.log or old.log_key,
            witnesses=old.witnesses,
        )
        replace_file(directory / CARD_FILE, sign_card(card, root), mode=0o644)
    finally:
        lock.close()
    return card


def _acks(old: NetworkCard, request: CardRequest, drop: bool) -> tuple[PublicKey, ...]:
    if request.ack is None:
        if drop and len(old.ack_keys) == 1:
            raise _wrong("it drops the only acknowledgement key and names no other")
        # The first is the one that signs now.
        return old.ack_keys[:1] if drop else old.ack_keys
    kept = () if drop else tuple(key for key in old.ack_keys if key != request.ack)
    return (request.ack, *kept)[:MAX_ACK_KEYS]
