"""The aggregator's directory: what lies where.

```
journal/     the truth
keys/        data keys, wrapped; never in a backup of the journal
public/      what anyone may read: log/ (tiles, checkpoint), segments/ (Parquet), card.cbor
quarantine/  bytes of unknown devices
snapshots/   state, so that a start need not replay everything
network/     card and operating keys
witnesses.toml  who is asked to cosign the log
erasing      there while an erasure is not finished
control/     requests to a running aggregator
```
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from depin_id.errors import StateError


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of an aggregator's directory."""

    root: Path

    @property
    def journal(self) -> Path:
        """The journal's files."""
        return self.root / "journal"

    @property
    def keys(self) -> Path:
        """The key store."""
        return self.root / "keys"

    @property
    def quarantine(self) -> Path:
        """Parked bytes."""
        return self.root / "quarantine"

    @property
    def public(self) -> Path:
        """Everything that may be published."""
        return self.root / "public"

    @property
    def log(self) -> Path:
        """Log tiles and checkpoint."""
        return self.public / "log"

    @property
    def segments(self) -> Path:
        """Parquet segments."""
        return self.public / "segments"

    @property
    def card(self) -> Path:
        """The network card."""
        return self.public / "card.cbor"

    @property
    def snapshots(self) -> Path:
        """Snapshots of the state."""
        return self.root / "snapshots"

    @property
    def operating(self) -> Path:
        """Operating keys: acknowledgement and log."""
        return self.root / "network"

    @property
    def profiles(self) -> Path:
        """Profiles of this network's own."""
        return self.root / "profiles"

    @property
    def policy(self) -> Path:
        """The policy as it was set last; the journal's entry is what counts."""
        return self.root / "policy.toml"

    @property
    def witnesses(self) -> Path:
        """Who is asked to cosign the log."""
        return self.root / "witnesses.toml"

    @property
    def control(self) -> Path:
        """Requests to a running aggregator."""
        return self.root / "control"

    def check(self) -> None:
        """Refuse a directory that ``init`` did not make, or that is somebody else's.

        Raises StateError ``state.missing`` or ``state.permissions``.
        """
        try:
            found = stat.S_ISDIR(self.journal.stat().st_mode)
            readable = os.access(self.journal, os.R_OK | os.X_OK)
        except (FileNotFoundError, NotADirectoryError):
            found = readable = False
        except OSError:
            found, readable = True, False
        if found and not readable:
            raise StateError(
                "state.permissions",
                f"{self.journal} may not be looked into by this user",
                hint="do it as the user that runs the aggregator",
            )
        if not found:
            raise StateError(
                "state.missing",
                f"{self.root} is not an aggregator's directory",
                hint="make one with `depin-verify init DIR --network CARD`",
            )
