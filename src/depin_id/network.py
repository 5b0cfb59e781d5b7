"""The network and its card: root key, acknowledgement keys, log origin and log key.

A device pins the network's DID, a ``did:key`` of the root key. The card, signed by the root, names
the operating keys, so that they can be replaced without touching devices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from depin_id import cbor, cose
from depin_id.claims import is_uint
from depin_id.did.key import did_key, parse_did_key
from depin_id.errors import DepinError, LogError, NetworkError
from depin_id.keys import PublicKey, Signer, admit
from depin_id.witness import WitnessPolicy

KIND_CARD = "card"
MAX_CARD_BYTES = 4096
MAX_ACK_KEYS = 8

_NAME = re.compile(r"[a-z0-9-]{1,32}")
_ORIGIN = re.compile(r"[A-Za-z0-9._/:-]{1,128}")
_PAYLOAD_LABELS = set(range(1, 9))
_WITNESSES = 9


def _wrong(what: str) -> NoReturn:
    raise NetworkError("network.card", what, hint="get the card from the network's operator")


def check_name(name: str) -> str:
    """Give back a network name fit for topics, or raise NetworkError ``network.name``."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise NetworkError(
            "network.name",
            f"{str(name)[:40]!r} is not a network name",
            hint="use 1 to 32 of a-z, 0-9 and -",
        )
    return name


@dataclass(frozen=True)
class NetworkCard:
    """What the root says of its network.

    Attributes:
        network: the network's DID (``did:key`` of the root).
        name: for topics, ``[a-z0-9-]{1,32}``.
        number: rises with every card; a device never goes back.
        not_before, not_after: validity, seconds since 1970.
        ack_keys: keys that may sign acknowledgements, resumes and challenges; one or more.
        log_origin: origin line of the log's checkpoints.
        log_key: the log's Ed25519 key.
        witnesses: who has to have cosigned the log's checkpoints; None when the card names none.
    """

    network: str
    name: str
    number: int
    not_before: int
    not_after: int
    ack_keys: tuple[PublicKey, ...]
    log_origin: str
    log_key: PublicKey
    witnesses: WitnessPolicy | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not is_uint(self.number):
            _wrong("the number of the card is not a whole number")
        if not is_uint(self.not_before) or not is_uint(self.not_after):
            _wrong("the validity is not in whole seconds")
        if self.not_after <= self.not_before:
            _wrong("the validity ends before it begins")
        if not 1 <= len(self.ack_keys) <= MAX_ACK_KEYS:
            _wrong(f"a card names 1 to {MAX_ACK_KEYS} acknowledgement keys")
        if not isinstance(self.log_origin, str) or _ORIGIN.fullmatch(self.log_origin) is None:
            _wrong("the log origin is not 1 to 128 characters of a name or path")
        if self.log_key.curve != "ed25519":
            _wrong("the log key is not an Ed25519 key")
        if self.witnesses is not None:
            own = {self.log_key.raw} | {key.raw for key in self.ack_keys}
            if any(key.public.raw in own for key in self.witnesses.keys):
                _wrong("an operating key is named as a witness of its own log")

    @property
    def root(self) -> PublicKey:
        """The root key, from the network's DID."""
        return parse_did_key(self.network)

    def valid_at(self, at: int) -> bool:
        """Whether the card is valid at ``at`` (seconds since 1970)."""
        return self.not_before <= at <= self.not_after

    def ack_key(self, kid: bytes) -> PublicKey | None:
        """The acknowledgement key with this kid."""
        return next((key for key in self.ack_keys if key.kid == kid), None)


def network_did(root: PublicKey) -> str:
    """The DID of the network whose root key this is."""
    return did_key(root)


def sign_card(card: NetworkCard, root: Signer) -> bytes:
    """The signed card. Raises NetworkError when the signer is not the network's root."""
    if network_did(root.public_key) != card.network:
        _wrong("the signer is not the root of this network")
    value: dict[int, Any] = {
        1: card.network,
        2: card.name,
        3: card.number,
        4: card.not_before,
        5: card.not_after,
        6: [key.cose_key for key in card.ack_keys],
        7: card.log_origin,
        8: card.log_key.raw,
    }
    if card.witnesses is not None:
        value[_WITNESSES] = card.witnesses.to_list()
    headers = {cose.HEADER_KID: root.public_key.kid}
    signed = cose.sign1(
        headers, cbor.encode(value), kind=KIND_CARD, network=card.network, signer=root
    )
    if len(signed) > MAX_CARD_BYTES:
        _wrong(f"the card has {len(signed)} bytes, {MAX_CARD_BYTES} fit: name fewer witnesses")
    return signed


