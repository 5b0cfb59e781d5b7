"""Files of bundles: CBOR Sequences of envelopes (RFC 8742) of any size, streamed.

A file is cut at envelope boundaries into messages of at most 128 KiB. Where a file is damaged no
later boundary can be found: the head of the damaged tail becomes one message, so that it gets one
verdict, and the rest is read over, counted and reported.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from depin_id import cbor
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import EncodingError, TransportError
from verify.ingest import Message

STDIN = "-"
SUFFIX = ".cbor"
DEFAULT_BATCH_BYTES = 16 << 20
DEFAULT_BATCH_ENVELOPES = 10_000

_CHUNK = 1 << 20
_HEAD = 4096
_DIGEST = 16
_POSITION = 8

Progress = Callable[[int, int | None], None]
OnEvent = Callable[[str, dict[str, object]], None]


def _no_progress(_done: int, _total: int | None) -> None:
    pass


def _no_event(_kind: str, _detail: dict[str, object]) -> None:
    pass


def read_offset(offset: bytes) -> int:
    """The byte position an offset of this source stands for.

    Raises TransportError ``transport.offset``.
    """
    if len(offset) != _POSITION + _DIGEST:
        raise TransportError("transport.offset", f"an offset of {len(offset)} bytes, not 24")
    return int.from_bytes(offset[:_POSITION], "big")


def _source(name: str) -> str:
    """A file as the journal names it: text, though names of files are bytes."""
    return "file:" + os.fsencode(name).decode(errors="backslashreplace")


@dataclass(slots=True)
class _Input:
    """One file: its name in messages, its path (None: standard input) and its size if known."""

    name: str
    path: Path | None
    size: int | None


@dataclass(slots=True)
class _Reader:
    """Bounded bytes of one file, with a digest of its head that ties offsets to it."""

    stream: BinaryIO
    name: str
    position: int = 0
    at: int = 0
    ended: bool = False
    buffer: bytes = b""
    _head: bytearray = field(default_factory=bytearray)

    def fill(self) -> None:
        """Have at least one largest message in the buffer, unless the file ends before."""
        if self.ended or len(self.buffer) - self.at >= MAX_BUNDLE:
            return
        parts = [self.buffer[self.at :]]
        held = len(parts[0])
        while held < MAX_BUNDLE and not self.ended:
            chunk = self._read()
            parts.append(chunk)
            held += len(chunk)
        self.buffer, self.at = b"".join(parts), 0

    def _read(self) -> bytes:
        try:
            chunk = self.stream.read(_CHUNK) or b""
        except OSError as error:
            _unreadable(self.name, error)
        self.ended = not chunk
        if len(self._head) < _HEAD:
            self._head += chunk[: _HEAD - len(self._head)]
        return chunk

    @property
    def left(self) -> int:
        """Bytes in the buffer that were not taken."""
        return len(self.buffer) - self.at

    def take(self, count: int) -> bytes:
        data = self.buffer[self.at : self.at + count]
        self.at += count
        self.position += count
        return data

    def skip(self, count: int | None) -> int:
        """Read over so many bytes, or all that follow; gives how many there were."""
        done = 0
        while count is None or done < count:
            self.fill()
            if not self.left:
                break
            step = self.left if count is None else min(self.left, count - done)
            self.at += step
            self.position += step
            done += step
        return done

    def offset(self) -> bytes:
        """The position, and a digest of the file's head up to it (at most 4 KiB)."""
        digest = hashlib.sha256(self._head[: self.position]).digest()[:_DIGEST]
        return self.position.to_bytes(_POSITION, "big") + digest


