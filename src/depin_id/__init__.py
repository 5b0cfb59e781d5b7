"""Identity and signing at the edge: keys, DIDs, signed readings, network cards, downlink.

What a device, an owner or a manufacturer needs. The aggregator is the package ``verify``, the
bridge ``firmware_bridge``; neither is imported here.
"""

from depin_id.ack import Ack, AckItem, Challenge, Resume
from depin_id.claims import Claims, Link, Place
from depin_id.device import Device
from depin_id.enrolment import Enrolment, read_enrolments
from depin_id.envelope import (
    Envelope,
    Provenance,
    bundle,
    parse_envelope,
    split_bundle,
)
from depin_id.errors import (
    ConfigError,
    DatasetError,
    DepinError,
    DIDError,
    EncodingError,
    EnvelopeError,
    KeyRefused,
    LogError,
    NetworkError,
    ReadingError,
    SignatureInvalid,
    StateError,
    TransportError,
)
from depin_id.keys import CallbackSigner, DigestSigner, PublicKey, Signer, SoftwareSigner, admit
from depin_id.network import NetworkCard, load_card, read_card
from depin_id.networkdir import NetworkDir
from depin_id.readings import Reading, reading
from depin_id.senml import Decimal64

__all__ = [
    "Ack",
    "AckItem",
    "CallbackSigner",
    "Challenge",
    "Claims",
    "ConfigError",
    "DIDError",
    "DatasetError",
    "Decimal64",
    "DepinError",
    "Device",
    "DigestSigner",
    "EncodingError",
    "Enrolment",
    "Envelope",
    "EnvelopeError",
    "KeyRefused",
    "Link",
    "LogError",
    "NetworkCard",
    "NetworkDir",
    "NetworkError",
    "Place",
    "Provenance",
    "PublicKey",
    "Reading",
    "ReadingError",
    "Resume",
    "SignatureInvalid",
    "Signer",
    "SoftwareSigner",
    "StateError",
    "TransportError",
    "admit",
    "bundle",
    "load_card",
    "parse_envelope",
    "read_card",
    "read_enrolments",
    "reading",
    "split_bundle",
]
