"""Materials as bytes: what the journal takes, and what an appraisal is made from again.

A material is (what, name, data): ``what`` is ``anchors``, ``references`` or ``revocations``, the
name is the operator's, and the data, deterministic CBOR, hold everything: what others signed
(CoRIMs, CRLs) is kept as they signed it, and verified whenever it is read, under the anchors that
are there then. What does not verify, or is not valid at the time, gives nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from depin_id import cbor
from depin_id.errors import AttestationError, DepinError
from verify.attestation import bundle_forms as forms
from verify.attestation.anchor_keys import admit_spki, check_certificate
from verify.attestation.bundle_forms import MAX_BUNDLE, VERSION, refuse
from verify.attestation.corim import Corim, CorimEntry, look_at, read_corim
from verify.attestation.materials import (
    Anchor,
    Anchors,
    Materials,
    Model,
    Models,
    Revocations,
    RevocationSnapshot,
)
from verify.attestation.reference_files import ModelEntry, References, with_corim
from verify.attestation.revocation_lists import CrlEntry, ListEntry, check_crl, crl_snapshot

What = Literal["anchors", "references", "revocations"]
WHATS: Final[tuple[str, ...]] = get_args(What)
CORIM: Final = "corim"
"""Format of the anchors whose keys sign CoRIMs."""
_MOST: Final = 512
"""Parts that are looked at for each appraisal, and read once: fewer would all be read anew."""
Material = tuple[str, str, bytes]
_Parsed = tuple[Anchor, ...] | References | tuple[ListEntry, ...]


# --- making -------------------------------------------------------------------------------------


def bundle_anchors(anchors: Iterable[Anchor], *, secrets: bool = False) -> bytes:
    """Anchors as data.

    Args:
        secrets: whether there may be symmetric keys: then it is good for appraisals offline only.

    Raises AttestationError ``attestation.bundle`` or ``.key``.
    """
    data = cbor.encode([VERSION, sorted((forms.anchor_form(item) for item in anchors), key=repr)])
    _check_anchors(data, secrets)
    return data


def bundle_references(references: References) -> bytes:
    """Models and CoRIMs as data. Raises AttestationError ``attestation.bundle``, ``.corim``."""
    data = cbor.encode(forms.references_form(references))
    check_bundle("references", data)
    return data


def bundle_revocations(lists: Iterable[ListEntry]) -> bytes:
    """Lists as data. Raises AttestationError ``attestation.bundle``, ``.list``, ``.signature``."""
    data = cbor.encode([VERSION, [forms.list_form(item) for item in lists]])
    check_bundle("revocations", data)
    return data


# --- reading ------------------------------------------------------------------------------------


def check_bundle(what: str, data: bytes) -> None:
    """Check a material before it is taken: everything that can be checked without the others.

    Raises:
        AttestationError: ``attestation.bundle`` (form), ``.key`` (an anchor's), ``.corim``,
            ``.list``, ``.signature`` (of a CRL, under the issuer that is with it).
    """
    if what == "anchors":
        _check_anchors(data, False)
    elif what == "references":
        for entry in _references(data).corims:
            found = look_at(entry.data) if not entry.unsigned else _unsigned(entry)
            if entry.anchors:
                for anchor in found.attest_keys(entry.anchors):
                    admit_spki(anchor.spki)
    elif what == "revocations":
        for item in _lists(data):
            if isinstance(item, CrlEntry):
                check_crl(item)
    else:
        refuse(f"{what[:40]!r} is none of {', '.join(WHATS)}")


def _check_anchors(data: bytes, secrets: bool) -> None:
    for anchor in _anchors(data):
        if forms.is_symmetric(anchor):
            if secrets:
                continue
            refuse(
                "a symmetric key: whoever can read the journal could make evidence with it",
                hint="it is good for `depin-verify evidence` only",
            )
        spki = admit_spki(anchor.spki)
        if spki != anchor.spki:
            refuse("a key that is not in its one encoding")
        if anchor.certificate and check_certificate(anchor.certificate) != spki:
            refuse("a certificate with another key than its anchor's")


def describe(what: str, data: bytes) -> list[dict[str, Any]]:
    """What is in a material, a row each, for people. Raises AttestationError."""
    if what == "anchors":
        return [
            {
                "format": anchor.format,
                "name": anchor.name,
                "key": hashlib.sha256(anchor.spki).hexdigest(),
                "certificate": bool(anchor.certificate),
                "ids": dict(anchor.ids),
            }
            for anchor in _anchors(data)
        ]
    if what == "references":
        return _describe_references(_references(data))
    if what == "revocations":
        return [_describe_list(item) for item in _lists(data)]
    refuse(f"{what[:40]!r} is none of {', '.join(WHATS)}")


def materials_from(
    bundles: Iterable[Material], *, max_age_ms: int, at: int | None = None
) -> Materials:
    """Everything that evidence is judged by, from all materials. Kept for the same content.

    Args:
        bundles: (what, name, data), in any order.
        max_age_ms: how old a list of what is revoked may be.
        at: time of the appraisal, ms since 1970, for the validity of CoRIMs. Without it, those
            that say when they are valid give nothing.

    Raises:
        AttestationError: as :func:`check_bundle` for what does not need the others. A CoRIM or CRL
            that no anchor vouches for is no error: it gives nothing.
    """
    ordered = tuple(sorted(bundles))
    live = tuple(
        (name, corim.name)
        for what, name, data in ordered
        if what == "references"
        for corim in _references(data).corims
        if _is_live(corim, at)
    )
    return _assembled(ordered, max_age_ms, live)


@lru_cache(maxsize=8)
def _assembled(
    ordered: tuple[Material, ...], max_age_ms: int, live: tuple[tuple[str, str], ...]
) -> Materials:
    found: list[Anchor] = []
    for what, _, data in ordered:
        if what == "anchors":
            found += _anchors(data)
    signers = tuple(anchor for anchor in found if anchor.format == CORIM)
    models: list[Model] = []
    for what, name, data in ordered:
        if what == "references":
            references = _references(data)
            corims = {
                entry.name: _verified(entry, signers)
                for entry in references.corims
                if (name, entry.name) in live
            }
            for entry in references.corims:
                corim = corims.get(entry.name)
                if corim is not None and entry.anchors:
                    found += corim.attest_keys(entry.anchors)
            for model in references.models:
                models += with_corim(model, corims.get(model.corim))
    anchors = Anchors(found)
    snapshots: list[RevocationSnapshot] = []
    for what, _, data in ordered:
        if what == "revocations":
            snapshots += filter(None, (_snapshot(item, anchors) for item in _lists(data)))
        elif what not in WHATS:
            refuse(f"{what[:40]!r} is none of {', '.join(WHATS)}")
    return Materials(
        anchors,
        Models(models, _digest(ordered, "references")),
        Revocations(snapshots, max_age_ms=max_age_ms, digest=_digest(ordered, "revocations")),
    )


def _digest(ordered: Sequence[Material], wanted: str) -> bytes:
    """SHA-256 over names and digests of all materials of a kind."""
    parts = [
        [name, hashlib.sha256(data).digest()] for what, name, data in ordered if what == wanted
    ]
    return hashlib.sha256(cbor.encode([wanted, parts])).digest()


def _is_live(entry: CorimEntry, at: int | None) -> bool:
    corim = _looked_at(entry.data)
    if at is None:
        return corim.not_before is None and corim.not_after is None
    return corim.is_valid(at)


@lru_cache(maxsize=_MOST)
def _looked_at(data: bytes) -> Corim:
    return look_at(data)


def _unsigned(entry: CorimEntry) -> Corim:
    return read_corim(entry.data, signers=(), unsigned=True)


def _verified(entry: CorimEntry, signers: Sequence[Anchor]) -> Corim | None:
    try:
        return read_corim(entry.data, signers=signers, unsigned=entry.unsigned)
    except AttestationError:
        return None


def _snapshot(item: ListEntry, anchors: Anchors) -> RevocationSnapshot | None:
    if isinstance(item, RevocationSnapshot):
        return item
    try:
        return crl_snapshot(item, anchors)
    except AttestationError:
        return None


@lru_cache(maxsize=64)
def _anchors(data: bytes) -> tuple[Anchor, ...]:
    return tuple(forms.read_anchor(item) for item in _items(data))


@lru_cache(maxsize=_MOST)
def _references(data: bytes) -> References:
    return forms.read_references(_body(data, 3))


@lru_cache(maxsize=64)
def _lists(data: bytes) -> tuple[ListEntry, ...]:
    return tuple(forms.read_list_form(item) for item in _items(data))


def _items(data: bytes) -> list[Any]:
    (items,) = _body(data, 2)
    if not isinstance(items, list) or not items:
        refuse("it is empty")
    return items


def _body(data: bytes, parts: int) -> list[Any]:
    try:
        value = cbor.decode(data, max_bytes=MAX_BUNDLE)
    except DepinError as error:
        refuse(error.message)
    if not isinstance(value, list) or len(value) != parts or value[0] != VERSION:
        refuse(f"it is not of version {VERSION}")
    return value[1:]


def _describe_references(references: References) -> list[dict[str, Any]]:
    rows = [_describe_model(entry) for entry in references.models]
    for entry in references.corims:
        corim = look_at(entry.data)
        rows.append(
            {
                "corim": entry.name,
                "id": corim.id,
                "unsigned": entry.unsigned,
                "values": len(corim.values),
                "keys": len(corim.keys),
                "not_after": corim.not_after,
                "ignored": dict(corim.ignored),
            }
        )
    return rows


def _describe_model(entry: ModelEntry) -> dict[str, Any]:
    model = entry.model
    return {
        "model": model.name,
        "formats": sorted(model.formats),
        "match": dict(model.match),
        "references": len(model.references),
        "from_corim": entry.corim,
        "revocation": model.revocation,
        "max_age_s": model.max_age_s,
    }


def _describe_list(item: ListEntry) -> dict[str, Any]:
    if isinstance(item, RevocationSnapshot):
        taken, expires, count = item.taken, item.expires, len(item.revoked)
        kind = "list"
    else:
        crl = check_crl(item)
        taken = int(crl.last_update_utc.timestamp()) * 1000
        update = crl.next_update_utc
        expires = None if update is None else int(update.timestamp()) * 1000
        kind, count = "crl", len(crl)
    return {
        "list": kind,
        "covers": sorted(item.covers),
        "revoked": count,
        "taken": taken,
        "expires": expires,
    }
