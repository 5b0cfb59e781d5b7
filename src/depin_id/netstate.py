"""What a device remembers of each network: newest card, last acknowledgement, newest beacon."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from depin_id import cbor
from depin_id.ack import Ack
from depin_id.claims import is_uint
from depin_id.durable import read_file, replace_file
from depin_id.errors import DepinError, EnvelopeError, NetworkError, StateError
from depin_id.network import NetworkCard, read_card

NETWORKS_FILE: Final = "networks.cbor"
MAX_NETWORKS: Final = 64
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkState:
    """One network: its card's bytes, the last acknowledgement's number, the newest beacon."""

    card: bytes | None = None
    card_number: int = -1
    ack_number: int = -1
    beacon: bytes | None = None

    def to_list(self) -> list[Any]:
        """The state as an array."""
        return [self.card, self.card_number, self.ack_number, self.beacon]


def _read_state(value: Any) -> NetworkState:
    card, card_number, ack_number, beacon = value
    for item in (card, beacon):
        if item is not None and type(item) is not bytes:
            raise ValueError("neither null nor bytes")
    for number in (card_number, ack_number):
        if number != -1 and not is_uint(number, 1 << 62):
            raise ValueError("no number")
    return NetworkState(card, card_number, ack_number, beacon)


class NetworkStates:
    """The networks of one device directory. Its caller holds the directory's lock.

    A damaged file does not keep the device from signing: only what would have to be compared with
    the file is refused.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NETWORKS_FILE
        self._lock = threading.Lock()
        self._damaged = False
        self._states: dict[str, NetworkState] = {}
        try:
            data = read_file(self._path, max_bytes=_MAX_BYTES)
            if data is not None:
                entries = cbor.decode(data, max_bytes=_MAX_BYTES)
                self._states = {str(key): _read_state(value) for key, value in entries.items()}
        except (DepinError, ValueError, TypeError, AttributeError):
            self._damaged = True

    def get(self, network: str) -> NetworkState:
        """What is known of a network; nothing is a state too."""
        return self._states.get(network, NetworkState())

    def take_ack(self, ack: Ack, card: NetworkCard) -> None:
        """Remember a verified acknowledgement.

        Raises:
            EnvelopeError: ``ack.replayed``. NetworkError: ``network.card_old``. StateError.
        """
        with self._lock:
            known = self.get(card.network)
            if card.number < known.card_number:
                _old_card(card, known)
            if ack.number <= known.ack_number:
                raise EnvelopeError(
                    "ack.replayed",
                    f"acknowledgement {ack.number} after number {known.ack_number} was taken",
                    hint="drop it: it frees nothing",
                )
            beacon = ack.beacon if ack.beacon is not None else known.beacon
            self._write(card.network, replace(known, ack_number=ack.number, beacon=beacon))

    def take_card(self, data: bytes, *, network: str | None) -> NetworkCard:
        """Verify a card and remember it when it is newer.

        Raises:
            NetworkError: ``network.card_old`` for a lower number; else as ``read_card``.
        """
        card = read_card(data, network=network)
        with self._lock:
            known = self.get(card.network)
            if card.number < known.card_number:
                _old_card(card, known)
            if card.number > known.card_number:
                self._write(card.network, replace(known, card=bytes(data), card_number=card.number))
        return card

    def _write(self, network: str, state: NetworkState) -> None:
        if self._damaged:
            raise StateError(
                "state.damaged",
                f"{self._path} is damaged: what was taken before is not known",
                hint="remove the file; the network's card and next acknowledgement fill it again",
            )
        states = self._states | {network: state}
        if len(states) > MAX_NETWORKS:
            raise StateError("state.too_many", f"over {MAX_NETWORKS} networks")
        data = cbor.encode({key: value.to_list() for key, value in states.items()})
        replace_file(self._path, data)
        self._states = states


def _old_card(card: NetworkCard, known: NetworkState) -> None:
    raise NetworkError(
        "network.card_old",
        f"card number {card.number}, but number {known.card_number} was taken already",
        hint="get the newest card from the network's operator",
    )
