"""``depin-id succession``: the key of a device was replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from depin_id.commands.common import (
    app,
    network_and_card,
    open_output,
    read_input,
    show,
)
from depin_id.commands.identity import (
    SIGNS,
    AsJson,
    Network,
    Nonce,
    Output,
    PassphraseFile,
    binary_output,
    key_finder,
    open_party,
    read_nonce,
    wall_ms,
)
from depin_id.commands.inspect import moment
from depin_id.did.key import did_key, parse_did_key
from depin_id.errors import ConfigError
from depin_id.owners.succession import Reason, Role, offer_succession, read_succession, vouch
from depin_id.owners.twofold import MAX_TWOFOLD

commands = app("Say that the key of a device was replaced, and who vouches for it.")


def _thumbprint(text: str) -> bytes:
    if text.startswith("did:key:"):
        return parse_did_key(text).thumbprint
    if re.fullmatch("[0-9a-f]{64}", text) is None:
        raise ConfigError("usage", "--old is a did:key, or a thumbprint of 64 hexadecimal digits")
    return bytes.fromhex(text)


def _last(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch("([0-9]{1,10}):([0-9]{1,10})", text, re.ASCII)
    if match is None:
        raise ConfigError("usage", "--last is EPOCH:N")
    return int(match[1]), int(match[2])


@commands.command()
def offer(
    key: Annotated[Path, typer.Argument(metavar="NEW", help=f"The new key. {SIGNS}")],
    device: Annotated[str, typer.Option(metavar="DID", help="As the network knows the device.")],
    network: Network,
    nonce: Nonce,
    old: Annotated[
        str | None, typer.Option(help="The key that ends: did:key or thumbprint; or the device's.")
    ] = None,
    reason: Annotated[str, typer.Option(help="rotation, board, lost or compromised.")] = "rotation",
    last: Annotated[
        str | None, typer.Option(metavar="EPOCH:N", help="Last position of the old key.")
    ] = None,
    out: Output = "-",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign with the new key: it is held, and it follows the old one.

    Example: depin-id succession offer newdev --device did:key:z6Mk... --network card.cbor --nonce
    00ff... --reason board -o offer.cbor
    """
    binary_output(out)
    if reason not in get_args(Reason):
        raise ConfigError("usage", f"--reason is one of {', '.join(get_args(Reason))}")
    data = offer_succession(
        open_party(key, passphrase_file).signer,
        device=device,
        old=_thumbprint(old or device),
        reason=cast(Reason, reason),
        network=network_and_card(network)[0],
        nonce=read_nonce(nonce),
        now=wall_ms(),
        last=_last(last),
    )
    with open_output(out) as file:
        file.write(data)


@commands.command("vouch")
def vouch_for(
    file: Annotated[
        str, typer.Argument(metavar="OFFER", help="From `depin-id succession offer`; - is stdin.")
    ],
    key: Annotated[Path, typer.Option(help=f"Who vouches. {SIGNS}")],
    role: Annotated[str, typer.Option("--role", "--as", help="old, owner or manufacturer.")],
    network: Network,
    out: Output = "-",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Vouch for the new key, as the old key, the owner or the manufacturer.

    Example: depin-id succession vouch offer.cbor --key me --role owner --network card.cbor -o
    s.cbor
    """
    binary_output(out)
    if role not in get_args(Role):
        raise ConfigError("usage", f"--role is one of {', '.join(get_args(Role))}")
    data = vouch(
        read_input(file, max_bytes=MAX_TWOFOLD),
        role=cast(Role, role),
        voucher=open_party(key, passphrase_file),
        network=network_and_card(network)[0],
    )
    with open_output(out) as opened:
        opened.write(data)


@commands.command("show")
def show_succession(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The statement; - is stdin.")],
    network: Network,
    key: Annotated[
        str | None, typer.Option(metavar="MULTIKEY", help="Of a voucher whose DID holds no key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the signatures of a succession and say what it says.

    Example: depin-id succession show s.cbor --network card.cbor
    """
    found = read_succession(
        read_input(file, max_bytes=MAX_TWOFOLD),
        network=network_and_card(network)[0],
        key_of=key_finder(key),
    )
    pairs = {
        "device": found.device,
        "old": found.old.hex(),
        "new": did_key(found.new_key),
        "reason": found.reason,
        "role": found.role,
        "voucher": found.voucher,
        "time": moment(found.time // 1000),
        "nonce": found.nonce.hex(),
        "last": None if found.last is None else ":".join(map(str, found.last)),
        "id": found.id.hex(),
    }
    show(pairs, as_json=as_json)
