"""A copy of an aggregator's directory, taken while it runs.

The journal is the truth, so little else is copied: card, policy, profiles, the quarantine, the
newest snapshot and checkpoint. Keys go to a folder of their own, or nowhere: with both in one place
an erasure could be undone by whoever finds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depin_id.closing import Closing
from depin_id.durable import DirectoryLock, make_directory
from depin_id.errors import LogError, StateError
from verify.entries import ERASE, delta_kind
from verify.log.files import read_bounded
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, split_note
from verify.operations.copying import (
    MANIFEST,
    Copied,
    Store,
    check_bytes,
    copy_database,
    copy_file,
    digest_of,
    empty_folder,
    read_manifest,
    write_manifest,
)
from verify.snapshot import newest as newest_snapshot
from verify.store import Journal, JournalFileInfo
from verify.store.journal_archive import ARCHIVED
from verify.store.journal_file import JournalFile
from verify.store.journal_schema import is_finished
from verify.workspace import Workspace

FORMAT: Final = "depin-backup/1"
KEYS_FORMAT: Final = "depin-backup-keys/1"
CHECKPOINT: Final = "public/log/checkpoint"
_TRIES: Final = 5
_LOCK: Final = ".backup.lock"
_OURS: Final = {_LOCK, "journal", "keys", "network", "profiles", "public", "quarantine"} | {
    "snapshots"
}
"""Names in a folder of ours."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds.

    Attributes:
        network: DID.
        entries: of the journal.
        digest: end of the journal's chain, hex.
        checkpoint: size of the published checkpoint that it holds; None without one.
        files, size: of the backup, without the keys.
        copied: bytes that were not there already.
        manifest: digest of the manifest, hex.
        keys: the folder that the keys are in, or None.
    """

    network: str
    entries: int
    digest: str
    checkpoint: int | None
    files: int
    size: int
    copied: int
    manifest: str
    keys: Path | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "network": self.network,
            "entries": self.entries,
            "digest": self.digest,
            "checkpoint": self.checkpoint,
            "files": self.files,
            "bytes": self.size,
            "copied": self.copied,
            "manifest": self.manifest,
            "keys": None if self.keys is None else str(self.keys),
        }


def backup(
    root: Path,
    target: Path,
    *,
    keys: Path | None = None,
    check_all: bool = False,
    clock: Callable[[], float] = time.time,
) -> BackupReport:
    """Copy an aggregator's directory; it may be running.

    Every copy is read back. Into an older backup of the same aggregator only what is new is copied,
    and the older one stays whole until the new one is.

    Args:
        root: the aggregator's directory.
        target: an empty or new folder, or an older backup.
        keys: a folder for everything secret: data keys, master key, operating keys. Outside of
            ``target``. None leaves them out.
        check_all: read back what an older backup holds, too.
        clock: seconds since 1970, for the manifest.

    Raises:
        StateError: ``state.argument`` (a folder inside another), ``state.exists``,
            ``state.foreign`` and ``state.ahead`` (what is in ``target`` is not an older backup of
            this aggregator), ``state.full``, ``state.io``, ``state.corrupt``.
    """
    workspace = Workspace(Path(root))
    workspace.check()
    _check_places(workspace.root, target, keys)
    made_at = int(clock())
    with _Claim(target, FORMAT) as claim:
        checkpoint = _checkpoint(workspace)
        for _ in range(_TRIES):
            state, files = _copy_journal(workspace, claim)
            if keys is None:
                break
            _copy_keys(workspace, state["network"], keys, made_at)
            if not _erased_since(workspace, state["entries"]):
                break
            # Keys are gone, and the entry that says why is not in the copy: both again.
        else:
            raise StateError(
                "state.locked",
                f"something was erased in {root} during each of {_TRIES} copies",
                hint="repeat the backup when the erasures are done",
            )
        files += _copy_others(workspace, claim.store, checkpoint)
        if check_all:
            for item in files:
                check_bytes(target / item.stored, item)
        size = None if checkpoint is None else checkpoint[0]
        fields = {"format": FORMAT, **state, "checkpoint": size, "made_at": made_at}
        digest = write_manifest(target, fields, files)
        claim.store.tidy(files)
    return BackupReport(
        **state,
        checkpoint=size,
        files=len(files),
        size=sum(item.size for item in files),
        copied=claim.store.written,
        manifest=digest,
        keys=keys,
    )


def _check_places(root: Path, target: Path, keys: Path | None) -> None:
    places = [root.resolve(), target.resolve(), *([] if keys is None else [keys.resolve()])]
    for place in places:
        for other in places:
            if place is not other and place.is_relative_to(other):
                raise StateError(
                    "state.argument",
                    f"{place} is inside {other}",
                    hint="aggregator, backup and keys belong apart, best on several machines",
                )


class _Claim(Closing):
    """A target for one backup at a time, and what an older backup left in it."""

    def __init__(self, target: Path, form: str) -> None:
        make_directory(target)
        self.store = Store(target)
        self.network, self.entries = "", 0
        self.old: dict[str, Copied] = {}
        self._lock = DirectoryLock(target, _LOCK)
        try:
            if (target / MANIFEST).exists():
                content, files = read_manifest(target, form)
                found = content.get("entries")
                self.network = content["network"]
                self.entries = found if type(found) is int else 0
                self.old = {item.path: item for item in files}
            elif not all(_is_rest(path.name) for path in target.iterdir()):
                empty_folder(target)  # says what is wrong
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the next backup in."""
        self._lock.close()

    def check_network(self, network: str) -> None:
        """Refuse a folder that holds a backup of another network."""
        if self.network not in ("", network):
            raise StateError(
                "state.foreign",
                f"{self.store.folder} holds a backup of {self.network}",
                hint="name another folder",
            )


