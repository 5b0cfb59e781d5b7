"""How the files of a journal are named, found and joined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from depin_id.errors import StateError
from verify.store.database import corrupt
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import Head
from verify.store.packing import genesis_digest

NAME = re.compile(r"journal-(\d{6,12})\.db")


@dataclass(frozen=True, slots=True)
class JournalFileInfo:
    """One file of the journal: entries [first, first + count); `digest` ends its chain.

    Of a `stripped` one the sealed column is in an archive.
    """

    path: Path
    sequence: int
    first: int
    count: int
    sealed: bool
    digest: bytes
    stripped: bool = False


def file_name(sequence: int) -> str:
    """What the file of a sequence number is called."""
    return f"journal-{sequence:06d}.db"


def check_joint(path: Path, head: Head, previous: JournalFileInfo | None, network: str) -> None:
    """Refuses a file that does not follow the one before it (None: it has to be the first).

    Raises:
        StateError: ``state.gap``, ``state.foreign``, ``state.corrupt``.
    """
    sequence = 1 if previous is None else previous.sequence + 1
    if path.name != file_name(head.sequence):
        raise corrupt(path, f"says that it is file {head.sequence}")
    if head.sequence != sequence:
        raise StateError(
            "state.gap",
            f"{path.parent / file_name(sequence)} is missing",
            hint="restore the file from a backup",
        )
    expected = genesis_digest(head.network)
    if previous is not None:
        if head.network != network:
            raise StateError(
                "state.foreign",
                f"{path} belongs to {head.network}, the journal to {network}",
                hint="take the file out of the folder",
            )
        if not previous.sealed:
            raise corrupt(previous.path, "is not sealed, but another file follows")
        expected = previous.digest
    first = 0 if previous is None else previous.first + previous.count
    if head.previous != expected or head.first != first:
        raise corrupt(path, "does not follow the file before it")


def closed(directory: Path) -> StateError:
    """The error of a journal that cannot be used any more."""
    return StateError(
        "state.closed",
        f"{directory} was closed, or an earlier write failed",
        hint="open the journal again",
    )


def journal_paths(directory: Path) -> list[Path]:
    """The files of a journal, oldest first."""
    found = [path for path in directory.glob("journal-*.db") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem[8:]))


def info_of(file: JournalFile) -> JournalFileInfo:
    """What others may know about an open file."""
    head, tail = file.head, file.tail
    return JournalFileInfo(
        file.path,
        head.sequence,
        head.first,
        tail.first - head.first,
        head.is_sealed,
        tail.digest,
        file.stripped,
    )
