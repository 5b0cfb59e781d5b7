"""Who signs on a command line: a key file, a device's folder or a DID's folder."""

from __future__ import annotations

import os
from pathlib import Path

from depin_id.device_file import DEVICE_FILE, read_enrolment
from depin_id.device_store import KEY_FILE
from depin_id.did.folder import DidFolder
from depin_id.errors import StateError
from depin_id.keyfile import read_key
from depin_id.owners.party import Party

HELP = "Who signs: a key file, a device's folder or a DID's folder."


def open_party(path: Path, passphrase: str | None = None) -> Party:
    """The party of a path. The device's folder is not locked: nothing of its position is used.

    Raises:
        StateError: ``state.missing``, ``state.signer``, and as key files do. DIDError: the folder.
    """
    if not path.is_dir():
        return Party.of_key(read_key(path, passphrase=passphrase))
    if not os.path.lexists(path / DEVICE_FILE):
        folder = DidFolder.open(path, passphrase)
        return Party(folder.verification_method, folder.signer)
    enrolment = read_enrolment(path)
    party = Party.of_key(read_key(path / KEY_FILE, passphrase=passphrase))
    if party.signer.public_key != enrolment.key:
        raise StateError("state.signer", f"the key in {path} is not that of its device")
    return party
