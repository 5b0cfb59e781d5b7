"""Making an aggregator's directory: operating keys, journal, key store, genesis entries."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from depin_id.durable import replace_file
from depin_id.errors import DepinError, NetworkError, StateError
from depin_id.keyfile import write_key
from depin_id.network import load_card
from depin_id.networkdir import NetworkDir
from verify.aggregator import Aggregator, wall_clock
from verify.batch import Batch
from verify.entries import Genesis, PolicySet
from verify.fold import Fold
from verify.policy import Policy
from verify.profile import Profile, load_profiles
from verify.replay import journal_lookup
from verify.sealing import seal_all
from verify.store import Journal, KeyStore, NewBatch
from verify.workspace import Workspace


def policy_entry(policy: Policy, profiles: Mapping[str, Profile]) -> PolicySet:
    """The entry that puts a policy in force together with the profiles it names."""
    return PolicySet(policy.encoded, tuple(profile.to_list() for profile in profiles.values()))


def _operating(network: Path) -> NetworkDir:
    folder = network if network.is_dir() else network.parent
    hint = "name the folder that `depin-id network new` made, or the card in it"
    try:
        card = None if network.is_dir() else load_card(network)[1]
        found = NetworkDir(folder)
    except DepinError as error:
        raise NetworkError(
            "network.keys",
            f"{network} does not lead to a card and its operating keys: {error.message}",
            hint=hint,
        ) from error
    if card is not None and card != found.card_bytes:
        raise NetworkError(
            "network.keys", f"{network} is not the card that the keys beside it are for", hint=hint
        )
    return found


def init(
    root: Path,
    network: Path,
    *,
    policy_text: str = "",
    profiles_directory: Path | None = None,
    allow_asserted_time: bool = False,
    clock: Callable[[], int] = wall_clock,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Workspace:
    """Make an aggregator's directory.

    Args:
        root: made; must not hold an aggregator yet.
        network: the network's folder, or the card in it; operating keys are taken from there, the
            root key is not.
        policy_text: TOML of the policy; empty is the default policy.
        profiles_directory: profiles of the network's own.
        allow_asserted_time: let receipt times be asserted, for replaying recordings; for ever.

    Raises:
        StateError: ``state.exists``. NetworkError, ConfigError: the card or the policy is wrong.
    """
    workspace = Workspace(root)
    if workspace.journal.exists():
        raise StateError("state.exists", f"{root} holds an aggregator already")
    operating = _operating(network)
    profiles = load_profiles(profiles_directory)
    policy = Policy.from_toml(policy_text, profiles=profiles)
    _make_folders(workspace, operating)
    _keep_profiles(workspace, profiles_directory)
    with KeyStore.create(workspace.keys, randomness=randomness) as keys:
        journal = Journal.create(workspace.journal, network=operating.card.network)
        with journal:
            fold = Fold()
            batch = Batch(fold, journal_lookup(journal), randomness)
            now = clock()
            batch.add_admin(Genesis(operating.card_bytes, allow_asserted_time), now)
            batch.add_admin(policy_entry(policy, profiles), now)
            sealed = seal_all(batch.drafts, fold, keys)
            journal.append(
                NewBatch(
                    received_at=now,
                    leaves=[entry.leaf for entry in sealed],
                    deltas=[entry.delta for entry in sealed],
                    sealed=[entry.sealed for entry in sealed],
                    positions=[],
                )
            )
    replace_file(workspace.policy, policy.to_toml().encode(), mode=0o644)
    with Aggregator(root, clock=clock, randomness=randomness) as aggregator:
        aggregator.publish()
    return workspace


def _keep_profiles(workspace: Workspace, directory: Path | None) -> None:
    """Copy the network's own profiles, so that a later policy finds them."""
    if directory is None:
        return
    workspace.profiles.mkdir(mode=0o755, exist_ok=True)
    for path in sorted(directory.glob("*.toml")):
        replace_file(workspace.profiles / path.name, path.read_bytes(), mode=0o644)


def _make_folders(workspace: Workspace, operating: NetworkDir) -> None:
    try:
        for folder in (workspace.root, workspace.operating):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (workspace.public, workspace.log, workspace.segments):
            folder.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise StateError("state.io", f"{workspace.root}: {error.strerror}") from error
    number = operating.card.number
    write_key(workspace.operating / f"ack-{number}.key", operating.ack_signer)
    write_key(workspace.operating / f"log-{number}.key", operating.log_signer)
    replace_file(workspace.operating / "card.cbor", operating.card_bytes, mode=0o644)
    replace_file(workspace.card, operating.card_bytes, mode=0o644)
