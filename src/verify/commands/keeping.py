"""``depin-verify backup``, ``restore``, ``archive`` and ``migrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from depin_id.commands.common import read_input, show
from depin_id.did.key import parse_did_key
from depin_id.enrolment import read_enrolments
from depin_id.envelope import split_bundle
from depin_id.errors import ConfigError
from verify.commands.common import AsJson, Directory, flat, progress, read_text
from verify.ingest.files import FileSource
from verify.operations.archive import archive as archive_files
from verify.operations.archive import fetch
from verify.operations.backup import backup as make_backup
from verify.operations.migrate import migrate as bring_up_to_date
from verify.operations.places import open_place
from verify.operations.recover import Material
from verify.operations.restore import restore as bring_back
from verify.policy import Policy
from verify.profile import load_profiles
from verify.setup import policy_entry

Endpoint = Annotated[
    str | None, typer.Option(help="URL of an S3-compatible store; default: the environment's.")
]


def backup(
    directory: Directory,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new folder, or an older backup.")],
    keys: Annotated[
        Path | None,
        typer.Option(help="A folder for all keys, apart from TO; without it they are left out."),
    ] = None,
    check_all: Annotated[
        bool, typer.Option("--check-all", help="Read back what an older backup holds, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy an aggregator's directory, also while it runs; only what is new is copied.

    Example: depin-verify backup agg /backups/agg --keys /vault/agg
    """
    report = make_backup(directory, to, keys=keys, check_all=check_all).to_json()
    show(report, as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A backup.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    keys: Annotated[Path | None, typer.Option(help="The backup of the keys.")] = None,
    published: Annotated[
        Path | None, typer.Option(help="The published folder as it is now: log, segments, card.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A signed checkpoint that somebody kept; repeatable.")
    ] = None,
    nothing_newer: Annotated[
        bool,
        typer.Option("--nothing-newer", help="My word: nothing was published since the backup."),
    ] = False,
    envelopes: Annotated[
        list[str] | None, typer.Option(help="Envelopes or bundles from spools; repeatable.")
    ] = None,
    enrolments: Annotated[
        list[str] | None, typer.Option(help="Enrolment documents since; repeatable.")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy.toml since.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="A folder of own profiles.")] = None,
    new_key: Annotated[
        list[str] | None, typer.Option(help="did:key of a key that a device was rotated to.")
    ] = None,
    card: Annotated[list[str] | None, typer.Option(help="A network card since.")] = None,
    archive_: Annotated[
        str | None, typer.Option("--archive", help="Where archived journal files are.")
    ] = None,
    endpoint: Endpoint = None,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="If entries are missing: read and prove, never sign."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an aggregator's directory from a backup, without taking back what was published.

    Published entries that the backup has not are made again from the published segments. If that
    is not possible for all of them, it is refused, and what is missing is named.

    Example: depin-verify restore /backups/agg agg --keys /vault/agg --published mirror/public
    """
    material = Material(
        envelopes=_envelopes(envelopes or []),
        enrolments=[item for name in enrolments or () for item in read_enrolments(read_text(name))],
        keys=[parse_did_key(did) for did in new_key or ()],
        cards=[read_input(name) for name in card or ()],
    )
    for name in policy or ():
        known = load_profiles(profiles)
        material.policies.append(
            policy_entry(Policy.from_toml(read_text(name), profiles=known), known)
        )
    with progress("entries") as report:
        made = bring_back(
            source,
            directory,
            keys=keys,
            published=published,
            checkpoints=checkpoint or (),
            nothing_newer=nothing_newer,
            material=material,
            archive=None if archive_ is None else open_place(archive_, endpoint=endpoint),
            read_only=read_only,
            progress=report,
        )
    found = made.to_json()
    show(found if as_json else flat(found), as_json=as_json)


def _envelopes(names: list[str]) -> list[bytes]:
    """Envelopes of files in every form that ``ingest`` takes."""
    if not names:
        return []
    batches = FileSource(names, received_at=0).batches()
    messages = (message for batch in batches for message in batch)
    return [part for message in messages for part in split_bundle(message.data)]


def archive(
    directory: Directory,
    to: Annotated[
        str | None, typer.Option(help="A folder, or s3://BUCKET/PREFIX, to copy sealed files to.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="The place to bring archived files back from.")
    ] = None,
    endpoint: Endpoint = None,
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Make all but so many newest sealed files small here."),
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option(help="With --from: only this file; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy sealed journal files to an archive, make them small here, or bring them back.

    Credentials of S3 come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_REGION) or the machine's role. What a small file has lost is only needed for audit, rebuild
    and a replay from the beginning.

    Example: depin-verify archive agg --to s3://cold/agg --keep 2
    """
    if (to is None) == (from_ is None) or (from_ is not None and keep is not None):
        raise ConfigError(
            "usage", "name either --to PLACE [--keep N] or --from PLACE", hint="see --help"
        )
    if to is not None and file:
        raise ConfigError("usage", "--file goes with --from", hint="see --help")
    if to is not None:
        report = archive_files(directory, open_place(to, endpoint=endpoint), keep=keep)
    else:
        report = fetch(directory, open_place(from_ or "", endpoint=endpoint), files=file or ())
    found = report.to_json()
    if not as_json:
        found["copied"] = [item["name"] for item in found["copied"]]
        found = flat(found)
    show(found, as_json=as_json)


def migrate(
    directory: Directory,
    backup_: Annotated[
        Path | None, typer.Option("--backup", help="A new folder for the files as they are.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is to be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the stores of an older release up to date; cut off, it is finished by starting again.

    Example: depin-verify migrate agg --backup /backups/before
    """
    found = bring_up_to_date(directory, backup=backup_, dry_run=dry_run).to_json()
    if not as_json:
        found["files"] = [
            f"{item['file']}: {item['store']} version {item['version']}" for item in found["files"]
        ]
        found = flat(found)
    show(found, as_json=as_json)
