"""Statements of devices on their way up, and what comes down for those devices: both unchanged.

Neither is spooled: who asked and hears nothing asks again. The gateway signs neither, for a
statement's parts are signed by those whom they are about.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass

from depin_id import cbor, cose
from depin_id.ack import MAX_ACK_BYTES, NONCE_BYTES, read_ack, read_challenge, read_resume
from depin_id.errors import DepinError
from depin_id.network import NetworkCard, read_card

MAX_WAITING = 64
"""Statements that wait for a connection; the oldest go first."""
MAX_LISTENERS = 64

Deliver = Callable[[bytes, bytes], None]
"""Takes the kid (8 bytes) of a device and a message for it."""


class Carrier:
    """Between the sources, which meet devices, and the uplink.

    Attributes:
        wake: called when there is something to send up.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._up: collections.deque[bytes] = collections.deque(maxlen=MAX_WAITING)
        self._card: tuple[int, bytes] | None = None
        self._listeners: list[tuple[str, Deliver]] = []

    def state(self, data: bytes) -> None:
        """Have a statement sent up; from any thread."""
        self._up.append(data)
        self.wake()

    def take(self) -> bytes | None:
        """The next statement to send, if there is one."""
        try:
            return self._up.popleft()
        except IndexError:
            return None

    def put_back(self, data: bytes) -> None:
        """It could not be sent."""
        if len(self._up) < MAX_WAITING:
            self._up.appendleft(data)

    @property
    def card(self) -> bytes | None:
        """The newest card of the network that was offered, as signed; for devices here."""
        return None if self._card is None else self._card[1]

    def offer_card(self, data: bytes, network: str) -> None:
        """A card to hand to devices, if it is the newest. Raises DepinError, as ``read_card``."""
        number = read_card(data, network=network).number
        if self._card is None or number > self._card[0]:
            self._card = (number, data)

    def listen(self, deliver: Deliver, source: str = "") -> None:
        """Hand ``deliver`` what comes down for devices; it is called from any thread."""
        if len(self._listeners) < MAX_LISTENERS:
            self._listeners = [*self._listeners, (source, deliver)]

    def forget(self, source: str) -> None:
        """A source has ended: nothing is handed to it any longer."""
        self._listeners = [entry for entry in self._listeners if entry[0] != source]

    def hand_down(self, data: bytes, card: NetworkCard, own: bytes) -> bool:
        """Hand on what the network signed for a device; gives whether it was such a message.

        It is one also where nobody listens: a device whose envelopes come as files is acknowledged
        like any other.

        Args:
            own: kid of the gateway: what is for itself goes nowhere, or it would come again.
        """
        kid = device_of(data, card)
        if kid is None or kid == own:
            return False
        for _, deliver in self._listeners:
            deliver(kid, data)
        return True


@dataclass(frozen=True)
class Carried:
    """The carrier as one source sees it: what listens for the source ends with it."""

    _carrier: Carrier
    _source: str

    @property
    def card(self) -> bytes | None:
        """The newest card of the network, as signed; for devices here."""
        return self._carrier.card

    def state(self, data: bytes) -> None:
        """Have a statement sent up; from any thread."""
        self._carrier.state(data)

    def listen(self, deliver: Deliver) -> None:
        """Hand ``deliver`` what comes down for devices; it is called from any thread."""
        self._carrier.listen(deliver, self._source)


def device_of(data: bytes, card: NetworkCard) -> bytes | None:
    """The kid of the device that a message of the network is for, verified.

    It is an acknowledgement, a challenge or a resume.
    """
    try:
        payload = cbor.decode(cose.parse_sign1(data, max_bytes=MAX_ACK_BYTES).payload)
        recipient = payload.get(1) if isinstance(payload, dict) else None
        if not isinstance(recipient, bytes) or len(recipient) != 32:
            return None
        if len(payload) != 3:
            read_ack(data, card=card, recipient=recipient)
        elif not _is_resume(data, payload.get(2), card, recipient):
            read_challenge(data, card=card, recipient=recipient)
    except DepinError:
        return None
    return recipient[:8]


def _is_resume(data: bytes, nonce: object, card: NetworkCard, recipient: bytes) -> bool:
    """Whether it is one; which nonce it may answer, the device knows."""
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        return False
    try:
        read_resume(data, card=card, recipient=recipient, nonce=nonce)
    except DepinError:
        return False
    return True
