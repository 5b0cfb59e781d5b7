"""A network and devices in memory, deterministic from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from depin_id import cbor
from depin_id.ack import Ack, AckItem, Resume, sign_ack, sign_resume
from depin_id.claims import NO_CLAIMS, Claims, Link, Place
from depin_id.enrolment import Enrolment, Role
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    CONTENT_STATUS,
    NO_PREV,
    PREV_BYTES,
    Provenance,
    parse_envelope,
    seal,
)
from depin_id.keys import Curve, PublicKey, SoftwareSigner
from depin_id.network import NetworkCard, network_did, sign_card
from depin_id.readings import Reading, reading
from depin_id.sealing import to_records
from depin_id.senml import encode_pack

NOW: Final = 1_760_000_000
"""The time of this small world, seconds since 1970 (2025-10-09T08:53:20Z)."""
DAY: Final = 86_400


def key_from_seed(seed: str, role: str, curve: Curve = "ed25519") -> SoftwareSigner:
    """The key that a seed and a role give. Anyone can make it: never enrol it anywhere real."""
    secret = hashlib.sha256(f"depin-id testing\0{seed}\0{role}\0{curve}".encode()).digest()
    return SoftwareSigner(curve, secret)


def some_readings(count: int = 1, *, now: int = NOW, name: str = "LAeq") -> list[Reading]:
    """``count`` plausible noise levels, one a second, the last one at ``now``."""
    return [
        reading(name, 50 + (7 * index % 90) / 10, "dB", now - count + 1 + index)
        for index in range(count)
    ]


class TestNetwork:
    """A network whose keys lie in memory.

    Args:
        name: for topics.
        seed: the same seed gives the same keys.
        now: the card is valid from a day before to ten years after.

    Attributes:
        root, ack_signer, log_signer: the keys. card, card_bytes: the card. did: the network.
    """

    __test__ = False

    def __init__(self, name: str = "test", *, seed: str = "", now: int = NOW) -> None:
        self.seed = seed or name
        self.now = now
        self.root = key_from_seed(self.seed, "root")
        self.ack_signer = key_from_seed(self.seed, "ack 1")
        self.log_signer = key_from_seed(self.seed, "log 1")
        self.card = NetworkCard(
            network=network_did(self.root.public_key),
            name=name,
            number=1,
            not_before=now - DAY,
            not_after=now + 3650 * DAY,
            ack_keys=(self.ack_signer.public_key,),
            log_origin=f"depin/{name}/test",
            log_key=self.log_signer.public_key,
        )
        self.card_bytes = sign_card(self.card, self.root)

    @property
    def did(self) -> str:
        """The network's DID."""
        return self.card.network

    def reissue(self) -> None:
        """The next card, with a new acknowledgement key and the same log."""
        number = self.card.number + 1
        self.ack_signer = key_from_seed(self.seed, f"ack {number}")
        self.card = replace(self.card, number=number, ack_keys=(self.ack_signer.public_key,))
        self.card_bytes = sign_card(self.card, self.root)

    def device(self, name: str = "device", *, curve: Curve = "ed25519", **about: Any) -> TestDevice:
        """A device of this network; ``about`` as for :class:`~depin_id.enrolment.Enrolment`."""
        return TestDevice(self.did, name, curve=curve, seed=self.seed, now=self.now, **about)

    def gateway(self, name: str = "gateway", *, curve: Curve = "ed25519") -> TestDevice:
        """A gateway of this network."""
        return self.device(name, curve=curve, role="gateway")

    def ack(
        self,
        recipient: PublicKey,
        number: int,
        items: Iterable[bytes | AckItem] = (),
        *,
        nonce: bytes | None = None,
        beacon: bytes | None = None,
    ) -> bytes:
        """A signed acknowledgement; bare identities count as accepted."""
        found = tuple(
            item if isinstance(item, AckItem) else AckItem(item, "accepted", None, None)
            for item in items
        )
        ack = Ack(
            recipient.thumbprint,
            number,
            self.now * 1000,
            nonce,
            self.card.log_origin,
            found,
            beacon,
        )
        return sign_ack(ack, network=self.did, signer=self.ack_signer)

    def resume(self, recipient: PublicKey, nonce: bytes, epoch_floor: int) -> bytes:
        """A signed resume."""
        resume = Resume(recipient.thumbprint, nonce, epoch_floor)
        return sign_resume(resume, network=self.did, signer=self.ack_signer)


