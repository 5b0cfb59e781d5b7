"""A format of evidence without cryptography, for what is about the pipeline and no format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

from depin_id import cbor
from depin_id.ack import read_challenge
from depin_id.attestation import Binding, sign_message
from depin_id.keys import PublicKey
from depin_id.testing import TestDevice
from tests.results.attesting import maker, material, show
from tests.verify.net import Net
from verify.admin import perform
from verify.attestation.bundles import bundle_anchors, bundle_references, bundle_revocations
from verify.attestation.materials import (
    Anchors,
    Model,
    Reference,
    RevocationSnapshot,
)
from verify.attestation.model import (
    BoundKey,
    Expected,
    HardwareRoot,
    Measurement,
    VerifiedClaims,
)
from verify.attestation.reference_files import ModelEntry, References
from verify.attestation.steps import Steps

NAME: Final = "toy"
MEDIA_TYPE: Final = "application/vnd.example.toy"
GOOD: Final = b"\x01" * 32
BAD: Final = b"\x02" * 32


class Toy(NamedTuple):
    """What evidence says."""

    challenge: bytes
    key: bytes
    root: bytes
    unique: bool
    secure: bool
    firmware: bytes
    counters: dict[str, int]
    claimed: str = ""
    really: str = ""


class ToyHandler:
    """Believes all that it is told."""

    name = NAME
    media_types = frozenset({MEDIA_TYPE})
    max_bytes = 4096

    def parse(self, raw: bytes, steps: Steps) -> Toy:
        """As it came."""
        return Toy(*cbor.decode(raw, max_bytes=self.max_bytes))

    def hints(self, parsed: Toy) -> Mapping[str, str]:
        """What it claims to be."""
        return {"maker": parsed.claimed}

    def verify(
        self,
        parsed: Toy,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """Nothing is verified."""
        return VerifiedClaims(
            challenge_seen=parsed.challenge,
            bound_key=BoundKey(
                how="attested", key=PublicKey.from_cose_key(parsed.key), protected=True
            ),
            root=HardwareRoot(id=parsed.root, unique=parsed.unique, assurance="tpm"),
            identifiers=frozenset({f"key:{parsed.root.hex()}"}),
            anchors=(anchors.of(NAME)[0].digest,),
            device_ids={"maker": parsed.really},
            measurements=(Measurement(name="image", digest=parsed.firmware),),
            measures=True,
            secure=parsed.secure,
            counters=parsed.counters,
        )


HANDLER: Final = ToyHandler()


@contextmanager
def toys() -> Iterator[None]:
    """While it lasts there is this format."""
    table: Any = import_module("verify.attestation.handlers")
    table._BUILT_IN[NAME] = __name__
    table.handlers.cache_clear()
    table._by_media_type.cache_clear()
    try:
        yield
    finally:
        del table._BUILT_IN[NAME]
        table.handlers.cache_clear()
        table._by_media_type.cache_clear()


def trust_toys(net: Net, *, match: Mapping[str, str] | None = None) -> None:
    """Take an anchor of the format and one approved firmware."""
    material(net, "anchors", "toy", bundle_anchors([maker().anchor(NAME)]))
    image = (Reference("image", frozenset({GOOD})),)
    model = Model(NAME, frozenset({NAME}), match=match or {}, references=image, revocation="none")
    data = bundle_references(References((ModelEntry(model),), ()))
    material(net, "references", "toy", data)


def toy(
    net: Net,
    device: TestDevice,
    boot: int = 1,
    *,
    root: bytes = b"",
    unique: bool = True,
    secure: bool = True,
    firmware: bytes = GOOD,
    counters: dict[str, int] | None = None,
    claimed: str = "",
    really: str = "",
) -> bytes:
    """What a device sends to attest for a boot."""
    thumbprint = device.key.thumbprint
    answer = perform(net.aggregator, {"op": "challenge", "thumbprint": thumbprint.hex()})
    data = bytes.fromhex(answer["challenge"])
    asked = read_challenge(data, card=net.card, recipient=thumbprint)
    binding = Binding(net.did, asked.nonce, device.did, thumbprint, asked.expires, boot)
    said = Toy(
        binding.challenge,
        device.key.cose_key,
        root or thumbprint,
        unique,
        secure,
        firmware,
        counters or {},
        claimed,
        really,
    )
    return sign_message(binding, MEDIA_TYPE, cbor.encode(list(said)), signer=device.signer)


def attest(net: Net, device: TestDevice, boot: int = 1, **how: Any) -> dict[str, Any]:
    """Attest for a boot; gives the answer."""
    return show(net, toy(net, device, boot, **how))


def revoke(net: Net, root: bytes, name: str = "toys", **more: Any) -> dict[str, Any]:
    """Take a list that revokes a piece of hardware."""
    lists = RevocationSnapshot(frozenset({NAME}), {f"key:{root.hex()}": "stolen"}, net.now_ms)
    return material(net, "revocations", name, bundle_revocations([lists]), **more)
