"""Claims of tokens of others, read one by one; each has its own step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import EncodingError
from verify.attestation import foreign_cbor
from verify.attestation.model import Measurement
from verify.attestation.steps import Steps

MAX_TEXT: Final = 256
MAX_COMPONENTS: Final = 64
HASH_SIZES: Final = (32, 48, 64)
_RESULTS: Final = range(1, 5)
_ANY: Final = range(1, 4097)


@dataclass(frozen=True, slots=True)
class ForeignClaims:
    """The claims of one token.

    Attributes:
        claims: by label. name: prefix of the steps. steps: where failures go.
    """

    claims: Mapping[Any, Any]
    name: str
    steps: Steps

    def fail(self, step: str, detail: str) -> NoReturn:
        """A claim that is not what the format asks for."""
        self.steps.fail(f"{self.name}.{step}", "claims", detail)

    def octets(self, label: int, step: str, sizes: Collection[int] = _ANY) -> bytes:
        """A byte string that has to be there, of one of these sizes."""
        value = self.claims.get(label)
        if type(value) is not bytes or len(value) not in sizes:
            self.fail(step, f"claim {label} is missing, or no byte string of its size")
        return value

    def optional_octets(self, label: int, step: str, sizes: Collection[int] = _ANY) -> bytes:
        """The same, or empty when it is not there."""
        return self.octets(label, step, sizes) if label in self.claims else b""

    def text(self, label: int, step: str) -> str:
        """A text that has to be there and is not empty."""
        value = self.claims.get(label)
        if type(value) is not str or not 0 < len(value) <= MAX_TEXT:
            self.fail(step, f"claim {label} is missing, or no text of bounded size")
        return value

    def optional_text(self, label: int, step: str) -> str:
        """The same, or empty when it is not there."""
        return self.text(label, step) if label in self.claims else ""

    def integer(self, label: int, step: str, values: range) -> int:
        """An integer that has to be there, of this range."""
        value = self.claims.get(label)
        if type(value) is not int or value not in values:
            self.fail(step, f"claim {label} is missing, or no integer of its range")
        return value

    def nonce(self, label: int, step: str, sizes: Collection[int]) -> bytes:
        """One nonce; an array is refused unless it holds exactly one."""
        value = self.claims.get(label)
        if type(value) is list and len(value) == 1:
            value = value[0]
        if type(value) is not bytes or len(value) not in sizes:
            self.fail(step, "there is not exactly one nonce of its size")
        return value

    def succeeded(self, label: int) -> bool:
        """Whether everything that the token says was compared, was as it should be (RFC 9711).

        Measurement results are ``[[system, [[what, result], ...]], ...]``: 1 is success, 2 to 4
        that it failed, was not made, or that there was nothing to compare.
        """
        if label not in self.claims:
            return True
        results: list[Any] = []
        for group in self._results(self.claims[label]):
            if type(group) is not list or len(group) != 2 or type(group[0]) is not str:
                self.fail("measres", "a group of results is not a name and its results")
            results += self._results(group[1])
        for item in results:
            good = type(item) is list and len(item) == 2 and type(item[0]) in (str, bytes)
            if not good or type(item[1]) is not int or item[1] not in _RESULTS:
                self.fail("measres", "a result is not a name and a number from 1 to 4")
        return all(item[1] == 1 for item in results)

    def _results(self, value: Any) -> list[Any]:
        if type(value) is not list or not 0 < len(value) <= MAX_COMPONENTS:
            self.fail("measres", "measurement results are no list, an empty one, or too long")
        return value

    def components(self, label: int) -> tuple[Measurement, ...]:
        """Software components of PSA and CCA: at least one, with value and signer each.

        One without a type is called ``component``.
        """
        found = self.claims.get(label)
        if type(found) is not list or not 0 < len(found) <= MAX_COMPONENTS:
            self.fail("components", f"claim {label} is no list of components, or an empty one")
        return tuple(self._component(item) for item in found)

    def _component(self, item: Any) -> Measurement:
        if type(item) is not dict or not set(item) <= {1, 2, 4, 5, 6}:
            self.fail("components", "a component is not the map of one")
        of = ForeignClaims(item, self.name, self.steps)
        of.optional_text(6, "components")
        # The version may be empty, unlike the rest.
        version = item.get(4, "")
        if type(version) is not str or len(version) > MAX_TEXT:
            self.fail("components", "a version is no text of bounded size")
        return Measurement(
            name=of.optional_text(1, "components") or "component",
            digest=of.octets(2, "measurement", HASH_SIZES),
            signer=of.octets(5, "signer", HASH_SIZES),
            version=version,
        )


def read_claims(
    payload: bytes, *, name: str, steps: Steps, max_bytes: int, max_depth: int = 8
) -> ForeignClaims:
    """The claims of a token's payload; it has to be a map. Raises AttestationError."""
    try:
        value = foreign_cbor.decode(payload, max_bytes=max_bytes, max_depth=max_depth)
    except EncodingError as error:
        steps.fail(f"{name}.claims", "malformed", error.message)
    if type(value) is not dict:
        steps.fail(f"{name}.claims", "malformed", "no map of claims")
    return ForeignClaims(value, name, steps)
