"""What a DID URL names within a document (DID Resolution section 5.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urljoin

from depin_id.did.contents import (
    RELATIONSHIPS,
    absolute,
    find_method,
    find_service,
    is_for,
    listed,
)
from depin_id.did.resolution import MEDIA_TYPE, Options, parse_version_time
from depin_id.did.syntax import DidUrl, parse_did_url
from depin_id.errors import DIDError

MAX_PARAMETERS: Final = 16
_NUMBER: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_RELATIVE: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%#-]*", re.ASCII)
KNOWN: Final = frozenset(
    ("versionId", "versionTime", "versionNumber", "service", "serviceType", "relativeRef")
)


def split_url(text: str) -> tuple[DidUrl, dict[str, str]]:
    """A DID URL and the parameters of its query (section 3).

    Raises:
        DIDError: ``did.url_malformed``: not a DID URL, a parameter that occurs twice, or one that
            is not percent-encoded UTF-8.
    """
    try:
        url = parse_did_url(text)
    except DIDError as error:
        raise DIDError("did.url_malformed", error.message, hint=error.hint) from None
    found: dict[str, str] = {}
    parts = url.query.split("&") if url.query else []
    if len(parts) > MAX_PARAMETERS:
        raise DIDError("did.url_malformed", f"more than {MAX_PARAMETERS} parameters")
    for part in parts:
        name, _, value = part.partition("=")
        try:
            name, value = unquote(name, errors="strict"), unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise DIDError("did.url_malformed", "a parameter is not UTF-8") from None
        if not name or name in found:
            raise DIDError("did.url_malformed", "a parameter has no name, or occurs twice")
        found[name] = value
    return url, found


def url_options(parameters: Mapping[str, str], options: Options) -> Options:
    """Options with those of a DID URL.

    Raises:
        DIDError: ``did.options``: an option is not valid, or given twice.
    """
    number = parameters.get("versionNumber")
    if number is not None and _NUMBER.fullmatch(number) is None:
        raise DIDError("did.options", "the versionNumber is not a number from 1 on")
    moment = parameters.get("versionTime")
    named = Options(
        version_id=parameters.get("versionId"),
        version_time=None if moment is None else parse_version_time(moment),
        version_number=None if number is None else int(number),
        accept=options.accept,
        no_cache=options.no_cache,
    )
    if not named.versioned:
        return options
    if options.versioned:
        raise DIDError("did.options", "a version is asked for in the DID URL and beside it")
    return named


def select(
    url: DidUrl, parameters: Mapping[str, str], document: dict[str, Any], relationship: str | None
) -> tuple[Any, str]:
    """What a DID URL names in the document of its DID, and its media type.

    Args:
        relationship: what the verification method has to be for.

    Raises:
        DIDError: ``did.not_found``, ``did.verification_method``, ``did.relationship``,
            ``did.options``.
    """
    if url.path or parameters.keys() - KNOWN:
        raise DIDError("did.not_found", "what the path or query of this DID URL names is not here")
    if relationship is not None and relationship not in RELATIONSHIPS:
        raise DIDError("did.options", f"there is no relationship {str(relationship)[:40]!r}")
    if parameters.keys() & {"service", "serviceType", "relativeRef"}:
        if url.fragment is not None or relationship is not None:
            raise DIDError("did.not_found", "a fragment of a service is not here")
        return _services(parameters, document)
    if url.fragment is None:
        if relationship is not None:
            raise DIDError("did.verification_method", "the DID URL names no verification method")
        return document, MEDIA_TYPE
    name = f"{document['id']}#{url.fragment}"
    method = find_method(document, name)
    if relationship is not None:
        if method is None:
            raise DIDError("did.verification_method", f"there is no verification method {name}")
        if not is_for(document, name, relationship):
            raise DIDError("did.relationship", f"{name} may not be used for {relationship}")
    found = method or find_service(document, name)
    if found is None:
        raise DIDError("did.not_found", f"there is nothing named {name} in the document")
    return found, MEDIA_TYPE


def _services(parameters: Mapping[str, str], document: dict[str, Any]) -> tuple[Any, str]:
    did = document["id"]
    wanted, kind = parameters.get("service"), parameters.get("serviceType")
    if wanted is None and kind is None:
        raise DIDError("did.url_malformed", "a relativeRef needs a service")
    chosen = []
    for service in listed(document, "service"):
        name = absolute(did, service.get("id")) if isinstance(service, dict) else None
        if name is None:
            continue
        types = service.get("type")
        types = types if isinstance(types, list) else [types]
        named = wanted is None or name in (f"{did}#{wanted}", absolute(did, wanted))
        if named and (kind is None or kind in types):
            chosen.append(service)
    if not chosen:
        raise DIDError("did.not_found", "the document has no such service")
    relative = parameters.get("relativeRef")
    if relative is None:
        return document | {"service": chosen}, MEDIA_TYPE
    return [_join(base, relative) for base in _endpoints(chosen)], "text/uri-list"


def _endpoints(services: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for service in services:
        endpoint = service.get("serviceEndpoint")
        for item in endpoint if isinstance(endpoint, list) else [endpoint]:
            if isinstance(item, str) and item.startswith("https://"):
                found.append(item)
    if not found:
        raise DIDError("did.not_found", "the service has no https address")
    return found


def _join(base: str, relative: str) -> str:
    """A reference within an endpoint; it may not lead to another host."""
    if _RELATIVE.fullmatch(relative) is None or relative.startswith("//"):
        raise DIDError("did.url_malformed", "the relativeRef is not a relative reference")
    try:
        joined = urljoin(base, relative)
    except ValueError:
        joined = ""
    host = base.split("/", 3)[:3]
    if joined.split("/", 3)[:3] != host:
        raise DIDError("did.url_malformed", "the relativeRef leads to another host")
    return joined
