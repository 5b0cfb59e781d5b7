"""``depin-id claim``: claim codes, claims of devices, and payout wallets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

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
from depin_id.credentials.models import BirthCertificate
from depin_id.credentials.wire import MAX_CREDENTIAL, read
from depin_id.durable import create_file
from depin_id.errors import ConfigError, CredentialError
from depin_id.owners import labels
from depin_id.owners.claim import make_claim, read_claim
from depin_id.owners.codes import MAX_TYPED, ClaimCode, Label, qr_text, read_label
from depin_id.owners.twofold import MAX_TWOFOLD
from depin_id.owners.wallets import MAX_MESSAGE, WalletBinding, WalletRequest, verify_wallet
from depin_id.printable import json_text

commands = app("Become the owner of a device with its claim code, and bind a payout wallet.")
code = app("Claim codes: as they stand on labels.")
wallet = app("Payout wallets: what a wallet signs, and what it signed.")
commands.add_typer(code, name="code")
commands.add_typer(wallet, name="wallet")

LabelText = Annotated[
    str,
    typer.Argument(metavar="LABEL", help="The scanned text or the typed code; - is stdin."),
]
DeviceDid = Annotated[
    str | None, typer.Option(metavar="DID", help="The device's DID; a scanned text says it.")
]


def _label(text: str, device: str | None) -> Label:
    if text == "-":
        data = read_input("-", max_bytes=MAX_TYPED)
        text = data.decode("utf-8", "replace").strip()
    return read_label(text, device)


def _write_secret(path: Path | None, data: bytes) -> None:
    if path is not None:
        create_file(path, data, mode=0o600)


def _show_label(label: Label, qr: bool, svg: Path | None, png: Path | None, as_json: bool) -> None:
    text = qr_text(label.key, label.code)
    if svg is not None:
        _write_secret(svg, labels.picture(text, "svg"))
    if png is not None:
        _write_secret(png, labels.picture(text, "png"))
    found = {
        "device": label.device,
        "claim_code": label.code.text,
        "qr_text": text,
        "claim_digest": label.code.digest(label.device).hex(),
    }
    show(found, as_json=as_json)
    if qr and not as_json:
        print(labels.terminal(text), end="")


Qr = Annotated[bool, typer.Option("--qr", help="Draw the QR code in the terminal.")]
Svg = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the QR code (0600).")]
Png = Annotated[Path | None, typer.Option(metavar="FILE", help="Likewise.")]


@code.command("new")
def new_code(
    device: Annotated[str, typer.Option(metavar="DID", help="The device's did:key.")],
    qr: Qr = False,
    svg: Svg = None,
    png: Png = None,
    as_json: AsJson = False,
) -> None:
    """Make a claim code for one device; its digest goes into the birth certificate.

    Example: depin-id claim code new --device did:key:z6Mk... --svg label.svg
    """
    _show_label(read_label(ClaimCode.generate().text, device), qr, svg, png, as_json)


@code.command("show")
def show_code(
    label: LabelText,
    device: DeviceDid = None,
    qr: Qr = False,
    svg: Svg = None,
    png: Png = None,
    as_json: AsJson = False,
) -> None:
    """Read a label: which device, which code; draw its QR code again.

    Example: depin-id claim code show DEPIN1:E7TM... --qr
    """
    _show_label(_label(label, device), qr, svg, png, as_json)


@code.command("check")
def check_code(
    label: LabelText,
    certificate: Annotated[
        str, typer.Option(metavar="FILE", help="The device's birth certificate; - is stdin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a code against a birth certificate; its signature is `depin-id credential verify`'s.

    Example: depin-id claim code check 7K2M-... --certificate birth.json
    """
    document = read(read_input(certificate, max_bytes=MAX_CREDENTIAL)).credential
    if not isinstance(document, BirthCertificate):
        raise CredentialError("credential.type", "this is no birth certificate")
    subject = document.credential_subject
    if subject.claim_digest is None:
        raise CredentialError("claim.none", "this device has no claim code")
    found = _label(label, subject.id)
    if not found.code.opens(subject.id, bytes.fromhex(subject.claim_digest)):
        raise CredentialError(
            "claim.differs", "the code is not that of this device", hint="is it another's label?"
        )
    show({"device": subject.id, "serial": subject.serial, "code": "right"}, as_json=as_json)


