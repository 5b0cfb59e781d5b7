"""A device: its key, its crash-safe position and ``sign()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from depin_id import cbor
from depin_id.claims import Claims, Link, Place
from depin_id.device_store import OpenDevice
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    CONTENT_STATUS,
    MAX_STATUS,
    Provenance,
    seal,
    seal_hash,
)
from depin_id.errors import ConfigError, StateError
from depin_id.position import Position
from depin_id.readings import Reading
from depin_id.sealing import PositionSigner, check_network, check_size, to_records
from depin_id.senml import encode_pack

Level = Literal["G0", "G1"]


class Device(OpenDevice):
    """A device on its directory, which it holds exclusively until :meth:`close`.

    Make one with :meth:`create` or :meth:`open`. Thread-safe. Everything it refuses is a
    :class:`~depin_id.errors.DepinError` that says why.

    Attributes:
        directory: where key and position are.
        enrolment: what a network has to know to take the device in.
    """

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
            subject: ``#name`` of a sensor this gateway signs for; None for its own readings.
            capability: id (16 bytes) of one that lets it sign for a whole DID or DID URL instead.
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
                provenance=self._provenance(position, network, clock),
                network=network,
                signer=PositionSigner(self._signer, position),
                claims=claims,
            )

    def wrap(
        self,
        envelope: bytes,
        *,
        network: str,
        received_at: int | None,
        link: Link | None = None,
        place: Place | None = None,
        level: Level = "G1",
        clock: int | None = 1,
    ) -> bytes:
        """Sign a gateway envelope around one device envelope, whose bytes stay as they are.

        Args:
            received_at: when it arrived, whole seconds since 1970; None without a clock.
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

    def _provenance(self, position: Position, network: str, clock: int | None) -> Provenance:
        uptime = max(0, int(self._monotonic() - self._positions.started))
        held = self._results.get(network)
        ear = None if held is None else held.ear
        return Provenance(position.epoch, position.n, position.prev, uptime, clock, ear)

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
                provenance=self._provenance(position, network, clock),
                network=network,
                signer=PositionSigner(self._signer, position),
                claims=claims,
            )
