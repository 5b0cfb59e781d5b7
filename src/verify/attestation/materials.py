"""What evidence is judged by: trust anchors, models with their reference values, revocations.

All of it is data that was taken as entries of the journal, or comes from files for an appraisal
offline. Reading and writing it is done elsewhere; here it is only held and looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from depin_id import cbor
from verify.attestation.model import Measurement


@dataclass(frozen=True)
class Anchor:
    """A key that is trusted to begin a chain, or to be a device's own attestation key.

    Attributes:
        format: of the evidence it is for. name: for people.
        spki: its SubjectPublicKeyInfo, DER: keys are pinned, not certificates. For a symmetric key
            (Mac0) its bytes.
        certificate: DER, where it is a certificate; empty otherwise.
        ids: what names it, where keys are looked up (``instance``, ``implementation``), and what is
            said of it (``assurance``): texts, bytes as lower-case hexadecimal.
    """

    format: str
    name: str
    spki: bytes
    certificate: bytes = b""
    ids: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over all of it, 32 bytes."""
        parts = [self.format, self.spki, self.certificate, dict(self.ids)]
        return hashlib.sha256(cbor.encode(parts)).digest()


class Anchors:
    """Trust anchors. None for a format means: nothing of it is affirmed."""

    def __init__(self, anchors: Iterable[Anchor] = ()) -> None:
        found: dict[str, list[Anchor]] = {}
        for anchor in anchors:
            found.setdefault(anchor.format, []).append(anchor)
        # A registry of devices may be long: it is not copied for each of them.
        self._by_format = {name: tuple(those) for name, those in found.items()}

    def __iter__(self) -> Iterator[Anchor]:
        return (anchor for found in self._by_format.values() for anchor in found)

    def __len__(self) -> int:
        return sum(map(len, self._by_format.values()))

    def of(self, format_name: str) -> tuple[Anchor, ...]:
        """Those of a format."""
        return self._by_format.get(format_name, ())

    def find(self, format_name: str, **ids: str) -> tuple[Anchor, ...]:
        """Those of a format that have all of these ids. Registries of devices may be long."""
        if not ids:
            return self.of(format_name)
        first, *others = ids.items()
        return tuple(
            anchor
            for anchor in self._by_id.get((format_name, *first), ())
            if all(anchor.ids.get(name) == value for name, value in others)
        )

    @cached_property
    def _by_id(self) -> Mapping[tuple[str, str, str], list[Anchor]]:
        found: dict[tuple[str, str, str], list[Anchor]] = {}
        for anchor in self:
            for name, value in anchor.ids.items():
                found.setdefault((anchor.format, name, value), []).append(anchor)
        return found

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the sorted digests, 32 bytes."""
        return hashlib.sha256(b"".join(sorted(anchor.digest for anchor in self))).digest()


@dataclass(frozen=True)
class Reference:
    """An approved value of one measured component.

    Attributes:
        name: of the component, as its format calls it.
        digests: any of these is approved; at least one.
        signer: digest of who has to have signed it; empty for anybody.
    """

    name: str
    digests: frozenset[bytes]
    signer: bytes = b""

    def approves(self, measured: Measurement) -> bool:
        """Whether a measurement is of this component and approved."""
        return (
            measured.name == self.name
            and measured.digest in self.digests
            and (not self.signer or measured.signer == self.signer)
        )


@dataclass(frozen=True)
class Model:
    """The policy for one model of device.

    Attributes:
        name: of the model. formats: of evidence that it may show.
        match: device ids that evidence has to have to be of this model.
        references: approved values; without any, firmware is never affirmed.
        complete: every component that was measured has to be approved, not only those that
            references name.
        minimum: lower bounds of numbers (``os_patch``).
        settings: what its format needs to be told (``pcrs``, ``package``, ``app_id``, ``profile``).
        assurance: what the attested key must be kept by; empty for anything but software.
        revocation: ``required``, or ``none`` for a maker who publishes no list.
        protects_key: its approved firmware keeps the device's key in hardware, where only the
            challenge binds that key: the manufacturer's word.
        max_age_s: how long a result is good at most, in seconds.
    """

    name: str
    formats: frozenset[str]
    match: Mapping[str, str] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    complete: bool = True
    minimum: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    assurance: frozenset[str] = frozenset()
    revocation: Literal["required", "none"] = "required"
    protects_key: bool = False
    max_age_s: int = 86_400

    @cached_property
    def references_of(self) -> Mapping[str, tuple[Reference, ...]]:
        """References by the component that they are of."""
        found: dict[str, tuple[Reference, ...]] = {}
        for reference in self.references:
            found[reference.name] = (*found.get(reference.name, ()), reference)
        return found


class Models:
    """Models in the order in which they are tried.

    Args:
        digest: SHA-256 of where they come from, 32 bytes.
    """

    def __init__(self, models: Iterable[Model] = (), digest: bytes = bytes(32)) -> None:
        self._models = tuple(models)
        self.digest = digest

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def choose(self, format_name: str, hints: Mapping[str, str], name: str = "") -> Model | None:
        """The first model of this format whose match fits.

        Args:
            hints: what evidence claims to be of, before it is verified. name: of the only model
                that may be chosen; empty for any.
        """
        for model in self._models:
            named = not name or model.name == name
            if named and format_name in model.formats:
                if all(hints.get(key) == value for key, value in model.match.items()):
                    return model
        return None


@dataclass(frozen=True)
class RevocationSnapshot:
    """One list of what is revoked, as of a time.

    Attributes:
        covers: formats, or scopes of issuers (:func:`~verify.attestation.identifiers.issuer_scope`)
            that it speaks for.
        revoked: identifiers, each with a reason.
        taken: ms since 1970. expires: the same; None when it does not say.
    """

    covers: frozenset[str]
    revoked: Mapping[str, str]
    taken: int
    expires: int | None = None


class Revocations:
    """All snapshots.

    Args:
        max_age_ms: what is older says nothing any more.
        digest: SHA-256 of where they come from, 32 bytes.
    """

    def __init__(
        self,
        snapshots: Iterable[RevocationSnapshot] = (),
        *,
        max_age_ms: int = 7 * 86_400_000,
        digest: bytes = bytes(32),
    ) -> None:
        self.snapshots = tuple(snapshots)
        self.max_age_ms = max_age_ms
        self.digest = digest

    def is_current(self, format_name: str, at: int) -> bool:
        """Whether there is a list for this format that is neither too old nor of the future."""
        return any(
            format_name in snapshot.covers
            and snapshot.taken <= at < snapshot.taken + self.max_age_ms
            and (snapshot.expires is None or at < snapshot.expires)
            for snapshot in self.snapshots
        )

    def revoked(self, identifiers: Iterable[str]) -> dict[str, str]:
        """Which of these are revoked by any list, however old, and why."""
        found: dict[str, str] = {}
        for identifier in identifiers:
            for snapshot in self.snapshots:
                if identifier in snapshot.revoked:
                    found.setdefault(identifier, snapshot.revoked[identifier])
        return found


@dataclass(frozen=True)
class Materials:
    """Everything evidence is judged by."""

    anchors: Anchors = field(default_factory=Anchors)
    models: Models = field(default_factory=Models)
    revocations: Revocations = field(default_factory=Revocations)
