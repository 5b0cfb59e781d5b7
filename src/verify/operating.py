"""Operating keys of an aggregator: which of those at hand the card names, and the next card.

The root names the keys on a card; the aggregator keeps their private halves in ``network/``, as
``ack-N.key`` and ``log-N.key`` for card N. A new key waits as ``pending-ack.key`` until a card
names it. The card in force is the journal's: a crash while it changes is put right at the next
start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depin_id.durable import replace_file, sync_directory
from depin_id.errors import DepinError, NetworkError, StateError
from depin_id.keyfile import read_key, write_key
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.network import NetworkCard, load_card, read_card
from depin_id.networkdir import CARD_FILE, NetworkDir
from depin_id.reissue import REQUEST_TYPE, CardRequest
from verify.workspace import Workspace

ROLES: Final = ("ack", "log")
_NAME: Final = re.compile(r"(ack|log)-([0-9]{1,19})\.key")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One private key at hand.

    Attributes:
        role: ``ack`` or ``log``.
        path: its file.
        number: of the card it was put there for; None while it waits for one.
        signer: the key.
        status: ``active`` (signs now), ``accepted`` (the card names it), ``former`` (no card in
            force names it; a former log key signs checkpoints too) or ``pending``.
    """

    role: str
    path: Path
    number: int | None
    signer: SoftwareSigner
    status: str

    @property
    def key(self) -> PublicKey:
        """Its public half."""
        return self.signer.public_key

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "role": self.role,
            "kid": self.key.kid.hex(),
            "status": self.status,
            "card": self.number,
            "file": self.path.name,
        }


def _pending(folder: Path, role: str) -> Path:
    return folder / f"pending-{role}.key"


def _status(role: str, number: int | None, key: PublicKey, card: NetworkCard) -> str:
    if number is None:
        return "pending"
    if role == "log":
        return "active" if key == card.log_key else "former"
    if key not in card.ack_keys:
        return "former"
    return "active" if number == card.number else "accepted"


