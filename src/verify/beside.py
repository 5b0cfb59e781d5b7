"""Work beside the thread that commits: one piece at a time, its outcome taken up by that thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from depin_id.errors import DepinError, StateError

Outcome = Callable[[], None]
"""What is left to do by the thread that asked for the work, with what was found."""


class Beside:
    """One thread that does one thing at a time.

    Nothing of what it does is known to the asking thread before that one calls :meth:`settle`.

    Args:
        name: of the thread, for people.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None
        self._error: DepinError | None = None
        self.cancelled = threading.Event()
        """Set while somebody waits for the work to be given up."""

    @property
    def busy(self) -> bool:
        """Whether a piece of work was begun and not settled."""
        return self._thread is not None

    def begin(self, work: Callable[[], Outcome]) -> None:
        """Begin; there must be nothing unsettled.

        Args:
            work: gives what the asking thread does with it; what it raises, :meth:`settle` raises.
        """
        self._thread = threading.Thread(
            target=self._run, args=(work,), name=self._name, daemon=True
        )
        self._thread.start()

    def settle(self, *, wait: bool = False) -> bool:
        """Take up the outcome, if there is one; gives whether nothing is under way any more.

        Raises:
            DepinError: what the work raised.
        """
        if self._thread is None:
            return True
        if not wait and self._thread.is_alive():
            return False
        self._thread.join()
        outcome, error = self._outcome, self._error
        self._thread = self._outcome = self._error = None
        if error is not None:
            raise error
        if outcome is not None:
            outcome()
        return True

    def give_up(self) -> None:
        """Wait until nothing is under way; its outcome is dropped."""
        if self._thread is None:
            return
        self.cancelled.set()
        self._thread.join()
        self.cancelled.clear()
        self._thread = self._outcome = self._error = None

    def _run(self, work: Callable[[], Outcome]) -> None:
        try:
            self._outcome = work()
        except DepinError as error:
            self._error = error
        except Exception as error:
            self._error = StateError("state.io", f"{self._name}: {type(error).__name__}: {error}")
