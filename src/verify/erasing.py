"""Erasures: what they are of, and those that were begun and are not finished, by a mark on disk.

An erasure is a row of steps: its entry, the keys, the snapshots, the published segments. Keys that
are gone do not say whether the rest was done, so a file does.
"""

from __future__ import annotations

from pathlib import Path

from depin_id.durable import replace_file, sync_directory
from depin_id.errors import ConfigError
from verify.fold import Fold
from verify.registry import Device

NAME = "erasing"


class Erasing:
    """Whether an erasure is to be finished.

    Args:
        root: the aggregator's directory.

    Attributes:
        begun: whether there is something to finish.
    """

    def __init__(self, root: Path) -> None:
        self._mark = root / NAME
        self.begun = self._mark.exists()

    def begin(self) -> None:
        """Before its first step. Raises StateError."""
        replace_file(self._mark, b"")
        self.begun = True

    def end(self) -> None:
        """After its last step. Raises StateError."""
        self._mark.unlink(missing_ok=True)
        sync_directory(self._mark.parent)
        self.begun = False


def refs_of_device(fold: Fold, device: Device) -> tuple[bytes, ...]:
    """References of a device, of its sensors, and of the subjects that it signed for."""
    subjects, streams = fold.state.subjects, fold.state.streams
    held = {period.key.thumbprint for period in device.keys}
    found = dict.fromkeys(subjects.of_device(device.did))
    # Whatever it signed for others, under their capabilities, is of it too.
    found |= dict.fromkeys(subject for key, subject in streams.keys() if key in held)
    own = fold.identity.owner_refs.get(device.did)
    # A gateway may own devices, and be paid.
    return (*map(subjects.ref, found), *(() if own is None else (own,)))


def refs_of_owner(fold: Fold, did: str) -> tuple[bytes, ...]:
    """References of an owner, and of the subjects that gateways signed for under that DID.

    Raises ConfigError ``registry.unknown_device`` when there is none.
    """
    subjects = fold.state.subjects
    refs = dict.fromkeys(map(subjects.ref, subjects.of_device(did)))
    own = fold.identity.owner_refs.get(did)
    if own is not None:
        refs[own] = None
    if not refs:
        raise ConfigError(
            "registry.unknown_device",
            f"{did[:100]} is not enrolled, and nothing of it as an owner rests here",
            hint="give the DID as `depin-id device show` prints it",
        )
    return tuple(refs)
