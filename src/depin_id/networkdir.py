"""An operator's folder: the root key, the operating keys and the card of one network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from depin_id.durable import DirectoryLock, create_file, make_directory, replace_file
from depin_id.errors import NetworkError
from depin_id.keyfile import read_key, write_key
from depin_id.keys import SoftwareSigner
from depin_id.network import (
    NetworkCard,
    check_name,
    load_card,
    network_did,
    sign_card,
    signers_match,
)
from depin_id.witness import WitnessPolicy

CARD_FILE: Final = "card.cbor"
ROOT_FILE: Final = "root.key"
DAY: Final = 86_400
_MAX_DAYS: Final = 36_500


def _key_files(directory: Path, number: int) -> tuple[Path, Path]:
    return directory / f"ack-{number}.key", directory / f"log-{number}.key"


def validity(days: int, wall: Callable[[], float]) -> tuple[int, int]:
    """From now on for so many days, as seconds since 1970. Raises NetworkError ``network.days``."""
    if not 1 <= days <= _MAX_DAYS:
        raise NetworkError("network.days", f"a card is valid for 1 to {_MAX_DAYS} days")
    now = int(wall())
    return now, now + days * DAY


class NetworkDir:
    """The folder, opened. The keys are files of mode 0600; the root may be kept elsewhere.

    Attributes:
        path: the folder.
        card, card_bytes: the current card, read and as signed.
        ack_signer, log_signer: the operating keys that the card names.
    """

    def __init__(self, path: str | Path, *, passphrase: str | None = None) -> None:
        """Open a folder.

        Raises:
            NetworkError: ``network.file``, ``network.card``, ``network.keys``. StateError: a key.
        """
        self.path = Path(path)
        self._passphrase = passphrase
        self.card, self.card_bytes = load_card(self.path / CARD_FILE)
        ack_file, log_file = _key_files(self.path, self.card.number)
        self.ack_signer = read_key(ack_file, passphrase=passphrase)
        self.log_signer = read_key(log_file, passphrase=passphrase)
        if not signers_match(self.card, self.ack_signer.public_key, self.log_signer.public_key):
            raise NetworkError(
                "network.keys",
                f"the keys in {self.path} are not those that its card names",
                hint="put card and keys of one number together, or reissue the card",
            )

    @property
    def root(self) -> SoftwareSigner:
        """The root key, read when it is asked for: daily work does not need it.

        Raises:
            StateError: the key file. NetworkError: ``network.keys``, it is not this network's.
        """
        signer = read_key(self.path / ROOT_FILE, passphrase=self._passphrase)
        if network_did(signer.public_key) != self.card.network:
            raise NetworkError("network.keys", "the root key is not that of this network's DID")
        return signer

    @classmethod
    def create(
        cls,
        path: str | Path,
        name: str,
        *,
        log_origin: str | None = None,
        days: int = 3650,
        passphrase: str | None = None,
        witnesses: WitnessPolicy | None = None,
        wall: Callable[[], float] = time.time,
    ) -> NetworkDir:
        """Make a network: three fresh keys and card number 1.

        Args:
            name: for topics, ``[a-z0-9-]{1,32}``.
            log_origin: origin line of the log; by default one that names the root key.
            days: how long the card is valid.
            passphrase: seals the key files.
            witnesses: who has to have cosigned the log's checkpoints.

        Raises:
            NetworkError: ``network.name``, ``network.card``, ``network.days``.
            StateError: ``state.exists``, ``state.locked``, ``state.io``.
        """
        directory = Path(path)
        root = SoftwareSigner.generate()
        ack, log = SoftwareSigner.generate(), SoftwareSigner.generate()
        origin = log_origin or f"depin/{check_name(name)}/{root.public_key.kid.hex()}"
        not_before, not_after = validity(days, wall)
        card = NetworkCard(
            network=network_did(root.public_key),
            name=name,
            number=1,
            not_before=not_before,
            not_after=not_after,
            ack_keys=(ack.public_key,),
            log_origin=origin,
            log_key=log.public_key,
            witnesses=witnesses,
        )
        signed = sign_card(card, root)
        make_directory(directory)
        lock = DirectoryLock(directory)
        try:
            write_key(directory / ROOT_FILE, root, passphrase=passphrase)
            for file, key in zip(_key_files(directory, 1), (ack, log), strict=True):
                write_key(file, key, passphrase=passphrase)
            create_file(directory / CARD_FILE, signed, mode=0o644)
        finally:
            lock.close()
        return cls(directory, passphrase=passphrase)

    def reissue(
        self,
        *,
        new_ack: bool = True,
        new_log: bool = False,
        keep_old_ack: bool = True,
        log_origin: str | None = None,
        days: int = 3650,
        witnesses: WitnessPolicy | None = None,
        wall: Callable[[], float] = time.time,
    ) -> NetworkDir:
        """Sign the next card; a crash leaves the old card with its keys or the new with its own.

        Args:
            new_ack, new_log: make fresh keys. A new log key goes with a new log, or with a log
                whose readers know both.
            keep_old_ack: name the old acknowledgement key too, so that what is on its way counts.
            log_origin: a new origin; None keeps it.
            witnesses: who has to have cosigned the log from now on; None keeps them.

        Returns:
            The folder, opened anew.

        Raises:
            NetworkError, StateError: as :meth:`create`.
        """
        root, old = self.root, self.card
        number = old.number + 1
        ack = SoftwareSigner.generate() if new_ack else self.ack_signer
        log = SoftwareSigner.generate() if new_log else self.log_signer
        names = [ack.public_key]
        if keep_old_ack and new_ack:
            names.append(self.ack_signer.public_key)
        not_before, not_after = validity(days, wall)
        card = NetworkCard(
            network=old.network,
            name=old.name,
            number=number,
            not_before=not_before,
            not_after=not_after,
            ack_keys=tuple(names),
            log_origin=log_origin or old.log_origin,
            log_key=log.public_key,
            witnesses=witnesses or old.witnesses,
        )
        signed = sign_card(card, root)
        lock = DirectoryLock(self.path)
        try:
            if load_card(self.path / CARD_FILE)[0].number != old.number:
                raise NetworkError("network.card_old", "the card was reissued meanwhile")
            for file, key in zip(_key_files(self.path, number), (ack, log), strict=True):
                file.unlink(missing_ok=True)  # the rest of a reissue that was cut off
                write_key(file, key, passphrase=self._passphrase)
            replace_file(self.path / CARD_FILE, signed, mode=0o644)
        finally:
            lock.close()
        return NetworkDir(self.path, passphrase=self._passphrase)
