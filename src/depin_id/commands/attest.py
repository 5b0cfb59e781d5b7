"""``depin-id attest``: show a network that the device is real, and take its answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from depin_id.ack import MAX_ACK_BYTES, read_challenge
from depin_id.attestation import Binding
from depin_id.attestation.message import ACTIVATE, MAX_EVIDENCE, attest_statement
from depin_id.carried import machine_boot
from depin_id.commands.common import app, open_output, read_input, read_passphrase, show
from depin_id.device import Device
from depin_id.durable import read_file
from depin_id.errors import AttestationError, ConfigError, TransportError
from depin_id.keyfile import open_key
from depin_id.keys import Signer, SoftwareSigner
from depin_id.network import NetworkCard, load_card
from depin_id.statements import write_statement

commands = app(
    "Show a network that this device is real, fresh and unchanged; take and name its result."
)
MAX_PEM: Final = 262_144
MAX_TOKEN: Final = 65_536

Folder = Annotated[Path, typer.Argument(metavar="DEVICE", help="The device's folder.")]
Card = Annotated[
    Path, typer.Option("--network", metavar="CARD", help="The network's card, or its folder.")
]
Asked = Annotated[
    str, typer.Option("--challenge", metavar="FILE", help="The network's signed challenge; -.")
]
Did = Annotated[
    str | None, typer.Option(help="Under which the network knows the device, if not by its key.")
]
Out = Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="- is stdout.")]
Wrapped = Annotated[
    bool, typer.Option("--statement", help="Write what is sent on the uplink topic, or posted.")
]
Passphrase = Annotated[Path | None, typer.Option(help="Its first line opens a sealed key file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IssuersFile = Annotated[
    Path | None,
    typer.Option(
        "--ek-chain", metavar="PEM", help="Certificates between the TPM's and its maker's root."
    ),
]


@dataclass(frozen=True, slots=True)
class _Session:
    """An open device, and what its evidence is to be bound to."""

    device: Device
    binding: Binding
    signer: Signer

    def send(
        self,
        out: str,
        media_type: str,
        evidence: bytes,
        *,
        wrapped: bool,
        as_json: bool,
        activation: bytes | None = None,
    ) -> None:
        _check_output(out, as_json)
        message = self.device.attest(self.binding, media_type, evidence, activation=activation)
        _write(out, attest_statement(message) if wrapped else message)
        if as_json:
            show(
                {
                    **_describe(self.binding),
                    "media_type": media_type,
                    "evidence_bytes": len(evidence),
                    "activated": activation is not None,
                },
                as_json=True,
            )


def _describe(binding: Binding) -> dict[str, object]:
    return {
        "challenge": binding.challenge.hex(),
        "network": binding.audience,
        "did": binding.did,
        "boot": binding.boot,
        "expires": binding.expires,
    }


def _card(path: Path) -> NetworkCard:
    return load_card(path / "card.cbor" if path.is_dir() else path)[0]


def _check_inputs(*names: str | None) -> None:
    if names.count("-") > 1:
        raise ConfigError("usage", "only one file can come from standard input")


def _check_output(out: str, as_json: bool) -> None:
    if as_json and out == "-":
        raise ConfigError("usage", "--json and what is made cannot both go to standard output")


def _write(out: str, data: bytes) -> None:
    with open_output(out) as file:
        file.write(data)


def _open(directory: Path, passphrase_file: Path | None) -> Device:
    return Device.open(directory, passphrase=read_passphrase(passphrase_file), boot=machine_boot())


def _check_boot() -> None:
    if machine_boot() is None:
        raise AttestationError(
            "attestation.boot",
            "this machine does not tell one boot from another, so no later command can go on in it",
            hint="attest in the process that signs: Device.binding() and Device.attest()",
        )


@contextlib.contextmanager
def _session(
    directory: Path, challenge: str, network: Path, did: str | None, passphrase_file: Path | None
) -> Iterator[_Session]:
    card = _card(network)
    asked = read_input(challenge, max_bytes=MAX_ACK_BYTES)
    _check_boot()
    with _open(directory, passphrase_file) as device:
        read = read_challenge(asked, card=card, recipient=device.public_key.thumbprint)
        yield _Session(device, device.binding(read, card.network, did=did), device.signer)


def _certificates(path: Path | None) -> list[bytes]:
    """The certificates of a PEM file, DER."""
    if path is None:
        return []
    data = read_input(str(path), max_bytes=MAX_PEM)
    try:
        return [found.public_bytes(Encoding.DER) for found in x509.load_pem_x509_certificates(data)]
    except ValueError as error:
        raise ConfigError("usage", f"{path} holds no certificates in PEM: {error}") from error


def _signer(path: Path) -> Signer:
    """A key file of this project's, or a private key in PEM; readable by its owner alone."""
    data = read_file(path, max_bytes=MAX_PEM, private=True)
    if data is None:
        raise TransportError("file.missing", f"there is no file {path}")
    if not data.startswith(b"-----BEGIN"):
        return open_key(path)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise ConfigError("usage", f"{path} is no open private key in PEM") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SoftwareSigner("ed25519", key.private_bytes_raw())
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return SoftwareSigner("p256", key.private_numbers().private_value.to_bytes(32, "big"))
    raise ConfigError("usage", f"the key of {path} is neither Ed25519 nor P-256")


