"""did:peaq for a resolver: from what somebody read of the chain, kept in files.

The documents and their meaning are those of :mod:`depin_id.did.peaq`; here is where they lie:
``peaq.json`` in the folder of DIDs, an object of DIDs and values in hexadecimal.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from depin_id.did.resolution import Options, Resolution
from depin_id.did.syntax import Did
from depin_id.errors import DIDError, EncodingError

NAME: Final = "peaq"
FILE: Final = "peaq.json"
_MODULE: Final = "depin_id.did.peaq"


def is_there() -> bool:
    """Whether this installation knows did:peaq."""
    return importlib.util.find_spec(_MODULE) is not None


class ChainedMethod:
    """did:peaq for a :class:`~depin_id.did.resolver.Resolver`; loaded when it is first asked.

    Args:
        dids: the folder of DIDs, where ``peaq.json`` may lie.
        values: such values at hand, asked first.
        allow_published: take keys whose private half is published (test vectors only).
    """

    name = NAME

    def __init__(
        self,
        dids: str | Path | None = None,
        values: Mapping[str, str] | None = None,
        *,
        allow_published: bool = False,
    ) -> None:
        self._path = None if dids is None else Path(dids) / FILE
        self._values = values or {}
        self._allow_published = allow_published
        self._read: tuple[int, Mapping[str, str]] = (-1, {})
        self._lock = threading.Lock()
        self._method: Any = None

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The document with what it is worth in its metadata: ``trust: attribute-only``.

        Raises:
            DIDError: ``did.not_found``, ``did.malformed``, ``did.document``,
                ``did.feature_not_supported`` for a version. KeyRefused, StateError, ConfigError.
        """
        if self._method is None:
            module = importlib.import_module(_MODULE)
            self._method = module.PeaqMethod(self._value, allow_published=self._allow_published)
        try:
            found: Resolution = self._method.resolve(did, options)
        except EncodingError as error:
            raise DIDError("did.document", error.message, hint=error.hint) from error
        return found

    def _value(self, did: str) -> str | None:
        return self._values.get(did) or self._kept().get(did)

    def _kept(self) -> Mapping[str, str]:
        """The file, read again when it changed."""
        if self._path is None:
            return {}
        with self._lock:
            try:
                stamp = self._path.stat().st_mtime_ns
            except OSError:
                return {}
            if stamp != self._read[0]:
                found = importlib.import_module(_MODULE).file_source(self._path)
                self._read = (stamp, found)
            return self._read[1]
