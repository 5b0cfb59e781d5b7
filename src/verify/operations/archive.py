"""Sealed files of the journal: copied to an archive, made small here, brought back.

Nothing is taken away here before the archive has given the same bytes back. What is left of a file
keeps its leaves, positions and state changes, so intake, the log and erasure need no archive; only
audit, rebuild and a replay from the beginning do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from depin_id.durable import DirectoryLock, read_file, replace_file, sync_directory
from depin_id.errors import StateError
from verify.dataset.segment import stored_files
from verify.operations.places import Place, foreign
from verify.snapshot import covered
from verify.store import Journal, JournalFileInfo
from verify.store.database import guarded
from verify.store.journal_archive import ARCHIVED, strip
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import is_finished
from verify.workspace import Workspace

FORMAT: Final = "depin-archive/1"
_MAX_POINTERS: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """A file of the journal in an archive.

    Attributes:
        name: of the file, here and there.
        first, count: its entries are [first, first + count).
        size, sha256: of the whole file.
        place: where it is.
    """

    name: str
    first: int
    count: int
    size: int
    sha256: str
    place: str

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "first": self.first,
            "count": self.count,
            "bytes": self.size,
            "sha256": self.sha256,
            "place": self.place,
        }


@dataclass
class ArchiveReport:
    """What was done.

    Attributes:
        copied: files that the place holds, checked.
        stripped: names of those whose sealed part is only there from now on.
        needed: names of those that are still needed whole here, and why.
        fetched: names of those that were brought back.
        freed: bytes of disk.
    """

    copied: list[Moved] = field(default_factory=list)
    stripped: list[str] = field(default_factory=list)
    needed: dict[str, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    freed: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "copied": [item.to_json() for item in self.copied],
            "stripped": self.stripped,
            "needed": self.needed,
            "fetched": self.fetched,
            "freed": self.freed,
        }


def archive(root: Path, place: Place, *, keep: int | None = None) -> ArchiveReport:
    """Copy the sealed files of a journal to a place; the aggregator may be running.

    Args:
        root: the aggregator's directory.
        place: where to; what lies there is never replaced.
        keep: strip what is in the archive here, but for so many newest sealed files; None strips
            nothing. A file that a restart or the segments still need is kept whole anyway.

    Raises:
        StateError: ``archive.differs``, ``state.corrupt`` (a file here is damaged: it is not
            archived), ``state.locked``, ``state.full``, ``state.io``. TransportError: the place.
    """
    workspace = Workspace(Path(root))
    workspace.check()
    report = ArchiveReport()
    with DirectoryLock(workspace.journal, "archive.lock"):
        with Journal.open(workspace.journal, read_only=True) as journal:
            sealed = [info for info in journal.files() if info.sealed and is_finished(info.path)]
        pointers = read_pointers(workspace.journal)
        for info in sealed:
            if not info.stripped:
                moved = _copy(info, place)
                report.copied.append(moved)
                pointers[moved.name] = moved
                write_pointers(workspace.journal, pointers)
        if keep is not None:
            older = sealed[: max(len(sealed) - keep, 0)]
            _strip_all(workspace, [info for info in older if not info.stripped], report)
    return report


def _copy(info: JournalFileInfo, place: Place) -> Moved:
    with JournalFile.open(info.path, read_only=True) as file:
        file.verify()
    size, sha256 = place.put(info.path, info.path.name)
    return Moved(info.path.name, info.first, info.count, size, sha256, place.name)


def _strip_all(
    workspace: Workspace, whole: Sequence[JournalFileInfo], report: ArchiveReport
) -> None:
    snapshot, segments = covered(workspace.snapshots), _covered_by_full_segments(workspace)
    for info in whole:
        name, end = info.path.name, info.first + info.count
        if end > snapshot:
            report.needed[name] = f"the newest snapshot covers {snapshot} entries of {end}"
        elif end > segments:
            report.needed[name] = f"full segments cover {segments} entries of {end}"
        else:
            before = info.path.stat().st_size
            beside = info.path.with_name(f"{name}.stripped")
            strip(info.path, beside)
            _replace(beside, info.path)
            report.stripped.append(name)
            report.freed += before - info.path.stat().st_size


def _covered_by_full_segments(workspace: Workspace) -> int:
    """Up to which entry the segments are never written again: the last one may grow."""
    stored = stored_files(workspace.segments).values()
    return max((segment.start for segments in stored for segment in segments), default=0)


def _replace(beside: Path, path: Path) -> None:
    with guarded(path):
        os.chmod(beside, 0o444)
        os.rename(beside, path)
    sync_directory(path.parent)


def fetch(root: Path, place: Place, *, files: Sequence[str] = ()) -> ArchiveReport:
    """Bring archived files back; the aggregator may be running.

    A file is taken only if it ends the chain of digests as what is left of it here does.

    Args:
        files: names; none is all that were stripped.

    Raises:
        StateError: ``state.missing``, ``state.foreign`` (another file of that name),
            ``state.corrupt``, ``state.full``, ``state.io``. TransportError: the place.
    """
    workspace = Workspace(Path(root))
    workspace.check()
    return fetch_into(workspace.journal, place, files=files)


def fetch_into(directory: Path, place: Place, *, files: Sequence[str] = ()) -> ArchiveReport:
    """As :func:`fetch`, of a journal's folder."""
    report = ArchiveReport()
    with DirectoryLock(directory, "archive.lock"):
        with Journal.open(directory, read_only=True) as journal:
            stripped = {info.path.name: info for info in journal.files() if info.stripped}
        unknown = sorted(set(files) - set(stripped))
        if unknown:
            raise StateError(
                "state.argument",
                f"{unknown[0]} is not a file whose sealed part was archived",
                hint=f"these are: {', '.join(stripped) or 'none'}",
            )
        pointers = read_pointers(directory)
        for name in files or stripped:
            _fetch(stripped[name], place, pointers.get(name))
            report.fetched.append(name)
    return report


