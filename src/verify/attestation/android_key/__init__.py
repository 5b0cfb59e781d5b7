"""Android Key Attestation: chains of keys in a TEE or StrongBox."""

from verify.attestation.android_key.handler import CBOR_TYPE, HANDLER, PEM_TYPE, AndroidKey

__all__ = ["CBOR_TYPE", "HANDLER", "PEM_TYPE", "AndroidKey"]
