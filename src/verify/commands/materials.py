"""``depin-verify anchors``, ``references``, ``revocations``: what evidence is judged by."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id.commands.common import app, show
from depin_id.durable import read_file
from depin_id.errors import AttestationError, ConfigError
from depin_id.printable import json_text, printable
from verify.attestation.anchor_files import read_anchors
from verify.attestation.anchor_keys import MAX_KEY_FILE, read_keys
from verify.attestation.bundle_forms import is_name
from verify.attestation.bundles import bundle_anchors, bundle_references, bundle_revocations
from verify.attestation.corim_sign import MAX_CORIM
from verify.attestation.reference_files import MAX_TOML, References, read_references_file
from verify.attestation.revocation_lists import MAX_LIST, ListEntry, read_list
from verify.commands.common import AsJson, Directory, parse_moment
from verify.control import perform_on

anchors = app(
    "Trust anchors: whose chains and keys evidence may begin at.\n\n"
    "Example: depin-verify anchors add agg roots/ --name roots"
)
references = app(
    "References: models of devices, what they run, and the rules they are held to.\n\n"
    "Example: depin-verify references add agg models.toml --name models"
)
revocations = app(
    "Revocations: which certificates and keys no longer count.\n\n"
    "Example: depin-verify revocations add agg status.json --name android"
)

_GROUPS = {"anchors": anchors, "references": references, "revocations": revocations}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
Name = Annotated[
    str, typer.Option("--name", help="What to call it; one of that name is replaced. From FILE.")
]


# --- reading files, for these commands and for `evidence` ----------------------------------------


def load(path: Path, *, max_bytes: int) -> bytes:
    """A file's bytes. Raises AttestationError ``attestation.file``, StateError."""
    data = read_file(path, max_bytes=max_bytes)
    if data is None:
        raise AttestationError("attestation.file", f"there is no file {path}")
    return data


def load_references(path: Path) -> References:
    """Models from TOML; CoRIMs that it names are beside it. Raises AttestationError."""

    def beside(name: str) -> bytes:
        if Path(name).name != name or not is_name(name):
            raise AttestationError("attestation.file", f"{name[:60]!r} is not beside {path.name}")
        return load(path.parent / name, max_bytes=MAX_CORIM)

    return read_references_file(load(path, max_bytes=MAX_TOML), beside)


def load_list(path: Path, *, taken: int, covers: frozenset[str], issuers: list[Path]) -> ListEntry:
    """A list of what is revoked, of any kind. Raises AttestationError."""
    chain = [
        certificate
        for file in issuers
        for _, certificate in read_keys(load(file, max_bytes=MAX_KEY_FILE))
    ]
    if not all(chain):
        raise AttestationError("attestation.file", "an issuer is a certificate, not a bare key")
    data = load(path, max_bytes=MAX_LIST)
    return read_list(data, taken=taken, covers=covers, issuers=chain)


def _add(
    directory: Path,
    what: str,
    path: Path,
    name: str,
    data: bytes,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    chosen = name or _NOT_IN_NAMES.sub("-", path.resolve().stem.lower()).strip("-._")[:64]
    request = {"op": "material-add", "what": what, "name": chosen, "data": data.hex()}
    answer = perform_on(directory, request | dict(more or {}))
    show(answer if as_json else _for_people(answer), as_json=as_json)


# --- adding --------------------------------------------------------------------------------------


@anchors.command("add")
def add_anchors(
    directory: Directory,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A folder with one for each format, or a file: PEM, DER, JWK, COSE_Key, TOML.",
        ),
    ],
    format_name: Annotated[
        str, typer.Option("--format", help="Format of keys in no folder of one.")
    ] = "",
    name: Name = "",
    as_json: AsJson = False,
) -> None:
    """Take trust anchors: each key is admitted, and pinned from then on.

    Example: depin-verify anchors add agg google-roots.pem --format android-key
    """
    data = bundle_anchors(read_anchors(path, format_name))
    _add(directory, "anchors", path, name, data, as_json)


@references.command("add")
def add_references(
    directory: Directory,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Models in TOML.")],
    name: Name = "",
    as_json: AsJson = False,
) -> None:
    """Take models with their reference values, and the CoRIMs that the file names.

    A CoRIM counts while it is valid and signed by a key of the anchors of the format corim.

    Example: depin-verify references add agg models.toml
    """
    data = bundle_references(load_references(path))
    _add(directory, "references", path, name, data, as_json)


Taken = Annotated[
    str | None,
    typer.Option("--taken", help="When the list was fetched: 2026-03-22T00:00:00Z, or seconds."),
]
Covers = Annotated[
    list[str] | None,
    typer.Option("--covers", metavar="FORMAT", help="A format that the list speaks for. Repeats."),
]
Issuers = Annotated[
    list[Path] | None,
    typer.Option(
        "--issuer", metavar="FILE", help="Of a CRL: its issuer's certificate, then those above."
    ),
]


@revocations.command("add")
def add_revocations(
    directory: Directory,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Google's status.json, a CRL, or TOML.")
    ],
    covers: Covers = None,
    taken: Taken = None,
    issuer: Issuers = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What it touches counts no more from then on; ever."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would touch.")
    ] = False,
    name: Name = "",
    as_json: AsJson = False,
) -> None:
    """Take a list of what is revoked; everything that it touches is judged again.

    Without --taken the list counts as fetched now. A CRL is verified under its issuers, up to an
    anchor of a format that it covers, and says itself how old it is.

    Example: depin-verify revocations add agg status.json --covers android-key
    """
    moment = int(time.time() * 1000) if taken is None else parse_moment(taken)
    found = load_list(
        path, taken=moment, covers=frozenset(covers or ()), issuers=list(issuer or ())
    )
    more: dict[str, Any] = {"dry_run": dry_run}
    if since is not None:
        more["since"] = parse_moment(since)
    _add(directory, "revocations", path, name, bundle_revocations([found]), as_json, more)


# --- listing and removing, alike for all ---------------------------------------------------------


def _listing(what: str) -> None:
    group = _GROUPS[what]

    @group.command("list", help=f"Show all {what}.\n\nExample: depin-verify {what} list agg")
    def listed(directory: Directory, as_json: AsJson = False) -> None:
        answer = perform_on(directory, {"op": "material-list", "what": what})
        if as_json:
            print(json_text(answer, indent=2))
            return
        parts = answer.get("parts", [])
        for part in parts:
            for line in _lines(part):
                print(line)
        if not parts:
            print(f"there are no {what}")

    @group.command(
        "remove",
        help=f"Remove {what} by name; what was judged by them stays judged.\n\n"
        f"Example: depin-verify {what} remove agg NAME",
    )
    def remove(
        directory: Directory,
        name: Annotated[str, typer.Argument(metavar="NAME", help="As the list shows it.")],
        as_json: AsJson = False,
    ) -> None:
        if not name:
            raise ConfigError("usage", "name what to remove")
        request = {"op": "material-remove", "what": what, "name": name}
        show(perform_on(directory, request), as_json=as_json)


def _lines(part: dict[str, Any]) -> Iterator[str]:
    yield f"{printable(str(part['name']))}  {part['digest']}"
    for row in part["content"]:
        yield "  " + "  ".join(f"{key} {_plain(value)}" for key, value in row.items())


def _for_people(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with what is nested written as text."""
    found = dict(answer)
    for key in ("content", "touched"):
        if key in found:
            found[key] = [
                ", ".join(f"{name} {_plain(value)}" for name, value in row.items())
                for row in found[key]
            ]
    return found


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else printable(str(value))


for _what in _GROUPS:
    _listing(_what)
