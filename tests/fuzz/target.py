"""What a fuzz target is: bytes in, nothing out, and only our own errors on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from depin_id.errors import DepinError
from tests.fuzz.settings import CORPUS


@dataclass(frozen=True)
class Target:
    """A decoder with its oracle.

    Attributes:
        name: as in the corpus. take: decodes one input; whatever it raises but DepinError is a
            find, and so is a broken promise (an assertion).
        seeds: inputs that are well formed, or nearly.
    """

    name: str
    take: Callable[[bytes], object]
    seeds: tuple[bytes, ...] = field(repr=False)

    def run(self, data: bytes) -> None:
        """One input."""
        try:
            self.take(data)
        except DepinError as error:
            assert error.code and error.message, "an error without a code or a message"

    def corpus(self) -> list[bytes]:
        """Seeds and what is kept, shortest first."""
        path = CORPUS / f"{self.name}.hex"
        kept = [bytes.fromhex(line) for line in path.read_text().split()] if path.exists() else []
        return sorted({*self.seeds, *kept}, key=lambda data: (len(data), data))


TARGETS: dict[str, Target] = {}


def target(name: str, take: Callable[[bytes], object], seeds: Iterable[bytes | str]) -> None:
    """Register a target."""
    assert name not in TARGETS
    encoded = tuple(seed.encode() if isinstance(seed, str) else seed for seed in seeds)
    assert encoded, f"{name} has no seed"
    TARGETS[name] = Target(name, take, encoded)


def text(data: bytes) -> str:
    """Any bytes as text, odd characters included."""
    return data.decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")
