"""What evidence is judged by, as entries: anchors, references, revocations of the operator's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from depin_id.errors import ConfigError
from verify.attestation.bundles import check_bundle, describe, materials_from
from verify.attestation.materials import Materials
from verify.batch import Summary
from verify.fold import Fold
from verify.requests import hexed, text
from verify.results.entries import MaterialTaken
from verify.results.state import Key

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

WHAT: Final = ("anchors", "references", "revocations")
MAX_PARTS: Final = 256
"""Parts of one kind."""
MAX_BUNDLE: Final = 4 << 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def materials_of(fold: Fold, at: int) -> Materials:
    """Everything that evidence is judged by as of the newest entry, at a time in ms."""
    age = fold.policy.attestation.revocation_max_age_s * 1000
    return materials_from(fold.identity.results.bundles(), max_age_ms=age, at=at)


def materials_with(
    fold: Fold, entry: MaterialTaken | None, at: int, *, without: str = ""
) -> Materials:
    """As :func:`materials_of`, as if an entry had been taken.

    Args:
        without: leave out what is there of this kind, but the entry.
    """
    age = fold.policy.attestation.revocation_max_age_s * 1000
    parts = {
        (what, name): data
        for what, name, data in fold.identity.results.bundles()
        if what != without
    }
    if entry is not None:
        parts[entry.what, entry.name] = entry.data
    found = tuple((*key, data) for key, data in sorted(parts.items()) if data)
    return materials_from(found, max_age_ms=age, at=at)


def check_material(fold: Fold, entry: MaterialTaken) -> None:
    """Whether an entry may be taken. Raises ConfigError, AttestationError."""
    if entry.what not in WHAT or not _NAME.fullmatch(entry.name):
        raise ConfigError(
            "admin.request",
            f"{entry.what[:40]} {entry.name[:80]!r}",
            hint="anchors, references or revocations, with a name of a-z, 0-9, dot and hyphen",
        )
    held = fold.identity.results.materials
    if not entry.data:
        if (entry.what, entry.name) not in held:
            raise ConfigError(
                "material.unknown",
                f"there are no {entry.what} called {entry.name!r}",
                hint=f"`depin-verify {entry.what} list` shows what is there",
            )
        return
    others = {key: data for key, data in held.items() if key != (entry.what, entry.name)}
    if len(entry.data) > MAX_BUNDLE or sum(key.what == entry.what for key in others) >= MAX_PARTS:
        raise ConfigError("material.many", f"too large, or more than {MAX_PARTS} {entry.what}")
    check_bundle(entry.what, entry.data)
    before = held.get(Key(entry.what, entry.name))
    if entry.what == "revocations" and before is not None:
        _check_newer(before, entry)
    # Parts that are good alone may not be together (one signed by what another one vouches for).
    others[Key(entry.what, entry.name)] = entry.data
    materials_from(tuple((*key, data) for key, data in sorted(others.items())), max_age_ms=0)


def _check_newer(before: bytes, entry: MaterialTaken) -> None:
    """A list takes the place of one that is no newer: an old one would let what it lacks pass."""
    old, new = (
        max(row["taken"] for row in describe(entry.what, data)) for data in (before, entry.data)
    )
    if new < old:
        raise ConfigError(
            "material.older",
            f"the list is of {new}, and that which it would replace of {old} (ms since 1970)",
            hint="fetch the newest list; another name keeps both",
        )


def add(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``material-add``: ``what``, ``name``, ``data`` (hexadecimal).

    Revocations are carried out at once, those too that an anchor brings into force: see
    :mod:`verify.results.revoking`.
    """
    from verify.results import revoking

    data = hexed(request, "data")
    if not data:
        raise ConfigError("admin.request", "there is nothing in it")
    entry = MaterialTaken(text(request, "what"), text(request, "name"), data)
    check_material(aggregator.fold, entry)
    answer = _about(entry) | revoking.take(aggregator, entry, request)
    if entry.what != "revocations" and not answer["touched"]:
        del answer["revoked"], answer["touched"]
    return answer


def remove(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``material-remove``: ``what``, ``name``.

    What a list has taken back stays so; new evidence is judged without it.
    """
    entry = MaterialTaken(text(request, "what"), text(request, "name"), b"")
    check_material(aggregator.fold, entry)
    index = aggregator.administer([entry])
    # Without any anchor nothing is asked of devices that never attested.
    parked = aggregator.retry() if entry.what == "anchors" else Summary()
    answer = {"what": entry.what, "name": entry.name, "index": index}
    return answer | ({"parked": parked.to_json()} if parked != Summary() else {})


def listed(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``material-list``: ``what``."""
    wanted = text(request, "what")
    held = aggregator.fold.identity.results.bundles()
    return {
        "what": wanted,
        "parts": [
            _about(MaterialTaken(what, name, data)) for what, name, data in held if what == wanted
        ],
    }


def _about(entry: MaterialTaken) -> dict[str, Any]:
    digest = hashlib.sha256(entry.data).hexdigest()
    content = describe(entry.what, entry.data)
    return {"what": entry.what, "name": entry.name, "digest": digest, "content": content}