def _fetch(info: JournalFileInfo, place: Place, moved: Moved | None) -> None:
    beside = info.path.with_name(f"{info.path.name}.fetched")
    try:
        found = place.get(info.path.name, beside, most=None if moved is None else moved.size)
        # A store could add to a database what its entries do not show.
        if moved is not None and found != (moved.size, moved.sha256):
            raise foreign(info.path.name, place.name)
        with guarded(beside):
            os.chmod(beside, 0o444)
        with JournalFile.open(beside, read_only=True) as file:
            same = (file.head.sequence, file.head.first, file.head.digest, file.stripped)
            if same != (info.sequence, info.first, info.digest, False):
                raise foreign(info.path.name, place.name)
            file.verify()
        _replace(beside, info.path)
    finally:
        beside.unlink(missing_ok=True)


def read_pointers(directory: Path) -> dict[str, Moved]:
    """Which files of a journal's folder were archived, by name. Raises StateError."""
    data = read_file(directory / ARCHIVED, max_bytes=_MAX_POINTERS)
    if data is None:
        return {}
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError("another format")
        found = [
            Moved(
                str(item["name"]),
                int(item["first"]),
                int(item["count"]),
                int(item["bytes"]),
                str(item["sha256"]),
                str(item["place"]),
            )
            for item in content["files"]
        ]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise StateError(
            "state.manifest",
            f"{directory / ARCHIVED} is not a list of archived files",
            hint="move it aside: `depin-verify archive DIR --to PLACE` writes it again",
        ) from error
    return {item.name: item for item in found}


def write_pointers(directory: Path, pointers: dict[str, Moved]) -> None:
    """Write the list durably."""
    content = {"format": FORMAT, "files": [pointers[name].to_json() for name in sorted(pointers)]}
    replace_file(directory / ARCHIVED, (json.dumps(content, indent=2) + "\n").encode())
