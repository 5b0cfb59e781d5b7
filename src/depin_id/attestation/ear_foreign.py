"""Result tokens of other verifiers (draft-ietf-rats-ear): their claims-set, in CBOR or JSON.

Only what the draft itself defines is read; what others add stays unread. Whoever uses one has
verified its signature before, and knows whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import cbor, strict_json
from depin_id.attestation.ear import PROFILE
from depin_id.attestation.result import AFFIRMING, NONE, TrustVector
from depin_id.claims import is_uint
from depin_id.errors import AttestationError, DepinError

MAX_FOREIGN: Final = 65_536
MAX_SUBMODS: Final = 64
MAX_POLICIES: Final = 32
_TIERS: Final = {"none": 0, "affirming": 2, "warning": 32, "contraindicated": 96}
_ASPECTS: Final = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)
# Each claim as CBOR and as JSON call it.
_PROFILE, _IAT, _SUBMODS = (265, "eat_profile"), (6, "iat"), (266, "submods")
_VERIFIER = (1004, "ear_verifier_id")
_BUILD, _DEVELOPER = (1, "build"), (0, "developer")
_STATUS, _VECTOR = (1000, "ear_status"), (1001, "ear_trustworthiness_vector")
_POLICIES = (1003, "ear_appraisal_policy_ids")
_Name = tuple[int, str]


@dataclass(frozen=True, slots=True)
class ForeignAppraisal:
    """What another verifier says of one attester.

    Attributes:
        status: tier that it gives: 0 (none), 2, 32 or 96; never better than its vector's.
        vector: zero where it makes no claim. policies: names of what it was appraised by.
    """

    status: int
    vector: TrustVector
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignEar:
    """A claims-set of another verifier.

    Attributes:
        developer, build: who made the verifier, and which one it is.
        issued: seconds since 1970. submods: an appraisal for each attester, by name.
    """

    developer: str
    build: str
    issued: int
    submods: Mapping[str, ForeignAppraisal]

    @property
    def affirmed(self) -> bool:
        """Whether every appraisal is affirming; ``none`` is not."""
        return all(appraisal.status == AFFIRMING for appraisal in self.submods.values())


def parse_foreign_ear(data: bytes) -> ForeignEar:
    """Read a claims-set, in deterministic CBOR or in JSON. No signature is looked at.

    Raises:
        AttestationError: ``attestation.result``: another form or profile, or a status that is
            better than what its own claims say.
    """
    try:
        if data[:1] == b"{":
            value: Any = strict_json.parse(data, max_bytes=MAX_FOREIGN)
        else:
            value = cbor.decode(data, max_bytes=MAX_FOREIGN)
    except DepinError as error:
        _wrong(error.message)
    json = data[:1] == b"{"
    if not isinstance(value, dict) or _of(value, _PROFILE, json) != PROFILE:
        _wrong(f"its profile is not {PROFILE}")
    verifier, submods = _of(value, _VERIFIER, json), _of(value, _SUBMODS, json)
    issued = _of(value, _IAT, json)
    if not is_uint(issued):
        _wrong("it does not say when it was issued")
    if not isinstance(submods, dict) or not 0 < len(submods) <= MAX_SUBMODS:
        _wrong("it appraises nobody, or too many")
    if not isinstance(verifier, dict):
        _wrong("it does not name its verifier")
    return ForeignEar(
        _text(_of(verifier, _DEVELOPER, json)),
        _text(_of(verifier, _BUILD, json)),
        issued,
        {_text(name): _appraisal(item, json) for name, item in submods.items()},
    )


def _appraisal(value: Any, json: bool) -> ForeignAppraisal:
    if not isinstance(value, dict):
        _wrong("an appraisal is a map")
    status, policies = _of(value, _STATUS, json), _of(value, _POLICIES, json)
    if json:
        status = _TIERS.get(status) if isinstance(status, str) else None
    if type(status) is not int or status not in _TIERS.values():
        _wrong("a status is one of the four tiers")
    vector = _vector(_of(value, _VECTOR, json), json)
    if status < vector.status and (status, vector.status) != (NONE, AFFIRMING):
        _wrong("a status is better than what its own claims say")
    if policies is None:
        policies = []
    if not isinstance(policies, list) or len(policies) > MAX_POLICIES:
        _wrong("policies are a list of texts")
    return ForeignAppraisal(status, vector, tuple(map(_text, policies)))


def _vector(value: Any, json: bool) -> TrustVector:
    if value is None:
        return TrustVector()
    names: tuple[Any, ...] = _ASPECTS if json else tuple(range(8))
    if not isinstance(value, dict) or not set(value) <= set(names):
        _wrong("the trust vector has claims that do not exist")
    claims = [value.get(name, 0) for name in names]
    if not all(type(claim) is int and -128 <= claim <= 127 for claim in claims):
        _wrong("a claim of the trust vector is no integer of 8 bits")
    return TrustVector(*claims)


def _of(value: Mapping[Any, Any], name: _Name, json: bool) -> Any:
    return value.get(name[1] if json else name[0])


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > 512:
        _wrong("a name is no short text")
    return value


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.result", f"a result of another verifier: {what}")
