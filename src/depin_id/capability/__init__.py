"""Short-lived authority: owner to gateway to service, as a short chain of signed blocks.

An owner issues (:func:`issue`); whoever holds a chain passes on less of it (:func:`attenuate`)
without asking; a verifier checks the chain (:func:`verify_chain`, :class:`CapabilityVerifier`) and
that the holder has the key (:func:`prove`, :func:`verify_possession`), then asks
:meth:`Capability.permits`. Counts and rates are kept by the verifier, under every id of
:attr:`Capability.budgets`.
"""

from depin_id.capability.chain import (
    KIND,
    MAX_BYTES,
    Block,
    Budget,
    Capability,
    attenuate,
    check_now,
    effective,
    issue,
    no_list,
    read_chain,
    verify_chain,
)
from depin_id.capability.grant import (
    MAX_BLOCKS,
    Grant,
    check_within,
)
from depin_id.capability.possession import Challenges, Nonces, prove, verify_possession
from depin_id.capability.scope import Box, Operation, Selector
from depin_id.capability.verifier import CapabilityVerifier
from depin_id.credentials.status.reference import StatusReference, uri_hash

__all__ = [
    "KIND",
    "MAX_BLOCKS",
    "MAX_BYTES",
    "Block",
    "Box",
    "Budget",
    "Capability",
    "CapabilityVerifier",
    "Challenges",
    "Grant",
    "Nonces",
    "Operation",
    "Selector",
    "StatusReference",
    "attenuate",
    "check_now",
    "check_within",
    "effective",
    "issue",
    "no_list",
    "prove",
    "read_chain",
    "uri_hash",
    "verify_chain",
    "verify_possession",
]