@commands.command()
def make(
    label: LabelText,
    owner: Annotated[
        Path,
        typer.Option("--as", "--owner", metavar="KEY|FOLDER", help=f"The new owner. {SIGNS}"),
    ],
    network: Network,
    nonce: Nonce,
    device: DeviceDid = None,
    wallet_file: Annotated[
        str | None,
        typer.Option("--wallet", metavar="FILE", help="From `depin-id claim wallet bind`."),
    ] = None,
    out: Output = "-",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Claim a device: a statement signed with its code and with the owner's key.

    The code itself is not in it: whoever sees the statement cannot claim with it.

    Example: depin-id claim make DEPIN1:E7TM... --as me --network card.cbor --nonce 00ff... -o
    claim.cbor
    """
    binary_output(out)
    found = _label(label, device)
    binding = None
    if wallet_file is not None:
        binding = WalletBinding.from_json(read_input(wallet_file, max_bytes=2 * MAX_MESSAGE))
    data = make_claim(
        found.code,
        device=found.device,
        owner=open_party(owner, passphrase_file),
        network=network_and_card(network)[0],
        nonce=read_nonce(nonce),
        now=wall_ms(),
        wallet=binding,
    )
    with open_output(out) as file:
        file.write(data)


@commands.command("show")
def show_claim(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The statement; - is stdin.")],
    network: Network,
    digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="claimDigest of the device's certificate.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="MULTIKEY", help="Of an owner whose DID holds no key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the signatures of a claim and say what it claims.

    Example: depin-id claim show claim.cbor --network card.cbor
    """
    found = read_claim(
        read_input(file, max_bytes=MAX_TWOFOLD),
        network=network_and_card(network)[0],
        key_of=key_finder(key),
    )
    bound = found.verified_wallet()
    pairs: dict[str, Any] = {
        "device": found.device,
        "owner": found.owner,
        "method": found.method,
        "time": moment(found.time // 1000),
        "nonce": found.nonce.hex(),
        "wallet": None if bound is None else bound.account,
        "id": found.id.hex(),
    }
    if digest is not None:
        try:
            expected = bytes.fromhex(digest)
        except ValueError:
            raise ConfigError("usage", "--digest is hexadecimal") from None
        if not found.opens(expected):
            raise CredentialError("claim.differs", "the code is not that of this device")
        pairs["code"] = "right"
    show(pairs, as_json=as_json)


@wallet.command()
def message(
    account: Annotated[
        str,
        typer.Argument(metavar="ACCOUNT", help="CAIP-10: eip155:1:0x... or solana:...:..."),
    ],
    owner: Annotated[str, typer.Option(metavar="DID", help="The owner's DID.")],
    network: Network,
    nonce: Nonce,
    out: Output = "-",
) -> None:
    """Write the message that the wallet has to sign (personal_sign, or Solana's signMessage).

    Example: depin-id claim wallet message eip155:1:0x52... --owner did:key:z6Mk... --network
    card.cbor --nonce 00ff... -o message.txt
    """
    request = WalletRequest(
        account, owner, network_and_card(network)[0], read_nonce(nonce), wall_ms()
    )
    with open_output(out) as file:
        # Without a line end: what is signed is exactly the file.
        file.write(request.message.encode())


@wallet.command()
def bind(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The message; - is stdin.")],
    signature: Annotated[
        str, typer.Option(help="As the wallet gave it: hexadecimal; Solana: or base58.")
    ],
    out: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Verify a wallet's signature, and write message and signature for `depin-id claim make`.

    Example: depin-id claim wallet bind message.txt --signature 0xb914... -o wallet.json
    """
    data = read_input(file, max_bytes=MAX_MESSAGE)
    text = data.decode("utf-8", "replace").removesuffix("\n")
    found = WalletBinding.read(text, signature)
    request = found.request
    bound = verify_wallet(found, owner=request.owner, network=request.network, nonce=None)
    if out != "-":
        with open_output(out) as opened:
            opened.write(json_text(found.to_json(), indent=2).encode() + b"\n")
        show({"account": bound.account, "owner": bound.owner}, as_json=as_json)
        return
    print(json.dumps(found.to_json(), indent=2))
