"""Named envelopes, good and hostile, with the code that each should get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from depin_id import cbor, cose
from depin_id._testing.world import TestDevice, TestNetwork
from depin_id.claims import Claims
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    HEADER_CLAIMS,
    HEADER_PROVENANCE,
    KIND_ENVELOPE,
    KIND_GATEWAY,
    NO_PREV,
    Provenance,
)
from depin_id.keys import P256_ORDER, Signer


@dataclass(frozen=True, slots=True)
class Case:
    """An envelope with what should become of it.

    Attributes:
        name: what was done to it.
        data: its bytes.
        code: ``accepted``, or the code of the refusal. Codes of form and signature: what a policy
            says of values, times and positions is not looked at.
        device: whose key it claims.
    """

    name: str
    data: bytes
    code: str
    device: TestDevice


def _raw(
    headers: dict[Any, Any],
    payload: bytes,
    device: TestDevice,
    *,
    kind: str = KIND_ENVELOPE,
    network: str | None = None,
    signer: Signer | None = None,
) -> bytes:
    """Correctly signed over whatever the headers are."""
    protected = cbor.encode(headers)
    aad = cose.external_aad(kind, network or device.network, device.key.thumbprint)
    message = cose.sig_structure(protected, aad, payload)
    return cose.assemble(protected, payload, (signer or device.signer).sign(message))


def _headers(device: TestDevice, n: int) -> dict[Any, Any]:
    position = Provenance(1, n, NO_PREV, 10 * n, 1)
    return {
        cose.HEADER_ALG: device.key.algorithm,
        cose.HEADER_CONTENT_TYPE: CONTENT_SENML,
        cose.HEADER_KID: device.key.kid,
        HEADER_PROVENANCE: position.to_list(),
    }


def _high_s(data: bytes) -> bytes:
    r, s = data[-64:-32], int.from_bytes(data[-32:], "big")
    return data[:-32] + (P256_ORDER - s).to_bytes(32, "big") if r else data


def _provenance(change: Callable[[list[Any]], None]) -> Callable[[dict[Any, Any]], None]:
    def edit(headers: dict[Any, Any]) -> None:
        change(headers[HEADER_PROVENANCE])

    return edit


def _set(label: Any, value: Any) -> Callable[[dict[Any, Any]], None]:
    return lambda headers: headers.update({label: value})


def _drop(label: int) -> Callable[[dict[Any, Any]], None]:
    def edit(headers: dict[Any, Any]) -> None:
        del headers[label]

    return edit


_FORM = "envelope.malformed"
_HEADER_CASES: dict[str, tuple[Callable[[dict[Any, Any]], None], str]] = {
    "header unknown": (_set(99, 1), _FORM),
    "header crit": (_set(2, [1]), _FORM),
    "header text label": (_set("x", 1), _FORM),
    "header no alg": (_drop(cose.HEADER_ALG), _FORM),
    "header no kid": (_drop(cose.HEADER_KID), _FORM),
    "header no content type": (_drop(cose.HEADER_CONTENT_TYPE), _FORM),
    "header no provenance": (_drop(HEADER_PROVENANCE), _FORM),
    "header alg unknown": (_set(cose.HEADER_ALG, -65535), _FORM),
    "header alg none": (_set(cose.HEADER_ALG, None), _FORM),
    "header alg text": (_set(cose.HEADER_ALG, "EdDSA"), _FORM),
    "header alg of the other curve": (_set(cose.HEADER_ALG, -9), "key.algorithm"),
    "header alg deprecated": (_set(cose.HEADER_ALG, -8), "key.algorithm"),
    "header kid short": (_set(cose.HEADER_KID, b"1234567"), _FORM),
    "header kid text": (_set(cose.HEADER_KID, "12345678"), _FORM),
    "header content type unknown": (_set(cose.HEADER_CONTENT_TYPE, 60), _FORM),
    "header content type true": (_set(cose.HEADER_CONTENT_TYPE, True), _FORM),
    "header hash beside content type": (_set(258, -16), _FORM),
    "header location without hash": (_set(260, "https://example.org/x"), _FORM),
    "position epoch negative": (_provenance(lambda p: p.__setitem__(0, -1)), _FORM),
    "position epoch too large": (_provenance(lambda p: p.__setitem__(0, 1 << 32)), _FORM),
    "position n true": (_provenance(lambda p: p.__setitem__(1, True)), _FORM),
    "position n float": (_provenance(lambda p: p.__setitem__(1, 1.5)), _FORM),
    "position prev short": (_provenance(lambda p: p.__setitem__(2, bytes(15))), _FORM),
    "position uptime null": (_provenance(lambda p: p.__setitem__(3, None)), _FORM),
    "position clock negative": (_provenance(lambda p: p.__setitem__(4, -1)), _FORM),
    "position ear long": (_provenance(lambda p: p.__setitem__(5, bytes(32))), _FORM),
    "position of five": (_provenance(lambda p: p.pop()), _FORM),
    "position of seven": (_provenance(lambda p: p.append(0)), _FORM),
    "claims empty": (_set(HEADER_CLAIMS, {}), "envelope.claims"),
    "claims unknown": (_set(HEADER_CLAIMS, {3: "aud"}), "envelope.claims"),
    "claims null": (_set(HEADER_CLAIMS, {6: None}), "envelope.claims"),
    "claims level from the wire": (_set(HEADER_CLAIMS, {-65539: "D3"}), "envelope.claims"),
    "claims subject with a space": (_set(HEADER_CLAIMS, {2: "#a b"}), "envelope.claims"),
    "claims iat text": (_set(HEADER_CLAIMS, {6: "now"}), "envelope.claims"),
}

_BAD_PAYLOADS: dict[str, bytes] = {
    "payload empty": b"",
    "payload no records": bytes.fromhex("80"),
    "payload nan": bytes.fromhex("81a20063" + b"abc".hex() + "02f97e00"),
    "payload infinity": bytes.fromhex("81a20063" + b"abc".hex() + "02f97c00"),
    "payload minus zero": bytes.fromhex("81a20063" + b"abc".hex() + "02f98000"),
    "payload bignum": bytes.fromhex("81a20063" + b"abc".hex() + "02c249010000000000000000"),
    "payload exponent 10**9": bytes.fromhex("81a20063" + b"abc".hex() + "02c4821a3b9aca0001"),
    "payload not cbor": b"\xff\xff",
}


def _header_cases(device: TestDevice, payload: bytes) -> Iterator[Case]:
    for n, (name, (edit, code)) in enumerate(_HEADER_CASES.items(), 100):
        headers = _headers(device, n)
        edit(headers)
        yield Case(name, _raw(headers, payload, device), code, device)


def _byte_cases(device: TestDevice, good: bytes) -> Iterator[Case]:
    array = good[1:]
    form, late = "encoding.malformed", "encoding.not_deterministic"
    flipped = bytearray(good)
    flipped[-70] ^= 1  # the last bytes of the payload, before the signature's head
    yield Case("truncated", good[:-1], form, device)
    yield Case("empty", b"", form, device)
    yield Case("trailing byte", good + b"\x00", form, device)
    yield Case("no tag", array, _FORM, device)
    yield Case("wrong tag", b"\xd1" + array, _FORM, device)
    yield Case("tag twice", b"\xd2" + good, _FORM, device)
    yield Case("long tag", b"\xd8\x12" + array, late, device)
    yield Case("long array head", b"\xd2\x98\x04" + array[1:], late, device)
    yield Case("indefinite array", b"\xd2\x9f" + array[1:] + b"\xff", late, device)
    yield Case("payload changed", bytes(flipped), "signature.invalid", device)
    yield Case("signature zero", good[:-64] + bytes(64), "signature.invalid", device)
    sign1 = cose.parse_sign1(good)
    parts = [sign1.protected, {cose.HEADER_KID: device.key.kid}, sign1.payload, sign1.signature]
    yield Case("unprotected header", cbor.encode(cbor.Tag(18, parts)), _FORM, device)
    detached: list[Any] = [sign1.protected, {}, None, sign1.signature]
    yield Case("detached payload", cbor.encode(cbor.Tag(18, detached)), _FORM, device)
    short = [sign1.protected, {}, sign1.payload, sign1.signature[:63]]
    yield Case("signature short", cbor.encode(cbor.Tag(18, short)), _FORM, device)


def _domain_cases(device: TestDevice, other: TestDevice, payload: bytes) -> Iterator[Case]:
    code = "signature.invalid"
    headers = _headers(device, 40)
    yield Case("kind ack", _raw(headers, payload, device, kind="ack"), code, device)
    yield Case("kind gateway", _raw(headers, payload, device, kind=KIND_GATEWAY), code, device)
    foreign = TestNetwork("foreign").did
    yield Case("network", _raw(headers, payload, device, network=foreign), code, device)
    signed = _raw(headers, payload, device, signer=other.signer)
    yield Case("key of another", signed, code, device)


def cases(network: TestNetwork) -> dict[str, Case]:
    """Named envelopes for one network, each at a position of its own.

    Devices: ``device`` (Ed25519), ``device p256`` and ``gateway`` of :meth:`TestNetwork.device`;
    all have to be enrolled where the codes are to hold.
    """
    device, gateway = network.device(), network.gateway()
    other = network.device("device p256", curve="p256")
    good = device.envelope(n=0)
    payload = cose.parse_sign1(good).payload
    weak = other.envelope(n=0)
    inner = device.envelope(n=30)
    wrapped = gateway.wrap(inner)
    nested = _headers(gateway, 50) | {
        cose.HEADER_CONTENT_TYPE: CONTENT_SIGN1,
        HEADER_CLAIMS: Claims(iat=network.now).to_map(),
    }
    found = [
        Case("valid", good, "accepted", device),
        Case("valid p256", weak, "accepted", other),
        Case("valid gateway", wrapped, "accepted", gateway),
        Case("malleated signature", _high_s(other.envelope(n=1)), "signature.malleable", other),
        Case(
            "gateway in gateway",
            _raw(nested, wrapped, gateway, kind=KIND_GATEWAY),
            "envelope.nested",
            gateway,
        ),
        *_byte_cases(device, device.envelope(n=20)),
        *_header_cases(device, payload),
        *_domain_cases(device, other, payload),
    ]
    for n, (name, bad) in enumerate(_BAD_PAYLOADS.items(), 200):
        found.append(Case(name, device.envelope(n=n, payload=bad), "payload.malformed", device))
    return {case.name: case for case in found}
