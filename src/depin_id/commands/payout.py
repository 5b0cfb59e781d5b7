"""``depin-id payout``: an owner names the wallet that he is paid to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from depin_id.commands.common import network_and_card, open_output, read_input
from depin_id.commands.identity import (
    SIGNS,
    Network,
    Output,
    PassphraseFile,
    binary_output,
    open_party,
)
from depin_id.owners.payout import make_payout
from depin_id.owners.wallets import MAX_MESSAGE, WalletBinding


def payout(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="From `depin-id claim wallet bind`; - is stdin.")
    ],
    owner: Annotated[
        Path, typer.Option("--as", "--owner", metavar="KEY|FOLDER", help=f"The owner. {SIGNS}")
    ],
    network: Network,
    out: Output = "-",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Name a payout wallet after the claim, or another one: the owner signs what the wallet signed.

    Example: depin-id payout wallet.json --as me --network card.cbor -o payout.cbor
    """
    binary_output(out)
    binding = WalletBinding.from_json(read_input(file, max_bytes=2 * MAX_MESSAGE))
    party = open_party(owner, passphrase_file)
    data = make_payout(binding, owner=party, network=network_and_card(network)[0])
    with open_output(out) as stream:
        stream.write(data)
