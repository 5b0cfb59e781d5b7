"""Provision a device over its lines: key, network, read back, self-test, lock, read back.

Each step looks before it writes, so that a run that was cut off is gone on with by the same call. A
locked device is only verified; what an unlocked one has already is kept, or the device is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.ack import NONCE_BYTES
from depin_id.device_station import DeviceRefused, Station, one_value
from depin_id.did.key import did_key
from depin_id.enrolment import Enrolment
from depin_id.errors import CredentialError, EncodingError, StateError
from depin_id.keys import PublicKey, SoftwareSigner, admit
from depin_id.possession import read_proof
from depin_id.statements import ENROL, read_statement

STATES: Final = ("new", "keyed", "locked", "lost")
SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Info:
    """What a device says first: version of its firmware, and one of :data:`STATES`."""

    version: str
    state: str


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A device that was read back and tested.

    Attributes:
        enrolment: of its own proof: key, and what its firmware says of it.
        network: the DID that it has pinned.
        version: of its firmware.
        locked: whether nothing of it is written again.
        changed: whether anything was written now.
    """

    enrolment: Enrolment
    network: str
    version: str
    locked: bool
    changed: bool


def _refused(code: str, what: str, hint: str = "") -> NoReturn:
    raise StateError(f"provision.{code}", what, hint=hint)


def read_info(station: Station) -> Info:
    """State and version. Raises TransportError, DeviceRefused, EncodingError ``line.malformed``."""
    values = station.ask("info")
    if len(values) != 2 or values[1] not in STATES:
        raise EncodingError(
            "line.malformed", f"'is info' is not a version and one of {', '.join(STATES)}"
        )
    return Info(values[0][:64], values[1])


def read_key(station: Station) -> PublicKey:
    """The device's key, admitted.

    Raises:
        KeyRefused: it is not admissible, or published. EncodingError: ``line.malformed``.
    """
    values = station.ask("key")
    if len(values) != 2:
        raise EncodingError("line.malformed", "'is key' is not a curve and a key")
    try:
        raw = bytes.fromhex(values[1])
    except ValueError:
        raise EncodingError("line.malformed", "the key is not hexadecimal") from None
    if values[0] == "p256" and len(raw) == 64:
        # The whole point, so that it is checked that y belongs to x, and then its short form.
        return admit("p256", b"\x04" + raw)
    if values[0] == "ed25519":
        return admit("ed25519", raw)
    raise EncodingError("line.malformed", "the key is neither ed25519 of 32 nor p256 of 64 bytes")


def read_network(station: Station) -> str | None:
    """The DID that is pinned, or None."""
    try:
        return one_value(station.ask("network"), "network")
    except DeviceRefused as refusal:
        if refusal.why == "unknown":
            return None
        raise


def self_test(station: Station, key: PublicKey, network: str) -> Enrolment:
    """Have the device sign a nonce nobody could know; gives what it says of itself.

    Raises:
        CredentialError: ``provision.proof``: of another key or nonce, or no proof.
        DepinError: the proof does not verify.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    statement = read_statement(station.prove(nonce))
    if statement.kind != ENROL or len(statement.parts) != 2:
        raise CredentialError("provision.proof", "the answer is no statement of kind enrol")
    proof = read_proof(statement.parts[0], network=network)
    if proof.nonce != nonce:
        raise CredentialError("provision.proof", "the proof answers another nonce")
    if proof.enrolment.key != key or proof.enrolment.did != did_key(key):
        raise CredentialError(
            "provision.proof", "the proof is of another key than the device reads back"
        )
    return proof.enrolment


class Provisioner:
    """One device, one network.

    Args:
        station: the device.
        network: DID of the network to pin.
        seed: the key to write, 32 bytes; None: the device makes its own.
        lock: whether nothing is to be written again.
        expect: looks at the key before anything more is written; raises to refuse the device.
        accept: looks at what the device says of itself, before it is locked; raises likewise.
        say: is told each step, for people.
    """

    def __init__(
        self,
        station: Station,
        network: str,
        *,
        seed: bytes | None = None,
        lock: bool = True,
        expect: Callable[[PublicKey | None], None] = lambda key: None,
        accept: Callable[[Enrolment], None] = lambda enrolment: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if seed is not None and len(seed) != SEED_BYTES:
            _refused("seed", f"a key is written as {SEED_BYTES} bytes, not {len(seed)}")
        if seed is not None:
            # A published one is refused before a device has it, whichever its curve will be.
            SoftwareSigner("ed25519", seed)
            SoftwareSigner("p256", seed)
        self._station, self._network, self._seed, self._lock = station, network, seed, lock
        self._expect, self._accept, self._say = expect, accept, say
        self._changed = False

    def run(self) -> Provisioned:
        """Provision it, or go on where it was cut off; of a locked device only verify.

        Raises:
            StateError: ``provision.lost``, ``provision.key``, ``provision.network``,
                ``provision.read_back``, ``provision.not_locked``; DeviceRefused.
            TransportError: ``device.silent``, ``port.lost``: the same call goes on.
            CredentialError, KeyRefused, SignatureInvalid, EncodingError: the self-test failed.
        """
        info = read_info(self._station)
        self._say(f"firmware {info.version}, {info.state}")
        if info.state == "lost":
            _refused(
                "lost",
                "its records are damaged: it cannot tell its key or which positions it used",
                "erase it for a new key, or let the network's operator resume it",
            )
        if info.state == "locked":
            self._say("locked: verifying only")
        else:
            self._write(info.state)
        key, enrolment = self._verify()
        locked = info.state == "locked"
        if self._lock and not locked:
            self._station.do("lock")
            self._changed = locked = True
            if read_info(self._station).state != "locked":
                _refused("not_locked", "the device says it is locked, and then that it is not")
            self._say("locked; reading back and testing again")
            again, enrolment = self._verify()
            if again != key:
                _refused("read_back", "after locking it has another key")
        return Provisioned(enrolment, self._network, info.version, locked, self._changed)

    def _write(self, state: str) -> None:
        pinned = read_network(self._station)
        if pinned is not None:
            self._check_network(pinned)
        if state == "new":
            self._expect(None)
            if self._seed is None:
                # Not twice: the second would be another key.
                self._station.do("make", "key", again=False)
                self._say("it made a key")
            else:
                self._station.do("write", "key", self._seed)
                self._say("its key was written")
            self._changed = True
        else:
            self._say("it has a key already, which is kept")
        self._check_key()
        if pinned is None:
            self._station.do("write", "network", self._network)
            self._changed = True
            self._say("network pinned")

    def _check_key(self) -> PublicKey:
        key = read_key(self._station)
        if self._seed is not None:
            wanted = SoftwareSigner(key.curve, self._seed).public_key
            if wanted != key:
                _refused(
                    "key",
                    f"it has another key ({key.kid.hex()}) than the one to write",
                    "is it another device? Erase it to write another key",
                )
        self._expect(key)
        return key

    def _verify(self) -> tuple[PublicKey, Enrolment]:
        key = self._check_key()
        self._check_network(read_network(self._station))
        enrolment = self_test(self._station, key, self._network)
        self._accept(enrolment)
        self._say(f"read back and proven: {enrolment.did}")
        return key, enrolment

    def _check_network(self, pinned: str | None) -> None:
        if pinned != self._network:
            _refused(
                "network",
                f"it is pinned to {str(pinned)[:80]}, not to {self._network}",
                "give the card of its network, or erase it",
            )
