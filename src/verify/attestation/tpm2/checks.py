"""What is asked of the keys in a TPM and of what they sign."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from depin_id.keys import PublicKey, admit
from verify.attestation.model import BoundKey
from verify.attestation.steps import Steps
from verify.attestation.tpm2 import public, wire
from verify.attestation.tpm2.public import Public
from verify.attestation.tpm2.wire import Attest, Certified, Quoted, Signature

_STAYS: Final = (
    (public.FIXED_TPM, "fixedTPM"),
    (public.FIXED_PARENT, "fixedParent"),
    (public.SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    (public.SIGN, "sign"),
)
_STRONG: Final = frozenset((wire.SHA256, wire.SHA384, wire.SHA512))
_BANK: Final = wire.SHA256


def check_ak(ak: Public, steps: Steps) -> None:
    """An attestation key: made in its TPM, never leaves it, signs only what the TPM itself made.

    Raises AttestationError ``attestation.key`` or ``attestation.algorithm``.
    """
    _check_stays(ak, "tpm2.ak", steps)
    restricted = ak.has(public.RESTRICTED)
    steps.require(restricted, "tpm2.ak.restricted", "key", "signs what its TPM made only")
    strong = ak.name_digest in _STRONG
    steps.require(strong, "tpm2.ak.name", "algorithm", f"its Name is by {ak.name_digest:#06x}")
    signs = ak.scheme in (wire.ECDSA, wire.RSASSA, wire.RSAPSS)
    steps.require(signs, "tpm2.ak.scheme", "algorithm", f"{ak.scheme:#06x}")
    digest = ak.scheme_digest
    steps.require(digest in _STRONG, "tpm2.ak.digest", "algorithm", f"{digest:#06x}")


def _check_stays(key: Public, name: str, steps: Steps) -> None:
    found = f"{key.attributes:#010x}"
    for bit, called in _STAYS:
        steps.require(bool(key.attributes & bit), f"{name}.{called}", "key", found)
    steps.require(not key.attributes & public.DECRYPT, f"{name}.decrypt", "key", found)
    shared = key.attributes & public.ENCRYPTED_DUPLICATION
    steps.require(not shared, f"{name}.duplication", "key", found)


def check_signature(
    ak: Public, signature: Signature, message: bytes, name: str, steps: Steps
) -> None:
    """What a TPM made, signed by the attestation key by the very scheme of that key.

    Raises AttestationError ``attestation.signature`` or ``attestation.algorithm``.
    """
    strong = signature.digest in _STRONG
    steps.require(strong, f"{name}.digest", "algorithm", f"{signature.digest:#06x}")
    same = (signature.scheme, signature.digest) == (ak.scheme, ak.scheme_digest)
    steps.require(same, f"{name}.scheme", "algorithm", "the scheme of the attestation key")
    good = public.is_signed(ak.key, signature, message)
    steps.require(good, f"{name}.signature", "signature", "by the attestation key")


def check_quote(
    attest: Attest, pcrs: Mapping[int, bytes], wanted: Sequence[int], digest: int, steps: Steps
) -> None:
    """A quote of exactly the PCRs that the verifier has fixed, over the values that were given.

    Args:
        attest: the quote. pcrs: values by index. wanted: indices, ascending.
        digest: hash of the attestation key's scheme: the digest is by it, whatever the bank.

    Raises AttestationError ``attestation.claims`` or ``attestation.algorithm``.
    """
    quoted = attest.attested
    if not isinstance(quoted, Quoted):
        steps.fail("tpm2.quote.type", "claims", "the quote is of another type")
    steps.passed("tpm2.quote.type")
    banks = [bank for bank, _ in quoted.selection]
    weak = [bank for bank in banks if bank not in _STRONG]
    steps.require(not weak, "tpm2.quote.bank", "algorithm", f"banks {banks}")
    exact = quoted.selection == ((_BANK, tuple(wanted)),)
    steps.require(exact, "tpm2.quote.selection", "claims", f"{quoted.selection}")
    given = tuple(sorted(pcrs))
    steps.require(given == tuple(wanted), "tpm2.pcrs.given", "claims", f"values of {given}")
    values = b"".join(pcrs[index] for index in wanted)
    made = hashlib.new(wire.DIGESTS[digest], values).digest()
    steps.require(made == quoted.digest, "tpm2.pcrs.digest", "claims", quoted.digest.hex())


def check_certified(quote: Attest, certify: Attest, key: Public, steps: Steps) -> BoundKey:
    """The device's key, certified by the attestation key: it was made in this TPM and stays there.

    Raises AttestationError ``attestation.claims``, ``.key`` or ``.algorithm``.
    """
    certified = certify.attested
    if not isinstance(certified, Certified):
        steps.fail("tpm2.certify.type", "claims", "it is of another type")
    steps.passed("tpm2.certify.type")
    same = certify.signer == quote.signer
    steps.require(same, "tpm2.certify.signer", "key", "the key that signed the quote")
    strong = key.name_digest in _STRONG
    steps.require(strong, "tpm2.key.name", "algorithm", f"its Name is by {key.name_digest:#06x}")
    named = certified.name == key.name
    steps.require(named, "tpm2.certify.name", "key", "the Name of the public area")
    _check_stays(key, "tpm2.key", steps)
    return BoundKey(how="attested", key=_device_key(key, steps), protected=True)


def _device_key(key: Public, steps: Steps) -> PublicKey | None:
    """The key as the device signs readings with it; None for one that it cannot do so with."""
    if key.kind != public.ECC or key.curve != 3:
        return None
    with steps.typed("tpm2.key.admitted", "key"):
        return _admit(public.point_of(key))


@lru_cache(maxsize=512)
def _admit(point: bytes) -> PublicKey:
    """A device's key is the same with every boot."""
    return admit("p256", point)
