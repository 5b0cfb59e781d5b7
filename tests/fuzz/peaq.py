"""Targets: what comes from peaq: documents, call data, packages, chains, evidence, wallets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from coincurve import PrivateKey
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id import evm, strict_json
from depin_id.did.multikey import encode_multikey
from depin_id.did.peaq import PeaqMethod
from depin_id.did.resolver import Resolver
from depin_id.errors import DepinError
from depin_id.jcs import canonicalize
from depin_id.peaq import abi, canonical, events, solana
from depin_id.peaq.calls import decode_attribute
from depin_id.peaq.certificates import CertificatePath
from depin_id.peaq.chip import Transcript, raw_signature, verify_chip_evidence
from depin_id.peaq.chunks import chunk_id, verify_chain
from depin_id.peaq.document import ED25519, create_document, decode_document, decode_value
from depin_id.peaq.identifier import parse_peaq_did
from depin_id.peaq.machine import (
    MachineDocument,
    MachineMethod,
    decode_machine_document,
    encode_machine_document,
)
from depin_id.peaq.resolved import did_document
from depin_id.peaq.ros2 import verify_envelope
from depin_id.peaq.stream import parse_package, sign_package, verify_package
from depin_id.peaq.trust import keys_of_document, trusted_keys, vouched_by_issuer
from tests.fuzz.target import target, text
from tests.fuzz.wire import KEY

_WALLET = PrivateKey(bytes([0x41]) * 32)
_ADDRESS = evm.public_key_address(_WALLET.public_key.format())
_DID = f"did:peaq:{evm.checksum_address(_ADDRESS)}"
_KEYS = trusted_keys("did:peaq:42", addresses=[_ADDRESS], keys=[KEY], controllers=[_ADDRESS])
_NOW = 1_760_000_000_000


def take_document(data: bytes) -> None:
    """One document has one encoding, and what resolves is of the DID that was asked for."""
    for read in (decode_document, decode_value):
        try:
            found = read(data)
        except DepinError as error:
            assert error.code
            continue
        assert (found.encode() if read is decode_document else found.on_chain()) == data
        _resolves(found)
        vouched_by_issuer(found, [_KEYS])


def take_machine(data: bytes) -> None:
    """As the registry answers, and as the precompile does."""
    try:
        assert decode_attribute(data)
    except DepinError as error:
        assert error.code
    found = decode_machine_document(data)
    assert encode_machine_document(found) == data
    _resolves(found)


def _resolves(found: Any) -> None:
    document = did_document(found)
    assert keys_of_document(document).trust == "attribute-only"


def take_value(data: bytes) -> None:
    """Text of a source, for a DID of each kind."""
    value = text(data)
    for did in (_DID, "did:peaq:42"):
        result = Resolver([PeaqMethod(lambda _: value)]).resolve(did)
        assert result.error is not None or result.document_metadata["trust"] == "attribute-only"


def take_events(data: bytes) -> None:
    """Call data and instructions have one encoding."""
    reads: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
        (events.decode_event, events.event_data),
        (events.decode_batch, lambda found: events.submit_batch(found).data),
        (solana.decode_event, solana.encode_event),
    ]
    for read, write in reads:
        try:
            found = read(data)
            written = write(found)
        except DepinError as error:
            assert error.code
        else:
            assert written == data


def take_package(data: bytes) -> None:
    """A package, as JSON; what is portable has the same bytes everywhere."""
    found = parse_package(data)
    if found.portable:
        assert found.message("python") == found.message("javascript")
    assert canonical.parse(found.message())
    verify_package(found, _KEYS, now_ms=_NOW, memory=None, dialects=("python", "javascript"))


def take_chain(data: bytes) -> None:
    """A chain; whatever changes, the last id or the hash below it is another."""
    value = strict_json.parse(data)
    found = verify_chain(value, {0: b"abc", 1: b"d"}, _KEYS, last_chunk_id=_LAST)
    assert found.chunk_ids[-1] == _LAST


def take_evidence(data: bytes) -> None:
    """Chip evidence, and a chip's two integers."""
    try:
        assert len(raw_signature(data)) == 64
    except DepinError as error:
        assert error.code
    verify_chip_evidence(
        data,
        _KEYS,
        now_ms=_NOW,
        nonce=bytes(32),
        chain_id=3338,
        certified=lambda leaf, now: leaf[-65:],
        memory=None,
    )


def take_certificate(data: bytes) -> None:
    """A chip's certificate."""
    assert len(_PATH(data, _NOW)) == 65


def take_robot(data: bytes) -> None:
    """An envelope of the ROS 2 bridge."""
    verify_envelope(strict_json.parse(data), b"", _KEYS, now_ms=_NOW, memory=None)


def take_wallet(data: bytes) -> None:
    """Addresses, DIDs and signatures: one spelling a value, one signature a message."""
    word = text(data)
    try:
        assert len(evm.recover_address(data[65:], data[:65])) == 20
    except DepinError as error:
        assert error.code
    try:
        assert evm.parse_address(evm.checksum_address(evm.parse_address(word))) is not None
    except DepinError as error:
        assert error.code
    found = parse_peaq_did(word)
    assert parse_peaq_did(str(found)) == found


def take_abi(data: bytes) -> None:
    """Types and values: what decodes encodes to the same."""
    head, _, body = data.partition(b"\n")
    found = abi.decode(text(head), body)
    assert abi.encode(text(head), found) == body


