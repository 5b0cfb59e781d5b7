"""TPM 2.0: quotes, endorsement keys, credential activation, event logs, certified keys.

In Python alone: no library of the TPM's is needed to verify.
"""

from verify.attestation.tpm2.credential import activation_of, credential_for, make_credential
from verify.attestation.tpm2.handler import HANDLER

__all__ = ["HANDLER", "activation_of", "credential_for", "make_credential"]
