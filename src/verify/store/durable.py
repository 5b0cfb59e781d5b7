"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path

from depin_id.errors import StateError
from verify.store.database import os_failure


def fsync_directory(directory: Path) -> None:
    """Makes the names in `directory` durable: a rename is one only after this.

    Raises:
        StateError: ``state.io``.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise os_failure(error, directory) from error


def make_directory(directory: Path) -> None:
    """Creates `directory` (mode 0700) with its parents, durably; an existing one is left alone.

    Raises:
        StateError: ``state.io``.
    """
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise os_failure(error, directory) from error
    fsync_directory(directory.parent)


def write_durably(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Writes `data` to `path`: afterwards, and after any crash, the old file or the new one.

    Args:
        path: the file; its folder exists.
        data: the whole content.
        mode: permission bits, set before the first byte is written.
        replace: False refuses to write over an existing file.

    Raises:
        StateError: ``state.exists``, ``state.full`` or ``state.io``.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(handle, mode)  # the umask must not decide who reads a key
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, refuses an existing name
            temporary.unlink()
    except FileExistsError as error:
        temporary.unlink(missing_ok=True)
        raise StateError(
            "state.exists", f"{path} exists already", hint="choose another folder"
        ) from error
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise os_failure(error, path) from error
    fsync_directory(path.parent)