def _sign(message: bytes) -> bytes:
    signature = _WALLET.sign_recoverable(evm.personal_hash(message), hasher=None)
    return signature[:64] + bytes((signature[64] + 27,))


_METHOD = {"type": ED25519, "public_key_multibase": encode_multikey(KEY)}
_SERVICE = {"id": "#a", "type": "t", "service_endpoint": "mqtts:x", "data": "d"}
_DOCUMENT = create_document(_DID[9:], methods=[_METHOD], services=[_SERVICE])
_MACHINE = encode_machine_document(
    MachineDocument(
        "did:peaq:42",
        _ADDRESS,
        (MachineMethod("#k", "Multikey", _ADDRESS, encode_multikey(KEY)),),
        (0,),
        (),
    )
)
_EVENT = events.Event(42, events.REVENUE, 5, 1_735_000_000, "USD", metadata=b"m")
_CALL = events.event_data(_EVENT)
_PACKAGES = [
    json.dumps(
        sign_package(did, "2025-10-09T08:53:20Z", "1", 7, {"v": 1e-7, "a": [1, None]},
                     personal_sign=_sign)
    )
    for did in (_DID, "did:peaq:42")
]  # fmt: skip
_HASH = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
_LAST = chunk_id(None, _HASH, 0)
_CHUNK = {
    "schema_version": "peaq.stream.chunks.v1",
    "chunk_id": _LAST,
    "previous_chunk_id": None,
    "index": 0,
    "encrypted_data_hash": _HASH,
    "signature": {
        "algorithm": "ed25519",
        "machine_did": "did:peaq:42",
        "public_key_hex": KEY.raw.hex(),
        "value": "00" * 64,
    },
}
_ROBOT = {
    "schema": "peaq-ipfs-envelope@v1",
    "header": {"contentType": "a", "createdAt": 1_760_000_000, "robotId": "did:peaq:42"},
    "payload": {"dataCid": "b", "dataSha256": "e3b0c44298fc1c149afbf4c8996fb924"
                "27ae41e4649b934ca495991b7852b855"},
    "proof": {"algorithm": "ed25519", "publicKeyHex": KEY.raw.hex(), "signatureHex": "00" * 64},
}  # fmt: skip
_TRANSCRIPT = json.loads(
    Transcript(42, 3338, _DID[9:], bytes(32), 1_760_000_100, bytes(32)).encode()
)
_EVIDENCE = canonicalize(
    {
        "certificate": {
            "fingerprintSha256": "0x" + "00" * 32,
            "leafDerBase64url": "AAAA",
            "publicKey": "0x04" + "00" * 64,
        },
        "chipRef": "0x" + "00" * 32,
        "controllerProof": {"scheme": "eip191-secp256k1", "signature": "0x" + "00" * 64 + "1b"},
        "evidenceSchema": "peaq.verify.chip-evidence/1",
        "profile": "infineon-optiga-trust-m-express-ca306/1",
        "proof": {"chipSignature": "0x" + "00" * 64},
        "revocationStatus": "not_evaluated",
        "transcript": _TRANSCRIPT,
        "trustBundle": "infineon-optiga-trust-m-express-ca306-roots/1",
    }
)
_KEY = ec.derive_private_key(7, ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fuzz")])
_LEAF = (
    x509.CertificateBuilder(_NAME, _NAME, _KEY.public_key(), 7)
    .not_valid_before(datetime(2025, 1, 1))
    .not_valid_after(datetime(2049, 1, 1))
    .add_extension(x509.BasicConstraints(False, None), critical=True)
    .add_extension(
        x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
    )
    .sign(_KEY, hashes.SHA256(), ecdsa_deterministic=True)
    .public_bytes(Encoding.DER)
)
_PATH = CertificatePath([_LEAF])
_TYPES = b"((uint256,string,address)[],bytes,uint8[][])\n"
_VALUES = [[(1, "a", bytes(20)), (2, "b", bytes(20))], b"abc", [[1], []]]

target(
    "peaq-document",
    take_document,
    [
        _DOCUMENT.encode(),
        _DOCUMENT.on_chain(),
        replace(_DOCUMENT, methods=(), authentications=()).encode(),
    ],
)
target("peaq-machine", take_machine, [_MACHINE])
target("peaq-value", take_value, [_DOCUMENT.on_chain(), "0x" + _MACHINE.hex()])
target(
    "peaq-event",
    take_events,
    [_CALL, events.submit_batch([_EVENT] * 2).data, solana.encode_event(_EVENT)],
)
target("peaq-package", take_package, _PACKAGES)
target(
    "peaq-chain",
    take_chain,
    [json.dumps({"did": "did:peaq:42", "chunks": [_CHUNK] * n}) for n in (1, 2)],
)
target("peaq-chip", take_evidence, [_EVIDENCE, b"\x02\x01\x01\x02\x01\x02"])
target("peaq-certificate", take_certificate, [_LEAF, bytes.fromhex("3000")])
target("peaq-robot", take_robot, [json.dumps(_ROBOT)])
target("peaq-wallet", take_wallet, [_sign(b"m") + b"m", _DID, _DID[9:], "did:peaq:42"])
target("peaq-abi", take_abi, [_TYPES + abi.encode(_TYPES[:-1].decode(), _VALUES)])
