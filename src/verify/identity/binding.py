"""Whether a DID is a key's: by itself, by its history, or by a certificate that names both."""

from __future__ import annotations

from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey
from verify.identity.issuers import names_key
from verify.identity.state import IdentityState


def check_bound(
    identity: IdentityState, enrolment: Enrolment, at: int, certified: PublicKey | None = None
) -> None:
    """Refuse an enrolment whose DID is not its key's.

    A did:key is its key, which the enrolment has checked. A DID whose history is known has the keys
    that count in it now: whoever stole an old one cannot enrol with it, whatever vouches for him.

    Args:
        at: receipt time, ms since 1970.
        certified: the key that a verified birth certificate of this DID names.

    Raises:
        ConfigError: ``registry.did_unbound``.
    """
    did = enrolment.did
    if names_key(identity, enrolment, at):
        return
    silent = not did.startswith("did:jwk:") and did not in identity.histories
    if not (silent and certified == enrolment.key):
        raise ConfigError(
            "registry.did_unbound",
            f"nothing binds {did[:120]} to the key beside it",
            hint="give the DID's history (`depin-verify history`), or a birth certificate of both",
        )
