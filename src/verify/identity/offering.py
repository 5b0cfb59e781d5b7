"""What the operator hands over for others: batches of certificates, and status lists.

Both are signed by somebody else, verified when they are received, and become entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from depin_id.credentials import ProductionBatch
from depin_id.credentials import verify as verify_credential
from depin_id.credentials.status import StatusStore
from depin_id.credentials.wire import read
from depin_id.errors import CredentialError
from verify.identity.entries import BatchTaken, StatusTaken
from verify.identity.issuers import key_at
from verify.identity.trust import StatusLists, keys_now, store_then
from verify.requests import hexed, text

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

MAX_LISTS: Final = 4096


def take_batch(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``batch``: take the credential of a production batch (``data``, as text).

    Raises:
        CredentialError: ``credential.untrusted`` and others of
            :func:`depin_id.credentials.verify`.
    """
    data = text(request, "data").encode("utf-8", "surrogatepass")
    fold, now = aggregator.fold, aggregator.now()
    policy = fold.policy.identity
    lists = StatusLists(fold.identity, read(data).credential.issuer, policy.status_max_age_s)
    found = verify_credential(
        data,
        key_of=keys_now(fold.identity, policy, now),
        now_ms=now,
        expected_type=ProductionBatch,
        status=lists,
    )
    credential = found.credential
    if not isinstance(credential, ProductionBatch):
        raise CredentialError("credential.type", "this is no credential of a batch")
    subject = credential.credential_subject
    answer = {
        "digest": found.digest.hex(),
        "issuer": found.issuer,
        "batch": subject.batch,
        "devices": subject.size,
    }
    if found.digest in fold.identity.batches:
        return answer | {"changed": False}
    index = aggregator.administer([BatchTaken(found.digest, found.issuer, data)])
    return answer | {"changed": True, "index": index}


def take_status_list(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``status-list``: take a signed list (``data`` as hexadecimal) of a URL.

    Raises:
        CredentialError: ``status.url`` (another URL than it was fetched from), ``status.older``,
            ``status.issuer``, ``status.stale``, ``status.many``, ``issuer.*``, and others of
            :class:`depin_id.credentials.status.StatusStore`.
    """
    fold, now = aggregator.fold, aggregator.now()
    identity = fold.identity
    store = StatusStore(key_of=lambda method, issuer, _: key_at(identity, method, issuer, now))
    data = hexed(request, "data")
    found = store.add(data)
    url = str(request.get("url") or found.uri)
    if found.uri != url:
        raise CredentialError(
            "status.url",
            f"the list is of {found.uri[:160]}",
            hint="give the URL that its issuer publishes it under",
        )
    why = found.stale(now_ms=now, max_age_ms=fold.policy.identity.status_max_age_s * 1000)
    if why:
        raise CredentialError("status.stale", why, hint="fetch the list again from its URL")
    held = identity.status.get(url)
    answer = {"url": url, "issuer": found.issuer, "issued": found.issued_ms}
    if held is not None:
        if held.data == data:
            return answer | {"changed": False}
        store_then(identity, (held.data, data))
    elif len(identity.status) >= MAX_LISTS:
        raise CredentialError("status.many", f"there are {MAX_LISTS} lists already")
    entry = StatusTaken(url, found.issuer, found.issued_ms, found.expires_ms, data)
    return answer | {"changed": True, "index": aggregator.administer([entry])}
