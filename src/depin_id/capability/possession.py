"""Proof of possession: whoever uses a capability shows that the audience's key is theirs.

The verifier gives a nonce; the holder signs it with the capability's id, the verifier's name and
what it is for. A nonce is good once, for one purpose, for a short time.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from depin_id import cbor, cose
from depin_id.capability.chain import Capability, read_chain
from depin_id.errors import CredentialError
from depin_id.keys import Signer

KIND: Final = "capability-proof"
NONCE_BYTES: Final = 16
MAX_NONCE: Final = 64
MAX_TEXT: Final = 256
MAX_PROOF: Final = 1024
LIFETIME_MS: Final = 120_000
CHALLENGES: Final = 65_536
_ID, _NONCE, _AUDIENCE, _PURPOSE = 1, 2, 3, 4
_HEADERS: Final = {cose.HEADER_ALG, cose.HEADER_KID}


def _wrong(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(f"possession.{code}", what, hint=hint)


def _check_texts(audience: object, purpose: object) -> None:
    for text in (audience, purpose):
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            _wrong("malformed", f"audience or purpose is not a text of 1 to {MAX_TEXT} characters")


class Nonces(Protocol):
    """Whoever knows which nonces were given out; :class:`Challenges` is one, in memory."""

    def take(self, nonce: bytes, purpose: str, *, now_ms: int) -> None:
        """Use a nonce up, or raise a DepinError when it is not good for this purpose now."""
        ...


class Challenges:
    """Nonces given out and not used yet; bounded: the oldest go first.

    Args:
        lifetime_ms: how long a nonce is good. bound: how many are kept.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        *,
        lifetime_ms: int = LIFETIME_MS,
        bound: int = CHALLENGES,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._lifetime = lifetime_ms
        self._bound = bound
        self._random = random
        self._open: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def new(self, purpose: str, *, now_ms: int) -> bytes:
        """A nonce for one use for one purpose, 16 bytes."""
        nonce = self._random(NONCE_BYTES)
        self._open[nonce] = purpose, now_ms + self._lifetime
        while len(self._open) > self._bound:
            self._open.popitem(last=False)
        return nonce

    def take(self, nonce: bytes, purpose: str, *, now_ms: int) -> None:
        """Use a nonce up.

        Raises:
            CredentialError: ``possession.nonce``: never given, used already, given for another
                purpose, or too old.
        """
        given = self._open.pop(nonce, None)
        if given is None:
            _wrong("nonce", "this nonce was never given out, or was used already", "ask again")
        if given[0] != purpose:
            _wrong("nonce", "this nonce was given out for another purpose", "ask again")
        if now_ms >= given[1]:
            _wrong("nonce", "this nonce is too old", "ask again")


def prove(
    capability: bytes, signer: Signer, *, nonce: bytes, audience: str, purpose: str, network: str
) -> bytes:
    """Prove that the signer is the audience of a capability.

    Args:
        capability: the chain. signer: of its last block's audience.
        nonce: as the verifier gave it. audience: who the verifier is, such as its DID.
        purpose: what the proof is for, such as ``enrol``. network: DID of the network.

    Raises:
        CredentialError: ``capability.*``; ``possession.malformed``; ``possession.key`` when the
            signer is not the audience.
    """
    last = read_chain(capability)[-1]
    _check_texts(audience, purpose)
    if not NONCE_BYTES <= len(nonce) <= MAX_NONCE:
        _wrong("malformed", f"a nonce has {NONCE_BYTES} to {MAX_NONCE} bytes")
    if signer.public_key != last.grant.audience:
        _wrong("key", "this key is not the audience of the capability")
    payload = {_ID: last.id, _NONCE: nonce, _AUDIENCE: audience, _PURPOSE: purpose}
    headers = {cose.HEADER_KID: signer.public_key.kid}
    return cose.sign1(headers, cbor.encode(payload), kind=KIND, network=network, signer=signer)


def verify_possession(
    proof: bytes,
    capability: Capability,
    *,
    network: str,
    audience: str,
    purpose: str,
    challenges: Nonces,
    now_ms: int,
) -> None:
    """Verify a proof of possession and use its nonce up.

    The nonce is used up only when all else is good, so that nobody else can spend it.

    Args:
        proof: as received. capability: verified. audience: the verifier's own name.
        purpose: what it asked the proof for. challenges: the nonces it gave out.

    Raises:
        CredentialError: ``possession.malformed``, ``possession.capability`` (another one's),
            ``possession.audience``, ``possession.purpose``, ``possession.key``,
            ``possession.nonce``.
        SignatureInvalid: ``signature.invalid``. EncodingError, EnvelopeError.
    """
    sign1 = cose.parse_sign1(proof, max_bytes=MAX_PROOF)
    if set(sign1.headers) != _HEADERS:
        _wrong("malformed", "the protected header is not exactly alg and kid")
    said = cbor.decode(sign1.payload, max_bytes=MAX_PROOF, max_depth=2)
    if not isinstance(said, dict) or set(said) != {_ID, _NONCE, _AUDIENCE, _PURPOSE}:
        _wrong("malformed", "the payload is not id, nonce, audience and purpose")
    identity, nonce = said[_ID], said[_NONCE]
    if not isinstance(identity, bytes) or not isinstance(nonce, bytes):
        _wrong("malformed", "id or nonce are not byte strings")
    if not hmac.compare_digest(identity, capability.id):
        _wrong("capability", "the proof is for another capability")
    if said[_AUDIENCE] != audience:
        _wrong("audience", "the proof was made for another verifier")
    if said[_PURPOSE] != purpose:
        _wrong("purpose", "the proof was made for another purpose")
    if sign1.headers[cose.HEADER_KID] != capability.audience.kid:
        _wrong("key", "the proof is by another key than the capability's audience")
    sign1.verify(KIND, network, capability.audience)
    challenges.take(nonce, purpose, now_ms=now_ms)
