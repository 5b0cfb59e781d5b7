"""One thing found, and what the checks may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from depin_id.errors import DepinError
from verify.aggregator import wall_clock
from verify.ingest.options import TlsOptions
from verify.workspace import Workspace

Severity = Literal["error", "warning", "note"]
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something about a set-up.

    Attributes:
        code: stable dotted name.
        severity: ``error`` (it does not work, or is not safe), ``warning`` (it will not work for
            long) or ``note``.
        what: is the matter. where: file, folder, host or key. hint: what to do.
    """

    code: str
    severity: Severity
    what: str
    where: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)


def of_error(error: DepinError, where: object) -> Diagnosis:
    """The finding for an error of ours."""
    return Diagnosis(error.code, "error", error.message, str(where), error.hint)


@dataclass(frozen=True)
class Broker:
    """How the aggregator reaches its broker: the options of ``depin-verify run``."""

    url: str
    tls: TlsOptions | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Setup:
    """What is looked at.

    Attributes:
        workspace: the aggregator's directory.
        broker: its broker, if that is to be tried.
        deep: read every page of the journal too.
        now_ms: the time, ms since 1970. synchronised: whether the system says that its clock is;
            None when it does not say.
        min_free: bytes that should be free on its disk.
        proc: where the system tells of mounts, sockets and processes.
    """

    workspace: Workspace
    broker: Broker | None = None
    deep: bool = False
    now_ms: Callable[[], int] = wall_clock
    synchronised: Callable[[], bool | None] = lambda: None
    min_free: int = GIB
    proc: Path = Path("/proc")

    @property
    def root(self) -> Path:
        """The aggregator's directory."""
        return self.workspace.root