def read_card(data: bytes, *, network: str | None = None) -> NetworkCard:
    """Read and verify a signed card.

    Args:
        data: the card's bytes.
        network: the pinned network DID; without it the card vouches for itself only, and the
            caller has to pin ``card.network`` on first use.

    Raises:
        NetworkError: ``network.card`` (wrong form) or ``network.foreign`` (another network).
        SignatureInvalid, KeyRefused, EncodingError: it does not verify.
    """
    sign1 = cose.parse_sign1(data, max_bytes=MAX_CARD_BYTES)
    payload = cbor.decode(sign1.payload, max_bytes=MAX_CARD_BYTES)
    if not isinstance(payload, dict) or set(payload) - {_WITNESSES} != _PAYLOAD_LABELS:
        _wrong("the payload is not the map of a card")
    if set(sign1.headers) != {cose.HEADER_ALG, cose.HEADER_KID}:
        _wrong("the protected header is not exactly alg and kid")
    did = payload[1]
    if not isinstance(did, str):
        _wrong("the network is not a DID")
    if network is not None and did != network:
        raise NetworkError(
            "network.foreign", f"the card is of {did[:80]}, not of the pinned {network}"
        )
    try:
        root = parse_did_key(did)
    except DepinError as error:
        raise NetworkError("network.card", f"the network's DID is refused: {error}") from error
    if sign1.headers[cose.HEADER_KID] != root.kid:
        _wrong("the kid is not the root's")
    sign1.verify(KIND_CARD, did, root)
    return NetworkCard(
        network=did,
        name=payload[2],
        number=payload[3],
        not_before=payload[4],
        not_after=payload[5],
        ack_keys=_read_keys(payload[6]),
        log_origin=payload[7],
        log_key=_read_log_key(payload[8]),
        witnesses=_read_witnesses(payload[_WITNESSES]) if _WITNESSES in payload else None,
    )


def _read_keys(value: Any) -> tuple[PublicKey, ...]:
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        _wrong("the acknowledgement keys are not a list of COSE_Keys")
    if len(value) > MAX_ACK_KEYS:
        _wrong(f"a card names 1 to {MAX_ACK_KEYS} acknowledgement keys")
    return tuple(PublicKey.from_cose_key(item) for item in value)


def _read_log_key(value: Any) -> PublicKey:
    if not isinstance(value, bytes):
        _wrong("the log key is not a byte string")
    return admit("ed25519", value)


def _read_witnesses(value: Any) -> WitnessPolicy:
    try:
        return WitnessPolicy.from_list(value)
    except LogError as error:
        _wrong(f"the witnesses are refused: {error.message}")


def newer(current: NetworkCard | None, offered: NetworkCard) -> NetworkCard:
    """The card to hold from now on: the one with the higher number; never of another network.

    Raises NetworkError ``network.foreign``.
    """
    if current is None:
        return offered
    if current.network != offered.network:
        raise NetworkError("network.foreign", "the card offered is of another network")
    return offered if offered.number > current.number else current


def load_card(path: Path, *, network: str | None = None) -> tuple[NetworkCard, bytes]:
    """Read a card from a file; gives the card and its bytes.

    Raises NetworkError ``network.file`` when it cannot be read, else as :func:`read_card`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise NetworkError("network.file", f"{path}: {error.strerror or error}") from error
    try:
        return read_card(data, network=network), data
    except DepinError as error:
        raise type(error)(error.code, f"{path}: {error.message}", hint=error.hint) from error


def topics(name: str, kid: bytes) -> tuple[str, str]:
    """The MQTT topics of a publisher: up and down."""
    base = f"depin/v1/{check_name(name)}"
    return f"{base}/up/{kid.hex()}", f"{base}/down/{kid.hex()}"


def signers_match(card: NetworkCard, ack: PublicKey, log: PublicKey) -> bool:
    """Whether the operating keys at hand are those the card names."""
    return log == card.log_key and ack in card.ack_keys
