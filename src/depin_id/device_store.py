"""A device on its directory: key, crash-safe position, what it knows of its networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from depin_id.ack import Ack, Challenge, Resume, read_ack, read_challenge, read_resume
from depin_id.attestation.binding import Binding
from depin_id.attestation.holding import HeldResult, HeldResults
from depin_id.attestation.message import sign_message
from depin_id.claims import Place
from depin_id.closing import Closing
from depin_id.device_file import read_enrolment, write_enrolment
from depin_id.durable import DirectoryLock, create_file, make_directory
from depin_id.enrolment import Enrolment, Role
from depin_id.envelope import (
    MAX_POSITION,
)
from depin_id.errors import AttestationError, StateError
from depin_id.keyfile import KeptSigner, open_key, write_key
from depin_id.keys import Curve, PublicKey, Signer, SoftwareSigner
from depin_id.netstate import NetworkStates
from depin_id.network import NetworkCard
from depin_id.position import PositionStore
from depin_id.possession import prove
from depin_id.sealing import check_network
from depin_id.uptime import boottime

KEY_FILE: Final = "key.cbor"

Clock = Callable[[], float]


class OpenDevice(Closing):
    """What a device holds, and what comes down to it; :class:`~depin_id.device.Device` signs."""

    def __init__(
        self,
        directory: Path,
        enrolment: Enrolment,
        signer: Signer,
        lock: DirectoryLock,
        wall: Clock,
        monotonic: Clock,
        boot: bytes | None = None,
    ) -> None:
        self.directory = directory
        self.enrolment = enrolment
        self._signer = signer
        self._lock = lock
        self._wall, self._monotonic = wall, monotonic
        self._positions = PositionStore(
            directory, enrolment.key.thumbprint, boot=boot, started=monotonic()
        )
        self._networks = NetworkStates(directory)
        self._results = HeldResults(directory)
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
        monotonic: Clock = boottime,
    ) -> Self:
        """Make a device: a fresh key (or ``signer``, then no key file), no position used yet.

        Args:
            directory: is made (0700); must not hold a device yet.
            curve: of the fresh key; ``signer`` brings its own.
            name, profile, owner, role, place: see :class:`~depin_id.enrolment.Enrolment`.
            passphrase: seals the key file.
            signer: a key in hardware or a KMS. One of a TPM leaves a key file that only this TPM
                can use.

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
            elif isinstance(key, KeptSigner):
                create_file(path / KEY_FILE, key.key_file)
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
        boot: bytes | None = None,
        wall: Clock = time.time,
        monotonic: Clock = boottime,
    ) -> Self:
        """Open a device; the first signature begins a new boot epoch.

        A device whose position is lost opens too, so that it can be resumed, but does not sign.

        Args:
            passphrase: for a sealed key file.
            signer: the key, for a device that was made with one.
            boot: of the machine (:func:`depin_id.carried.machine_boot`), for processes that come
                and go: a boot that something was attested for goes on in the next of them.
            wall: seconds since 1970. monotonic: seconds that never go back and go on in sleep.

        Raises:
            StateError: ``state.missing``, ``state.incomplete``, ``state.locked``,
                ``state.damaged``, ``state.signer``, ``state.permissions``, ``key.passphrase``,
                ``key.file``, ``state.io``.
        """
        path = Path(directory)
        lock = DirectoryLock(path)
        try:
            enrolment = read_enrolment(path)
            key: Signer = signer or open_key(path / KEY_FILE, passphrase=passphrase)
            if key.public_key != enrolment.key:
                raise StateError(
                    "state.signer",
                    f"the signer's key is not the key of {path}",
                    hint="give the signer that the device was made with",
                )
            return cls(path, enrolment, key, lock, wall, monotonic, boot)
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

    @property
    def signer(self) -> Signer:
        """What holds the device's key; readings are signed by :meth:`Device.sign` alone."""
        return self._signer

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

    # --- attestation -------------------------------------------------------------------------

    def binding(self, challenge: Challenge, network: str, *, did: str | None = None) -> Binding:
        """What evidence is to be made for: its ``challenge`` goes into the evidence.

        It names this boot's epoch, which begins now if nothing was signed in it yet.

        Args:
            challenge: the network's own, verified (:func:`~depin_id.ack.read_challenge`).
            network: its DID. did: under which it is enrolled there, when not by its key.

        Raises:
            StateError: as :meth:`~depin_id.position.PositionStore.take`, ``state.closed``.
            AttestationError: ``attestation.foreign``, the challenge is another key's.
        """
        self._check_open()
        check_network(network)
        thumbprint = self.public_key.thumbprint
        if challenge.recipient != thumbprint:
            raise AttestationError("attestation.foreign", "the challenge is for another key")
        epoch = self._positions.share(network)
        asked = did or self.did
        return Binding(network, challenge.nonce, asked, thumbprint, challenge.expires, epoch)

    def attest(
        self,
        binding: Binding,
        media_type: str,
        evidence: bytes,
        *,
        activation: bytes | None = None,
    ) -> bytes:
        """Sign evidence that was made for a binding: the message to send.

        Args:
            binding: of :meth:`binding`, in this boot. media_type: names the format of the evidence.
            activation: the secret that a TPM has opened.

        Raises:
            AttestationError: ``attestation.boot``, the binding is for another boot; or as
                :func:`~depin_id.attestation.message.sign_message`. StateError, SignatureInvalid.
        """
        self._check_open()
        if binding.boot != self._positions.epoch:
            raise AttestationError(
                "attestation.boot",
                "the evidence is for another boot than this one",
                hint="make it again, for a new challenge",
            )
        return sign_message(
            binding, media_type, evidence, signer=self._signer, activation=activation
        )

    def take_result(self, token: bytes, card: NetworkCard) -> HeldResult:
        """Take a signed result, keep it, and name it in everything signed for this network.

        It goes on being named when it is over or the device has started anew: the network says
        that such readings are undecided, and takes them up when the device attests again.

        Raises:
            AttestationError: ``attestation.foreign`` for another device's,
                ``attestation.replayed`` for one before that which is held, or as
                :func:`~depin_id.attestation.ear.read_ear`. SignatureInvalid, StateError.
        """
        self._check_open()
        return self._results.take(token, card, self.public_key.thumbprint)

    def result(self, network: str) -> HeldResult | None:
        """The result that is named in what is signed for a network."""
        return self._results.get(network)

    def attested(self, network: str) -> bool:
        """Whether that result counts for what is signed now; if not, it is time to attest."""
        held = self.result(network)
        return held is not None and held.good(self._positions.epoch, round(self._wall() * 1000))

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
