"""Folders, keys, card and policy: what lies in the directory, and who may read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from depin_id.durable import read_file
from depin_id.errors import DepinError
from depin_id.network import load_card
from depin_id.networkdir import CARD_FILE, ROOT_FILE
from verify.doctor.diagnosis import Diagnosis, Setup, of_error
from verify.operating import card_is_behind, key_files
from verify.policy import Policy
from verify.profile import load_profiles
from verify.reading import Reader

DAY_S = 86_400
EXPIRES_SOON_S = 60 * DAY_S
_MAX_POLICY = 1 << 20


def check_folders(setup: Setup) -> Iterator[Diagnosis]:
    """Who may read and write the directory."""
    work = setup.workspace
    private = (work.root, work.journal, work.keys, work.operating, work.quarantine)
    for folder in (*private, work.snapshots, work.control):
        try:
            about = folder.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Diagnosis("directory.unreadable", "error", str(error.strerror), str(folder))
            continue
        mode = stat.S_IMODE(about.st_mode)
        if mode & 0o077:
            yield Diagnosis(
                "directory.mode",
                "error" if folder != work.root or mode & 0o022 else "warning",
                f"mode {mode:04o}: others may look in",
                str(folder),
                f"chmod 700 {folder}",
            )
        if os.geteuid() not in (0, about.st_uid):
            yield Diagnosis(
                "directory.owner",
                "warning",
                f"it belongs to user {about.st_uid}, this is user {os.geteuid()}",
                str(folder),
                "look as the user that runs the aggregator",
            )
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield Diagnosis(
                "directory.not_writable",
                "error",
                "the aggregator cannot write there",
                str(folder),
                "give it back to the aggregator's user; is the disk mounted read-only?",
            )


def check_keys(setup: Setup) -> Iterator[Diagnosis]:
    """The operating keys against the card, the master key, and keys that have no place here."""
    work = setup.workspace
    folder = work.operating
    card, _ = load_card(folder / CARD_FILE)
    files, wrong = key_files(folder, card)
    for error in wrong:
        yield of_error(error, folder)
    for role, named in (("ack", card.ack_keys), ("log", (card.log_key,))):
        held = [file for file in files if file.role == role and file.number == card.number]
        if not any(file.key in named for file in held):
            yield Diagnosis(
                "keys.card",
                "error",
                f"the {role} key that card {card.number} names is not {role}-{card.number}.key",
                str(folder),
                "restore the key's file, or replace the key: runbooks, lost keys",
            )
    for file in files:
        if file.status == "pending":
            hint = "get a card signed for it, then `depin-verify keys activate`"
            yield Diagnosis("keys.pending", "note", "no card names it yet", str(file.path), hint)
        elif file.status == "former":
            hint = "`depin-verify keys retire` when readers and devices have the new card"
            what = f"a key of card {file.number} is kept"
            yield Diagnosis("keys.former", "note", what, str(file.path), hint)
    for path in (folder / ROOT_FILE, work.root / ROOT_FILE):
        if path.exists():
            yield Diagnosis(
                "keys.root_here",
                "error",
                "the network's root key lies on the machine that runs the aggregator",
                str(path),
                "move it offline: whoever has it is the network",
            )
    yield from _master(work.keys / "master.key")


def _master(path: Path) -> Iterator[Diagnosis]:
    data = read_file(path, max_bytes=64, private=True)
    if data is None:
        hint = "restore it: without it nothing that is stored can be opened"
        yield Diagnosis("keys.master", "error", "the key store has no master key", str(path), hint)
    elif len(data) != 32:
        yield Diagnosis(
            "keys.master", "error", "the master key is damaged", str(path), "restore it"
        )


def check_card(setup: Setup) -> Iterator[Diagnosis]:
    """The card's validity, and whether what is published is the one in force."""
    work, now_s = setup.workspace, setup.now_ms() // 1000
    path = work.operating / CARD_FILE
    card, data = load_card(path)
    again = "sign the next card with the root key: `depin-id network reissue`"
    if now_s > card.not_after:
        yield Diagnosis("card.expired", "error", f"card {card.number} expired", str(path), again)
    elif now_s > card.not_after - EXPIRES_SOON_S:
        days = (card.not_after - now_s) // DAY_S
        what = f"card {card.number} expires in {days} days"
        yield Diagnosis("card.expires", "warning", what, str(path), again)
    if now_s < card.not_before:
        hint = "set the clock right, here or where the card was signed"
        what = f"card {card.number} is not valid yet"
        yield Diagnosis("card.not_yet", "error", what, str(path), hint)
    if card_is_behind(work, data):
        yield Diagnosis(
            "card.published",
            "error",
            "the published card is not the one in force",
            str(work.card),
            "start the aggregator, or `depin-verify rebuild`: it publishes the card again",
        )


def check_settings(setup: Setup) -> Iterator[Diagnosis]:
    """The state that the journal gives: it opens, and card and policy are those of the files."""
    work = setup.workspace
    with Reader(setup.root) as reader:
        card, policy = reader.fold.card_bytes, reader.fold.policy
    held = read_file(work.operating / CARD_FILE, max_bytes=1 << 16)
    if held != card:
        yield Diagnosis(
            "card.journal",
            "error",
            "the card beside the keys is not the one that the journal has in force",
            str(work.operating / CARD_FILE),
            "`depin-verify keys activate DIR CARD` puts a card in force, not a copied file",
        )
    text = read_file(work.policy, max_bytes=_MAX_POLICY)
    if text is None:
        return
    try:
        folder = work.profiles if work.profiles.is_dir() else None
        found = Policy.from_toml(text.decode("utf-8", "replace"), profiles=load_profiles(folder))
    except DepinError as error:
        yield of_error(error, work.policy)
        return
    if found.digest != policy.digest:
        yield Diagnosis(
            "policy.differs",
            "warning",
            "the file is not the policy in force",
            str(work.policy),
            "`depin-verify policy DIR FILE`, or SIGHUP to the aggregator, puts it in force",
        )