def key_files(folder: Path, card: NetworkCard) -> tuple[list[KeyFile], list[DepinError]]:
    """The private keys in a folder of operating keys, by role and number.

    Returns:
        The keys, and what is wrong with files that cannot be read: a lost or damaged key is what a
        new card is for, so it is in nobody's way.
    """
    found: list[tuple[str, int | None, Path]] = []
    for path in folder.glob("*.key"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append((match[1], int(match[2]), path))
    found += [(role, None, path) for role in ROLES if (path := _pending(folder, role)).exists()]
    keys, wrong = [], []
    for role, number, path in sorted(found, key=lambda item: (item[0], _order(item[1]))):
        try:
            signer = read_key(path)
        except DepinError as error:
            wrong.append(error)
            continue
        status = _status(role, number, signer.public_key, card)
        keys.append(KeyFile(role, path, number, signer, status))
    return keys, wrong


def _order(number: int | None) -> int:
    """Pending keys come last."""
    return 1 << 63 if number is None else number


def former_log_signers(folder: Path, card: NetworkCard) -> list[SoftwareSigner]:
    """Log keys of earlier cards that are still kept: they sign checkpoints too, until retired."""
    signers: dict[bytes, SoftwareSigner] = {}
    for path in sorted(folder.glob("log-*.key")):
        match = _NAME.fullmatch(path.name)
        if match is None or int(match[2]) >= card.number:
            continue
        signer = read_key(path)
        if signer.public_key != card.log_key:
            signers[signer.public_key.raw] = signer
    return list(signers.values())


def new_keys(workspace: Workspace, roles: tuple[str, ...]) -> dict[str, Any]:
    """Make keys that wait for a card; gives the request that the root's holder signs a card for.

    A pending key that is there already is kept: asking twice gives the same request.

    Raises:
        StateError, NetworkError: the folder or its card cannot be used.
    """
    workspace.check()
    folder = workspace.operating
    card, _ = load_card(folder / CARD_FILE)
    request: dict[str, Any] = {"type": REQUEST_TYPE, "network": card.network}
    for role in roles:
        path = _pending(folder, role)
        if not path.exists():
            write_key(path, SoftwareSigner.generate())
        request[role] = read_key(path).public_key.cose_key.hex()
    return CardRequest.from_json(json.dumps(request)).to_json()


# --- a new card ---------------------------------------------------------------------------------


def check_successor(current: NetworkCard, offered: NetworkCard, now_s: int) -> None:
    """Refuse a card that may not follow.

    Raises:
        NetworkError: ``network.foreign``, ``network.card_old``, ``network.expired``,
            ``network.renamed`` (topics and log keep their names while a network lives).
    """
    if offered.network != current.network:
        raise NetworkError("network.foreign", "the card is of another network")
    if offered.number <= current.number:
        raise NetworkError(
            "network.card_old",
            f"card number {offered.number}, but number {current.number} is in force",
            hint="the root's holder signs a card of a higher number: `depin-id network reissue`",
        )
    if not offered.valid_at(now_s):
        raise NetworkError(
            "network.expired",
            f"card number {offered.number} is not valid now",
            hint="look at the clocks here and where it was signed; sign another one",
        )
    if (offered.name, offered.log_origin) != (current.name, current.log_origin):
        raise NetworkError(
            "network.renamed",
            "the card has another network name or log origin",
            hint="a log keeps its origin and a network its topics: sign a card that keeps them",
        )


def stage(folder: Path, card: NetworkCard) -> None:
    """Put the keys that a card names where its number says, before the card is in force.

    A crash leaves files that no card in force names; doing it again finishes it.

    Raises:
        NetworkError: ``network.keys`` when a key that the card names is not at hand.
    """
    at_hand = key_files(folder, card)[0][::-1]
    for role, wanted in (("ack", card.ack_keys), ("log", (card.log_key,))):
        file = next((f for key in wanted for f in at_hand if (f.role, f.key) == (role, key)), None)
        if file is None:
            raise NetworkError(
                "network.keys",
                f"the {role} key that card {card.number} names is not in {folder}",
                hint="`depin-verify keys new` makes it here; or restore its file",
            )
        path = folder / f"{role}-{card.number}.key"
        if file.path != path:
            path.unlink(missing_ok=True)
            write_key(path, file.signer)


def settle(workspace: Workspace, card_bytes: bytes) -> NetworkDir:
    """Bring the files of card and keys to the journal's card, and open the keys it names.

    Args:
        card_bytes: the card that the journal has in force.

    Raises:
        NetworkError: ``network.card_ahead``, ``network.keys``. StateError: a key file.
    """
    folder, card = workspace.operating, read_card(card_bytes)
    held = _card_at(folder / CARD_FILE)
    if held is not None and held[0].number > card.number:
        raise NetworkError(
            "network.card_ahead",
            f"{folder / CARD_FILE} is number {held[0].number}, but the log knows {card.number}",
            hint="put the old card back, then `depin-verify keys activate DIR CARD`",
        )
    if held is None or held[1] != card_bytes:
        replace_file(folder / CARD_FILE, card_bytes, mode=0o644)
    found = NetworkDir(folder)
    for role, key in (("ack", found.ack_signer.public_key), ("log", found.log_signer.public_key)):
        _drop_pending(folder, role, key)
    return found


def publish_card(workspace: Workspace, card_bytes: bytes) -> None:
    """Put the card where readers find it, when it is another than the one there."""
    if card_is_behind(workspace, card_bytes):
        replace_file(workspace.card, card_bytes, mode=0o644)


def card_is_behind(workspace: Workspace, card_bytes: bytes) -> bool:
    """Whether the published card is another than the one in force."""
    held = _card_at(workspace.card)
    return held is None or held[1] != card_bytes


def _card_at(path: Path) -> tuple[NetworkCard, bytes] | None:
    try:
        return load_card(path)
    except DepinError:
        return None


def _drop_pending(folder: Path, role: str, key: PublicKey) -> None:
    path = _pending(folder, role)
    if not path.exists():
        return
    try:
        if read_key(path).public_key == key:
            path.unlink()
            sync_directory(folder)
    except StateError:
        return  # it waits for another card, and is in nobody's way


def retire(workspace: Workspace) -> list[str]:
    """Remove the private keys of earlier cards; gives the names of their files.

    The former log key stops signing checkpoints when the aggregator looks again.

    Raises:
        NetworkError: the keys of the card in force are not all there.
    """
    current = NetworkDir(workspace.operating).card
    gone = []
    for path in sorted(workspace.operating.glob("*.key")):
        match = _NAME.fullmatch(path.name)
        if match is not None and int(match[2]) < current.number:
            path.unlink()
            gone.append(path.name)
    sync_directory(workspace.operating)
    return gone


def describe(workspace: Workspace) -> Mapping[str, Any]:
    """Card and keys, JSON-ready. Raises NetworkError, StateError."""
    workspace.check()
    card, _ = load_card(workspace.operating / CARD_FILE)
    files, wrong = key_files(workspace.operating, card)
    held = {(file.role, file.key) for file in files}
    named = [("ack", key) for key in card.ack_keys] + [("log", card.log_key)]
    return {
        "card": card.number,
        "network": card.network,
        "valid_until": card.not_after,
        "keys": [file.to_json() for file in files],
        "unreadable": [error.message for error in wrong],
        "elsewhere": [
            {"role": role, "kid": key.kid.hex()} for role, key in named if (role, key) not in held
        ],
    }
