"""DID documents of a did:webvh: implicit services, the did:web beside it, keys by relationship."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from depin_id.did.contents import ENDS, method_key
from depin_id.did.webvh.location import parse_location
from depin_id.did.webvh.refusal import refuse
from depin_id.errors import DepinError, DIDError
from depin_id.jcs import canonicalize
from depin_id.keys import PublicKey
from depin_id.strict_json import parse

RELATIONSHIPS: Final = (
    "assertionMethod",
    "authentication",
    "capabilityInvocation",
    "capabilityDelegation",
)
MAX_METHODS: Final = 256
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+", re.ASCII)
_PLAIN: Final = frozenset({"id", "type", "controller", "purpose", "publicKeyMultibase"})
_LINKED_VP: Final = "https://identity.foundation/linked-vp/contexts/v1"


@dataclass(frozen=True, slots=True)
class MethodKey:
    """An admitted key of a document.

    Attributes:
        id: absolute DID URL of the verification method.
    """

    id: str
    key: PublicKey


@lru_cache(maxsize=8192)
def cached_key(kind: str, text: str, allow_published: bool) -> PublicKey | None:
    """The admitted key of a plain verification method; None for one that is not taken."""
    return _admitted({"type": kind, "publicKeyMultibase": text}, allow_published)


def _admitted(method: Mapping[str, Any], allow_published: bool) -> PublicKey | None:
    try:
        return method_key(method, allow_published=allow_published)
    except DepinError:
        return None


def _key(method: Mapping[str, Any], allow_published: bool) -> PublicKey | None:
    kind, text = method.get("type"), method.get("publicKeyMultibase")
    if isinstance(kind, str) and isinstance(text, str) and method.keys() <= _PLAIN:
        # Most versions keep the keys of the version before: each is admitted once.
        return cached_key(kind, text, allow_published)
    if any(name in method for name in ENDS):
        return None
    return _admitted(method, allow_published)


def document_keys(
    did: str, document: Mapping[str, Any], *, allow_published: bool = False
) -> dict[str, tuple[MethodKey, ...]]:
    """The admitted keys of a document by relationship.

    Left out are keys of other types, keys that are not admissible, and methods that end by a date
    of their own: in a history keys end with a version. They verify nothing here.
    """

    def absolute(name: Any) -> str:
        text = name if isinstance(name, str) else ""
        return did + text if text.startswith("#") else text

    def read(method: Any) -> MethodKey | None:
        if not isinstance(method, dict):
            return None
        name, key = absolute(method.get("id")), _key(method, allow_published)
        return None if key is None or not name.startswith(did + "#") else MethodKey(name, key)

    def listed(name: str) -> list[Any]:
        value = document.get(name)
        return value[:MAX_METHODS] if isinstance(value, list) else []

    methods: dict[str, MethodKey | None] = {}
    for method in listed("verificationMethod"):
        if isinstance(method, dict):
            name = absolute(method.get("id"))
            # Two methods of one name: a reader could take either, so neither is taken.
            methods[name] = None if name in methods else read(method)
    found = {}
    for relationship in RELATIONSHIPS:
        keys = []
        for item in listed(relationship):
            one = methods.get(absolute(item)) if isinstance(item, str) else read(item)
            if one is not None and one not in keys:
                keys.append(one)
        found[relationship] = tuple(keys)
    return found


def with_services(did: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document with ``#files`` and ``#whois``, where it does not define its own."""
    made = copy.deepcopy(dict(document))
    base = parse_location(did).base
    services = made.get("service", [])
    services = list(services) if isinstance(services, list) else [services]
    names = [service.get("id") for service in services if isinstance(service, dict)]
    if "#files" not in names and f"{did}#files" not in names:
        services.append({"id": f"{did}#files", "type": "relativeRef", "serviceEndpoint": base})
    if "#whois" not in names and f"{did}#whois" not in names:
        services.append(
            {
                "@context": _LINKED_VP,
                "id": f"{did}#whois",
                "type": "LinkedVerifiablePresentation",
                "serviceEndpoint": f"{base}whois.vp",
            }
        )
    made["service"] = services
    return made


def did_web_document(did: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document to publish as ``did.json`` for the did:web beside a did:webvh.

    Args:
        did: the did:webvh. document: its document, with or without implicit services.
    """
    location = parse_location(did)
    prefix = f"did:webvh:{location.scid}:"
    text = canonicalize(with_services(did, document)).decode().replace(prefix, "did:web:")
    made: dict[str, Any] = parse(text)
    known = made.get("alsoKnownAs", [])
    texts = [name for name in known if isinstance(name, str)] if isinstance(known, list) else []
    names = dict.fromkeys([*texts, did])
    made["alsoKnownAs"] = [name for name in names if name != location.did_web]
    return made


def resource_url(did: str, document: Mapping[str, Any], path: str) -> str:
    """Address of ``<did>/<path>``: ``/whois`` and files, by the services of the document.

    Args:
        path: of the DID URL, with its first slash.

    Raises:
        DIDError: ``did.not_found``: no such service. ``did.webvh.did``: the path leaves its place.
    """
    name = "#whois" if path == "/whois" else "#files"
    for service in with_services(did, document)["service"]:
        if isinstance(service, dict) and service.get("id") in (name, did + name):
            endpoint = service.get("serviceEndpoint")
            if not isinstance(endpoint, str) or not endpoint.startswith("https://"):
                refuse("did", f"the service {name} has no https address")
            return endpoint if name == "#whois" else _join(endpoint, path)
    raise DIDError("did.not_found", f"the document has no service {name}")


def _join(endpoint: str, path: str) -> str:
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        refuse("did", "the path is not that of a DID URL")
    lowered = [segment.lower().replace("%2e", ".") for segment in path.split("/")]
    if any(segment in (".", "..") or "%2f" in segment or "%5c" in segment for segment in lowered):
        refuse("did", "the path of the DID URL leaves its place")
    return endpoint.rstrip("/") + path
