"""Resolving DIDs (W3C DID Resolution): a registry of methods behind one call that never raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from depin_id.did.cache import Cache
from depin_id.did.contents import method_end, method_key
from depin_id.did.dereference import select, split_url, url_options
from depin_id.did.jwk import JwkMethod
from depin_id.did.key import KeyMethod
from depin_id.did.resolution import (
    MEDIA_TYPE,
    Dereferenced,
    Options,
    Resolution,
    failure,
    parse_version_time,
)
from depin_id.did.syntax import Did, parse_did
from depin_id.errors import ConfigError, DepinError, DIDError
from depin_id.keys import PublicKey

if TYPE_CHECKING:
    from depin_id.did.fetch import Fetcher
    from depin_id.did.webvh import History, Pins

ENTRY_POINTS: Final = "depin_id.did_methods"
"""Other people's methods: each entry point names a class without arguments."""
MAX_AGE_MS: Final = 300_000


@runtime_checkable
class Method(Protocol):
    """A DID method: one file each."""

    name: str

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The DID document with its metadata.

        Raises:
            DIDError: ``did.not_found``, ``did.malformed`` or another ``did.*``.
            KeyRefused: a key of the document is not admissible.
            FetchError, StateError: what it needs cannot be read.
        """
        ...


def _wall() -> int:
    return time.time_ns() // 1_000_000


def _steady() -> int:
    return time.monotonic_ns() // 1_000_000


def builtin_methods(
    *,
    dids: str | Path | None = None,
    files: Mapping[str, Mapping[str, bytes]] | None = None,
    fetcher: Fetcher | None = None,
    pins: Pins | None = None,
    max_age_ms: int = MAX_AGE_MS,
    now_ms: Callable[[], int] = _wall,
    clock: Callable[[], int] = _steady,
    allow_published: bool = False,
) -> list[Method]:
    """The methods that come with the SDK; see :class:`Resolver` for what they take.

    Raises:
        ConfigError: ``config.dids``.
    """
    # A device that only knows did:key is not to load an HTTP client.
    from depin_id.did.logged import WebvhMethod, log_bytes, time_to_live
    from depin_id.did.source import make_source
    from depin_id.did.web import WebMethod
    from depin_id.did.webvh import Pins

    source = make_source(dids, files=files, fetcher=fetcher)
    histories: Cache[History] = Cache(
        clock, max_age_ms=max_age_ms, age=time_to_live, weigh=log_bytes
    )
    documents: Cache[Resolution] = Cache(clock, max_age_ms=max_age_ms)
    pins = Pins() if pins is None else pins
    return [
        KeyMethod(allow_published=allow_published),
        JwkMethod(allow_published=allow_published),
        WebMethod(source, documents),
        WebvhMethod(source, histories, pins, now_ms, allow_published=allow_published),
        *_peaq(dids, allow_published),
    ]


def _peaq(dids: str | Path | None, allow_published: bool) -> list[Method]:
    """did:peaq, from the values of the chain that a folder of DIDs may hold."""
    from depin_id.did.peaq import FILE, PeaqMethod, file_source

    path = None if dids is None else Path(dids) / FILE
    values = file_source(path) if path is not None and path.exists() else None
    return [PeaqMethod(values, allow_published=allow_published)]


@cache
def _entries() -> tuple[EntryPoint, ...]:
    """Looked for once: to read what is installed takes as long as some hundred resolutions."""
    return tuple(entry_points(group=ENTRY_POINTS))


def installed_methods() -> list[Method]:
    """Other people's methods, from the entry points of ``depin_id.did_methods``.

    Raises:
        ConfigError: ``config.did_method``, an entry point is not a method.
    """
    methods = []
    for entry in _entries():
        try:
            method = entry.load()()
        except Exception as error:  # whatever somebody else's package raises while loading
            raise ConfigError(
                "config.did_method",
                f"DID method {entry.name} ({entry.value}) cannot be loaded: {error}",
                hint="repair or uninstall the package that brings it",
            ) from error
        if not isinstance(method, Method):
            raise ConfigError(
                "config.did_method", f"{entry.value} has no name and resolve: not a DID method"
            )
        methods.append(method)
    return methods


class Resolver:
    """Resolves DIDs by a registry of methods. Any thread may ask.

    Args:
        methods: the methods to know; None takes the built-in and the installed ones, and the
            rest is for the built-in ones.
        dids: a folder of folders with ``did.jsonl``, ``did-witness.json`` or ``did.json``, asked
            before the network.
        files: such files by DID and name, asked before the folder.
        fetcher: fetches what is in no file; without one nothing is fetched.
        pins: the last heads seen of did:webvh; by default those of this resolver's life.
        max_age_ms: how long documents and histories are good without being read again.
        now_ms: wall clock, milliseconds since 1970. clock: steady milliseconds, for ages.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        ConfigError: ``config.did_method``, two methods of one name; ``config.dids``.
    """

    def __init__(
        self,
        methods: Iterable[Method] | None = None,
        *,
        dids: str | Path | None = None,
        files: Mapping[str, Mapping[str, bytes]] | None = None,
        fetcher: Fetcher | None = None,
        pins: Pins | None = None,
        max_age_ms: int = MAX_AGE_MS,
        now_ms: Callable[[], int] = _wall,
        clock: Callable[[], int] = _steady,
        allow_published: bool = False,
    ) -> None:
        self._methods: dict[str, Method] = {}
        self._allow_published = allow_published
        self._now = now_ms
        if methods is None:
            builtin = builtin_methods(
                dids=dids,
                files=files,
                fetcher=fetcher,
                pins=pins,
                max_age_ms=max_age_ms,
                now_ms=now_ms,
                clock=clock,
                allow_published=allow_published,
            )
            methods = [*builtin, *installed_methods()]
        for method in methods:
            if method.name in self._methods:
                raise ConfigError(
                    "config.did_method",
                    f"two DID methods are named {method.name}",
                    hint="pass the methods to use to Resolver(...)",
                )
            self._methods[method.name] = method

    @property
    def methods(self) -> frozenset[str]:
        """Names of the methods known."""
        return frozenset(self._methods)

    def method(self, name: str) -> Method:
        """A method that is known. Raises DIDError ``did.method_not_supported``."""
        method = self._methods.get(name)
        if method is None:
            raise DIDError("did.method_not_supported", f"no method is registered for did:{name}")
        return method

    def resolve(
        self,
        did: str,
        *,
        version_id: str | None = None,
        version_time: int | str | None = None,
        version_number: int | None = None,
        accept: str | None = None,
        no_cache: bool = False,
    ) -> Resolution:
        """Resolve a DID; every failure is an error code in the answer.

        Args:
            did: without path, query or fragment; see :meth:`dereference` for DID URLs.
            version_id, version_number: this version.
            version_time: what held then: milliseconds since 1970, or RFC 3339.
            accept: media type of the document.
            no_cache: nothing that was kept from before.
        """
        try:
            options = _options(version_id, version_time, version_number, accept, no_cache)
            return self._resolve(did, options)
        except DepinError as error:
            return Resolution(None, {}, failure(error))

    def _resolve(self, did: str, options: Options) -> Resolution:
        parsed = parse_did(did)
        method = self.method(parsed.method)
        options.check()
        try:
            found = method.resolve(parsed, options)
            document, equivalent = found.document, found.document_metadata.get("equivalentId", ())
        except DepinError:
            raise
        except Exception as error:  # a method of somebody else's that breaks its contract
            raise DIDError(
                "did.internal", f"did:{parsed.method} failed: {type(error).__name__}"
            ) from error
        if document is None:
            return found
        if not isinstance(document, dict) or (document.get("id") != did and did not in equivalent):
            raise DIDError("did.not_found", "the document found is that of another DID")
        content = options.accept or found.resolution_metadata.get("contentType", MEDIA_TYPE)
        metadata = found.resolution_metadata | {"contentType": content}
        return replace(found, resolution_metadata=metadata)

    def dereference(
        self,
        did_url: str,
        *,
        relationship: str | None = None,
        version_id: str | None = None,
        version_time: int | str | None = None,
        version_number: int | None = None,
        accept: str | None = None,
        no_cache: bool = False,
    ) -> Dereferenced:
        """What a DID URL names: a document, a verification method, a service.

        ``versionId``, ``versionTime``, ``versionNumber``, ``service``, ``serviceType`` and
        ``relativeRef`` may stand in its query.

        Args:
            did_url: a DID is one too.
            relationship: what the verification method has to be for, such as ``assertionMethod``;
                then keys of a deactivated DID are refused, and those that have ended
                (``expires``, ``revoked``).
            version_id, version_time, version_number, accept, no_cache: as :meth:`resolve`.
        """
        try:
            options = _options(version_id, version_time, version_number, accept, no_cache)
            return self._dereference(did_url, options, relationship)
        except DepinError as error:
            return Dereferenced(None, {}, failure(error))

    def _dereference(
        self, did_url: str, options: Options, relationship: str | None
    ) -> Dereferenced:
        url, parameters = split_url(did_url)
        options = url_options(parameters, options)
        found = self._resolve(str(url.did), options)
        if found.error is not None or found.document is None:
            said = found.resolution_metadata
            raise DIDError(
                "did.not_found", said.get("message", "no document"), hint=said.get("hint", "")
            )
        metadata = found.document_metadata
        if relationship is not None and found.deactivated and "nextVersionId" not in metadata:
            raise DIDError(
                "did.relationship", f"{url.did} is deactivated: none of its keys may be used"
            )
        if relationship is not None and metadata.get("trust") == "attribute-only":
            raise DIDError(
                "did.relationship",
                f"only an attribute on a chain, which anybody may write, names keys of {url.did}",
                hint="see depin_id.peaq.trust: an issuer, a birth certificate or an enrolment",
            )
        content, kind = select(url, parameters, found.document, relationship)
        if relationship is not None:
            self._check_end(content, options.version_time)
        return Dereferenced(content, metadata, {"contentType": kind})

    def _check_end(self, method: dict[str, Any], at: int | None) -> None:
        end = method_end(method)
        if end is not None and end <= (self._now() if at is None else at):
            raise DIDError(
                "did.relationship", "the verification method has expired, or it was revoked"
            )

    def history(self, did: str, *, no_cache: bool = False) -> History:
        """The verified history of a did:webvh: which key was active at which time.

        Args:
            did: as :meth:`resolve` takes it.
            no_cache: nothing that was kept from before.

        Raises:
            DIDError: ``did.feature_not_supported`` for a method without history; ``did.*`` as the
                log is. FetchError, StateError.
        """
        from depin_id.did.logged import WebvhMethod

        parsed = parse_did(did)
        method = self.method(parsed.method)
        if not isinstance(method, WebvhMethod):
            raise DIDError("did.feature_not_supported", f"a did:{parsed.method} has no history")
        return method.history(did, fresh=no_cache)

    def key(
        self,
        did_url: str,
        *,
        relationship: str = "assertionMethod",
        version_time: int | str | None = None,
    ) -> PublicKey:
        """The admitted key of a verification method.

        Args:
            did_url: of the verification method, without path and query: whoever signs does not
                say himself which version of the document counts.
            relationship: what it has to be for.
            version_time: when: milliseconds since 1970, or RFC 3339; None is now.

        Raises:
            DIDError: ``did.not_found``, ``did.verification_method``, ``did.relationship`` and
                others. KeyRefused, FetchError, StateError.
        """
        url, _ = split_url(did_url)
        if url.path or url.query is not None:
            raise DIDError(
                "did.verification_method",
                f"{did_url[:120]!r} has a path or a query, and so is not the name of a key",
                hint="ask for another version with version_time",
            )
        options = _options(None, version_time, None, None, False)
        found = self._dereference(did_url, options, relationship)
        return method_key(found.content, allow_published=self._allow_published)


def _options(
    version_id: str | None,
    version_time: int | str | None,
    version_number: int | None,
    accept: str | None,
    no_cache: bool,
) -> Options:
    if isinstance(version_time, str):
        version_time = parse_version_time(version_time)
    return Options(version_id, version_time, version_number, accept, no_cache)
