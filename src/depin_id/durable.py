"""Files that survive a power cut, and the exclusive hold on a directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from depin_id.closing import Closing
from depin_id.errors import StateError

LOCK_NAME: Final = ".lock"
MAX_FILE: Final = 1 << 24
"""Default bound on a file that is read whole, in bytes."""


def os_failure(error: OSError, path: Path) -> StateError:
    """The error of ours for one of the operating system: ``state.full`` or ``state.io``."""
    text = f"{path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StateError("state.full", text, hint="free disk space, then retry")
    return StateError("state.io", text, hint="check the disk and its permissions")


def failed(path: Path, error: OSError, *, hint: str = "") -> NoReturn:
    """Raise what :func:`os_failure` gives, with a better hint if there is one."""
    failure = os_failure(error, path)
    failure.hint = hint or failure.hint
    raise failure from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises StateError ``state.io``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        failed(path, error)


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``: the system may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _write_beside(path: Path, data: bytes | Iterable[bytes], mode: int) -> Path:
    """A durable file next to ``path``, its mode set before the first byte is in it."""
    parts = (data,) if isinstance(data, bytes) else data
    beside = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(handle, mode)  # the umask must not decide who reads a key
        for part in parts:
            write_all(handle, part)
        os.fsync(handle)
    finally:
        os.close(handle)
    return beside


def replace_file(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write a file so that after a crash it is the old one or the new one, never a part.

    Args:
        data: all of it, or one part after the other: what is large need not be in memory twice.

    Raises:
        StateError: ``state.io``.
    """
    try:
        os.rename(_write_beside(path, data, mode), path)
    except OSError as error:
        failed(path, error)
    sync_directory(path.parent)


def create_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Like :func:`replace_file`, but never over a file that is there.

    Raises:
        StateError: ``state.exists`` or ``state.io``.
    """
    try:
        beside = _write_beside(path, data, mode)
        try:
            os.link(beside, path)
        finally:
            os.unlink(beside)
    except FileExistsError as error:
        raise StateError(
            "state.exists", f"{path} is there already", hint="choose another directory"
        ) from error
    except OSError as error:
        failed(path, error)
    sync_directory(path.parent)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Without O_NONBLOCK a named pipe in the file's place would hold the process for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def read_file(path: Path, *, max_bytes: int = MAX_FILE, private: bool = False) -> bytes | None:
    """Read a regular file whole; None when there is none.

    Args:
        max_bytes: bound on its size.
        private: refuse a file that its group or others may read or write.

    Raises:
        StateError: ``state.io``, ``state.too_large`` or ``state.permissions``.
    """
    try:
        with _opened(path) as handle:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise StateError("state.io", f"{path} is not a regular file")
            if private and about.st_mode & 0o077:
                raise StateError(
                    "state.permissions",
                    f"{path} has mode {stat.S_IMODE(about.st_mode):04o}: others may use it",
                    hint=f"chmod 600 {path}, and make a new key if others could have read it",
                )
            return _read_bounded(path, handle, max_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        failed(path, error)


def _read_bounded(path: Path, handle: int, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes + 1
    while left and (part := os.read(handle, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise StateError("state.too_large", f"{path} is larger than {max_bytes} bytes")
    return b"".join(parts)


def make_directory(path: Path) -> None:
    """Make a directory (mode 0700) with its parents, durably; one that is there stays as it is.

    Raises:
        StateError: ``state.full`` or ``state.io``.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        failed(path, error)
    sync_directory(path.parent)


class FileLock(Closing):
    """An exclusive hold, given up by :meth:`close` or the end of the process.

    The file stays: if it were removed, two processes could hold "the" lock.

    Args:
        path: the lock file, made when missing; it names the holder.
        held: what is locked, for the message.

    Raises:
        StateError: ``state.locked`` when another process holds it, ``state.io``.
    """

    def __init__(self, path: Path, held: Path) -> None:
        self._handle = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            failed(path, error)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except OSError as error:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                failed(path, error)
            raise StateError(
                "state.locked",
                f"{held} is in use by process {holder}",
                hint="one process at a time may write there: stop the other one first",
            ) from error
        self._handle = handle

    def close(self) -> None:
        """Give it up; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class DirectoryLock(FileLock):
    """An exclusive hold on a directory.

    Args:
        directory: it exists.
        name: of the lock file: holders of different names may share a directory.

    Raises:
        StateError: ``state.missing`` when there is no such directory; as :class:`FileLock`.
    """

    def __init__(self, directory: Path, name: str = LOCK_NAME) -> None:
        if not directory.is_dir():
            raise StateError("state.missing", f"there is no directory {directory}")
        super().__init__(directory / name, directory)
