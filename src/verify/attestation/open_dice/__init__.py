"""Open DICE: a chain of layers, each measured by the one before it, from the UDS down.

Two forms of certificates, CWT and X.509; the rest is common. The format has no place for a
challenge: the key of the last layer signs it.
"""

from verify.attestation.open_dice.handler import CWT_TYPE, HANDLER, X509_TYPE, signed_bytes

__all__ = ["CWT_TYPE", "HANDLER", "X509_TYPE", "signed_bytes"]
