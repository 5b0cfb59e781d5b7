"""The steps of an appraisal, in order: every check that was made, and the one that failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from depin_id.errors import AttestationError, DepinError

if TYPE_CHECKING:
    from types import TracebackType

_OF_READING: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


_new = tuple.__new__
"""A step without the detour over its own constructor: every appraisal makes dozens."""


class Step(NamedTuple):
    """One check.

    Attributes:
        name: stable dotted name (``tpm2.magic``).
        passed: whether it did.
        detail: what was found, for people.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(slots=True)
class Steps:
    """Collects the steps of one appraisal.

    A check that fails ends it: :class:`~depin_id.errors.AttestationError` with the code
    ``attestation.<kind>``, where the kind is one of those of :meth:`fail`.
    """

    taken: list[Step] = field(default_factory=list)

    def passed(self, name: str, detail: str = "") -> None:
        """Note a check that passed."""
        self.taken.append(_new(Step, (name, True, detail[:200])))

    def require(self, condition: bool, name: str, kind: str, detail: str = "") -> None:
        """Note a check; if it failed, end the appraisal.

        Args:
            condition: whether it passed. name: of the step. kind: see :meth:`fail`.
            detail: what was found (of what is secret or personal only the size).
        """
        if not condition:
            self.fail(name, kind, detail)
        self.taken.append(_new(Step, (name, True, detail[:200])))

    def fail(self, name: str, kind: str, detail: str = "") -> NoReturn:
        """Note a check that failed, and end the appraisal.

        Args:
            kind: ``malformed`` (not of the format), ``signature``, ``chain`` (certificates),
                ``anchor`` (no trust anchor), ``expired`` (out of time), ``challenge`` (not this
                challenge), ``key`` (not the key it has to be), ``claims`` (what it says is not
                what the format asks for), ``revoked``, ``debug`` (open to be read or changed),
                ``software`` (kept by no hardware), ``algorithm`` (too weak, or not allowed).

        Raises:
            AttestationError: always.
        """
        self.taken.append(Step(name, False, detail[:200]))
        raise AttestationError(f"attestation.{kind}", f"{name}: {detail or 'it failed'}"[:300])

    def typed(self, name: str, kind: str = "malformed") -> _Typed:
        """Whatever a reader raises inside becomes a failed step: bytes are anybody's."""
        return _Typed(self, name, kind)


class _Typed:
    """Of :meth:`Steps.typed`; a class, as every appraisal enters several."""

    __slots__ = ("kind", "name", "steps")

    def __init__(self, steps: Steps, name: str, kind: str) -> None:
        self.steps = steps
        self.name = name
        self.kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, AttestationError):
            return
        try:
            if isinstance(error, DepinError):
                self.steps.fail(self.name, self.kind, error.message)
            if isinstance(error, _OF_READING):
                self.steps.fail(self.name, self.kind, type(error).__name__)
            if isinstance(error, NotImplementedError):
                self.steps.fail(self.name, "algorithm", type(error).__name__)
        except AttestationError as failed:
            raise failed from error
