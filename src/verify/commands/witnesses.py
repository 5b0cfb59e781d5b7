"""``depin-verify witnesses``, ``compare-checkpoints`` and ``check-equivocation``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from depin_id import cbor
from depin_id.commands.common import read_input, show
from depin_id.durable import replace_file
from depin_id.errors import ConfigError, LogError
from depin_id.network import load_card
from verify.commands.common import AsJson, Directory
from verify.log import Equivocation, NoteKey, TlogProof, compare_checkpoints
from verify.log.equivocation import MAX_BYTES
from verify.log.note import MAX_NOTE_BYTES
from verify.receipt import MAX_RECEIPT
from verify.witness.asking import Asker, standing
from verify.witness.settings import FILE, parse_settings
from verify.workspace import Workspace

Card = Annotated[Path | None, typer.Option(help="The network's card, which names the log's key.")]
Key = Annotated[str | None, typer.Option(help="Or the log's key, as name+id+base64.")]


def witnesses(
    directory: Directory,
    file: Annotated[
        str | None, typer.Argument(metavar="[WITNESSES.toml]", help="The new settings, or -.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask now; exit 1 without a quorum.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who cosigns the log, or set it; a running aggregator takes it up by itself.

    Example: depin-verify witnesses agg witnesses.toml --ask
    """
    Workspace(directory).check()
    if file is not None:
        try:
            text = read_input(file, max_bytes=1 << 16).decode()
        except UnicodeDecodeError as error:
            raise ConfigError("usage", f"{file} is not UTF-8 text") from error
        parse_settings(text, folder=directory)
        replace_file(directory / FILE, text.encode(), mode=0o644)
    asker = Asker(directory)
    settings = asker.settings()
    if settings is None:
        raise ConfigError(
            "config.witnesses",
            f"{directory} names no witnesses",
            hint="write a file with quorum and [[witness]], and name it here",
        )
    made = asker.round() if ask else None
    found = standing(directory, settings)
    if made is not None:
        found["asked"] = made.to_json()
    if as_json:
        show(found, as_json=True)
    else:
        _show(found)
    if made is not None and not made.enough:
        sys.exit(1)


def _show(found: dict[str, Any]) -> None:
    rows = [
        f"{row['name']}  {row['url']}  "
        + ("nothing yet" if row["cosigned_size"] is None else f"cosigned {row['cosigned_size']}")
        for row in found["witnesses"]
    ]
    errors = found.get("asked", {}).get("errors", {})
    rows += [f"{error['code']}: {error['message']}" for error in errors.values()]
    show(
        {
            "published": found["size"],
            "witnessed": found["witnessed_size"],
            "quorum": found["quorum"],
            "witnesses": rows,
        },
        as_json=False,
    )


def _log_key(card: Path | None, key: str | None) -> NoteKey:
    if (card is None) == (key is None):
        raise ConfigError("usage", "name either --card CARD or --key VKEY")
    if card is None:
        return NoteKey.parse(key or "")
    read, _ = load_card(card)
    return NoteKey(read.log_origin, read.log_key.raw)


def _note(name: str) -> str:
    """The signed checkpoint in a file: one as it is, that of a tlog-proof, or of a receipt."""
    data = read_input(name, max_bytes=MAX_RECEIPT)
    try:
        if data.startswith(b"c2sp.org/tlog-proof@"):
            return TlogProof.parse(data).checkpoint
        if len(data) <= MAX_NOTE_BYTES and b"\n\n" in data:
            return data.decode()
    except UnicodeDecodeError:
        pass  # a receipt is CBOR: no map begins as a character does
    value = cbor.decode(data, max_bytes=MAX_RECEIPT)
    found = value.get(10, value.get(4)) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise LogError("log.note", f"{name} is no checkpoint, tlog-proof or receipt")
    return found if 10 in value else TlogProof.parse(found).checkpoint


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Checkpoint, tlog-proof or receipt.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another, of the same log.")],
    card: Card = None,
    key: Key = None,
    log: Annotated[
        Path | None, typer.Option(help="Tiles of the larger one, when the sizes differ.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Where to write the proof of two histories.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether two checkpoints are of one history; exit 1 and a proof if they are not.

    Example: depin-verify compare-checkpoints mine.receipt theirs --card card.cbor --log public/log
    """
    trusted = _log_key(card, key)
    found = compare_checkpoints(_note(first), _note(second), trusted, directory=log)
    if found is None:
        show({"log": trusted.name, "one_history": True}, as_json=as_json)
        return
    smaller, larger = found.check(trusted)
    if out is not None:
        replace_file(out, found.format().encode(), mode=0o644)
    show(
        {
            "log": trusted.name,
            "one_history": False,
            "sizes": [smaller.size, larger.size],
            "proof": None if out is None else str(out),
        },
        as_json=as_json,
    )
    sys.exit(1)


def check_equivocation(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A proof of two histories, or -.")],
    card: Card = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof that a log showed two histories; exit 2 when it proves nothing.

    Example: depin-verify check-equivocation split.json --card card.cbor
    """
    trusted = _log_key(card, key)
    smaller, larger = Equivocation.parse(read_input(file, max_bytes=MAX_BYTES)).check(trusted)
    show(
        {
            "log": trusted.name,
            "two_histories": True,
            "sizes": [smaller.size, larger.size],
            "roots": [smaller.root.hex(), larger.root.hex()],
        },
        as_json=as_json,
    )
