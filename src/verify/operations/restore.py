"""From a backup back to an aggregator's directory, without ever taking back what was published.

Three ends are possible. The journal leads to every checkpoint that was published: it goes on. It
does not reach so far, but everything between can be made again from what was published: it goes on
from there. Or something published stays unknown: then no directory is made that could sign again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from depin_id.durable import make_directory, replace_file, sync_directory
from depin_id.errors import LogError, StateError
from verify import snapshot
from verify.aggregator import Aggregator
from verify.leaf import parse_leaf
from verify.operations.archive import fetch_into
from verify.operations.backup import CHECKPOINT, FORMAT, KEYS_FORMAT
from verify.operations.copying import Copied, copy_file, empty_folder, read_manifest
from verify.operations.places import Place
from verify.operations.published import Published, check_history, gather
from verify.operations.recover import Material, Missing, Recovery, describe
from verify.replay import replay
from verify.store import Journal, KeyStore
from verify.store.database import corrupt, guarded
from verify.store.journal_archive import ARCHIVED
from verify.store.journal_chain import NAME
from verify.store.journal_file import JournalFile
from verify.workspace import Workspace

_SHOWN: Final = 20
Progress = Callable[[int, int], None]


@dataclass
class RestoreReport:
    """What was restored.

    Attributes:
        network: DID.
        backup_entries: entries in the backup.
        entries: entries of the journal now, with those that were made again from the log.
        published: size of the largest published checkpoint that is known.
        keys: whether the keys were restored too.
        read_only: whether the directory may be read but never signs again.
        missing: how many published entries the journal has not; 0 unless read-only.
        first_missing: the first of them.
        unsigned: leaves in the published tiles beyond the checkpoint that the journal has not.
        public: whether log and segments were made again; that takes the keys, and every file of
            the journal whole.
        fetched: files that came from the archive.
    """

    network: str
    backup_entries: int
    entries: int
    published: int
    keys: bool
    read_only: bool = False
    missing: int = 0
    first_missing: Missing | None = None
    unsigned: int = 0
    public: bool = False
    fetched: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "network": self.network,
            "backup_entries": self.backup_entries,
            "entries": self.entries,
            "made_again": self.entries - self.backup_entries,
            "published": self.published,
            "keys": self.keys,
            "read_only": self.read_only,
            "missing": self.missing,
            "first_missing": None if self.first_missing is None else self.first_missing.to_json(),
            "unsigned": self.unsigned,
            "public": self.public,
            "fetched": self.fetched,
        }


def restore(
    source: Path,
    target: Path,
    *,
    keys: Path | None = None,
    published: Path | None = None,
    checkpoints: Sequence[Path] = (),
    nothing_newer: bool = False,
    material: Material | None = None,
    archive: Place | None = None,
    read_only: bool = False,
    progress: Progress | None = None,
) -> RestoreReport:
    """Make an aggregator's directory from a backup; it is there whole, or not at all.

    Args:
        source: what :func:`verify.operations.backup.backup` wrote.
        target: a new or empty folder.
        keys: the backup of the keys.
        published: the published folder (log, segments, card), as it is now.
        checkpoints: files with signed checkpoints of the log, from witnesses or readers.
        nothing_newer: the operator's word that nothing was published since the backup.
        material: what else is at hand for making published entries again.
        archive: where archived files of the journal are brought back from.
        read_only: if published entries are missing, make a directory that can be read and proves
            what it has, but never signs again.

    Raises:
        StateError: ``state.exists``, ``state.missing``, ``state.manifest``, ``state.corrupt``;
            ``restore.unknown`` (nobody said what was published), ``restore.forked``,
            ``restore.behind`` (published entries are missing; the message names them).
        LogError: a checkpoint or tile is not what the network's log signed.
    """
    if published is None and not checkpoints and not nothing_newer:
        raise StateError(
            "restore.unknown",
            "a restored journal must not contradict what was published, and nobody said what was",
            hint="name the published folder (--published) or the newest checkpoint that anybody "
            "has (--checkpoint); --nothing-newer only if the log stood still since the backup",
        )
    content, files = read_manifest(source, FORMAT)
    target = target.absolute()
    empty_folder(target)
    staging = target.with_name(f".{target.name}.restoring")
    if staging.exists():
        shutil.rmtree(staging)  # of a restore that was cut off
    make_directory(staging)
    try:
        _unpack(source, files, staging)
        if keys is not None:
            _unpack_keys(keys, content["network"], staging)
        work = _Restore(Workspace(staging), content, keys is not None)
        if archive is not None:
            work.report.fetched = fetch_into(staging / "journal", archive).fetched
        work.check_journal()
        work.gather(published, checkpoints)
        work.reconcile(material or Material(), read_only=read_only, progress=progress)
        work.prepare_public()
        work.publish()
        _sync_tree(staging)
        with guarded(target):
            os.rename(staging, target)  # over the empty folder
        sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return work.report


def _others(folder: str, names: list[str]) -> list[str]:
    """What is neither file nor folder: by a link, a file of this machine would be published."""
    with os.scandir(folder) as found:
        plain = {
            item.name
            for item in found
            if item.is_file(follow_symlinks=False) or item.is_dir(follow_symlinks=False)
        }
    return [name for name in names if name not in plain]


def _unpack(source: Path, files: Sequence[Copied], staging: Path) -> None:
    for item in files:
        path = staging / item.path
        make_directory(path.parent)
        if copy_file(source / item.stored, path) != (item.size, item.sha256):
            raise StateError(
                "state.corrupt",
                f"{source / item.stored} is not the {item.path} of its manifest",
                hint="restore from another backup: this one was changed or is damaged",
            )
        if NAME.fullmatch(path.name):
            _finish(path)


def _finish(path: Path) -> None:
    """A sealed file of the journal is read-only for ever."""
    with JournalFile.open(path, read_only=True) as file:
        sealed = file.head.is_sealed
    if sealed:
        with guarded(path):
            path.chmod(0o444)


def _unpack_keys(keys: Path, network: str, staging: Path) -> None:
    content, files = read_manifest(keys, KEYS_FORMAT)
    if content["network"] != network:
        raise StateError(
            "state.foreign",
            f"the keys in {keys} are of {content['network']}, the backup of {network}",
            hint="name the keys that belong to this backup",
        )
    for item in files:
        (staging / item.path).unlink(missing_ok=True)
    _unpack(keys, files, staging)


class _Restore:
    """The steps, on the directory while it is not yet in its place."""

    def __init__(self, workspace: Workspace, manifest: dict[str, Any], keys: bool) -> None:
        self._workspace = workspace
        self._manifest = manifest
        self._published: Published | None = None
        entries = int(manifest.get("entries", 0))
        self.report = RestoreReport(manifest["network"], entries, entries, 0, keys)

    def check_journal(self) -> None:
        """The journal is whole, and the one that the manifest describes."""
        with Journal.open(self._workspace.journal, read_only=True) as journal:
            journal.verify()
            found = (journal.network, journal.size, journal.files()[-1].digest.hex())
        wanted = tuple(self._manifest.get(name) for name in ("network", "entries", "digest"))
        if found != wanted:
            raise corrupt(self._workspace.journal, f"holds {found}, its manifest says {wanted}")

    def gather(self, folder: Path | None, checkpoints: Sequence[Path]) -> None:
        """Learn what was published, from the backup itself too."""
        card = (self._workspace.operating / "card.cbor").read_bytes()
        note = self._workspace.root / CHECKPOINT
        self._published = gather(
            card,
            self.report.network,
            folder=folder,
            checkpoints=checkpoints,
            own=note.read_bytes() if note.is_file() else None,
        )
        self.report.published = self._published.size

    def reconcile(self, material: Material, *, read_only: bool, progress: Progress | None) -> None:
        """Bring the journal to where it leads to every checkpoint, or refuse."""
        published = self._known()
        with Journal.open(self._workspace.journal, read_only=True) as journal:
            check_history(journal, published)
            behind = published.size > journal.size
        stored = published.stored()
        why = None
        if behind:
            why = self._recover(max(stored, published.size), material, progress)
        with Journal.open(self._workspace.journal, read_only=True) as journal:
            self.report.entries = journal.size
            if behind:
                check_history(journal, published)
            self.report.unsigned = max(stored - max(journal.size, published.size), 0)
            self.report.missing = max(published.size - journal.size, 0)
        if not self.report.missing:
            return
        self.report.first_missing = why
        if not read_only:
            raise self._refusal(why)
        self.report.read_only = True

    def _recover(self, stop: int, material: Material, progress: Progress | None) -> Missing | None:
        published = self._known()
        if published.stored() < published.size or not self.report.keys:
            return None
        with (
            Journal.open(self._workspace.journal) as journal,
            KeyStore.open(self._workspace.keys) as keys,
        ):
            fold = snapshot.load(self._workspace.snapshots, keys, journal)
            replay(journal, keys, fold)
            return Recovery(journal, keys, fold, published, material).run(
                min(stop, published.stored()), progress
            )

    def _refusal(self, first: Missing | None) -> StateError:
        report, published = self.report, self._known()
        lines = [
            f"the published log has {published.size} entries, the backup {report.backup_entries}: "
            f"[{report.entries}, {published.size}) are missing"
        ]
        if report.entries > report.backup_entries:
            made = report.entries - report.backup_entries
            lines.append(f"{made} were made again from what was published")
        if published.stored() < published.size:
            lines.append("they are not known here: only a checkpoint promises them")
            hint = "name the whole published folder with --published, or a newer backup"
        elif not report.keys:
            lines += self._what_is_missing()
            hint = "name the keys with --keys: with them published entries can be made again"
        else:
            if first is not None:
                lines.append(f"the first: {first}")
            lines += self._what_is_missing()
            hint = (
                "supply what is named, or a newer backup; --read-only makes a directory that "
                "never signs again, and a new log needs a new card"
            )
        return StateError("restore.behind", "\n".join(lines), hint=hint)

    def _what_is_missing(self) -> list[str]:
        published, start = self._known(), self.report.entries
        found: list[str] = []
        kinds: Counter[str] = Counter()
        with suppress(LogError):
            for index, leaf in enumerate(published.leaves(start, published.size), start):
                item = describe(index, parse_leaf(leaf), None, "missing")
                kinds[item.kind.partition(",")[0]] += 1
                if len(found) < _SHOWN:
                    found.append(f"  {item}")
        total = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        more = sum(kinds.values()) - len(found)
        return [f"in all {total}", *found, *([f"  and {more} more"] if more > 0 else [])]

    def prepare_public(self) -> None:
        """What was promised lies there from the start, so that nothing smaller is ever signed."""
        published, workspace = self._known(), self._workspace
        make_directory(workspace.log)
        for folder in (workspace.public, workspace.log):
            with guarded(folder):
                folder.chmod(0o755)
        make_directory(workspace.quarantine)
        replace_file(workspace.card, published.card_bytes, mode=0o644)
        newest = published.newest
        if newest is not None:
            replace_file(workspace.log / "checkpoint", newest[1], mode=0o644)
        if self.report.read_only and published.log is not None and published.stored():
            shutil.copytree(published.log / "tile", workspace.log / "tile", ignore=_others)
        if not (workspace.journal / ARCHIVED).is_file():
            return
        with Journal.open(workspace.journal, read_only=True) as journal:
            if not any(info.stripped for info in journal.files()):
                (workspace.journal / ARCHIVED).unlink()

    def publish(self) -> None:
        """Open it as it will be opened, and make what follows from the journal."""
        if not self.report.keys or self.report.read_only:
            return
        try:
            with Aggregator(self._workspace.root):
                pass
            self.report.public = True
        except StateError as error:
            if error.code != "state.archived":
                raise

    def _known(self) -> Published:
        if self._published is None:
            raise StateError("state.argument", "it is not known yet what was published")
        return self._published


def _sync_tree(folder: Path) -> None:
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        sync_directory(path)