class FileSource:
    """Messages from files, folders of ``*.cbor`` files (in the order of names) or ``-``.

    Args:
        paths: files, folders or ``-`` (standard input).
        received_at: milliseconds since 1970: a fixed number, or a clock asked once a message.
        batch_bytes, batch_envelopes: bounds of one batch; a single message may exceed the first.
        resume: offset of the last committed message of each source, as kept by the journal; what
            is before it is not given again.
        progress: called with bytes done and the total (None when it is not known).
        on_event: called with a kind and details, for logs: ``file.damaged``.

    Raises:
        TransportError: ``transport.file``, with the name, for what cannot be read.
    """

    def __init__(
        self,
        paths: Iterable[Path | str],
        *,
        received_at: Callable[[], int] | int,
        batch_bytes: int = DEFAULT_BATCH_BYTES,
        batch_envelopes: int = DEFAULT_BATCH_ENVELOPES,
        resume: Mapping[str, bytes] | None = None,
        progress: Progress = _no_progress,
        on_event: OnEvent = _no_event,
    ) -> None:
        if batch_bytes < 1 or batch_envelopes < 1:
            raise TransportError("transport.options", "a batch holds at least one envelope")
        self._received_at = received_at
        self._batch_bytes = batch_bytes
        self._batch_envelopes = batch_envelopes
        self._resume = dict(resume or {})
        self._progress = progress
        self._on_event = on_event
        self._inputs = _inputs(paths)
        sizes = [item.size for item in self._inputs]
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._done = 0
        self.damaged_bytes = 0

    @property
    def sources(self) -> list[str]:
        """The names that messages carry as ``source``, in the order of reading."""
        return [_source(item.name) for item in self._inputs]

    def batches(self) -> Iterator[list[Message]]:
        """The messages, in batches; nothing is read ahead beyond one message.

        Raises:
            TransportError: ``transport.file`` (unreadable) or ``transport.offset`` (the file is not
                the one that the offset to resume from was made for).
        """
        batch: list[Message] = []
        size = envelopes = 0
        self._done = 0
        self._progress(0, self._total)
        for message, count in self._messages():
            if batch and (
                size + len(message.data) > self._batch_bytes
                or envelopes + count > self._batch_envelopes
            ):
                yield batch
                batch, size, envelopes = [], 0, 0
                self._progress(self._done, self._total)
            batch.append(message)
            size += len(message.data)
            envelopes += count
            self._done += len(message.data)
        if batch:
            yield batch
        self._progress(self._done, self._total)

    def _messages(self) -> Iterator[tuple[Message, int]]:
        for item in self._inputs:
            with _open(item) as stream:
                reader = _Reader(stream, item.name)
                self._seek(reader)
                yield from self._split(reader)

    def _seek(self, reader: _Reader) -> None:
        offset = self._resume.get(_source(reader.name))
        if offset is None:
            return
        self._done += reader.skip(read_offset(offset))
        if reader.offset() != offset:
            raise TransportError(
                "transport.offset",
                f"{reader.name}: not the file that was read before",
                hint="give the file another name, or the original file",
            )

    def _split(self, reader: _Reader) -> Iterator[tuple[Message, int]]:
        """Messages of whole envelopes; each with the number of envelopes in it."""
        reader.fill()
        while reader.left:
            end, count, damaged = self._boundary(reader)
            if count:
                yield self._message(reader, reader.take(end)), count
            if damaged:
                yield self._tail(reader), 1
            reader.fill()

    def _boundary(self, reader: _Reader) -> tuple[int, int, bool]:
        """Length and number of the whole envelopes that fit one message, and what stopped it.

        The buffer holds a largest message or the rest of the file, so what does not end inside it
        is damaged or too large.
        """
        start = at = reader.at
        limit = min(len(reader.buffer), start + MAX_BUNDLE)
        count = 0
        while at < limit and count < self._batch_envelopes:
            try:
                end = cbor.item_end(reader.buffer, at)
            except EncodingError:
                # Inside the buffer, but perhaps only because the buffer ends: look again from
                # there, with a whole message's worth of bytes.
                return at - start, count, count == 0
            if end > limit:
                return at - start, count, end - at > MAX_BUNDLE and count == 0
            at = end
            count += 1
        return at - start, count, False

    def _tail(self, reader: _Reader) -> Message:
        at = reader.position
        data = reader.take(min(reader.left, MAX_BUNDLE))
        skipped = reader.skip(None)
        self.damaged_bytes += len(data) + skipped
        self._done += skipped
        self._on_event(
            "file.damaged",
            {"name": reader.name, "at": at, "kept": len(data), "skipped": skipped},
        )
        return self._message(reader, data)

    def _message(self, reader: _Reader, data: bytes) -> Message:
        clock = self._received_at
        name = _source(reader.name)
        now = clock if isinstance(clock, int) else clock()
        return Message(data, name, now, name, reader.offset())


def _inputs(paths: Iterable[Path | str]) -> list[_Input]:
    found: list[_Input] = []
    for path in paths:
        if str(path) == STDIN:
            found.append(_Input("stdin", None, None))
        elif os.path.isdir(path):
            found.extend(_folder(Path(path)))
        else:
            found.append(_file(Path(path), Path(path).name))
    if not found:
        raise TransportError(
            "transport.file", "there is nothing to read", hint="give files, folders or -"
        )
    uses = Counter(item.name for item in found)
    for item in found:
        if uses[item.name] > 1 and item.path is not None:
            item.name = str(item.path)
    if len({item.name for item in found}) != len(found):
        raise TransportError("transport.file", "a file is named twice", hint="name each file once")
    return found


def _folder(folder: Path) -> list[_Input]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(SUFFIX) and e.is_file())
    except OSError as error:
        _unreadable(str(folder), error)
    if not names:
        raise TransportError(
            "transport.file",
            f"{folder}: the folder holds no {SUFFIX} file",
            hint=f"files of bundles end in {SUFFIX}",
        )
    return [_file(folder / name, f"{folder.name}/{name}") for name in names]


def _file(path: Path, name: str) -> _Input:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        _unreadable(str(path), error)
    if not stat.S_ISREG(status.st_mode):
        raise TransportError(
            "transport.file", f"{path}: not a regular file", hint="pipe it into -, standard input"
        )
    return _Input(name, path, status.st_size)


def _open(item: _Input) -> BinaryIO:
    try:
        if item.path is None:
            # A copy: closing it leaves standard input itself open.
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
        return open(item.path, "rb", buffering=0)
    except (OSError, ValueError, AttributeError) as error:
        _unreadable(item.name, error)


def _unreadable(name: str, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or str(error)
    raise TransportError(
        "transport.file", f"{name}: {reason}", hint="check that it exists and may be read"
    ) from error
