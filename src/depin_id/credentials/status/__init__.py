"""Status lists: one bit or a few for each credential or capability, signed as one object.

An issuer keeps a :class:`StatusBook` and signs what it says (:func:`issue_bitstring`,
:func:`issue_token`); a verifier holds lists in a :class:`StatusStore`, which verifies each once and
answers :class:`StatusResult`: proved good, proved bad, or undecided.
"""

from depin_id.credentials.status.bits import StatusList
from depin_id.credentials.status.bitstring import (
    MIN_ENTRIES,
    BitstringEntry,
    decode_list,
    encode_list,
    issue_bitstring,
    read_bitstring,
)
from depin_id.credentials.status.book import StatusBook
from depin_id.credentials.status.result import State, StatusCheck, StatusResult
from depin_id.credentials.status.signed import KeyOf, SignedList
from depin_id.credentials.status.store import StatusStore
from depin_id.credentials.status.token import TokenEntry, issue_token, read_token

__all__ = [
    "MIN_ENTRIES",
    "BitstringEntry",
    "KeyOf",
    "SignedList",
    "State",
    "StatusBook",
    "StatusCheck",
    "StatusList",
    "StatusResult",
    "StatusStore",
    "TokenEntry",
    "decode_list",
    "encode_list",
    "issue_bitstring",
    "issue_token",
    "read_bitstring",
    "read_token",
]
