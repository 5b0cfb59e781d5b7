"""Evidence of TPMs: a quote, a certified key and the chain of an endorsement key."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding

from bench.appraising import Case, Evidence, like, of_chain
from bench.appraising import measure as measured
from bench.table import Row
from bench.world import Lab
from depin_id.attestation.tpm2_evidence import MEDIA_TYPE
from tests.attestation import tpm2_world as made
from tests.attestation.ca import NOW, new_key
from tests.attestation.tpm2_world import Private, Spec
from verify.attestation import Expected, Materials

_DEVICES = 101


def _device(ek: Private, ak: Private, materials: Materials) -> Evidence:
    own = new_key()
    spec = Spec(ek=ek, ak=ak, device=own)
    evidence = spec.evidence()
    root = made.root().certificate.public_bytes(Encoding.DER)
    leaf, *above = of_chain([*evidence.ek_chain, root])
    expected = Expected(
        challenge=made.CHALLENGE, key=made.device_key(own), activation=spec.activation()
    )
    attested = [like(ak, len(part)) for part in (evidence.quote, evidence.certify) if part]
    return Evidence(evidence.encode(), expected, materials, [leaf, *attested], above)


def measure(lab: Lab) -> list[Row]:
    """Of many devices; attestation keys of RSA are four, as they take long to make."""
    materials = made.materials()
    small = [_device(new_key(), new_key(), materials) for _ in range(_DEVICES)]
    keys = [made.rsa_key(f"{number % 4}") for number in range(_DEVICES)]
    large = [_device(new_key(), key, materials) for key in keys]
    case = Case("TPM 2.0, keys of P-256", MEDIA_TYPE, NOW, small, "P-256")
    quick = "verifying RSA is quick: what is left is reading and comparing"
    other = replace(
        case,
        name="TPM 2.0, attestation key of RSA-2048",
        devices=large,
        signatures="2 of RSA, the chain of P-256",
        note=quick,
        target=None,
    )
    return [measured(one, lab.settings) for one in (case, other)]
