"""The desk: statements that come by the uplink, one after the other, each with its own commit.

A kind of statement is one handler in :func:`handlers`. It reads the parts, which are anybody's
bytes, commits what follows from them (:meth:`verify.aggregator.Aggregator.administer`) and says
what became of it. Results are signed and sent after that, never before.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from depin_id.attestation.message import ACTIVATE, KIND
from depin_id.errors import DepinError
from depin_id.statements import CHALLENGE, ENROL, is_statement, read_statement, statement_id
from verify.ingest import Message
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

OPEN: Final = frozenset((CHALLENGE, KIND, ACTIVATE))
"""Kinds that are heard whatever the policy says: they change nothing, or come from a device that
was taken in."""
OVER: Final = "quota.exceeded"
MAX_REMEMBERED: Final = 4096
"""Statements whose good result is remembered, so that one which is sent again is told it again."""
_KID: Final = re.compile("[0-9a-f]{16}")
_POISON: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


class StatementResult(NamedTuple):
    """What became of a statement.

    Attributes:
        code: ``accepted``, or why it was refused.
        recipient: thumbprint of the key that the signed result is for, 32 bytes; empty when it is
            not known who asks, who then is told nothing by a broker.
        entry: index of the journal entry that stands for it, if there is one.
        answer: what goes down instead of a signed result, such as a challenge.
    """

    code: str
    recipient: bytes = b""
    entry: int | None = None
    answer: bytes | None = None


Handler = Callable[["Aggregator", Sequence[bytes], int], StatementResult]
"""Carries out a statement: (aggregator, its parts, receipt time in ms) to what became of it.

It may raise a DepinError (:func:`attempt` keeps the recipient), which refuses the statement.
"""


@cache
def handlers() -> dict[str, Handler]:
    """Every kind of statement that is heard."""
    # Here, because they work with the aggregator, which has the desk.
    from verify.identity import challenges, enrolling, owners_table
    from verify.results import activation, taking

    return {
        KIND: taking.hear,
        ACTIVATE: activation.hear,
        CHALLENGE: challenges.hear,
        ENROL: enrolling.hear,
        **owners_table.STATEMENTS,
    }


def attempt(
    aggregator: Aggregator, recipient: bytes, work: Callable[[], StatementResult]
) -> StatementResult:
    """What ``work`` gives; what it is refused for is told to ``recipient``.

    Raises DepinError when the stores failed: then nothing is answered, and it comes again.
    """
    try:
        return work()
    except DepinError as error:
        if aggregator.broken:
            raise
        return StatementResult(error.code, recipient)


class Told(NamedTuple):
    """A statement's result on its way back.

    Attributes:
        message: what brought it. id: of the statement. result: what became of it.
    """

    message: Message
    id: bytes
    result: StatementResult


class Desk:
    """Hears statements for one aggregator."""

    def __init__(self) -> None:
        self._good: OrderedDict[bytes, StatementResult] = OrderedDict()

    def take(
        self, aggregator: Aggregator, messages: Sequence[Message]
    ) -> tuple[list[Message], list[Told]]:
        """Carry out the statements among messages, in order; gives the others, and the results.

        Raises:
            StateError: the stores cannot write; the statements before were committed.
        """
        rest: list[Message] = []
        told: list[Told] = []
        for message in messages:
            # Files have nobody to answer, and their time may be asserted.
            heard = message.reply or _KID.fullmatch(message.principal)
            if heard and is_statement(message.data):
                told.append(self._told(aggregator, message))
            else:
                rest.append(message)
        return rest, told

    def _told(self, aggregator: Aggregator, message: Message) -> Told:
        found, now = statement_id(message.data), aggregator.now()
        if not aggregator.allows_stranger(message.principal, now):
            return Told(message, found, StatementResult(OVER))
        result = self._good.get(found)
        if result is None:
            result = self._hear(aggregator, message.data, now)
            if result.code == ACCEPTED and (result.answer is None or result.entry is not None):
                self._good[found] = result
                if len(self._good) > MAX_REMEMBERED:
                    self._good.popitem(last=False)
        return Told(message, found, result)

    def _hear(self, aggregator: Aggregator, data: bytes, now: int) -> StatementResult:
        try:
            statement = read_statement(data)
            handler = handlers().get(statement.kind)
            if handler is None:
                return StatementResult("statement.unknown")
            rules = aggregator.fold.policy.identity
            trusting = rules.self_service and bool(rules.manufacturers)
            if not trusting and statement.kind not in OPEN:
                return StatementResult("statement.closed")
            return handler(aggregator, statement.parts, now)
        except DepinError as error:
            if aggregator.broken:
                raise
            return StatementResult(error.code)
        except _POISON:
            # Whoever found such bytes could stop the intake with them: brokers send them again.
            if aggregator.broken:
                raise
            return StatementResult("statement.malformed")
