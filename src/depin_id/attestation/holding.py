"""The attestation results that a device holds: one a network, kept across restarts."""

from __future__ import annotations

import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from depin_id import cbor
from depin_id.claims import is_uint
from depin_id.durable import read_file, replace_file
from depin_id.envelope import MAX_POSITION
from depin_id.errors import AttestationError, DepinError, StateError
from depin_id.network import NetworkCard

RESULTS_FILE: Final = "results.cbor"
MAX_RESULTS: Final = 64
_MAX_BYTES: Final = 1 << 18
_MAX_MS: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class HeldResult:
    """What a device has to know of a result.

    Attributes:
        digest: of the result, 32 bytes. boot: the epoch it is for.
        issued, not_after: ms since 1970.
        level: ``D1``, ``D2`` or ``D3``, as the network said.
    """

    digest: bytes
    boot: int
    issued: int
    not_after: int
    level: str

    @property
    def ear(self) -> bytes:
        """What envelopes name it by, 16 bytes."""
        return self.digest[:16]

    def good(self, boot: int, at: int) -> bool:
        """Whether it still counts in a boot, at a time in ms; if not, it is time to attest."""
        return boot == self.boot and self.issued <= at < self.not_after


class HeldResults:
    """The results of one device directory. Its caller holds the directory's lock.

    A damaged file is as none: the device attests again.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / RESULTS_FILE
        self._lock = threading.Lock()
        self._held: dict[str, HeldResult] = {}
        try:
            data = read_file(self._path, max_bytes=_MAX_BYTES)
            if data is not None:
                entries = cbor.decode(data, max_bytes=_MAX_BYTES)
                self._held = {str(key): _read(value) for key, value in entries.items()}
        except (DepinError, ValueError, TypeError, AttributeError):
            self._held = {}

    def get(self, network: str) -> HeldResult | None:
        """What is held of a network."""
        return self._held.get(network)

    def take(self, token: bytes, card: NetworkCard, thumbprint: bytes) -> HeldResult:
        """Verify a result, and keep it durably in place of an older one.

        Raises: as :meth:`depin_id.device_store.OpenDevice.take_result`.
        """
        # A device that holds nothing loads nothing of it.
        from depin_id.attestation.ear import read_ear, result_digest

        result, claims = read_ear(token, network=card.network, keys=card.ack_keys)
        if result.thumbprint != thumbprint:
            raise AttestationError("attestation.foreign", "the result is another device's")
        found = HeldResult(
            result_digest(claims), result.boot, result.issued, result.not_after, result.level
        )
        with self._lock:
            known = self._held.get(card.network)
            if known is not None and (found.boot, found.issued) < (known.boot, known.issued):
                raise AttestationError(
                    "attestation.replayed",
                    "a newer result is held already",
                    hint="drop it: it is not for this boot, or was appraised before",
                )
            held = self._held | {card.network: found}
            if len(held) > MAX_RESULTS:
                raise StateError("state.too_many", f"results of over {MAX_RESULTS} networks")
            replace_file(
                self._path, cbor.encode({key: list(astuple(one)) for key, one in held.items()})
            )
            self._held = held
        return found


def _read(value: Any) -> HeldResult:
    digest, boot, issued, not_after, level = value
    if type(digest) is not bytes or len(digest) != 32 or level not in ("D1", "D2", "D3"):
        raise ValueError("no digest, or no level")
    if not is_uint(boot, MAX_POSITION) or not all(
        is_uint(at, _MAX_MS) for at in (issued, not_after)
    ):
        raise ValueError("no number")
    return HeldResult(digest, boot, issued, not_after, level)
