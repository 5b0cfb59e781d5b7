"""What the status lists that the journal holds say, at a receipt time.

A list was verified under a key that counted when it was taken. It is verified again here, once for
as long as it is held, under the same key, whatever became of that key since.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from depin_id.capability import StatusReference
from depin_id.credentials.status import StatusResult, StatusStore
from depin_id.errors import DepinError
from verify.identity.entries import StatusTaken
from verify.identity.state import IdentityState
from verify.identity.trust import store_then

_HELD: Final = 64
_held: OrderedDict[tuple[bytes, str, bytes, int], StatusStore] = OrderedDict()


def status_of(
    reference: StatusReference, identity: IdentityState, max_age_s: int, at: int
) -> StatusResult:
    """The status of a block of a capability, by the lists that were taken as entries.

    Args:
        reference: with the DID of who signed the block: the list has to be his.
        max_age_s: how old a list may be. at: receipt time, ms since 1970.
    """
    taken = _taken(reference.uri_hash, identity)
    if taken is None:
        return StatusResult("undecided", "status.no_list", "there is no such list here")
    try:
        store = _store(taken, identity, max_age_s * 1000)
    except DepinError as error:
        return StatusResult("undecided", error.code, error.message)
    return store.status_of(reference, now_ms=at)


def _taken(name: bytes, identity: IdentityState) -> StatusTaken | None:
    url = identity.hashed.get(name)
    return None if url is None else identity.status.get(url)


def _store(taken: StatusTaken, identity: IdentityState, max_age_ms: int) -> StatusStore:
    known = identity.histories.get(taken.issuer)
    # Under another history it is verified anew: what is held must not decide anything.
    key = (taken.data, taken.issuer, b"" if known is None else known.log, max_age_ms)
    held = _held.get(key)
    if held is not None:
        _held.move_to_end(key)
        return held
    store = store_then(
        identity, [taken.data], issuer=taken.issuer, max_age_ms=max_age_ms, max_lists=1
    )
    _held[key] = store
    if len(_held) > _HELD:
        _held.popitem(last=False)
    return store
