"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from depin_id.durable import failed, make_directory, os_failure, sync_directory
from depin_id.errors import StateError


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``path`` when all went well, and vanishes otherwise.

    It stands beside ``path`` under one name, held by one process; what a killed one left there is
    removed by the next.

    Args:
        path: must not exist.

    Raises:
        StateError: ``state.exists``, ``state.locked``, ``state.permissions``, ``state.full``,
            ``state.io``.
    """
    path = Path(os.path.abspath(path))
    _refuse_existing(path)
    make_directory(path.parent)
    beside = path.with_name(f".{path.name}.unfinished")
    handle = _hold(beside)
    done = False
    try:
        try:
            _empty(beside)
            yield beside
            _sync(beside)
            _refuse_existing(path)
            os.rename(beside, path)
            done = True
        except OSError as error:
            raise os_failure(error, path) from error
        finally:
            if not done:  # afterwards the name is another process's
                shutil.rmtree(beside, ignore_errors=True)
    finally:
        os.close(handle)
    sync_directory(path.parent)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise StateError(
            "state.exists", f"{path} is there already", hint="choose a folder that is not there"
        )


def _hold(path: Path) -> int:
    """An exclusive hold on the folder of this name, made when missing."""
    try:
        while True:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            try:
                handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another process has just finished with it
            if _lock(handle, path):
                _check_own(handle, path)
                return handle
            os.close(handle)
    except OSError as error:
        failed(path, error)


def _lock(handle: int, path: Path) -> bool:
    """Hold it; False when the name meanwhile stands for another folder, or none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StateError(
            "state.locked", f"another process writes {path}", hint="wait until it is done"
        ) from None
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _check_own(handle: int, path: Path) -> None:
    """Refuse a folder that somebody else put there: he could exchange what is written into it."""
    about = os.fstat(handle)
    if about.st_uid != os.geteuid() or about.st_mode & 0o077:
        os.close(handle)
        raise StateError(
            "state.permissions",
            f"{path} is there, and is not this user's alone",
            hint="remove it, and write where nobody else may",
        )


def _empty(path: Path) -> None:
    """Remove what a killed process left."""
    for left in path.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _sync(folder: Path) -> None:
    """Make files and names below durable."""
    for place, _, names in os.walk(folder):
        for name in names:
            handle = os.open(Path(place, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(place))
