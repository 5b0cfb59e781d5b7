"""Operations and statements about capabilities, owners and successions, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from verify.identity import owning, showing, succeeding
from verify.identity.desk import Handler

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

Operation = Callable[["Aggregator", Mapping[str, Any]], dict[str, Any]]

OPERATIONS: Final[dict[str, Operation]] = {
    "capability": showing.add,
    "capability-withdraw": showing.withdraw,
    "capabilities": showing.listed,
    "owner": owning.set_op,
    "owners": owning.show_op,
    "claim": owning.claim_op,
    "wallet": owning.wallet_op,
    "transfer": owning.transfer_op,
    "succeed": succeeding.succeed_op,
}
STATEMENTS: Final[dict[str, Handler]] = {
    showing.SHOW: showing.hear_show,
    showing.WITHDRAW: showing.hear_withdraw,
    owning.CLAIM: owning.hear_claim,
    owning.WALLET: owning.hear_wallet,
    owning.TRANSFER: owning.hear_transfer,
    succeeding.SUCCESSION: succeeding.hear,
}
