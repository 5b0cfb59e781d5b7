"""Which radio frames were taken already: copies by other gateways, redeliveries and replays.

A device counts its frames. One that was counted before is a copy, or a replay; it never becomes a
second reading. The memory is bounded, and kept in a file beside the configuration: it is written
when a frame's reading is in the spool, and survives the bridge's end, however it ends. After a
power cut the last entries may be missing; a frame that the broker then sends again is taken again,
and has the same time only where its time is the server's or the gateway's (then the aggregator's
slots catch it).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from depin_id.durable import replace_file
from depin_id.errors import ConfigError, ReadingError, StateError

MAX_DEVICES = 10_000
MAX_IDS = 10_000
_RECENT = 64
_SESSIONS = 4
_MAX_LINES = 2 * MAX_DEVICES
_MAX_LINE = 1024
_MAX_COUNTER = 1 << 32


@dataclass(frozen=True, slots=True)
class Frame:
    """What identifies an uplink: its device, the session its counter belongs to, the counter.

    Attributes:
        id: the network server's own name for it, where it has one.
    """

    device: str
    session: str
    counter: int
    id: str | None = None


@dataclass
class _Device:
    """A device's sessions, the newest last, and what was taken in that."""

    session: str
    counter: int
    joined: str = ""
    old: deque[str] = field(default_factory=lambda: deque(maxlen=_SESSIONS))
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))


class FrameMemory:
    """Takes each frame once; safe to use from any thread.

    Args:
        path: of the file; None keeps it in memory only.
        resets: take counters that went back within a session (what was seen lately stays refused).
    """

    def __init__(self, path: Path | None = None, *, resets: bool = False) -> None:
        self._path, self._resets = path, resets
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._pending: dict[tuple[str, int], list[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._file: int | None = None
        self._lines = 0

    def open(self) -> None:
        """Read the file and go on with it. Raises ConfigError ``config.file``."""
        if self._path is None:
            return
        try:
            with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
                # What is longer was not written here; the newest of it is at the end.
                file.seek(max(0, os.path.getsize(self._path) - _MAX_LINES * _MAX_LINE))
                for line in file:
                    self._remember(line)
            self._rewrite()
        except (OSError, StateError) as error:
            raise ConfigError(
                "config.file",
                f"{self._path}: {error}",
                hint="name a file that the bridge may write as memory",
            ) from error

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def claim(self, frame: Frame) -> None:
        """Take a frame, or say why not; call :meth:`settle` when its reading is durable.

        Raises:
            ReadingError: ``frame.duplicate``: it was taken. ``frame.replayed``: its counter went
                back, or its session is over.
        """
        with self._lock:
            if frame.id is not None and frame.id in self._ids:
                raise ReadingError("frame.duplicate", f"{frame.device}: {frame.id[:60]} again")
            known = self._devices.get(frame.device)
            if known is not None:
                self._check(frame, known)
            self._note(frame)
            self._pending[frame.device, frame.counter] = []

    def joined(self, device: str, id: str) -> None:
        """A device joined: its counter begins anew. ``id`` tells one join from its redelivery."""
        with self._lock:
            known = self._devices.get(device)
            if known is not None and known.joined != id and id not in self._ids:
                self._put_id(id)
                known.joined = id
                known.counter = -1
                known.recent.clear()
                self._write(device, known, id)

    def settle(self, frame: Frame) -> None:
        """A frame's reading is in the spool, or was refused for good: that is remembered now."""
        with self._lock:
            known = self._devices.get(frame.device)
            if known is not None:
                self._write(frame.device, known, frame.id)
            waiting = self._pending.pop((frame.device, frame.counter), [])
        for done in waiting:
            done()

    def unclaim(self, frame: Frame) -> None:
        """A frame was not taken after all: it may come again, and its copies with it."""
        with self._lock:
            self._pending.pop((frame.device, frame.counter), None)
            self._ids.pop(frame.id or "", None)
            known = self._devices.get(frame.device)
            if known is None or known.session != frame.session:
                return
            with contextlib.suppress(ValueError):
                known.recent.remove(frame.counter)
            if known.counter == frame.counter:
                known.counter = max(known.recent, default=frame.counter - 1)

    def after(self, frame: Frame, done: Callable[[], None]) -> None:
        """Answer a copy: once the first of its kind is settled, or at once."""
        with self._lock:
            waiting = self._pending.get((frame.device, frame.counter))
            if waiting is not None:
                waiting.append(done)
                return
        done()

    def _check(self, frame: Frame, known: _Device) -> None:
        if frame.session in known.old:
            raise ReadingError("frame.replayed", f"{frame.device}: its session is over")
        if frame.session != known.session:
            return
        if frame.counter in known.recent or frame.counter == known.counter:
            raise ReadingError("frame.duplicate", f"{frame.device}: frame {frame.counter} again")
        if frame.counter < known.counter and not self._resets:
            raise ReadingError(
                "frame.replayed",
                f"{frame.device}: frame {frame.counter} after {known.counter}",
                hint="a device whose counter starts anew has to join, or counter_resets is set",
            )

    def _note(self, frame: Frame) -> None:
        known = self._devices.pop(frame.device, None)
        if known is None:
            known = _Device(frame.session, frame.counter)
            if len(self._devices) >= MAX_DEVICES:
                self._devices.popitem(last=False)
        elif known.session != frame.session:
            known.old.append(known.session)
            known.session = frame.session
            known.recent.clear()
        known.counter = frame.counter
        known.recent.append(frame.counter)
        self._devices[frame.device] = known
        if frame.id is not None:
            self._put_id(frame.id)

    def _put_id(self, id: str) -> None:
        self._ids[id] = None
        if len(self._ids) > MAX_IDS:
            self._ids.popitem(last=False)

    # --- the file: a line for each frame, [device, session, counter, join, old sessions, id] ---

    def _remember(self, line: bytes) -> None:
        """Take a line of the file in; one that was cut short says nothing."""
        try:
            device, session, counter, joined, old, id = json.loads(line)
        except (ValueError, RecursionError, TypeError):
            return
        if isinstance(id, str):
            self._put_id(id)
        texts = (device, session, joined, *(old if isinstance(old, list) else [None]))
        if not all(isinstance(text, str) for text in texts) or type(counter) is not int:
            return
        if -1 <= counter < _MAX_COUNTER:
            known = self._devices.pop(device, None) or _Device(session, counter)
            if known.session != session or known.joined != joined:
                known.recent.clear()
            known.session, known.counter, known.joined = session, counter, joined
            known.old.extend(item for item in old if item not in known.old)
            known.recent.append(counter)
            self._devices[device] = known
            if len(self._devices) > MAX_DEVICES:
                self._devices.popitem(last=False)

    @staticmethod
    def _line(device: str, known: _Device, id: str | None) -> bytes:
        entry = [device, known.session, known.counter, known.joined, list(known.old), id]
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"

    def _write(self, device: str, known: _Device, id: str | None) -> None:
        if self._file is None:
            return
        # Not flushed to the disk for each: see above for what a power cut may take.
        with contextlib.suppress(OSError):
            os.write(self._file, self._line(device, known, id))
        self._lines += 1
        if self._lines > _MAX_LINES:
            with contextlib.suppress(OSError, StateError):
                self._rewrite()

    def _rewrite(self) -> None:
        """The same memory in as few lines as it needs."""
        assert self._path is not None
        lines = [self._line(device, known, None) for device, known in self._devices.items()]
        ids = [json.dumps([None, None, None, None, None, id]).encode() + b"\n" for id in self._ids]
        replace_file(self._path, b"".join([*lines, *ids]))
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._lines = 0
