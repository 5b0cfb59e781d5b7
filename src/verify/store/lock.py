"""One writer for one folder, held by the operating system, gone with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from depin_id.errors import StateError
from verify.store.database import os_failure


class DirectoryLock:
    """An exclusive lock on a folder (``flock`` of a file in it that names the holder).

    Args:
        directory: the folder; it exists.
        name: the lock file's name: stores with different names may share a folder.

    Raises:
        StateError: ``state.locked``, naming the process that holds it; ``state.io``.
    """

    def __init__(self, directory: Path, name: str = "lock") -> None:
        self.path = directory / name
        self._handle = -1
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise os_failure(error, self.path) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise StateError(
                "state.locked",
                f"{directory} is in use by process {holder}",
                hint="stop that process, or open read-only",
            ) from error
        except OSError as error:
            os.close(handle)
            raise os_failure(error, self.path) from error
        # The file stays when the lock goes: unlinking it would let two processes hold "the" lock.
        self._handle = handle

    def release(self) -> None:
        """Gives the lock back; more than once is harmless."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