def _is_rest(name: str) -> bool:
    """Whether a first backup that was cut off may have left it."""
    started = ("policy.toml.", ".policy.toml.", "witnesses.toml.", ".witnesses.toml.")
    return name in _OURS or name.startswith((*started, f".{MANIFEST}."))


def _checkpoint(workspace: Workspace) -> tuple[int, Path] | None:
    """The published checkpoint's size, read before the journal is copied."""
    path = workspace.log / "checkpoint"
    with suppress(LogError):
        note = read_bounded(path, MAX_NOTE_BYTES)
        if note is not None:
            return Checkpoint.parse(split_note(note)[0]).size, path
    return None


def _copy_journal(workspace: Workspace, claim: _Claim) -> tuple[dict[str, Any], list[Copied]]:
    with Journal.open(workspace.journal, read_only=True) as journal:
        network, infos, size = journal.network, journal.files(), journal.size
    claim.check_network(network)
    _check_older(claim, infos, size)
    copied: list[Copied] = []
    entries = 0
    for info in infos:
        item, entries = _copy_journal_file(info, claim)
        copied.append(item)
    return {"network": network, "entries": entries, "digest": copied[-1].chain}, copied


def _check_older(claim: _Claim, infos: list[JournalFileInfo], size: int) -> None:
    """Refuse to put a backup over one that is not an older state of the same journal."""
    here = {f"journal/{info.path.name}": info for info in infos}
    held = [item for item in claim.old.values() if item.chain]
    if claim.entries <= size and all(
        item.path in here and _continues(here[item.path], claim.store.folder / item.stored, item)
        for item in held
    ):
        return
    raise StateError(
        "state.ahead",
        f"{claim.store.folder} holds {claim.entries} entries; the journal has {size} and does not "
        "continue them",
        hint="nothing is put over a backup that may be newer: name another folder",
    )


def _continues(info: JournalFileInfo, held: Path, item: Copied) -> bool:
    """Whether a file of the journal begins with what its older copy holds."""
    if info.digest.hex() == item.chain:
        return True
    with JournalFile.open(held, read_only=True) as copy:
        if copy.head.is_sealed:
            return False
        with JournalFile.open(info.path, read_only=True) as now:
            return now.digest_before(copy.tail.batch) == copy.tail.digest


def _copy_journal_file(info: JournalFileInfo, claim: _Claim) -> tuple[Copied, int]:
    """A file of the journal, and the index after its last entry."""
    path, store = f"journal/{info.path.name}", claim.store
    finished, known = is_finished(info.path), claim.old.get(path)
    if finished and known is not None and _has_all(info, known, store):
        return known, info.first + info.count
    beside = store.beside(path)
    if finished:
        size, sha256 = copy_file(info.path, beside)
    else:
        # It may have grown since it was looked at: what counts is what the copy holds.
        copy_database(info.path, beside)
        size, sha256 = digest_of(beside)
    with JournalFile.open(beside, read_only=True) as copy:
        copy.verify()
        chain, end = copy.tail.digest.hex(), copy.tail.first
    return store.keep(beside, Copied(path, size, sha256, chain)), end


def _has_all(info: JournalFileInfo, known: Copied, store: Store) -> bool:
    """Whether an older copy of a sealed file will do; also of one that was whole then."""
    if known.chain != info.digest.hex() or not store.holds(known):
        return False
    with JournalFile.open(store.folder / known.stored, read_only=True) as copy:
        # A copy from before it was sealed may end in the same digest.
        return copy.head.is_sealed and (info.stripped or not copy.stripped)


def _copy_others(
    workspace: Workspace, store: Store, checkpoint: tuple[int, Path] | None
) -> list[Copied]:
    files = {"network/card.cbor": workspace.operating / "card.cbor"}
    files |= {"policy.toml": workspace.policy, "witnesses.toml": workspace.witnesses}
    if workspace.profiles.is_dir():
        files |= {f"profiles/{p.name}": p for p in sorted(workspace.profiles.glob("*.toml"))}
    if checkpoint is not None:
        files[CHECKPOINT] = checkpoint[1]
    snapshot = newest_snapshot(workspace.snapshots)
    if snapshot is not None:
        files[f"snapshots/{snapshot.name}"] = snapshot
    archived = workspace.journal / ARCHIVED
    files[f"journal/{ARCHIVED}"] = archived
    copied = []
    for name, path in files.items():
        with suppress(FileNotFoundError):  # a snapshot is replaced by a newer one
            if path.is_file():
                copied.append(store.keep_file(path, name))
    waiting = workspace.quarantine / "quarantine.db"
    if waiting.is_file():
        copied.append(store.keep_database(waiting, "quarantine/quarantine.db"))
    return copied


def _copy_keys(workspace: Workspace, network: str, folder: Path, made_at: int) -> None:
    with _Claim(folder, KEYS_FORMAT) as claim:
        claim.check_network(network)
        secrets = [workspace.keys / "master.key", *sorted(workspace.operating.glob("*.key"))]
        files = {f"{path.parent.name}/{path.name}": path for path in secrets if path.is_file()}
        files["network/card.cbor"] = workspace.operating / "card.cbor"
        store = claim.store
        copied = [store.keep_database(workspace.keys / "keys.db", "keys/keys.db")]
        copied += [store.keep_file(path, name) for name, path in files.items()]
        fields = {"format": KEYS_FORMAT, "network": network, "made_at": made_at}
        write_manifest(folder, fields, copied)
        store.tidy(copied)


def _erased_since(workspace: Workspace, entries: int) -> bool:
    with Journal.open(workspace.journal, read_only=True) as journal:
        return any(delta_kind(stored.delta) == ERASE for stored in journal.entries(entries))