@commands.command()
def challenge(
    directory: Folder,
    asked: Asked,
    network: Card,
    did: Did = None,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Print the 32 bytes that evidence has to carry, for platforms that make their own token.

    They name this boot of the device; `depin-id attest token` sends the token.

    Example: depin-id attest challenge dev --challenge challenge.cbor --network card.cbor
    """
    with _session(directory, asked, network, did, passphrase_file) as session:
        binding = session.binding
    if as_json:
        show(_describe(binding), as_json=True)
    else:
        print(binding.challenge.hex())


@commands.command()
def tpm(
    directory: Folder,
    asked: Asked,
    network: Card,
    out: Out,
    credential: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The network's answer to tpm-request, to be opened."),
    ] = None,
    ek_chain: IssuersFile = None,
    event_log: Annotated[
        str | None, typer.Option(metavar="FILE", help="What the firmware measured; see below.")
    ] = None,
    did: Did = None,
    statement: Wrapped = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make evidence with the machine's TPM: a quote of PCR 0 to 7, and the device's key certified.

    The event log is /sys/kernel/security/tpm0/binary_bios_measurements on Linux. The TPM is found
    as tpm2-tools find it, by TPM2TOOLS_TCTI.

    Example: depin-id attest tpm dev --challenge challenge.cbor --network card.cbor
    --credential credential -o message.cbor
    """
    from depin_id.attestation.tpm2_evidence import MAX_EVENT_LOG, MEDIA_TYPE
    from depin_id.attestation.tpm_device import TpmAttester

    _check_inputs(asked, credential, event_log)
    log = None if event_log is None else read_input(event_log, max_bytes=MAX_EVENT_LOG)
    blob = None if credential is None else read_input(credential, max_bytes=MAX_ACK_BYTES)
    issuers = _certificates(ek_chain)
    with (
        _session(directory, asked, network, did, passphrase_file) as session,
        TpmAttester(ek_chain=issuers) as attester,
    ):
        opened = None if blob is None else attester.activate(blob)
        evidence = attester.evidence(session.binding.challenge, session.signer, event_log=log)
        session.send(
            out, MEDIA_TYPE, evidence, wrapped=statement, as_json=as_json, activation=opened
        )


@commands.command("tpm-request")
def tpm_request(
    directory: Folder,
    out: Out,
    network: Annotated[
        Path | None, typer.Option(metavar="CARD", help="Whom it is for; the card is checked.")
    ] = None,
    ek_chain: IssuersFile = None,
    statement: Wrapped = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a credential that only this machine's TPM can open.

    The answer goes into `depin-id attest tpm --credential`: it proves that the attestation key lies
    in the TPM whose maker certified its endorsement key.

    Example: depin-id attest tpm-request dev -o request.cbor
    """
    from depin_id.attestation.tpm_device import TpmAttester

    _check_output(out, as_json)
    if network is not None:
        _card(network)
    issuers = _certificates(ek_chain)
    with _open(directory, passphrase_file) as device, TpmAttester(ek_chain=issuers) as attester:
        thumbprint = device.public_key.thumbprint
        request = attester.request(thumbprint)
        certificates = len(attester.ek_chain)
    _write(out, write_statement(ACTIVATE, request) if statement else request)
    if as_json:
        show({"thumbprint": thumbprint.hex(), "certificates": certificates}, as_json=True)


@commands.command()
def token(
    directory: Folder,
    asked: Asked,
    network: Card,
    media_type: Annotated[
        str, typer.Option("--type", metavar="MEDIA_TYPE", help="Which format the evidence has.")
    ],
    evidence: Annotated[
        str, typer.Option(metavar="FILE", help="What the platform made for the challenge; -.")
    ],
    out: Out,
    did: Did = None,
    statement: Wrapped = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Send evidence that the platform made, in any format: EAT, PSA, Android, App Attest, ...

    It has to be made for what `depin-id attest challenge` printed, in this boot of the machine.

    Example: depin-id attest token dev --challenge challenge.cbor --network card.cbor
    --type application/eat+cwt --evidence token.cbor -o message.cbor
    """
    _check_inputs(asked, evidence)
    data = read_input(evidence, max_bytes=MAX_EVIDENCE)
    with _session(directory, asked, network, did, passphrase_file) as session:
        session.send(out, media_type, data, wrapped=statement, as_json=as_json)


@commands.command()
def idevid(
    directory: Folder,
    asked: Asked,
    network: Card,
    chain: Annotated[
        Path, typer.Option(metavar="PEM", help="The maker's certificates, the device's own first.")
    ],
    out: Out,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificate's key, if not the device's own; 0600."),
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(metavar="FILE", help="What the maker signed about the part.")
    ] = None,
    did: Did = None,
    statement: Wrapped = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make evidence with a manufacturer's certificate (IEEE 802.1AR) and its key.

    Example: depin-id attest idevid dev --challenge challenge.cbor --network card.cbor
    --chain idevid.pem -o message.cbor
    """
    from depin_id.attestation.idevid_evidence import MAX_MANIFEST, MEDIA_TYPE, make_evidence

    _check_inputs(asked, str(chain), manifest)
    certificates, other = _certificates(chain), None if key is None else _signer(key)
    signed = None if manifest is None else read_input(manifest, max_bytes=MAX_MANIFEST)
    with _session(directory, asked, network, did, passphrase_file) as session:
        evidence = make_evidence(
            certificates,
            session.binding.challenge,
            signer=other or session.signer,
            manifest=signed,
        )
        session.send(out, MEDIA_TYPE, evidence, wrapped=statement, as_json=as_json)


@commands.command()
def result(
    directory: Folder,
    signed: Annotated[str, typer.Argument(metavar="RESULT", help="The signed result; -.")],
    network: Card,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Take the network's signed result: what is signed for it from now on names this result.

    Example: depin-id attest result dev result.cbor --network card.cbor
    """
    card = _card(network)
    data = read_input(signed, max_bytes=MAX_TOKEN)
    with _open(directory, passphrase_file) as device:
        device.take_result(data, card)
        _show(device, card, as_json)


@commands.command("show")
def show_result(
    directory: Folder, network: Card, passphrase_file: Passphrase = None, as_json: AsJson = False
) -> None:
    """Print the result that the device holds of a network, and whether it still counts.

    Example: depin-id attest show dev --network card.cbor
    """
    card = _card(network)
    with _open(directory, passphrase_file) as device:
        _show(device, card, as_json)


def _show(device: Device, card: NetworkCard, as_json: bool) -> None:
    held = device.result(card.network)
    if held is None:
        raise AttestationError(
            "attestation.none",
            f"no result of {card.network} is held",
            hint="attest, and take the network's answer with `depin-id attest result`",
        )
    show(
        {
            "result": held.digest.hex(),
            "ear": held.ear.hex(),
            "level": held.level,
            "boot": held.boot,
            "issued": held.issued,
            "not_after": held.not_after,
            "good": device.attested(card.network),
        },
        as_json=as_json,
    )
