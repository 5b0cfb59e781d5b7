"""did:web (W3C CCG did:web method): the document lies on a web server, and so does its truth.

Resolve only: whoever holds the domain today says what the document is, and nobody can say what it
was. Readings of a device are better signed by a DID with a history.
"""

from __future__ import annotations

import copy
from typing import Final

from depin_id.did.cache import Cache
from depin_id.did.contents import check_document
from depin_id.did.resolution import MEDIA_TYPE, Options, Resolution
from depin_id.did.source import DOCUMENT, MAX_BYTES, Source
from depin_id.did.syntax import Did, parse_did
from depin_id.did.weburl import WebUrl, check_host, check_path, check_port
from depin_id.errors import DIDError, EncodingError, FetchError
from depin_id.strict_json import parse

NAME: Final = "web"


def did_web_url(did: str) -> str:
    """Where the document of a did:web lies: ``https://example.com/.well-known/did.json``.

    Raises:
        DIDError: ``did.malformed``: no did:web, or its host is an address, of one label,
            percent-encoded other than ``%3A`` before a port; a path that leads elsewhere.
    """
    parsed = parse_did(did)
    if parsed.method != NAME:
        raise DIDError("did.method_not_supported", f"did:{parsed.method} is not did:web")
    domain, *path = parsed.id.split(":")
    host, colon, port = domain.partition("%3A")
    segments = "/".join(path) if path else ".well-known"
    try:
        name = check_host(host)
        if name != host:
            raise FetchError("fetch.host", "the host of a did:web is written in lower case")
        if "%" in segments or "~" in segments:
            raise FetchError("fetch.path", "a segment of the path is percent-encoded")
        number = check_port(port) if colon else 443
        return str(WebUrl(name, number, check_path(f"/{segments}/{DOCUMENT}")))
    except FetchError as error:
        raise DIDError("did.malformed", f"{did[:80]!r}: {error.message}", hint=error.hint) from None


class WebMethod:
    """did:web for a :class:`~depin_id.did.resolver.Resolver`.

    Args:
        source: where documents come from.
        cache: keeps them for a while.
    """

    name = NAME

    def __init__(self, source: Source, cache: Cache[Resolution]) -> None:
        self._source = source
        self._cache = cache

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The document as it is published now.

        Raises:
            DIDError: ``did.malformed``, ``did.not_found``, ``did.document``,
                ``did.feature_not_supported`` for a version. FetchError, KeyRefused.
        """
        text = str(did)
        url = did_web_url(text)
        if options.versioned:
            raise DIDError(
                "did.feature_not_supported",
                "a did:web has no history",
                hint="only did:webvh knows what was true before",
            )
        found = self._cache.get(text, lambda: self._load(text, url), fresh=options.no_cache)
        # Whoever gets it may change it: not what is kept.
        return copy.deepcopy(found)

    def _load(self, did: str, url: str) -> Resolution:
        data = self._source.read(did, DOCUMENT, url)
        if data is None:
            raise DIDError("did.not_found", f"there is no document of {did}")
        try:
            document = parse(data, max_bytes=MAX_BYTES[DOCUMENT])
        except EncodingError as error:
            raise DIDError("did.document", error.message, hint=error.hint) from error
        return Resolution(check_document(document, did), {}, {"contentType": MEDIA_TYPE})
