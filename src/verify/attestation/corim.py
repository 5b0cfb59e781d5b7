"""A subset of CoRIM (draft-ietf-rats-corim): a manufacturer's reference values and attest keys.

Taken are the reference-value and the attest-key triples of CoMID tags. What adds nothing (other
triples, other tags) is counted and left out; what would change the meaning of a reference that is
taken (a condition on it, an unknown key, profile or extension) refuses the whole file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from depin_id.errors import AttestationError
from verify.attestation.anchor_keys import read_pem_key
from verify.attestation.corim_sign import (
    MAX_CORIM,
    Envelope,
    loose_cbor,
    open_envelope,
    refuse,
    validity,
)
from verify.attestation.materials import Anchor, Reference

MAX_VALUES: Final = 4096
PROFILES: Final = frozenset(
    (
        "",
        "http://arm.com/psa/iot/1",
        "tag:psacertified.org,2023:psa#tfm",
        "tag:arm.com,2025:psa#1.0.0",
        "http://arm.com/cca/ssd/1",
        "http://arm.com/cca/realm/1",
        "tag:arm.com,2025:cca_platform#1.0.0",
    )
)
"""What a CoRIM may say its rules are: none of these changes what a digest means."""
_CORIM, _COMID, _UUID, _OID, _BYTES, _UEID, _PSA_ID = 501, 506, 37, 111, 560, 550, 601
_OLD_IMPLEMENTATION, _PEM_KEY, _PEM_CERTIFICATE, _URI = 600, 554, 555, 32
_DIGESTS: Final = {1: 32, 7: 48, 8: 64, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_COMPONENTS: Final = ("psa.software-component", "cca.software-component")


@dataclass(frozen=True)
class CorimEntry:
    """A CoRIM as an operator took it.

    Attributes:
        name: what models call it by. data: its bytes, signed or not.
        unsigned: whether it may be unsigned. anchors: format that its attest keys are anchors of;
            empty for none.
    """

    name: str
    data: bytes
    unsigned: bool = False
    anchors: str = ""


@dataclass(frozen=True)
class Corim:
    """What a CoRIM says.

    Attributes:
        id, profile: of it. signer: whose key signed it (the anchor's name); empty when unsigned.
        not_before, not_after: ms since 1970; None where it does not say.
        values: environments and what is approved in them. keys: environments and attest keys, as
            (SubjectPublicKeyInfo, certificate).
        ignored: what was left out, and how often.
    """

    id: str
    profile: str
    signer: str
    not_before: int | None
    not_after: int | None
    values: tuple[tuple[Mapping[str, str], Reference], ...] = ()
    keys: tuple[tuple[Mapping[str, str], bytes, bytes], ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    def is_valid(self, at: int) -> bool:
        """Whether a time (ms since 1970) is within its validity."""
        begun = self.not_before is None or self.not_before <= at
        return begun and (self.not_after is None or at <= self.not_after)

    def attest_keys(self, format_name: str) -> tuple[Anchor, ...]:
        """Its attest keys as anchors of a format."""
        return tuple(
            Anchor(format_name, f"corim {self.id}"[:200], spki, certificate, ids)
            for ids, spki, certificate in self.keys
        )


def read_corim(data: bytes, *, signers: Sequence[Anchor], unsigned: bool = False) -> Corim:
    """Read a CoRIM and verify who signed it.

    Args:
        signers: anchors (format ``corim``), one of whose keys has to have signed it.
        unsigned: whether it may be unsigned.

    Raises:
        AttestationError: ``attestation.corim`` (not of the subset), ``.signature``, ``.anchor``
            (signed by none of these, or unsigned where that is not allowed).
    """
    envelope = open_envelope(data)
    if envelope.message is None and not unsigned:
        raise AttestationError(
            "attestation.anchor",
            "the CoRIM is not signed",
            hint="take it only from whom you trust, with 'unsigned = true'",
        )
    signer = "" if envelope.message is None else envelope.signer(signers)
    return _Reader(envelope, signer).read()


def look_at(data: bytes) -> Corim:
    """Read a CoRIM without asking who signed it. Raises AttestationError ``attestation.corim``."""
    return _Reader(open_envelope(data), "").read()


class _Reader:
    def __init__(self, envelope: Envelope, signer: str) -> None:
        self.envelope = envelope
        self.name = signer
        self.ignored: dict[str, int] = {}
        self.values: list[tuple[Mapping[str, str], Reference]] = []
        self.keys: list[tuple[Mapping[str, str], bytes, bytes]] = []

    def skip(self, what: str) -> None:
        self.ignored[what] = self.ignored.get(what, 0) + 1

    def read(self) -> Corim:
        try:
            return self._corim()
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            refuse(f"a part of it has another form ({type(error).__name__})")

    def _corim(self) -> Corim:
        corim = _map(_tagged(self.envelope.payload, _CORIM), {0, 1, 2, 3, 4, 5}, "the CoRIM")
        profile = _profile(corim.get(3))
        if profile not in PROFILES:
            refuse(f"its profile {profile[:100]!r} is not known: it may change the meaning")
        begins, ends = validity(corim.get(4, {}))
        for tag in _list(corim.get(1), "its tags"):
            if getattr(tag, "tag", None) == _COMID:
                self._comid(loose_cbor(_bytes(tag.value), "a CoMID"))
            else:
                self.skip(f"tag {getattr(tag, 'tag', '?')}")
        if len(self.values) + len(self.keys) > MAX_VALUES:
            refuse(f"it has over {MAX_VALUES} values")
        return Corim(
            _label(corim[0]),
            profile,
            self.name,
            max((t for t in (begins, self.envelope.not_before) if t is not None), default=None),
            min((t for t in (ends, self.envelope.not_after) if t is not None), default=None),
            tuple(self.values),
            tuple(self.keys),
            self.ignored,
        )

    def _comid(self, value: Any) -> None:
        comid = _map(value, {0, 1, 2, 3, 4}, "a CoMID")
        for link in _list(comid.get(3, []), "linked tags"):
            if _map(link, {0, 1}, "a linked tag").get(1) != 0:
                refuse("a tag replaces another, which is not done here")
            self.skip("linked tag")
        for kind, triples in _map(comid.get(4), None, "its triples").items():
            for triple in _list(triples, "triples"):
                if kind == 0:
                    self._reference(triple)
                elif kind == 3:
                    self._attest_keys(triple)
                else:
                    self.skip(f"triple {kind}")

    def _reference(self, triple: Any) -> None:
        environment, measurements = _list(triple, "a reference triple")
        ids = _environment(environment)
        if "instance" in ids:
            refuse("a reference value of one instance only, which is not done here")
        for item in _list(measurements, "measurements"):
            for reference in _measurement(item):
                self.values.append((ids, reference))

    def _attest_keys(self, triple: Any) -> None:
        environment, keys = _list(triple, "an attest-key triple")[:2]
        if len(triple) != 2:
            refuse("an attest-key triple with conditions")
        ids = _environment(environment)
        for key in _list(keys, "attest keys"):
            if getattr(key, "tag", None) not in (_PEM_KEY, _PEM_CERTIFICATE):
                self.skip(f"key {getattr(key, 'tag', '?')}")
                continue
            spki, certificate = read_pem_key(str(key.value).encode())
            self.keys.append((ids, spki, certificate))


def _environment(value: Any) -> dict[str, str]:
    """What names an environment, as ids of anchors and models are written."""
    found = _map(value, {0, 1}, "an environment")
    ids: dict[str, str] = {}
    if 0 in found:
        what = _map(found[0], {0, 1, 2, 3, 4}, "a class")
        if 0 in what:
            name = what[0]
            tag = getattr(name, "tag", None)
            if tag in (_BYTES, _OLD_IMPLEMENTATION):
                ids["implementation"] = _bytes(name.value).hex()
            elif tag in (_UUID, _OID):
                ids["class"] = _bytes(name.value).hex()
            else:
                refuse("a class id of another kind")
        for label, text in ((1, "vendor"), (2, "model")):
            if label in what:
                ids[text] = _text(what[label])
        for label, text in ((3, "layer"), (4, "index")):
            if label in what:
                ids[text] = str(_number(what[label]))
    if 1 in found:
        if getattr(found[1], "tag", None) not in (_BYTES, _UEID, _UUID):
            refuse("an instance id of another kind")
        ids["instance"] = _bytes(found[1].value).hex()
    if not ids:
        refuse("an environment that names nothing")
    return ids


def _measurement(value: Any) -> Iterator[Reference]:
    # 2 is authorized-by: a condition.
    found = _map(value, {0, 1}, "a measurement")
    key = found.get(0)
    if isinstance(found[1], Mapping) and set(found[1]) == {14}:
        yield from _registers(key, found[1][14])
        return
    component = isinstance(key, str) and key in _COMPONENTS
    # Version (0) and name (11) only describe what a digest says already.
    content = _map(found[1], {0, 2, 11} | ({13} if component else set()), "a measured value")
    name, signer = _mkey(key)
    if component:
        name = _text(content.get(11, ""))
        signer = _signer(content.get(13, []))
    digests = [_digest(item) for item in _list(content.get(2), "digests")]
    if not digests:
        refuse("a measured value without digests")
    yield Reference(name, frozenset(digests), signer)


def _registers(key: Any, value: Any) -> Iterator[Reference]:
    """Integrity registers: each has digests of its own, and its own name."""
    if key is not None:
        refuse("integrity registers below a key")
    for name, digests in _map(value, None, "integrity registers").items():
        approved = frozenset(_digest(item) for item in _list(digests, "digests"))
        if not approved:
            refuse("an integrity register without digests")
        yield Reference(_mkey(name)[0], approved)


def _mkey(key: Any) -> tuple[str, bytes]:
    """Name and signer that a measurement's key gives; of an anonymous one the empty name."""
    if key is None:
        return "", b""
    if type(key) is int and key >= 0:
        return f"pcr{key}", b""
    if isinstance(key, str):
        return _text(key), b""
    if getattr(key, "tag", None) == _PSA_ID:
        parts = _map(key.value, {1, 4, 5}, "a component's id")
        return _text(parts.get(1, "")), _bytes(parts[5])
    if getattr(key, "tag", None) in (_UUID, _OID):
        return _bytes(key.value).hex(), b""
    refuse("a measurement's key of another kind")


def _signer(keys: Any) -> bytes:
    found = _list(keys, "signers")
    if len(found) > 1:
        refuse("a component with several signers")
    return _bytes(found[0].value) if found else b""


def _digest(item: Any) -> bytes:
    algorithm, value = _list(item, "a digest")
    size = _DIGESTS.get(algorithm) if type(algorithm) in (int, str) else None
    if size is None or len(_bytes(value)) != size:
        refuse("a digest that is not SHA-256, SHA-384 or SHA-512 whole")
    return bytes(value)


def _profile(value: Any) -> str:
    if value is None:
        return ""
    if getattr(value, "tag", None) == _URI:
        return _text(value.value)
    return f"oid {hashlib.sha256(repr(value).encode()).hexdigest()}"


def _tagged(value: Any, tag: int) -> Any:
    if getattr(value, "tag", None) != tag:
        refuse(f"it has no tag {tag}")
    return value.value


def _map(value: Any, labels: set[int] | None, what: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        refuse(f"{what}: no map")
    if labels is not None and not set(value) <= labels:
        refuse(f"{what}: an entry that is not known may change its meaning")
    return dict(value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        refuse(f"{what}: no array")
    return list(value)


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes or not 0 < len(value) <= MAX_CORIM:
        refuse("no byte string where there should be one")
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > 200:
        refuse("no short text where there should be one")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        refuse("no number where there should be one")
    return value


def _label(value: Any) -> str:
    return value.hex() if type(value) is bytes else _text(value)
