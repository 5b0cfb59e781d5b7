"""Operations about attestation, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from verify.results import activation, exporting, listing, materials, taking

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

Operation = Callable[["Aggregator", Mapping[str, Any]], dict[str, Any]]

OPERATIONS: Final[dict[str, Operation]] = {
    "attest": taking.attest_op,
    "activate": activation.activate_op,
    "attestations": listing.attestations,
    "attestation-export": exporting.export,
    "material-add": materials.add,
    "material-remove": materials.remove,
    "material-list": materials.listed,
}