class TestDevice:
    """A device in memory that signs whatever a test asks for, at any position and time.

    Attributes:
        signer, key, did, enrolment: who it is.
        network: DID of the network it signs for.
        now: its wall clock, seconds since 1970; set it.
    """

    __test__ = False

    def __init__(
        self,
        network: str,
        name: str = "device",
        *,
        curve: Curve = "ed25519",
        seed: str = "",
        now: int = NOW,
        role: Role = "device",
        profile: str = "",
        owner: str = "",
        place: Place | None = None,
    ) -> None:
        self.network = network
        self.now = now
        self.signer = key_from_seed(seed, f"{role} {name}", curve)
        self.key = self.signer.public_key
        self.enrolment = Enrolment.of(
            self.key, name=name, profile=profile, owner=owner, role=role, place=place
        )
        self.epoch = 1
        self._heads: dict[str | None, tuple[int, bytes]] = {}

    @property
    def did(self) -> str:
        """The device's did:key."""
        return self.enrolment.did

    def reboot(self, *, keep_heads: bool = True) -> None:
        """The next epoch; without heads as after a power cut."""
        self.epoch += 1
        self._heads = {
            subject: (0, head if keep_heads else NO_PREV)
            for subject, (_, head) in self._heads.items()
        }

    # --- explicit positions ------------------------------------------------------------------

    def envelope(
        self,
        readings: Sequence[Reading] | None = None,
        *,
        epoch: int = 1,
        n: int = 0,
        prev: bytes | None = None,
        uptime: int | None = None,
        clock: int | None = 1,
        ear: bytes | None = None,
        subject: str | None = None,
        claims: Claims | None = None,
        payload: bytes | None = None,
        content_type: int | str = CONTENT_SENML,
    ) -> bytes:
        """One envelope at exactly this position.

        Args:
            readings: None is one noise level at ``now``.
            prev: 16 bytes, or more of which the head is taken; None is zeros.
            uptime: None is ten times n.
            claims: all claims; ``subject`` is then put into them.
            payload: these bytes instead of readings, whatever they are.
        """
        if payload is None:
            found = some_readings(now=self.now) if readings is None else readings
            payload = encode_pack(to_records(found, now=self.now, clock=clock))
        carried = claims or NO_CLAIMS
        return seal(
            payload,
            content_type=content_type,
            provenance=Provenance(
                epoch,
                n,
                NO_PREV if prev is None else prev[:PREV_BYTES],
                10 * n if uptime is None else uptime,
                clock,
                ear,
            ),
            network=self.network,
            signer=self.signer,
            claims=carried if subject is None else replace(carried, sub=subject),
        )

    def identity(self, envelope: bytes) -> bytes:
        """The identity of an envelope of this device, 32 bytes."""
        return parse_envelope(envelope).verify(self.network, self.key)

    # --- positions that follow each other --------------------------------------------------------

    def next(self, readings: Sequence[Reading] | None = None, **how: Any) -> bytes:
        """The next envelope of a stream, chained; ``how`` as for :meth:`envelope`."""
        claims = how.get("claims")
        subject = how.get("subject") or (claims.sub if claims is not None else None)
        n, head = self._heads.get(subject, (0, NO_PREV))
        sealed = self.envelope(readings, **{"epoch": self.epoch, "n": n, "prev": head, **how})
        self._heads[subject] = (n + 1, self.identity(sealed)[:PREV_BYTES])
        return sealed

    def status(self, status: Mapping[int | str, Any], **how: Any) -> bytes:
        """The next envelope of the stream, a device status."""
        payload = cbor.encode(dict(status))
        claims = how.pop("claims", None) or Claims(iat=self.now)
        return self.next(payload=payload, content_type=CONTENT_STATUS, claims=claims, **how)

    def wrap(
        self,
        envelope: bytes,
        *,
        received_at: int | None = None,
        link: Link | None = None,
        place: Place | None = None,
        level: str | None = "G1",
        **how: Any,
    ) -> bytes:
        """The next envelope of the stream: a gateway envelope around ``envelope``."""
        iat = self.now if received_at is None else received_at
        claims = Claims(iat=iat, link=link, place=place, level=level)
        return self.next(payload=envelope, content_type=CONTENT_SIGN1, claims=claims, **how)
