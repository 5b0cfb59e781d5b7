"""``depin-id factory``: birth certificates, enrolments and claim codes for a production batch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from depin_id.commands.common import show
from depin_id.commands.identity import SIGNS, AsJson, PassphraseFile, open_party, wall_ms
from depin_id.credentials.status.book import StatusBook
from depin_id.errors import ConfigError, TransportError
from depin_id.factory.batch import BatchOptions, Report, check_rows, make_batch
from depin_id.factory.labels import Labels, labels
from depin_id.factory.rows import COLUMNS, Defaults


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """Bars on a terminal's standard error, one for each step; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def _source(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(name, "rb", buffering=1 << 18))
    except OSError as error:
        raise TransportError("file.missing", f"{name}: {error.strerror or error}") from error


def _labels(kind: str | None, claims: bool) -> Labels | None:
    if kind is None:
        return None
    if kind not in get_args(Labels):
        raise ConfigError("usage", f"--labels is one of {', '.join(get_args(Labels))}")
    if not claims:
        raise ConfigError("usage", "labels show claim codes: leave --no-claims out")
    return cast(Labels, kind)


def factory(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="CSV with a header, or JSON Lines; - is stdin."),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="The folder to make.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Name of the production batch.")] = "",
    key: Annotated[
        Path | None, typer.Option("--as", "--key", metavar="KEY|FOLDER", help=SIGNS)
    ] = None,
    passphrase_file: PassphraseFile = None,
    model: Annotated[str, typer.Option(help="For devices whose line names none.")] = "",
    hardware_revision: Annotated[str, typer.Option(help="Likewise.")] = "",
    key_protection: Annotated[
        str, typer.Option(help="Likewise: software, tee, tpm or secure-element.")
    ] = "",
    profile: Annotated[str, typer.Option(help="Likewise; such as noise@1.")] = "",
    owner: Annotated[str, typer.Option(help="Likewise: DID or account.")] = "",
    role: Annotated[str, typer.Option(help="Likewise: device or gateway.")] = "device",
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="An earlier batch; its serials and keys are refused."),
    ] = None,
    no_claims: Annotated[bool, typer.Option("--no-claims", help="No claim codes.")] = False,
    label: Annotated[
        str | None,
        typer.Option("--labels", help="QR pictures too: svg, png, or sheet (24 on a page)."),
    ] = None,
    status: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Record of a status list (depin-id status new)."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the lines.")] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a production batch, signed once; nothing of it when a line is wrong.

    Each line has serial and key (did:key, multikey, COSE_Key in hexadecimal, or raw hexadecimal
    with curve), and may have the columns named in docs/identity/factory.md.

    Example: depin-id factory devices.csv --out batch-7 --batch 2026-47 --as maker --model N1
    --hardware-revision B --key-protection secure-element --labels sheet
    """
    defaults = Defaults(model, hardware_revision, key_protection, profile, owner, role)
    kind = _labels(label, not no_claims)
    with ExitStack() as stack:
        lines = _source(source, stack)
        report = stack.enter_context(_progress())
        if check:
            count = check_rows(lines, defaults, earlier=tuple(earlier or ()), report=report)
            show({"devices": count, "columns": list(COLUMNS)}, as_json=as_json)
            return
        if out is None or key is None or not batch:
            raise ConfigError("usage", "issuing needs --out, --batch and --as")
        party = open_party(key, passphrase_file)
        books = stack.enter_context(ExitStack())
        book = None if status is None else books.enter_context(StatusBook.change(status))
        options = BatchOptions(
            batch=batch,
            issuer=party,
            now=wall_ms(),
            defaults=defaults,
            claims=not no_claims,
            earlier=tuple(earlier or ()),
            status=None if book is None else lambda: book.entry(book.give()),
        )

        def also(folder: Path) -> None:
            if kind is not None:
                labels(kind, report)(folder)
            # The indices are written down before anybody sees a certificate that has one.
            books.close()

        made = make_batch(lines, out, options, also=also, report=report)
    show(made.to_json(), as_json=as_json)
