"""Targets: what a device reads of its own TPM, of its held results, and of the process before."""

from __future__ import annotations

from collections.abc import Callable

from depin_id import cbor
from depin_id.attestation import tpm_structures as structures
from depin_id.attestation.holding import RESULTS_FILE, HeldResults
from depin_id.attestation.tpm_keys import TpmSigner
from depin_id.carried import BOOT_FILE, Carried, read_carried, write_carried
from depin_id.errors import AttestationError
from depin_id.keyfile import open_key
from depin_id.position import PositionStore
from tests.fuzz.stores import _fresh
from tests.fuzz.target import target
from tests.fuzz.wire import KEY, NETWORK

_BOOT = bytes(16)
_POINT = NETWORK.device("tpm", curve="p256").key.cose_key
_X, _Y = cbor.decode(_POINT)[-2], cbor.decode(_POINT)[-3]
_AREA = bytes.fromhex("0023000b00040072000000100018000b00030010")
_AREA += b"\0\x20" + _X + b"\0\x20" + _Y
_READERS: tuple[Callable[[bytes], object], ...] = (
    structures.read_p256,
    structures.read_ecdsa,
    structures.attributes,
    structures.quoted_digest,
    structures.certificate,
    structures.credential_file,
)


def take_structure(data: bytes) -> None:
    """A structure is read or refused; a credential keeps one form."""
    for read in _READERS:
        try:
            found = read(data)
        except AttestationError as error:
            assert error.code and error.message
            continue
        assert found is not None
        if isinstance(found, bytes) and read is structures.credential_file:
            assert structures.credential_file(found) == found


def take_tpm_key(data: bytes) -> None:
    """A key file, of which the TPM is not asked."""
    path = _fresh("tpm-key") / "key.cbor"
    path.write_bytes(data)
    path.chmod(0o600)
    signer = open_key(path)
    assert signer.public_key.curve in ("ed25519", "p256")


def take_results(data: bytes) -> None:
    """Held results: read, or as none."""
    folder = _fresh("results")
    (folder / RESULTS_FILE).write_bytes(data)
    held = HeldResults(folder).get(NETWORK.did)
    assert held is None or len(held.ear) == 16


def take_carried(data: bytes) -> None:
    """What the process before left: gone on with, or the next epoch begins."""
    folder = _fresh("carried")
    PositionStore.create(folder, KEY.thumbprint)
    (folder / BOOT_FILE).write_bytes(data)
    found = read_carried(folder, KEY.thumbprint[:16])
    store = PositionStore(folder, KEY.thumbprint, boot=_BOOT)
    with store.take(NETWORK.did, None) as position:
        assert position.epoch == (1 if found is None else found.epoch and found.epoch + 1)
        position.used(b"message")
    assert not (found is not None and found.epoch == 0 and (folder / BOOT_FILE).exists())


def _left() -> bytes:
    folder = _fresh("left")
    streams = {(NETWORK.did, ""): (3, bytes(16))}
    write_carried(folder, KEY.thumbprint[:16], Carried(_BOOT, 1, 5, streams))
    return (folder / BOOT_FILE).read_bytes()


_KEY_FILE = TpmSigner.of_file(
    {
        "type": "depin-tpm-key/1",
        "curve": "p256",
        "public": _POINT,
        "tpm_public": len(_AREA).to_bytes(2, "big") + _AREA,
        "tpm_private": bytes(16),
    }
).key_file
_CERTIFICATE = b"\x30\x82\x00\x01\x00\xff"
_SIGNATURE = bytes.fromhex("0018000b") + b"\0\x20" + _X + b"\0\x20" + _Y
target(
    "tpm-structure",
    take_structure,
    [_AREA, _SIGNATURE, _CERTIFICATE, b"\0\x01a\0\x01b", b"\0\x20" + bytes(32)],
)
target("tpm-key-file", take_tpm_key, [_KEY_FILE])
target(
    "held-results",
    take_results,
    [cbor.encode({NETWORK.did: [bytes(32), 1, 2, 3, "D3"]}), b"\xa0"],
)
target("carried-boot", take_carried, [_left(), b"\x80"])
