"""Cosignatures of witnesses on checkpoints (c2sp.org/tlog-cosignature, Ed25519, type 04).

A cosignature says that at a time the witness knew this head of the log as its largest, and that it
continues every head that the witness had cosigned before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from depin_id.errors import LogError, SignatureInvalid
from depin_id.keys import SIGNATURE_BYTES, Signer
from depin_id.witness import WitnessKey, WitnessPolicy
from verify.log.note import Checkpoint, NoteKey, split_note, verify_checkpoint
from verify.log.text import MAX_DECIMAL, encode_base64

_DASH = "\u2014 "
_TIME_BYTES = 8


@dataclass(frozen=True)
class Cosignature:
    """A cosignature that verified.

    Attributes:
        key: of the witness.
        time: when it was made, seconds since 1970, by the witness's clock.
    """

    key: WitnessKey
    time: int


def cosigned_message(body: str, time: int) -> bytes:
    """What a witness signs: a header, the time in seconds since 1970, the checkpoint's text."""
    return f"cosignature/v1\ntime {time}\n{body}".encode()


def cosign(body: str, name: str, signer: Signer, time: int) -> str:
    """Cosign the text of a checkpoint.

    Args:
        body: text of the checkpoint, without signatures.
        name: of the witness.
        signer: the witness's key.
        time: now, seconds since 1970.

    Returns:
        The signature line, with its newline.

    Raises:
        LogError: ``log.checkpoint`` when the text is none, ``log.key`` for a name or key that no
            witness has, ``log.cosignature`` for a time that cannot be, ``log.signature`` when the
            signer gives what its public key does not verify.
    """
    Checkpoint.parse(body)
    key = WitnessKey(name, signer.public_key)
    if type(time) is not int or not 0 <= time <= MAX_DECIMAL:
        raise LogError("log.cosignature", f"{time!r} is no time of a cosignature")
    message = cosigned_message(body, time)
    signature = signer.sign(message)
    # A KMS answering with another key must be found here, not by everyone who reads the log.
    if not _verifies(key, message, signature):
        raise LogError("log.signature", f"the signer did not sign with the key of {name!r}")
    blob = key.key_id + time.to_bytes(_TIME_BYTES, "big") + signature
    return f"{_DASH}{name} {encode_base64(blob)}\n"


def cosignatures_of(note: bytes | str, keys: Iterable[WitnessKey]) -> tuple[Cosignature, ...]:
    """The cosignatures of known witnesses on a checkpoint: of each witness its latest.

    Lines of unknown keys are ignored; every line of a known witness has to verify. The log's own
    signature is not looked at: see :func:`verify_cosigned`.

    Raises:
        LogError: ``log.note`` when it is not a note, ``log.cosignature`` when a line of a known
            witness has another form, ``log.signature`` when it does not verify.
    """
    body, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[WitnessKey, Cosignature] = {}
    for name, key_id, blob in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        cosignature = _read(body, key, blob)
        if key not in found or found[key].time < cosignature.time:
            found[key] = cosignature
    return tuple(found.values())


def _read(body: str, key: WitnessKey, blob: bytes) -> Cosignature:
    time = int.from_bytes(blob[:_TIME_BYTES], "big")
    if len(blob) != _TIME_BYTES + SIGNATURE_BYTES or time > MAX_DECIMAL:
        raise LogError("log.cosignature", f"the cosignature of {key.name!r} has another form")
    if not _verifies(key, cosigned_message(body, time), blob[_TIME_BYTES:]):
        raise LogError("log.signature", f"the cosignature of {key.name!r} does not verify")
    return Cosignature(key, time)


def _verifies(key: WitnessKey, message: bytes, signature: bytes) -> bool:
    try:
        key.public.verify(message, signature)
    except SignatureInvalid:
        return False
    return True


def verify_cosigned(
    text: bytes | str,
    keys: Iterable[NoteKey],
    policy: WitnessPolicy,
    *,
    origin: str | None = None,
) -> tuple[Checkpoint, tuple[Cosignature, ...]]:
    """Verify a checkpoint that enough witnesses have cosigned.

    Args:
        text: the checkpoint with its signatures.
        keys: keys of the log that are trusted.
        policy: which witnesses, and how many.
        origin: the expected origin; see :func:`verify.log.note.verify_checkpoint`.

    Returns:
        The checkpoint, and the cosignatures that verified.

    Raises:
        LogError: ``log.witness_quorum`` when too few have cosigned; the codes of
            :func:`verify.log.note.verify_checkpoint` and :func:`cosignatures_of`.
    """
    own = list(keys)
    checkpoint = verify_checkpoint(text, own, origin=origin)
    # A log that cosigns with its own key is no witness of itself.
    mine = {key.public_key for key in own}
    others = [key for key in policy.keys if key.public.raw not in mine]
    found = cosignatures_of(text, others)
    require_quorum(checkpoint, found, policy)
    return checkpoint, found


def require_quorum(
    checkpoint: Checkpoint, found: Iterable[Cosignature], policy: WitnessPolicy
) -> None:
    """Refuse (LogError ``log.witness_quorum``) a checkpoint that too few have cosigned."""
    known = {key.public.raw for key in policy.keys}
    count = len({item.key.public.raw for item in found} & known)
    if count < policy.quorum:
        raise LogError(
            "log.witness_quorum",
            f"{count} of the {len(policy.keys)} witnesses have cosigned the checkpoint of size "
            f"{checkpoint.size}, {policy.quorum} have to",
            hint="get it again when more witnesses have seen the log; if they never will, ask why",
        )


def with_cosignatures(note: str, lines: Iterable[str]) -> str:
    """A checkpoint with further signature lines; a line of a key that is there is replaced.

    Raises:
        LogError: ``log.note`` when the result is not a note.
    """
    body, _ = split_note(note)
    kept = {_whose(body, line): line for line in note[len(body) + 1 :].splitlines(keepends=True)}
    for line in lines:
        kept[_whose(body, line)] = line
    result = f"{body}\n{''.join(kept.values())}"
    split_note(result)
    return result


def _whose(body: str, line: str) -> tuple[str, bytes]:
    [(name, key_id, _)] = split_note(f"{body}\n{line}")[1]
    return name, key_id
