"""Where a device stands in its streams: the durable boot epoch, counters and heads in memory.

One durable write a boot. The epoch lies in two fixed slots that are written in turn; a torn write
damages one slot, and no signature was made under what it was to hold. When a slot is damaged, the
other may be one epoch behind what was signed: the next epoch then skips one, and both slots are
written before the first signature. When both are damaged, nothing on the device knows which epochs
were used: it refuses to sign until each network says with a signed resume where to go on.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from depin_id import cbor
from depin_id.ack import NONCE_BYTES
from depin_id.carried import Carried, read_carried, remove_carried, write_carried
from depin_id.claims import is_uint
from depin_id.durable import create_file, failed, read_file, replace_file, sync_directory, write_all
from depin_id.envelope import MAX_POSITION, NO_PREV, PREV_BYTES
from depin_id.errors import EncodingError, EnvelopeError, StateError
from depin_id.slots import SLOT_BYTES, SLOT_STEP, Slot, read_slot

MAX_STREAMS: Final = 65_536
"""Bound on the streams (network, subject) of one boot."""
POSITION_FILE: Final = "position.bin"
HEADS_FILE: Final = "heads.cbor"
RESUME_FILE: Final = "resume.cbor"

_CHECK: Final = 16
_Stream = tuple[str, str]


@dataclass(slots=True)
class _Resumes:
    """After a loss: nonces that wait for an answer, and networks that answered."""

    nonces: dict[str, bytes] = field(default_factory=dict)
    resumed: set[str] = field(default_factory=set)

    def to_bytes(self) -> bytes:
        return cbor.encode([dict(self.nonces), sorted(self.resumed)])


@dataclass(slots=True)
class _StreamState:
    n: int
    head: bytes


class PositionStore:
    """The positions of one device directory. Its caller holds the directory's lock.

    Args:
        directory: the device's directory.
        thumbprint: the device key's thumbprint, 32 bytes.
        boot: of the machine, 16 bytes, when processes may share an epoch
            (:mod:`depin_id.carried`). started: the monotonic clock now, in seconds.
    """

    def __init__(
        self, directory: Path, thumbprint: bytes, *, boot: bytes | None = None, started: float = 0
    ) -> None:
        self.started, self._machine, self._shared = started, boot, False
        self._directory = directory
        self._device = thumbprint[:16]
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._streams: dict[_Stream, _StreamState] = {}
        self._booted: int | None = None
        self._closed = False
        self._slots = self._read_slots()
        self._left = read_carried(directory, self._device)
        self._heads, self._heads_epoch = self._read_heads()
        self._lost = all(slot is None for slot in self._slots)
        self._resumes = self._read_resumes()

    @staticmethod
    def create(directory: Path, thumbprint: bytes) -> None:
        """Write the first record: no epoch used yet. Raises StateError ``state.exists``."""
        data = bytearray(SLOT_STEP + SLOT_BYTES)
        for index in (0, 1):
            slot = Slot(index, 0).to_bytes(thumbprint[:16])
            data[index * SLOT_STEP : index * SLOT_STEP + SLOT_BYTES] = slot
        create_file(directory / POSITION_FILE, bytes(data))

    # --- what is on the disk ---------------------------------------------------------------

    def _read_slots(self) -> list[Slot | None]:
        try:
            data = read_file(self._directory / POSITION_FILE, max_bytes=SLOT_STEP + SLOT_BYTES)
        except StateError as error:
            if error.code != "state.too_large":
                raise
            data = None
        data = data or b""
        return [
            read_slot(data[start : start + SLOT_BYTES], self._device) for start in (0, SLOT_STEP)
        ]

    def _read_heads(self) -> tuple[dict[_Stream, bytes], int]:
        """Heads of the last clean end and its epoch; a damaged file only loses heads."""
        nothing: tuple[dict[_Stream, bytes], int] = ({}, 0)
        try:
            data = read_file(self._directory / HEADS_FILE) or b""
            value = cbor.decode(data, max_bytes=len(data))
        except (StateError, EncodingError):
            return nothing
        if not isinstance(value, list) or len(value) != 4 or value[0] != self._device:
            return nothing
        _, epoch, entries, check = value
        if check != self._heads_check(epoch, entries) or not is_uint(epoch, MAX_POSITION):
            return nothing
        # What the checksum holds for was written here, so its form is known.
        return {(network, subject): head for network, subject, head in entries}, epoch

    def _heads_check(self, epoch: int, entries: Any) -> bytes:
        body = cbor.encode([self._device, epoch, entries])
        return hashlib.sha256(body).digest()[:_CHECK]

    def _read_resumes(self) -> _Resumes | None:
        """None as long as the position was never lost; in a damaged file nothing is answered."""
        try:
            data = read_file(self._directory / RESUME_FILE)
            if data is None:
                return _Resumes() if self._lost else None
            nonces, resumed = cbor.decode(data)
            known = _Resumes(dict(nonces), set() if self._lost else set(resumed))
            return known if all(type(item) is bytes for item in nonces.values()) else _Resumes()
        except (StateError, EncodingError, ValueError, TypeError, AttributeError):
            return _Resumes()

    def _write_slot(self, index: int, slot: Slot) -> None:
        path = self._directory / POSITION_FILE
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.lseek(handle, index * SLOT_STEP, os.SEEK_SET)
                write_all(handle, slot.to_bytes(self._device))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            failed(path, error, hint="the device does not sign without a durable position")
        self._slots[index] = slot

    # --- epochs ----------------------------------------------------------------------------

    def _last(self) -> Slot:
        return max(
            (slot for slot in self._slots if slot is not None),
            key=lambda slot: (slot.sequence, slot.epoch),
            default=Slot(0, 0),
        )

    def _highest(self) -> int:
        """The highest epoch that anything readable speaks of."""
        slots = [slot.epoch for slot in self._slots if slot is not None]
        left = 0 if self._left is None else self._left.epoch
        return max([*slots, self._heads_epoch, left, self._booted or 0])

    def _enter(self, epoch: int, *, both: bool) -> None:
        if epoch > MAX_POSITION:
            raise StateError(
                "state.epochs_exhausted", "all boot epochs are used", hint="enrol a new key"
            )
        if self._left is not None:
            remove_carried(self._directory)
            self._left = None
        last = self._last()
        target = 1 if self._slots[0] is last else 0
        # The older or damaged one first: the good one stays until it is replaced.
        self._write_slot(target, Slot(last.sequence + 1, epoch))
        if both:
            self._write_slot(1 - target, Slot(last.sequence + 2, epoch))
            sync_directory(self._directory)
        self._booted = epoch

    def _boot(self) -> None:
        if self._booted is not None:
            return
        damaged, recorded = None in self._slots, self._last().epoch
        if self._carry_on(recorded):
            return
        # A damaged slot may have held one epoch more than the other: skip it.
        epoch = self._highest() + (2 if damaged else 1)
        if damaged or self._heads_epoch != recorded:
            self._heads = {}  # something was signed after them, or may have been
        # Whoever loses one slot has to find at most one epoch less in the other.
        self._enter(epoch, both=epoch != recorded + 1)

    def _carried(self, recorded: int) -> Carried | None:
        left = self._left
        same = left is not None and (left.boot, left.epoch) == (self._machine, recorded)
        return left if same and None not in self._slots else None

    def _carry_on(self, recorded: int) -> bool:
        """Go on in the epoch of the process before, when that ended cleanly and left it."""
        carried = self._carried(recorded)
        if carried is None:
            return False
        # Before anything is signed: neither file is true from then on.
        remove_carried(self._directory, HEADS_FILE)
        self._left = None
        self._streams = {stream: _StreamState(*at) for stream, at in carried.streams.items()}
        self._booted, self._shared = carried.epoch, True
        self.started = carried.started / 1000
        return True

    @property
    def epoch(self) -> int:
        """The epoch that the next signature will be under; asking does not begin it."""
        with self._lock:
            recorded = self._last().epoch
            if self._booted or self._carried(recorded):
                return self._booted or recorded
            return self._highest() + (2 if None in self._slots else 1)

    def share(self, network: str) -> int:
        """This boot's epoch, begun if need be; a clean end leaves it to the next process.
        Raises as :meth:`take`."""
        with self._lock:
            self._check_process()
            self._check_network(network)
            self._boot()
            assert self._booted is not None
            self._shared = True
            return self._booted

    # --- resume after a loss -----------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether both slots are damaged: only a resume helps."""
        return self._lost

    def resume_nonce(self, network: str) -> bytes:
        """The nonce a resume of this network has to answer; made once and kept until it came.

        Raises StateError ``state.not_lost`` when there is nothing to resume, ``state.io``.
        """
        with self._lock:
            self._check_process()
            resumes = self._resumes
            if resumes is None or network in resumes.resumed:
                raise StateError("state.not_lost", "the position is not lost: nothing to resume")
            if network not in resumes.nonces:
                if len(resumes.nonces) >= 64:
                    raise StateError("state.too_many", "64 resumes are waiting already")
                resumes.nonces[network] = secrets.token_bytes(NONCE_BYTES)
            # Written each time: what an earlier loss left in the file must not count for this one.
            replace_file(self._directory / RESUME_FILE, resumes.to_bytes())
            return resumes.nonces[network]

    def waiting_nonce(self, network: str) -> bytes:
        """The nonce made before. Raises EnvelopeError ``resume.stale`` when none waits."""
        nonce = self._resumes.nonces.get(network) if self._resumes is not None else None
        if nonce is None:
            raise EnvelopeError("resume.stale", "no resume of this network is waited for")
        return nonce

    def resume(self, network: str, epoch_floor: int) -> None:
        """Go on above ``epoch_floor`` for this network; its resume was verified by the caller.

        Raises EnvelopeError ``resume.stale``; StateError ``state.epochs_exhausted``, ``state.io``.
        """
        with self._lock:
            self._check_process()
            self.waiting_nonce(network)
            resumes = self._resumes
            assert resumes is not None
            # First what is not answered yet: a crash below must not leave older answers valid.
            replace_file(self._directory / RESUME_FILE, resumes.to_bytes())
            if self._lost or self._booted is None or self._booted <= epoch_floor:
                self._enter(max(self._highest(), epoch_floor) + 1, both=True)
                for state in self._streams.values():
                    state.n = 0
                self._heads = {}
                self._lost = False
            del resumes.nonces[network]
            resumes.resumed.add(network)
            replace_file(self._directory / RESUME_FILE, resumes.to_bytes())

    def _check_network(self, network: str) -> None:
        if self._lost or (self._resumes is not None and network not in self._resumes.resumed):
            raise StateError(
                "state.position_lost",
                f"{self._directory / POSITION_FILE} was damaged or removed: which positions were "
                "signed is not known",
                hint="send the nonce of resume_nonce() to the network's operator and hand the "
                "answer to take_resume(), or enrol a new key",
            )

    # --- positions ---------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("state.closed", "the device is closed", hint="open it again")

    def _check_process(self) -> None:
        self._check_open()
        if os.getpid() != self._pid:
            raise StateError(
                "state.process",
                "the device was opened in the parent process",
                hint="open the device after fork, in one process only",
            )

    def take(self, network: str, subject: str | None) -> Position:
        """The next position of a stream, to be used in a ``with`` block under the store's lock.

        Raises:
            StateError: ``state.position_lost``, ``.epochs_exhausted``, ``.positions_exhausted``,
                ``.too_many``, ``.process``, ``.closed``, ``.io``.
        """
        return Position(self, network, subject or "")

    def _open(self, network: str, subject: str) -> tuple[int, int, bytes]:
        self._check_process()
        self._check_network(network)
        self._boot()
        assert self._booted is not None
        state = self._streams.get((network, subject))
        if state is None:
            if len(self._streams) >= MAX_STREAMS:
                raise StateError("state.too_many", f"over {MAX_STREAMS} streams in one boot")
            state = _StreamState(0, self._heads.pop((network, subject), NO_PREV))
            self._streams[network, subject] = state
        if state.n > MAX_POSITION:
            raise StateError(
                "state.positions_exhausted",
                "all positions of this boot are used",
                hint="close the device and open it again: that begins a new boot",
            )
        return self._booted, state.n, state.head

    def _advance(self, network: str, subject: str, identity: bytes) -> None:
        self._check_open()  # a signal's handler may have closed it in between
        state = self._streams[network, subject]
        state.n += 1
        state.head = identity[:PREV_BYTES]

    def close(self) -> None:
        """Write the heads, so that the next boot's first envelopes carry on the chain. From then on
        no position is given or used: the next process goes on from here. Raises StateError."""
        with self._lock:
            self._closed = True
            if self._booted is None or os.getpid() != self._pid:
                return
            heads = self._heads | {
                stream: state.head
                for stream, state in self._streams.items()
                if state.head != NO_PREV
            }
            entries = [[network, subject, heads[network, subject]] for network, subject in heads]
            check = self._heads_check(self._booted, entries)
            data = cbor.encode([self._device, self._booted, entries, check])
            replace_file(self._directory / HEADS_FILE, data)
            if self._shared and self._machine is not None:
                at = {stream: (state.n, state.head) for stream, state in self._streams.items()}
                left = Carried(self._machine, self._booted, int(self.started * 1000), at)
                write_carried(self._directory, self._device, left)


class Position:
    """One position of a stream, held while it is signed.

    It is used up by :meth:`used`, called as soon as the bytes to sign are handed to the signer:
    whether or not a signature comes back, the same position is never signed over other bytes.
    """

    def __init__(self, store: PositionStore, network: str, subject: str) -> None:
        self._store, self._network, self._subject = store, network, subject
        self._taken = False

    def __enter__(self) -> Position:
        self._store._lock.acquire()
        try:
            opened = self._store._open(self._network, self._subject)
        except BaseException:
            self._store._lock.release()
            raise
        self.epoch, self.n, self.prev = opened
        return self

    def used(self, message: bytes) -> None:
        """The position is used for these signed bytes (a Sig_structure)."""
        if self._taken:
            raise StateError("state.position_used", "a position was about to be signed twice")
        self._taken = True
        self._store._advance(self._network, self._subject, hashlib.sha256(message).digest())

    def __exit__(self, *_: object) -> None:
        self._store._lock.release()
