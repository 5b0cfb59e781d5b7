"""The result token: an attestation result as an EAR (draft-ietf-rats-ear), and its signature.

The claims-set is deterministic CBOR of one form: what is read has to encode to the same bytes, so
a result has one digest, and readings can name it. The draft is not finished; its profile is part
of every token, and a token of another profile is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, get_args

from depin_id import cbor, cose
from depin_id.ack import NONCE_BYTES
from depin_id.attestation.result import Assurance, AttestationResult, TrustVector
from depin_id.claims import is_uint
from depin_id.envelope import MAX_POSITION
from depin_id.errors import AttestationError, DepinError
from depin_id.keys import PublicKey, Signer

PROFILE: Final = "tag:ietf.org,2026:rats/ear#03"
KIND: Final = "ear"
"""Of the signature's domain."""
CONTENT_TYPE: Final = "application/ear+cwt"
MAX_EAR: Final = 32_768
EAR_ID_BYTES: Final = 16
EXP, IAT, EAT_PROFILE, SUBMODS = 4, 6, 265, 266
STATUS, VECTOR, POLICY_IDS, VERIFIER_ID = 1000, 1001, 1003, 1004
OWN: Final = -65_600
"""Our own claims of an appraisal: one map, under a label for private use (RFC 8392 section 9.1)."""
MAX_MS: Final = 1 << 50
MAX_LIST: Final = 64
MAX_TEXT: Final = 2048
MAX_ITEM: Final = 256


