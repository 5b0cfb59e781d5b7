"""A device: its key, its crash-safe position and ``sign()``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from depin_id import cbor
from depin_id.ack import Ack, Resume, read_ack, read_challenge, read_resume
from depin_id.claims import Claims, Link, Place
from depin_id.closing import Closing
from depin_id.device_file import read_enrolment, write_enrolment
from depin_id.durable import DirectoryLock, make_directory
from depin_id.enrolment import Enrolment, Role
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    CONTENT_STATUS,
    MAX_POSITION,
    MAX_STATUS,
    Provenance,
    seal,
    seal_hash,
)
from depin_id.errors import ConfigError, StateError
from depin_id.keyfile import read_key, write_key
from depin_id.keys import Curve, PublicKey, Signer, SoftwareSigner
from depin_id.netstate import NetworkStates
from depin_id.network import NetworkCard
from depin_id.position import Position, PositionStore
from depin_id.possession import prove
from depin_id.readings import Reading
from depin_id.sealing import PositionSigner, check_network, check_size, to_records
from depin_id.senml import encode_pack

KEY_FILE: Final = "key.cbor"

Level = Literal["G0", "G1"]
Clock = Callable[[], float]


class Device(Closing):
    """A device on its directory, which it holds exclusively until :meth:`close`.

    Make one with :meth:`create` or :meth:`open`. Thread-safe. Everything it refuses is a
    :class:`~depin_id.errors.DepinError` that says why.

    Attributes:
        directory: where key and position are.
        enrolment: what a network has to know to take the device in.
        ear: first 16 bytes of the digest of the attestation result the device stands on; goes into
            every envelope when set.
    """

    def __init__(
        self,
        directory: Path,
        enrolment: Enrolment,
        signer: Signer,
        lock: DirectoryLock,
        wall: Clock,
        monotonic: Clock,
    ) -> None:
        self.directory = directory
        self.enrolment = enrolment
        self.ear: bytes | None = None
        self._signer = signer
        self._lock = lock
        self._wall, self._monotonic = wall, monotonic
        self._started = monotonic()
        self._positions = PositionStore(directory, enrolment.key.thumbprint)
        self._networks = NetworkStates(directory)
        self._closed = False

    # --- making and opening ------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        directory: str | Path,
        *,
        curve: Curve = "ed25519",
        name: str = "",
        profile: str = "",
        owner: str = "",
        role: Role = "device",
        place: Place | None = None,
        passphrase: str | None = None,
        signer: Signer | None = None,
        wall: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> Device:
        """Make a device: a fresh key (or ``signer``, then no key file), no position used yet.

        Args:
            directory: is made (0700); must not hold a device yet.
            curve: of the fresh key; ``signer`` brings its own.
            name, profile, owner, role, place: see :class:`~depin_id.enrolment.Enrolment`.
            passphrase: seals the key file.
            signer: a key in hardware or a KMS.

        Raises:
            StateError: ``state.exists``, ``state.locked``, ``state.io``.
            ConfigError: ``enrolment.malformed``.
        """
        path = Path(directory)
        key = signer if signer is not None else SoftwareSigner.generate(curve)
        enrolment = Enrolment.of(
            key.public_key, name=name, profile=profile, owner=owner, role=role, place=place
        )
        make_directory(path)
        lock = DirectoryLock(path)
        try:
            if isinstance(key, SoftwareSigner) and signer is None:
                write_key(path / KEY_FILE, key, passphrase=passphrase)
            PositionStore.create(path, key.public_key.thumbprint)
            # Last: a directory without it is the rest of a creation that was cut off.
            write_enrolment(path, enrolment)
            return cls(path, enrolment, key, lock, wall, monotonic)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        passphrase: str | None = None,
        signer: Signer | None = None,
        wall: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> Device:
        """Open a device; the first signature begins a new boot epoch.

        A device whose position is lost opens too, so that it can be resumed, but does not sign.

        Args:
            passphrase: for a sealed key file.
            signer: the key, for a device that was made with one.
            wall: seconds since 1970. monotonic: seconds that never go back.

        Raises:
            StateError: ``state.missing``, ``state.incomplete``, ``state.locked``,
                ``state.damaged``, ``state.signer``, ``state.permissions``, ``key.passphrase``,
                ``key.file``, ``state.io``.
        """
        path = Path(directory)
        lock = DirectoryLock(path)
        try:
            enrolment = read_enrolment(path)
            key: Signer = signer or read_key(path / KEY_FILE, passphrase=passphrase)
            if key.public_key != enrolment.key:
                raise StateError(
                    "state.signer",
                    f"the signer's key is not the key of {path}",
                    hint="give the signer that the device was made with",
                )
            return cls(path, enrolment, key, lock, wall, monotonic)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Write the heads of all streams and give the directory up. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._positions.close()
        finally:
            self._lock.close()

    # --- who it is ---------------------------------------------------------------------------

    @property
    def did(self) -> str:
        """The device's did:key."""
        return self.enrolment.did

    @property
    def public_key(self) -> PublicKey:
        """The device's key."""
        return self.enrolment.key

    def card(self, network: str) -> bytes | None:
        """The newest card of this network that was taken, as signed."""
        return self._networks.get(network).card

    def prove(
        self,
        challenge: bytes,
        *,
        card: NetworkCard,
        certificate: bytes | None = None,
        earlier: bool = True,
    ) -> bytes:
        """Answer a network's signed challenge; ``certificate`` and ``earlier`` are as for
        :func:`depin_id.possession.prove`. Raises as :func:`~depin_id.ack.read_challenge`, and
        StateError ``state.closed``.
        """
        self._check_open()
        asked = read_challenge(challenge, card=card, recipient=self.public_key.thumbprint)
        return prove(
            self._signer,
            self.enrolment,
            nonce=asked.nonce,
            network=card.network,
            certificate=certificate,
            earlier=earlier,
        )

    # --- signing -----------------------------------------------------------------------------

    def sign(
        self,
        readings: Iterable[Reading],
        *,
        network: str,
        subject: str | None = None,
        capability: bytes | None = None,
        clock: int | None = 1,
        level: Level | None = None,
        link: Link | None = None,
        place: Place | None = None,
        echo: bool = False,
        self_describing: bool = False,
    ) -> bytes:
        """Sign readings as one envelope (a SenML pack, content type 112).

        Args:
            readings: at least one; a time of None is now.
            network: the network's DID.
            subject: ``#name`` of a sensor this gateway signs for; None for its own readings. With
                a capability the whole DID, or DID URL, of a subject that is not its own.
            capability: id (16 bytes) of the capability that lets it sign for that subject; it has
                to be shown to the network before.
            clock: error bound of the wall clock in whole seconds, or None without a wall clock:
                times are then sent relative to sealing.
            level, link, place: what a gateway says of a sensor it signs for.
            echo: carry the newest beacon of the network; always done without a clock.
            self_describing: carry the DID, for readers who do not know the kid.

        Returns:
            The envelope's bytes: keep and resend these, never sign the readings again.

        Raises:
            ReadingError, EncodingError: the readings. EnvelopeError: the claims.
            StateError: as :meth:`~depin_id.position.PositionStore.take`, ``state.closed``.
            DIDError: the network is no did:key.
        """
        payload = encode_pack(to_records(readings, now=self._wall(), clock=clock))
        claims = Claims(
            iss=self.did if self_describing else None,
            sub=subject,
            nonce=self._nonce(network, clock, echo),
            link=link,
            place=place,
            level=level,
            cap=capability,
        )
        return self._seal(payload, CONTENT_SENML, network, claims, clock)

    def sign_status(
        self,
        status: Mapping[int | str, Any],
        *,
        network: str,
        subject: str | None = None,
        clock: int | None = 1,
        echo: bool = False,
    ) -> bytes:
        """Sign a status: profile@version, firmware hash, calibration; at boot and on change.

        Args:
            status: becomes a deterministic CBOR map of at most 4096 bytes. With a clock the claim
                ``iat`` says when.

        Raises: as :meth:`sign`.
        """
        payload = cbor.encode(dict(status))
        check_size(payload, MAX_STATUS)
        claims = self._claims(network, subject, clock, echo)
        return self._seal(payload, CONTENT_STATUS, network, claims, clock)

    def sign_hash(
        self,
        digest: bytes,
        *,
        network: str,
        preimage_type: int | str | None = None,
        location: str | None = None,
        subject: str | None = None,
        clock: int | None = 1,
        echo: bool = False,
    ) -> bytes:
        """Sign the SHA-256 of a large object, such as an image (COSE Hash Envelope, RFC 9995).

        Args:
            digest: 32 bytes. preimage_type: the object's content type. location: where it is.

        Raises: as :meth:`sign`; EnvelopeError ``envelope.malformed`` for a wrong digest.
        """
        claims = self._claims(network, subject, clock, echo)
        with self._take(network, subject) as position:
            return seal_hash(
                digest,
                preimage_type=preimage_type,
                location=location,
                provenance=self._provenance(position, clock),
                network=network,
                signer=PositionSigner(self._signer, position),
                claims=claims,
            )

    def wrap(
        self,
        envelope: bytes,
        *,
        network: str,
        received_at: int,
        link: Link | None = None,
        place: Place | None = None,
        level: Level = "G1",
        clock: int | None = 1,
    ) -> bytes:
        """Sign a gateway envelope around one device envelope, whose bytes stay as they are.

        Args:
            received_at: when it arrived, whole seconds since 1970.
            link: radio quality. place: where the gateway was.
            level: ``G1`` when the source was authenticated, else ``G0``.

        Raises:
            ConfigError: ``device.role`` when this is no gateway.
            EncodingError, EnvelopeError: the content is not one device envelope. As :meth:`sign`.
        """
        if self.enrolment.role != "gateway":
            raise ConfigError(
                "device.role", f"{self.did} is no gateway", hint="create it with role='gateway'"
            )
        claims = Claims(
            iat=received_at,
            link=link,
            place=place,
            level=level,
            nonce=self._nonce(network, clock, False),
        )
        return self._seal(envelope, CONTENT_SIGN1, network, claims, clock)

    def _nonce(self, network: str, clock: int | None, echo: bool) -> bytes | None:
        return self._networks.get(network).beacon if clock is None or echo else None

    def _claims(self, network: str, subject: str | None, clock: int | None, echo: bool) -> Claims:
        return Claims(
            sub=subject,
            iat=None if clock is None else round(self._wall()),
            nonce=self._nonce(network, clock, echo),
        )

    def _provenance(self, position: Position, clock: int | None) -> Provenance:
        uptime = max(0, int(self._monotonic() - self._started))
        return Provenance(position.epoch, position.n, position.prev, uptime, clock, self.ear)

    def _take(self, network: str, subject: str | None) -> Position:
        if self._closed:
            raise StateError("state.closed", "the device is closed", hint="open it again")
        check_network(network)
        return self._positions.take(network, subject)

    def _seal(
        self,
        payload: bytes,
        content_type: int | str,
        network: str,
        claims: Claims,
        clock: int | None,
    ) -> bytes:
        check_size(payload)
        with self._take(network, claims.sub) as position:
            return seal(
                payload,
                content_type=content_type,
                provenance=self._provenance(position, clock),
                network=network,
                signer=PositionSigner(self._signer, position),
                claims=claims,
            )

    # --- what comes down -----------------------------------------------------------------------

    def take_card(self, data: bytes, *, network: str | None = None) -> NetworkCard:
        """Verify a network card and keep it; a lower number than before is refused.

        Args:
            network: the pinned DID; without it the card's own DID counts.

        Raises:
            NetworkError: ``network.card_old``, or as :func:`~depin_id.network.read_card`.
        """
        self._check_open()
        return self._networks.take_card(data, network=network)

    def take_ack(self, data: bytes, *, card: NetworkCard) -> Ack:
        """Verify an acknowledgement, refuse a replayed one (after a restart too), keep its beacon.

        The caller drops only what it holds under exactly the identities in it.

        Raises:
            EnvelopeError: ``ack.replayed``, ``ack.foreign``, ``ack.malformed``.
            NetworkError, SignatureInvalid, EncodingError, StateError.
        """
        self._check_open()
        ack = read_ack(data, card=card, recipient=self.public_key.thumbprint)
        self._networks.take_ack(ack, card)
        return ack

    @property
    def position_lost(self) -> bool:
        """Whether the durable position is damaged: only a signed resume or a new key helps."""
        return self._positions.lost

    def resume_nonce(self, network: str) -> bytes:
        """The nonce to send to a network's operator for a resume; the same until it is answered.

        Raises:
            StateError: ``state.not_lost``, ``state.io``.
        """
        self._check_open()
        check_network(network)
        return self._positions.resume_nonce(network)

    def take_resume(self, data: bytes, *, card: NetworkCard) -> Resume:
        """Take a signed resume: the next epoch is above its floor and above anything readable.

        Raises:
            EnvelopeError: ``resume.stale`` for another nonce, ``resume.foreign``,
                ``resume.malformed``. NetworkError, SignatureInvalid, EncodingError, StateError.
        """
        self._check_open()
        nonce = self._positions.waiting_nonce(card.network)
        resume = read_resume(data, card=card, recipient=self.public_key.thumbprint, nonce=nonce)
        if resume.epoch_floor >= MAX_POSITION:
            raise StateError("state.epochs_exhausted", "all boot epochs are used")
        self._positions.resume(card.network, resume.epoch_floor)
        return resume

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("state.closed", "the device is closed", hint="open it again")
