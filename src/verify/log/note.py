"""Signed notes and checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A checkpoint is a note whose text is the origin, size and root of a log. Signatures are Ed25519
(signature type 01). Signing goes through a callable, so that the key may live in a KMS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from depin_id.errors import LogError
from verify.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE
from verify.log.text import (
    decode_base64,
    decode_decimal,
    decode_hash,
    decode_text,
    encode_base64,
)

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 255
MAX_VKEY_BYTES = 1024

_TYPE_ED25519 = b"\x01"
_DASH = "\u2014 "
_ID_SIZE = 4
_SIGNATURE_SIZE = 64


@dataclass(frozen=True)
class NoteKey:
    """The public half of a note key: a name and an Ed25519 public key.

    Args:
        name: key name, for a log its origin; no spaces and no plus.
        public_key: Ed25519 public key, 32 bytes, a point of the prime-order group.

    Raises:
        LogError: ``log.key`` when the name or the key is not admissible.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not isinstance(self.public_key, bytes) or len(self.public_key) != 32:
            raise LogError("log.key", f"the public key of {self.name!r} is not 32 bytes")
        if not crypto_core_ed25519_is_valid_point(self.public_key):
            raise LogError(
                "log.key",
                f"the public key of {self.name!r} is not a point of the prime-order group",
                hint="make a new key: nothing signed under this one proves anything",
            )

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand before each signature: a hint, not a proof."""
        encoded = self.name.encode() + b"\n" + _TYPE_ED25519 + self.public_key
        return sha256(encoded).digest()[:_ID_SIZE]

    @property
    def vkey(self) -> str:
        """The key as text, ``name+hex(id)+base64(01 || public key)``."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_TYPE_ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> NoteKey:
        """Read a key from its text form.

        Raises:
            LogError: ``log.key`` when the form, the type or the id is wrong.
        """
        text = decode_text(vkey, MAX_VKEY_BYTES, "log.key", "the key")
        # base64 has plus signs of its own: only the first two separate.
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise LogError("log.key", "a key is written name+id+base64")
        name, key_id, encoded = parts
        blob = decode_base64(encoded, "log.key", "the public key")
        if blob[:1] != _TYPE_ED25519:
            raise LogError("log.key", f"the key {name!r} is not Ed25519 (type 01)")
        key = cls(name, blob[1:])
        if key.key_id.hex() != key_id:
            raise LogError("log.key", f"the id of key {name!r} does not belong to its public key")
        return key

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature of 64 bytes over the message is this key's."""
        if len(signature) != _SIGNATURE_SIZE:
            return False
        try:
            VerifyKey(self.public_key).verify(message, signature)
        except CryptoError:
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log at one size (c2sp.org/tlog-checkpoint).

    Args:
        origin: the unique name of the log, its first line.
        size: number of leaves.
        root: root hash over them, 32 bytes.
        extensions: further lines, without meaning here.

    Raises:
        LogError: ``log.checkpoint`` when a field is out of its range.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not isinstance(line, str) or not line or "\n" in line:
                raise LogError("log.checkpoint", f"{line!r} is not a line of a checkpoint")
            decode_text(line, MAX_NOTE_BYTES, "log.checkpoint", "a line of the checkpoint")
        if type(self.size) is not int or not 0 <= self.size <= MAX_TREE_SIZE:
            raise LogError("log.checkpoint", f"{self.size!r} is not a tree size")
        if not isinstance(self.root, bytes) or len(self.root) != HASH_SIZE:
            raise LogError("log.checkpoint", "the root is not a hash of 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise LogError("log.checkpoint", "an empty log has another root than the empty tree")

    @property
    def body(self) -> str:
        """The text that is signed: origin, size, root, extensions, each ended by a newline."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, body: str) -> Checkpoint:
        """Read the text of a checkpoint, without its signatures.

        Raises:
            LogError: ``log.checkpoint`` when it has another form.
        """
        text = decode_text(body, MAX_NOTE_BYTES, "log.checkpoint", "the checkpoint")
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise LogError("log.checkpoint", "a checkpoint is at least three lines")
        return cls(
            lines[0],
            decode_decimal(lines[1], "log.checkpoint", "the tree size"),
            decode_hash(lines[2], "log.checkpoint", "the root"),
            tuple(lines[3:]),
        )


def split_note(note: bytes | str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Take a note apart, without verifying anything.

    Args:
        note: the note, at most 64 KiB and 64 signatures.

    Returns:
        The text with its final newline, and (key name, key id, signature) of each signature.

    Raises:
        LogError: ``log.note`` when it is not a note.
    """
    text = decode_text(note, MAX_NOTE_BYTES, "log.note", "the note")
    end = text.rfind("\n\n")
    if end < 0:
        raise LogError("log.note", "the note has no blank line before its signatures")
    body, tail = text[: end + 1], text[end + 2 :]
    lines = tail.split("\n")
    if lines.pop() != "" or not lines:
        raise LogError("log.note", "the note does not end with signature lines")
    if len(lines) > MAX_SIGNATURES:
        raise LogError("log.note", f"the note has more than {MAX_SIGNATURES} signatures")
    return body, [_split_signature(line) for line in lines]


def _split_signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:
        raise LogError("log.note", "a signature line is a dash, a name and base64")
    name, encoded = parts
    _check_name(name, "log.note", MAX_NOTE_BYTES)
    blob = decode_base64(encoded, "log.note", "a signature")
    if len(blob) <= _ID_SIZE:
        raise LogError("log.note", "a signature is shorter than its key id")
    return name, blob[:_ID_SIZE], blob[_ID_SIZE:]


def sign_note(body: str, name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Sign a text as a note.

    Args:
        body: text that ends with a newline.
        name: key name.
        public_key: Ed25519 public key, 32 bytes.
        sign: gives the 64-byte Ed25519 signature over the bytes it gets.

    Returns:
        The note: text, blank line, signature line.

    Raises:
        LogError: ``log.key`` for an inadmissible name or key, ``log.note`` for an inadmissible
            text, ``log.signature`` when ``sign`` gives what the public key does not verify.
    """
    key = NoteKey(name, public_key)
    message = decode_text(body, MAX_NOTE_BYTES, "log.note", "the text").encode()
    signature = sign(message)
    # A KMS answering with another key must be found here, not by everyone who reads the log.
    if not isinstance(signature, bytes) or not key.verifies(message, signature):
        raise LogError(
            "log.signature",
            f"the signer did not give a signature of the key {name!r}",
            hint="the signing key and the configured public key do not belong together",
        )
    note = f"{body}\n{_DASH}{name} {encode_base64(key.key_id + signature)}\n"
    if split_note(note)[0] != body:
        raise LogError("log.note", "the text cannot be signed as a note")
    return note


def verify_note(note: bytes | str, keys: Iterable[NoteKey]) -> tuple[str, tuple[NoteKey, ...]]:
    """Verify a note by known keys.

    Signatures of unknown keys are ignored. Every signature of a known key has to verify, and at
    least one must be there: no keys, no trust.

    Args:
        note: the note.
        keys: the keys that are trusted.

    Returns:
        The text, and the keys that signed it.

    Raises:
        LogError: ``log.note`` when it is not a note, ``log.signature`` when it is not signed by
            a trusted key.
    """
    body, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    message = body.encode()
    signers: list[NoteKey] = []
    for name, key_id, signature in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        if not key.verifies(message, signature):
            raise LogError("log.signature", f"the signature of {name!r} does not verify")
        if key not in signers:
            signers.append(key)
    if not signers:
        raise LogError(
            "log.signature",
            "the note is not signed by any key that is trusted",
            hint="give the log's key, from the network card or another trusted place",
        )
    return body, tuple(signers)


def sign_checkpoint(
    checkpoint: Checkpoint, name: str, public_key: bytes, sign: Callable[[bytes], bytes]
) -> str:
    """Sign the head of a log; see :func:`sign_note`. ``name`` should be the origin."""
    return sign_note(checkpoint.body, name, public_key, sign)


def verify_checkpoint(
    text: bytes | str, keys: Iterable[NoteKey], *, origin: str | None = None
) -> Checkpoint:
    """Verify a signed checkpoint.

    Args:
        text: the checkpoint with its signatures.
        keys: keys of the log that are trusted.
        origin: the origin that is expected. Without it the origin must be the name of a key that
            signed, so that the key of one log never speaks for another.

    Returns:
        The checkpoint.

    Raises:
        LogError: ``log.note``, ``log.checkpoint`` for a wrong form, ``log.signature`` when no
            trusted key signed it, ``log.origin`` when it is another log's.
    """
    body, signers = verify_note(text, keys)
    checkpoint = Checkpoint.parse(body)
    expected = {key.name for key in signers} if origin is None else {origin}
    if checkpoint.origin not in expected:
        raise LogError(
            "log.origin",
            f"the checkpoint is of {checkpoint.origin!r}, expected {' or '.join(sorted(expected))}",
        )
    return checkpoint


def _check_name(name: str, code: str = "log.key", limit: int = MAX_NAME_BYTES) -> None:
    text = decode_text(name, limit, code, "the key name") if name else ""
    if not text or "+" in text or any(char.isspace() for char in text):
        raise LogError(code, f"{name!r} is not a key name", hint="no spaces, no plus, not empty")
