"""Whether a DID is a key's: by itself, by its history, or by a certificate that names both."""

from __future__ import annotations

from depin_id.did.jwk import parse_did_jwk
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey
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
        ConfigError: ``registry.did_unbound``. DIDError, KeyRefused: a did:jwk cannot be read.
    """
    did, key = enrolment.did, enrolment.key
    if enrolment.is_did_key:
        return
    if did.startswith("did:jwk:"):
        bound = parse_did_jwk(did) == key
    elif did in identity.histories:
        known = identity.histories[did]
        bound = not known.deactivated and key in known.keys_at(at)
    else:
        bound = certified == key
    if not bound:
        raise ConfigError(
            "registry.did_unbound",
            f"nothing binds {did[:120]} to the key beside it",
            hint="give the DID's history (`depin-verify history`), or a birth certificate of both",
        )
