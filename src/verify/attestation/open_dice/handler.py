"""The handler of both forms: container, possession of the last key, and what the layers say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from depin_id import cbor
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from verify.attestation.foreign_cose import load_key
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import MAX_EVIDENCE, BoundKey, Expected, HardwareRoot, VerifiedClaims
from verify.attestation.open_dice import cwt, x509
from verify.attestation.open_dice.layer import NORMAL, Layer
from verify.attestation.public_keys import is_proof, spki_bytes
from verify.attestation.steps import Steps

NAME: Final = "open-dice"
CWT_TYPE: Final = "application/vnd.open-dice.cwt+cbor"
X509_TYPE: Final = "application/vnd.open-dice.x509+cbor"
LABEL: Final = "depin-dice/v1"
_CHAIN, _SIGNATURE, _CHALLENGE = 1, 2, 3


def signed_bytes(challenge: bytes) -> bytes:
    """What the last layer's key signs: the challenge (32 bytes) under a label of its own."""
    return cbor.encode([LABEL, challenge])


@dataclass(frozen=True, slots=True)
class Parsed:
    """Evidence that was read. ``layers`` go from the UDS down; nothing of it is verified."""

    chain: x509.Chain | tuple[cwt.Certificate, ...]
    layers: tuple[Layer, ...]
    signature: bytes
    challenge: bytes


class Handler:
    """Both media types. Which form it is, the container does not say: the first byte does.

    A CWT is a CBOR array or tag, a certificate of X.509 a DER sequence; neither begins as the
    other.
    """

    name = NAME
    media_types = frozenset((CWT_TYPE, X509_TYPE))
    max_bytes = MAX_EVIDENCE

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        try:
            value: Any = cbor.decode(raw, max_bytes=MAX_EVIDENCE)
        except DepinError as error:
            steps.fail("open-dice.form", "malformed", error.message)
        whole = isinstance(value, dict) and set(value) == {_CHAIN, _SIGNATURE, _CHALLENGE}
        steps.require(whole, "open-dice.form", "malformed", "a map of exactly 1 to 3")
        chain, signature, challenge = (value[label] for label in (_CHAIN, _SIGNATURE, _CHALLENGE))
        listed = isinstance(chain, list) and all(type(item) is bytes and item for item in chain)
        steps.require(listed and bool(chain), "open-dice.form", "malformed", "certificates")
        sized = type(signature) is bytes and len(signature) in (64, 96)
        steps.require(sized, "open-dice.form", "malformed", "a signature of 64 or 96 bytes")
        asked = type(challenge) is bytes and len(challenge) == 32
        steps.require(asked, "open-dice.form", "malformed", "a challenge of 32 bytes")
        read: x509.Chain | tuple[cwt.Certificate, ...]
        if chain[0][0] == 0x30:
            read = x509.read_chain(chain, steps)
            layers: Sequence[Layer] = read.layers[::-1]
        else:
            read = cwt.read_chain(chain, steps)
            layers = [item.layer for item in read if item.inputs]
        for number, layer in enumerate(layers):
            layer.check(number, steps)
        return Parsed(read, tuple(layers), signature, challenge)

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        return _ids(parsed.layers)

    def verify(
        self,
        parsed: Parsed,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        given, end = anchors.of(NAME), None
        _check_possession(parsed, steps)
        if isinstance(parsed.chain, x509.Chain):
            anchor, uds, layers, names, end = x509.verify_chain(parsed.chain, given, at, steps)
        else:
            anchor, uds, layers, names = cwt.verify_chain(parsed.chain, given, steps)
        _check_count(len(layers), model, steps)
        for layer, number in zip(layers, range(len(layers)), strict=True):
            steps.passed("open-dice.mode", f"layer {number}: {layer.mode}")
        return VerifiedClaims(
            challenge_seen=parsed.challenge,
            bound_key=_bound(layers[-1], expected),
            root=HardwareRoot(
                id=hashlib.sha256(spki_bytes(uds)).digest(), unique=True, assurance="firmware"
            ),
            identifiers=names,
            anchors=(anchor.digest,),
            device_ids=_ids(layers),
            measurements=tuple(
                item for at, layer in enumerate(layers) for item in layer.measurements(at)
            ),
            measures=True,
            # A configuration alone is no code.
            firmware=any(not item.name.endswith(".config") for item in model.references),
            secure=all(layer.mode == NORMAL for layer in layers),
            not_after=end,
        )


def _check_possession(parsed: Parsed, steps: Steps) -> None:
    count = len(parsed.layers)
    steps.require(count > 0, "open-dice.layers", "chain", f"{count} layers")
    key = load_key(parsed.layers[-1].spki)
    proven = is_proof(key, parsed.signature, signed_bytes(parsed.challenge))
    steps.require(proven, "open-dice.possession", "signature", "the last layer's key signed")


def _check_count(count: int, model: Model, steps: Steps) -> None:
    """How many layers a device has is its model's: each could issue one more of its own.

    With all measurements to be approved an added layer is an unapproved one; where the model says
    that those without reference pass, it has to say how many layers there are.
    """
    wanted = model.settings.get("layers")
    if wanted is None:
        told = model.complete or not model.name
        steps.require(told, "open-dice.layers", "claims", "the model says how many there are")
    else:
        right = type(wanted) is int and count == wanted
        steps.require(right, "open-dice.layers", "claims", f"{count}, not {wanted}")


def _bound(last: Layer, expected: Expected) -> BoundKey:
    """The key is vouched for by the chain; whether it stays inside is up to that layer's code.

    DICE hands the last layer its private key. So it is protected only as far as that code is
    approved, and the manufacturer says that approved code keeps it.
    """
    key = last.key if isinstance(last.key, PublicKey) else None
    if expected.key is not None and key != expected.key:
        return BoundKey(how="challenge")
    return BoundKey(how="attested", key=key)


def _ids(layers: Sequence[Layer]) -> dict[str, str]:
    """What models match on: the profile where all layers name the same, and how many there are."""
    profiles = {layer.profile for layer in layers}
    found = {"layers": str(len(layers))}
    if len(profiles) == 1 and profiles != {""}:
        found["profile"] = profiles.pop()
    return found


HANDLER: Final = Handler()
