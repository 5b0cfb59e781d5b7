"""did:webvh for a resolver: the log from wherever it is, verified, and never older than before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from depin_id.did.cache import Cache
from depin_id.did.resolution import MEDIA_TYPE, Options, Resolution, show_time
from depin_id.did.source import LOG, WITNESS, Sources
from depin_id.did.syntax import Did
from depin_id.did.webvh import (
    History,
    Pins,
    Version,
    extend,
    log_url,
    may_need_witnesses,
    parse_location,
    verify_prefix,
    witness_url,
)
from depin_id.errors import DIDError

NAME: Final = "webvh"
MAX_KNOWN: Final = 1024
"""Verified histories that are kept, so that only what is new has to be verified."""
MAX_KNOWN_BYTES: Final = 1 << 26
"""Of their logs together; in memory they take several times that."""


def describe(history: History, version: Version) -> dict[str, Any]:
    """DID document metadata of a version (DID Resolution section 4.3, did:webvh 1.0)."""
    metadata = history.metadata(version)
    metadata["created"] = show_time(history.versions[0].version_time_ms)
    metadata["updated"] = show_time(version.version_time_ms)
    if version.number < len(history):
        following = history.number(version.number + 1)
        metadata["nextVersionId"] = following.version_id
        metadata["nextUpdate"] = show_time(following.version_time_ms)
    names = list(dict.fromkeys(one.did for one in history.versions))
    if len(names) > 1:
        metadata["equivalentId"] = names
        metadata["canonicalId"] = history.did
    return metadata


def time_to_live(history: History) -> int:
    """How long its controller lets a history be kept, in milliseconds."""
    return history.last.parameters.ttl * 1000


def log_bytes(history: History) -> int:
    """How many bytes its log has."""
    return history.prefix[0]


def select(history: History, options: Options) -> Version:
    """The version that is asked for. Raises DIDError ``did.not_found``."""
    if options.version_id is not None:
        return history.version(options.version_id)
    if options.version_number is not None:
        return history.number(options.version_number)
    if options.version_time is not None:
        return history.at(options.version_time)
    return history.last


class WebvhMethod:
    """did:webvh for a :class:`~depin_id.did.resolver.Resolver`.

    Args:
        source: where logs come from.
        cache: keeps verified histories for a while.
        pins: the last heads seen; a log that does not go on from them is refused.
        now_ms: wall clock; entries of later times are refused.
        allow_published: take keys whose private half is published (test vectors only).
    """

    name = NAME

    def __init__(
        self,
        source: Sources,
        cache: Cache[History],
        pins: Pins,
        now_ms: Callable[[], int],
        *,
        allow_published: bool = False,
    ) -> None:
        self._allow_published = allow_published
        self._source = source
        self._cache = cache
        self._pins = pins
        self._now = now_ms
        self._known: OrderedDict[str, History] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def resolve(self, did: Did, options: Options) -> Resolution:
        """A version of the document, out of the verified history.

        Where a log is good up to an entry, versions before it are found by name (did:webvh 1.0,
        "Read (Resolve)", step 11), and by a time before the last of them.

        Raises:
            DIDError: ``did.webvh.*``, ``did.log_rolled_back``, ``did.log_forked``,
                ``did.not_found``. FetchError, StateError.
        """
        try:
            history = self.history(str(did), fresh=options.no_cache)
            version = select(history, options)
        except DIDError as error:
            history, version = self._good(str(did), options, error)
        return Resolution(
            version.resolved(), describe(history, version), {"contentType": MEDIA_TYPE}
        )

    def _good(self, did: str, options: Options, error: DIDError) -> tuple[History, Version]:
        """What is asked for out of the good versions of a log that ends in a bad one."""
        if not options.versioned or not error.code.startswith("did.webvh."):
            raise error
        known = self._known.get(parse_location(did).scid)
        if known is None or all(version.did != did for version in known.versions):
            raise error
        try:
            version = select(known, options)
        except DIDError:
            raise error from None
        if options.version_time is not None and version is known.last:
            raise error  # nobody can say until when it held
        return known, version

    def history(self, did: str, *, fresh: bool = False) -> History:
        """The verified history of a DID, at most as old as the cache allows.

        Args:
            fresh: read again whatever is kept.

        Raises:
            DIDError, FetchError, StateError: as :meth:`resolve`.
        """
        parse_location(did)
        history = self._cache.get(did, lambda: self._load(did), fresh=fresh)
        try:
            self._pins.check(history)
        except DIDError:
            # Somebody else who shares the pins has seen more since.
            history = self._cache.get(did, lambda: self._load(did), fresh=True)
        return history

    def _load(self, did: str) -> History:
        log, source = self._source.choose(did, LOG, log_url(did))
        if log is None:
            raise DIDError(
                "did.not_found",
                f"there is no log of {did}",
                hint="give its files, or allow the network",
            )
        witness = None
        if may_need_witnesses(log):
            witness = source.read(did, WITNESS, witness_url(did))
        scid = parse_location(did).scid
        known = self._known.get(scid)
        if known is None:
            history = self._first(scid, did, log, witness)
        else:
            history = extend(known, log, witness=witness, now_ms=self._now())
            if all(version.did != did for version in history.versions):
                raise DIDError("did.not_found", f"the log of this SCID was never that of {did}")
        self._pins.accept(history)
        self._keep(scid, history, len(log))
        return history

    def _first(self, scid: str, did: str, log: bytes, witness: bytes | None) -> History:
        """The history of a log that is not known yet; of a bad one the good versions are kept."""
        history, error = verify_prefix(
            log, did=did, witness=witness, now_ms=self._now(), allow_published=self._allow_published
        )
        if error is not None:
            if history is not None:
                self._pins.check(history)
                self._keep(scid, history, len(log))
            raise error
        if history is None:
            raise DIDError("did.not_found", f"the log of {did} is empty")
        return history

    def _keep(self, scid: str, history: History, size: int) -> None:
        with self._lock:
            self._known[scid], self._sizes[scid] = history, size
            self._known.move_to_end(scid)
            while len(self._known) > MAX_KNOWN or sum(self._sizes.values()) > MAX_KNOWN_BYTES:
                oldest, _ = self._known.popitem(last=False)
                del self._sizes[oldest]
