"""``depin-id status``: keep a status list, sign it, and look entries up in signed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from depin_id.commands.common import app, open_output, read_input, show
from depin_id.commands.identity import (
    AsJson,
    Dids,
    PassphraseFile,
    Signing,
    list_keys,
    open_party,
    resolver_of,
    wall_ms,
)
from depin_id.commands.inspect import moment
from depin_id.credentials.status import (
    MIN_ENTRIES,
    BitstringEntry,
    SignedList,
    StatusBook,
    StatusResult,
    StatusStore,
    TokenEntry,
    issue_bitstring,
    issue_token,
)
from depin_id.credentials.status.signed import MAX_SIGNED
from depin_id.errors import ConfigError, CredentialError
from depin_id.printable import json_text
from depin_id.strict_json import parse

commands = app("Keep a list of who is revoked or suspended, sign it, look entries up.")

DAY_MS: Final = 86_400_000
MAX_ENTRY: Final = 1 << 20
EXIT_REVOKED, EXIT_UNDECIDED = 1, 3
_WORDS: Final = {"valid": 0, "revoked": 1, "suspended": 2}

Book = Annotated[Path, typer.Argument(metavar="FILE", help="The record of the list.")]


def _book_fields(book: StatusBook) -> dict[str, Any]:
    found: dict[str, Any] = {"url": book.uri, "kind": book.kind}
    if book.purpose:
        found["purpose"] = book.purpose
    found |= {"bits": book.size, "entries": len(book), "given": book.given}
    return found


@commands.command()
def new(
    file: Book,
    url: Annotated[str, typer.Option(help="Where the signed list is going to be found.")],
    kind: Annotated[
        Literal["bitstring", "token"],
        typer.Option(help="bitstring: a W3C credential; token: a CWT, for COSE objects."),
    ] = "bitstring",
    purpose: Annotated[
        str, typer.Option(help="Of a bitstring list: revocation, suspension, message, refresh.")
    ] = "revocation",
    bits: Annotated[int, typer.Option(help="Of an entry; a token list needs 2 to suspend.")] = 1,
    message: Annotated[
        list[str] | None,
        typer.Option(help="What 0, 1, 2, ... mean in a bitstring list of several bits; repeat."),
    ] = None,
    entries: Annotated[int, typer.Option(help="How many there are.")] = MIN_ENTRIES,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Give indices out in order, not at random.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the record of a new list, in which nobody is revoked.

    Example: depin-id status new fleet.list --url https://example.org/status/1
    """
    book = StatusBook.create(
        file,
        uri=url,
        kind=kind,
        purpose=purpose,
        messages=message or (),
        size=bits,
        count=entries,
        random=not in_order,
    )
    show(_book_fields(book), as_json=as_json)


@commands.command()
def give(file: Book) -> None:
    """Give out an index that nobody has: prints the credentialStatus that names it, as JSON.

    Example: depin-id status give fleet.list
    """
    with StatusBook.change(file) as book:
        index = book.give()
    print(json_text(book.entry(index)))


@commands.command("set")
def set_status(
    file: Book,
    index: Annotated[int, typer.Argument(help="Whose status changes.")],
    status: Annotated[
        str, typer.Argument(help="revoked, suspended, valid, or a number that fits the bits.")
    ],
    as_json: AsJson = False,
) -> None:
    """Revoke or suspend what has an index; sign the list again to tell the world.

    Example: depin-id status set fleet.list 4711 revoked
    """
    with StatusBook.change(file) as book:
        book.set(index, _number(book, status))
    show({"url": book.uri, "index": index, "status": status, "value": book[index]}, as_json=as_json)


def _number(book: StatusBook, status: str) -> int:
    if status.isascii() and status.isdigit() and len(status) <= 3:
        return int(status)
    fitting = {"revocation": "revoked", "suspension": "suspended"}
    if status not in _WORDS or (
        book.purpose and status not in ("valid", fitting.get(book.purpose))
    ):
        raise ConfigError(
            "usage",
            f"{status[:40]!r} is no status of a list for {book.purpose or 'tokens'}",
            hint=f"{fitting.get(book.purpose, 'revoked, suspended')}, valid, or a number",
        )
    return min(_WORDS[status], 1) if book.purpose else _WORDS[status]


@commands.command("show")
def show_book(file: Book, as_json: AsJson = False) -> None:
    """Print a record: what is set, and how much was given out.

    Example: depin-id status show fleet.list --json
    """
    book = StatusBook.open(file)
    fields = _book_fields(book)
    changed = book.set_entries()
    if as_json:
        fields["set"] = {str(index): value for index, value in changed.items()}
    else:
        fields["set"] = [f"{index}: {value}" for index, value in changed.items()] or None
    show(fields, as_json=as_json)


