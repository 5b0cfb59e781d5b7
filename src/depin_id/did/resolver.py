"""Resolving DIDs (W3C DID Resolution): a registry of methods behind one call that never raises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, runtime_checkable

from depin_id.did.jwk import JwkMethod
from depin_id.did.key import KeyMethod
from depin_id.did.syntax import Did, parse_did
from depin_id.errors import ConfigError, DepinError, DIDError, KeyRefused

ENTRY_POINTS: Final = "depin_id.did_methods"
"""Other people's methods: each entry point names a class without arguments."""

MEDIA_TYPE: Final = "application/did"
_ERRORS: Final = {
    "did.malformed": "invalidDid",
    "did.method_not_supported": "methodNotSupported",
    "did.not_found": "notFound",
    "did.key_not_supported": "unsupportedPublicKeyType",
    "key.not_admissible": "invalidPublicKey",
}


@runtime_checkable
class Method(Protocol):
    """A DID method: one file each."""

    name: str

    def resolve(self, did: Did) -> dict[str, Any]:
        """The DID document.

        Raises:
            DIDError: ``did.not_found``, ``did.malformed`` or another ``did.*``.
            KeyRefused: a key of the document is not admissible.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolution gave (DID Resolution section 4).

    Args:
        document: the DID document, None on an error.
        document_metadata: about the document.
        resolution_metadata: ``contentType``, or ``error`` (invalidDid, methodNotSupported,
            notFound, invalidPublicKey, unsupportedPublicKeyType, internalError) and ``message``.
    """

    document: dict[str, Any] | None
    document_metadata: dict[str, Any] = field(default_factory=dict)
    resolution_metadata: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The error code, None when there is a document."""
        return self.resolution_metadata.get("error")


def builtin_methods() -> list[Method]:
    """The methods that come with the SDK and need no network."""
    return [KeyMethod(), JwkMethod()]


def installed_methods() -> list[Method]:
    """Other people's methods, from the entry points of ``depin_id.did_methods``.

    Raises:
        ConfigError: ``config.did_method``, an entry point is not a method.
    """
    methods = []
    for entry in entry_points(group=ENTRY_POINTS):
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
    """Resolves DIDs by a registry of methods.

    Args:
        methods: the methods to know; None takes the built-in and the installed ones.

    Raises:
        ConfigError: ``config.did_method``, two methods of one name.
    """

    def __init__(self, methods: Iterable[Method] | None = None) -> None:
        self._methods: dict[str, Method] = {}
        for method in [*builtin_methods(), *installed_methods()] if methods is None else methods:
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

    def resolve(self, did: str) -> Resolution:
        """Resolve a DID; every failure is an error code in the answer."""
        try:
            parsed = parse_did(did)
            method = self._methods.get(parsed.method)
            if method is None:
                raise DIDError(
                    "did.method_not_supported", f"no method is registered for did:{parsed.method}"
                )
            document = method.resolve(parsed)
            if document.get("id") != did:
                raise DIDError("did.not_found", "the document found is that of another DID")
        except DepinError as error:
            unlisted = "invalidPublicKey" if isinstance(error, KeyRefused) else "internalError"
            return _failed(_ERRORS.get(error.code, unlisted), str(error))
        except Exception as error:  # a method of somebody else's that breaks its contract
            return _failed("internalError", f"did:{parsed.method} failed: {type(error).__name__}")
        return Resolution(document, {}, {"contentType": MEDIA_TYPE})


def _failed(code: str, message: str) -> Resolution:
    return Resolution(None, {}, {"error": code, "message": message})
