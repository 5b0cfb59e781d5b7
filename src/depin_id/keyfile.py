"""Private key files: mode 0600, and sealed with a passphrase where one is given.

The form is one deterministic CBOR map. A sealed key is a NaCl secret box under a key that argon2id
makes of the passphrase; its parameters stand in the file and are bounded when it is read, so that a
hostile file cannot take the machine's memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, runtime_checkable

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from depin_id import cbor
from depin_id.durable import create_file, read_file
from depin_id.errors import EncodingError, StateError
from depin_id.keys import Signer, SoftwareSigner

TYPE: Final = "depin-key/1"
TPM_TYPE: Final = "depin-tpm-key/1"
"""Of a file that says where the key is: it lies in a TPM, and only this TPM can use the file."""
MAX_KEY_FILE: Final = 1024
OPSLIMIT: Final = nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE
MEMLIMIT: Final = nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
"""What new files are sealed with: 2 passes over 64 MiB, which the smallest gateways have."""
MAX_OPSLIMIT: Final = 8
MAX_MEMLIMIT: Final = 1 << 28
MIN_MEMLIMIT: Final = 1 << 23
_SALT: Final = nacl.pwhash.argon2id.SALTBYTES
_OPEN_FIELDS: Final = {"type", "curve", "public", "secret"}
_SEALED_FIELDS: Final = {"type", "curve", "public", "sealed"}


@runtime_checkable
class KeptSigner(Signer, Protocol):
    """A signer whose key is elsewhere, and a file of its own says where."""

    @property
    def key_file(self) -> bytes:
        """What is written in a key file's place."""


def _damaged(path: Path, what: str) -> NoReturn:
    raise StateError(
        "key.file", f"{path}: {what}", hint="restore the file from a backup, or make a new key"
    )


def _box(passphrase: str, salt: bytes, opslimit: int, memlimit: int) -> nacl.secret.SecretBox:
    key = nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase.encode("utf-8", "surrogatepass"),
        salt,
        opslimit=opslimit,
        memlimit=memlimit,
    )
    return nacl.secret.SecretBox(key)


def write_key(path: Path, signer: SoftwareSigner, *, passphrase: str | None = None) -> None:
    """Write a new private key file, mode 0600, never over one that is there.

    Raises:
        StateError: ``state.exists``, ``state.io``, or ``key.passphrase`` for an empty one.
    """
    public = signer.public_key
    fields: dict[str, Any] = {"type": TYPE, "curve": public.curve, "public": public.cose_key}
    if passphrase is None:
        fields["secret"] = signer.secret
    elif not passphrase:
        raise StateError("key.passphrase", "the passphrase is empty")
    else:
        salt = nacl.utils.random(_SALT)
        sealed = _box(passphrase, salt, OPSLIMIT, MEMLIMIT).encrypt(signer.secret)
        fields["sealed"] = [OPSLIMIT, MEMLIMIT, salt, bytes(sealed)]
    create_file(path, cbor.encode(fields), mode=0o600)


def open_key(path: Path, *, passphrase: str | None = None) -> Signer:
    """The signer of a key file, whether the key is in it or in a TPM.

    A TPM is not asked before it is to sign. Raises as :func:`read_key`.
    """
    fields = _fields(path)
    if fields.get("type") != TPM_TYPE:
        return read_key(path, passphrase=passphrase)
    if passphrase is not None:
        raise StateError("key.passphrase", f"{path} is a key in a TPM: there is no passphrase")
    # Most devices have none, and load nothing of it.
    from depin_id.attestation.tpm_keys import TpmSigner

    try:
        return TpmSigner.of_file(fields)
    except EncodingError as error:
        _damaged(path, error.message)


def _fields(path: Path) -> dict[Any, Any]:
    data = read_file(path, max_bytes=MAX_KEY_FILE, private=True)
    if data is None:
        raise StateError("state.missing", f"there is no key file {path}")
    try:
        fields: Any = cbor.decode(data)
    except EncodingError as error:
        _damaged(path, str(error))
    if not isinstance(fields, dict):
        _damaged(path, "it is not a key file")
    return fields


def read_key(path: Path, *, passphrase: str | None = None) -> SoftwareSigner:
    """Read a private key file.

    Raises:
        StateError: ``state.missing``, ``state.permissions`` when others may read it,
            ``key.passphrase`` when one is missing or wrong, ``key.file`` when it is damaged,
            ``key.elsewhere`` when the key is in a TPM and cannot be read.
        KeyRefused: the key is not admissible.
    """
    fields = _fields(path)
    if fields.get("type") == TPM_TYPE:
        raise StateError("key.elsewhere", f"{path} is a key in a TPM, which does not give it out")
    if fields.get("type") != TYPE:
        _damaged(path, "it is not a key file")
    if set(fields) == _SEALED_FIELDS:
        secret = _unseal(path, fields["sealed"], passphrase)
    elif set(fields) == _OPEN_FIELDS:
        secret = fields["secret"]
    else:
        _damaged(path, "the fields are not those of a key file")
    if fields["curve"] not in ("ed25519", "p256"):
        _damaged(path, "the curve is neither ed25519 nor p256")
    if not isinstance(secret, bytes) or len(secret) != 32:
        _damaged(path, "the private key is not 32 bytes")
    signer = SoftwareSigner(fields["curve"], secret)
    if signer.public_key.cose_key != fields["public"]:
        _damaged(path, "the private key is not that of the public key beside it")
    return signer


def _unseal(path: Path, sealed: Any, passphrase: str | None) -> bytes:
    if not isinstance(sealed, list) or len(sealed) != 4:
        _damaged(path, "the sealed key is not an array of four")
    opslimit, memlimit, salt, box = sealed
    if type(opslimit) is not int or not 1 <= opslimit <= MAX_OPSLIMIT:
        _damaged(path, f"the passes are not within 1 to {MAX_OPSLIMIT}")
    if type(memlimit) is not int or not MIN_MEMLIMIT <= memlimit <= MAX_MEMLIMIT:
        _damaged(path, "the memory to take is not within 8 to 256 MiB")
    if not isinstance(salt, bytes) or len(salt) != _SALT or not isinstance(box, bytes):
        _damaged(path, "salt or box have the wrong form")
    if not passphrase:
        raise StateError(
            "key.passphrase", f"{path} is sealed with a passphrase", hint="give the passphrase"
        )
    try:
        return bytes(_box(passphrase, salt, opslimit, memlimit).decrypt(box))
    except (nacl.exceptions.CryptoError, ValueError):
        raise StateError(
            "key.passphrase", f"{path}: the passphrase is wrong, or the file is damaged"
        ) from None