@commands.command()
def sign(
    file: Book,
    signing: Signing,
    output: Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="- is stdout.")] = "-",
    days: Annotated[float, typer.Option(help="How long the issuer stands by it.")] = 7.0,
    ttl: Annotated[
        int | None, typer.Option(help="After how many seconds to fetch it again.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign what the record says now: JSON for a bitstring list, a CWT for a token list.

    Example: depin-id status sign fleet.list --as owner -o status-1.json
    """
    if not 0 < days <= 36_500:
        raise ConfigError("usage", "a list is good for more than 0 and at most 36,500 days")
    book, who, now = StatusBook.open(file), open_party(signing, passphrase_file), wall_ms()
    until = now + int(days * DAY_MS)
    if book.kind == "token":
        data = issue_token(
            book.entries,
            uri=book.uri,
            signer=who.signer,
            now_ms=now,
            issuer=who.did,
            verification_method=who.method,
            expires_ms=until,
            ttl_s=ttl,
        )
    else:
        data = issue_bitstring(
            book.entries,
            uri=book.uri,
            purpose=book.purpose,
            issuer=who.did,
            signer=who.signer,
            verification_method=who.method,
            now_ms=now,
            valid_until_ms=until,
            ttl_ms=None if ttl is None else ttl * 1000,
        )
    with open_output(output) as out:
        out.write(data)


Issuer = Annotated[str | None, typer.Option(help="DID of whoever it has to be by.")]
MaxAge = Annotated[float, typer.Option("--max-age", help="In days; what is older decides nothing.")]


def _held(
    lists: list[str], dids: Path | None, issuer: str | None, max_age: float
) -> tuple[StatusStore, list[SignedList]]:
    if not 0 < max_age <= 36_500:
        raise ConfigError("usage", "the age is more than 0 and at most 36,500 days")
    held = StatusStore(key_of=list_keys(resolver_of(dids)), max_age_ms=int(max_age * DAY_MS))
    read = [held.add(read_input(name, max_bytes=MAX_SIGNED), issuer=issuer) for name in lists]
    return held, read


@commands.command()
def verify(
    file: Annotated[str, typer.Argument(metavar="LIST", help="A signed list; - is stdin.")],
    issuer: Issuer = None,
    max_age: MaxAge = 7.0,
    dids: Dids = None,
    as_json: AsJson = False,
) -> None:
    """Verify a signed list and print it; exit code 3 when it is too old to decide anything.

    Example: depin-id status verify status-1.json --issuer did:key:z6Mk...
    """
    _, (found,) = _held([file], dids, issuer, max_age)
    stale = found.stale(now_ms=wall_ms(), max_age_ms=int(max_age * DAY_MS))
    fields: dict[str, Any] = {
        "url": found.uri,
        "kind": found.kind,
        "issuer": found.issuer,
        "purposes": sorted(found.purposes) or None,
        "issued": moment(found.issued_ms // 1000),
        "expires": None if found.expires_ms is None else moment(found.expires_ms // 1000),
        "entries": len(found.entries()),
        "set": len(found.entries()) - found.entries().table.count(0),
        "stale": stale or None,
    }
    show(fields, as_json=as_json)
    if stale:
        raise typer.Exit(EXIT_UNDECIDED)


@commands.command()
def check(
    lists: Annotated[list[str], typer.Argument(metavar="LIST...", help="Signed lists.")],
    index: Annotated[int | None, typer.Option(help="An index in the one list.")] = None,
    entry: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A credentialStatus as JSON, or a credential; - stdin."),
    ] = None,
    issuer: Issuer = None,
    max_age: MaxAge = 7.0,
    dids: Dids = None,
    as_json: AsJson = False,
) -> None:
    """Look an entry up: exit code 0 valid, 1 revoked or suspended, 3 cannot be decided.

    Example: depin-id status check status-1.json --index 4711
    """
    held, read = _held(lists, dids, issuer, max_age)
    asked = _asked(read, index, entry)
    results = [held.check(one, now_ms=wall_ms(), issuer=issuer) for one in asked]
    worst = max(results, key=_badness)
    show(
        {
            "state": worst.state,
            "code": worst.code or None,
            "message": worst.message or None,
            "value": worst.value,
            "url": worst.uri,
        },
        as_json=as_json,
    )
    if not worst.ok:
        raise typer.Exit(EXIT_REVOKED if worst.decided else EXIT_UNDECIDED)


def _badness(result: StatusResult) -> int:
    return 0 if result.ok else 2 if result.decided else 1


def _asked(read: list[SignedList], index: int | None, entry: str | None) -> list[dict[str, Any]]:
    if (index is None) == (entry is None):
        raise ConfigError("usage", "give either --index or --entry")
    if entry is not None:
        value = parse(read_input(entry, max_bytes=MAX_ENTRY))
        named = value.get("credentialStatus", value) if isinstance(value, dict) else value
        entries = named if isinstance(named, list) else [named]
        if not entries or not all(isinstance(one, dict) for one in entries):
            raise CredentialError("status.entry", "the file holds no credentialStatus")
        return entries
    if len(read) != 1:
        raise ConfigError("usage", "an index is one of a single list")
    found, number = read[0], index or 0
    if found.kind == "token":
        return [TokenEntry(found.uri, number).to_json()]
    return [BitstringEntry(found.uri, number, one).to_json() for one in sorted(found.purposes)]