def _text(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_TEXT


def _short(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_ITEM


def _hash(value: Any) -> bool:
    return type(value) is bytes and len(value) == 32


def _texts(value: Any) -> bool:
    """Whether it is a sorted sequence of short texts, none twice."""
    return (
        isinstance(value, list | tuple)
        and len(value) <= MAX_LIST
        and all(type(item) is str and 0 < len(item) <= MAX_ITEM for item in value)
        and list(value) == sorted(set(value))
    )


def _ms(value: Any) -> bool:
    return is_uint(value, MAX_MS)


# Each claim of ours by its label, which never changes, with what it has to be.
_CLAIMS: Final[Mapping[int, tuple[str, Callable[[Any], bool]]]] = {
    1: ("did", _text),
    2: ("thumbprint", _hash),
    3: ("boot", lambda value: is_uint(value, MAX_POSITION)),
    4: ("nonce", lambda value: type(value) is bytes and len(value) == NONCE_BYTES),
    5: ("challenge", _hash),
    6: ("media_type", lambda value: _short(value) and value),
    7: ("evidence", _hash),
    8: ("issued", _ms),
    9: ("not_after", _ms),
    10: ("level", lambda value: value in ("D1", "D2", "D3")),
    11: ("assurance", lambda value: value in get_args(Assurance)),
    12: ("bound", lambda value: value in ("attested", "challenge")),
    13: ("root", _hash),
    14: ("unique", lambda value: type(value) is bool),
    15: ("identifiers", _texts),
    16: ("reasons", _texts),
    17: ("anchors", _hash),
    18: ("references", _hash),
    19: ("revocations", _hash),
}


def encode_result(result: AttestationResult) -> bytes:
    """The claims-set of a result, deterministic CBOR.

    Raises:
        AttestationError: ``attestation.result``, an attribute has the wrong form.
    """
    _check(result)
    vector = {label: value for label, value in enumerate(result.vector.values()) if value}
    appraisal: dict[int, Any] = {
        STATUS: result.vector.status,
        VECTOR: vector,
        OWN: {label: _wire(getattr(result, name)) for label, (name, _) in _CLAIMS.items()},
    }
    if result.model:
        appraisal[POLICY_IDS] = [result.model]
    claims = {
        EXP: result.not_after // 1000,
        IAT: result.issued // 1000,
        EAT_PROFILE: PROFILE,
        SUBMODS: {result.format: appraisal},
        VERIFIER_ID: {0: result.verifier, 1: result.software},
    }
    try:
        data = cbor.encode(claims)
    except DepinError as error:
        _wrong(error.message)
    if len(data) > MAX_EAR:
        _wrong(f"it is over {MAX_EAR} bytes")
    return data


def _wire(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check(result: AttestationResult) -> None:
    for name, good in _CLAIMS.values():
        if not good(getattr(result, name)):
            _wrong(f"the claim {name} has the wrong form")
    if not _text(result.verifier) or not all(map(_short, (result.software, result.model))):
        _wrong("verifier, software or model is no text, or too long")
    if not _short(result.format) or not result.format:
        _wrong("the format has no name")
    if not all(type(value) is int and -128 <= value <= 127 for value in result.vector.values()):
        _wrong("a claim of the trust vector is no integer of 8 bits")
    if result.not_after < result.issued:
        _wrong("it is over before it was issued")


def decode_result(data: bytes) -> AttestationResult:
    """Read a claims-set as :func:`encode_result` writes it, and only such.

    Raises:
        AttestationError: ``attestation.result``.
    """
    try:
        claims: Any = cbor.decode(data, max_bytes=MAX_EAR, max_depth=8)
    except DepinError as error:
        _wrong(error.message)
    result = _read(claims)
    if encode_result(result) != data:
        _wrong("it is not in the one form that a result has")
    return result


def _read(claims: Any) -> AttestationResult:
    labels = {EXP, IAT, EAT_PROFILE, SUBMODS, VERIFIER_ID}
    if not isinstance(claims, dict) or set(claims) != labels:
        _wrong("it is not the claims-set of a result")
    if claims[EAT_PROFILE] != PROFILE:
        _wrong(f"its profile is not {PROFILE}")
    verifier, submods = claims[VERIFIER_ID], claims[SUBMODS]
    if not isinstance(verifier, dict) or set(verifier) != {0, 1}:
        _wrong("it does not name its verifier")
    if not isinstance(submods, dict) or len(submods) != 1:
        _wrong("it is not of one piece of evidence")
    ((format_name, appraisal),) = submods.items()
    if not isinstance(appraisal, dict) or {STATUS, VECTOR, OWN} - set(appraisal):
        _wrong("an appraisal has no status, trust vector or claims")
    own, policies = appraisal[OWN], appraisal.get(POLICY_IDS, [""])
    if not isinstance(own, dict) or set(own) != set(_CLAIMS):
        _wrong("the claims are not those of a result")
    if not isinstance(policies, list) or len(policies) != 1:
        _wrong("it names no one policy")
    values = {name: own[label] for label, (name, _) in _CLAIMS.items()}
    for name in ("identifiers", "reasons"):
        if not _texts(values[name]):
            _wrong(f"{name} are not sorted texts")
        values[name] = tuple(values[name])
    return AttestationResult(
        verifier=verifier[0],
        software=verifier[1],
        format=format_name,
        model=policies[0],
        vector=_vector(appraisal[VECTOR]),
        **values,
    )


def _vector(value: Any) -> TrustVector:
    if not isinstance(value, dict) or not set(value) <= set(range(8)):
        _wrong("the trust vector has claims that do not exist")
    return TrustVector(*(value.get(label, 0) for label in range(8)))


def result_digest(data: bytes) -> bytes:
    """Identity of a result: SHA-256 of its claims-set, 32 bytes."""
    return hashlib.sha256(data).digest()


def ear_id(data: bytes) -> bytes:
    """What readings name a result by: the first 16 bytes of its digest."""
    return result_digest(data)[:EAR_ID_BYTES]


def sign_ear(payload: bytes, *, network: str, signer: Signer) -> bytes:
    """Sign a result as the token that is given away: a COSE_Sign1 of the network's key.

    Args:
        payload: of :func:`encode_result`. network: its DID, which is the result's verifier.

    Raises:
        AttestationError: ``attestation.result``, no result, or another network's.
        SignatureInvalid: the signer's hardware gave a wrong signature.
    """
    if decode_result(payload).verifier != network:
        _wrong("its verifier is another network")
    headers = {cose.HEADER_CONTENT_TYPE: CONTENT_TYPE, cose.HEADER_KID: signer.public_key.kid}
    return cose.sign1(headers, payload, kind=KIND, network=network, signer=signer)


def read_ear(
    data: bytes, *, network: str, keys: Sequence[PublicKey]
) -> tuple[AttestationResult, bytes]:
    """Read a token and verify it under one of the network's keys.

    Args:
        network: DID of the network that has to have appraised. keys: those it signs results with.

    Returns:
        The result, and its claims-set as it was signed.

    Raises:
        AttestationError: ``attestation.result``: no such token, of no known key, of another
            network. SignatureInvalid: it was not signed by the key that it names.
    """
    try:
        sign1 = cose.parse_sign1(data, max_bytes=MAX_EAR + 2048)
    except DepinError as error:
        _wrong(error.message)
    labels = {cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID}
    if set(sign1.headers) != labels or sign1.headers[cose.HEADER_CONTENT_TYPE] != CONTENT_TYPE:
        _wrong("the protected header is not that of a result")
    named = [key for key in keys if key.kid == sign1.headers[cose.HEADER_KID]]
    if not named:
        _wrong("no key of this network has signed it")
    for key in named[:-1]:
        # Eight bytes are a hint: two keys may share them.
        try:
            sign1.verify(KIND, network, key)
            break
        except DepinError:
            continue
    else:
        sign1.verify(KIND, network, named[-1])
    result = decode_result(sign1.payload)
    if result.verifier != network:
        _wrong("its verifier is another network")
    return result, sign1.payload


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.result", f"an attestation result: {what}")
