"""``depin-id credential``: issue, verify and show credentials of devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from depin_id.commands.common import app, read_input, show
from depin_id.commands.credential_files import (
    add_lists,
    issuer_keys,
    moment_of,
    read_document,
    sign_and_write,
    subject_of,
)
from depin_id.commands.identity import AsJson, Dids, Output, PassphraseFile, Signing
from depin_id.credentials import (
    BirthCertificate,
    Calibration,
    Location,
    Ownership,
    StatusCheck,
    Verified,
    verify,
    verify_birth,
    verify_chain,
)
from depin_id.credentials.models import BatchProof, Credential
from depin_id.credentials.wire import MAX_CREDENTIAL, read
from depin_id.did.literal import literal_key
from depin_id.did.multikey import encode_multikey
from depin_id.errors import ConfigError, DepinError
from depin_id.keys import PublicKey

commands = app("Credentials of devices: birth, ownership, calibration, location.")
issue = app("Issue a credential, signed by a DID's folder or a key file.")
commands.add_typer(issue, name="issue")

EXIT_REFUSED: Final = 1

Device = Annotated[str | None, typer.Option(metavar="DID", help="The device.")]
Input = Annotated[
    str | None,
    typer.Option("--in", metavar="FILE", help="What is said, as JSON; options win. - is stdin."),
]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From when; now.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Until when.")]
Status = Annotated[
    str | None,
    typer.Option("--status-entry", metavar="FILE", help="From `depin-id status give`."),
]


@issue.command()
def birth(
    signing: Signing,
    device: Device = None,
    serial: Annotated[str | None, typer.Option(help="Serial number.")] = None,
    model: Annotated[str | None, typer.Option(help="Model.")] = None,
    revision: Annotated[str | None, typer.Option(help="Hardware revision.")] = None,
    protection: Annotated[
        str | None, typer.Option(help="Of the key: software, tee, tpm, secure-element.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Production batch.")] = None,
    claim_digest: Annotated[str | None, typer.Option(help="Of the claim code, hex.")] = None,
    source: Input = None,
    since: From = None,
    until: Until = None,
    status_entry: Status = None,
    passphrase_file: PassphraseFile = None,
    out: Output = "-",
) -> None:
    """Manufacturer to device: its key, model, revision and batch.

    Example: depin-id credential issue birth --as maker --device did:key:z6Mk... --serial 17
    --model noise --revision B2 --protection tpm --batch 2026-11-A -o birth.json
    """
    subject = subject_of(
        source,
        id=device,
        serial=serial,
        model=model,
        hardwareRevision=revision,
        keyProtection=protection,
        batch=batch,
        claimDigest=claim_digest,
    )
    did = subject.get("id")
    if "key" not in subject and isinstance(did, str):
        # Of a DID with a history the key that it has now.
        subject["key"] = encode_multikey(_only_key(did))
    sign_and_write(
        BirthCertificate, subject, signing, passphrase_file, since, until, status_entry, out
    )


def _only_key(did: str) -> PublicKey:
    key = literal_key(did)
    if key is None:
        raise ConfigError(
            "usage", f"which key {did[:80]} has is not in the DID", hint='give "key" with --in'
        )
    return key


@issue.command()
def ownership(
    signing: Signing,
    previous: Annotated[
        str,
        typer.Option(metavar="FILE", help="The credential before: birth certificate or transfer."),
    ],
    owner: Annotated[str, typer.Option(metavar="DID", help="The new owner.")],
    since: From = None,
    status_entry: Status = None,
    passphrase_file: PassphraseFile = None,
    out: Output = "-",
) -> None:
    """Owner before (at first the manufacturer) to the new owner.

    Example: depin-id credential issue ownership --as maker --previous birth.json
    --owner did:key:z6Mk... -o first.json
    """
    before = read(read_input(previous, max_bytes=MAX_CREDENTIAL))
    device = getattr(before.credential.credential_subject, "id", None)
    subject = {"id": device, "owner": owner, "previous": before.digest.hex()}
    sign_and_write(Ownership, subject, signing, passphrase_file, since, None, status_entry, out)


@issue.command()
def calibration(
    signing: Signing,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Until when.")],
    device: Device = None,
    quantity: Annotated[str | None, typer.Option(help="Such as: sound pressure level.")] = None,
    unit: Annotated[str | None, typer.Option(help="Such as dB.")] = None,
    reference: Annotated[str | None, typer.Option(help="The standard compared with.")] = None,
    uncertainty: Annotated[str | None, typer.Option(help="Expanded, in the unit.")] = None,
    coverage: Annotated[str | None, typer.Option(help="Coverage factor k.")] = None,
    source: Input = None,
    since: From = None,
    status_entry: Status = None,
    passphrase_file: PassphraseFile = None,
    out: Output = "-",
) -> None:
    """Laboratory to device: what was compared with what, how exactly, until when it holds.

    Example: depin-id credential issue calibration --as lab --device did:key:z6Mk...
    --quantity "sound pressure level" --unit dB --reference "pistonphone 114 dB"
    --uncertainty 0.25 --coverage 2 --until 2027-11-20T00:00:00Z -o calibration.json
    """
    subject = subject_of(
        source,
        id=device,
        quantity=quantity,
        unit=unit,
        reference=reference,
        uncertainty=uncertainty,
        coverageFactor=coverage,
    )
    sign_and_write(Calibration, subject, signing, passphrase_file, since, until, status_entry, out)


@issue.command()
def location(
    signing: Signing,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Until when.")],
    device: Device = None,
    lat: Annotated[str | None, typer.Option(help="Latitude in degrees.")] = None,
    lon: Annotated[str | None, typer.Option(help="Longitude in degrees.")] = None,
    accuracy: Annotated[str | None, typer.Option(help="Radius in metres.")] = None,
    altitude: Annotated[str | None, typer.Option(help="Metres above the ellipsoid.")] = None,
    source: Input = None,
    since: From = None,
    status_entry: Status = None,
    passphrase_file: PassphraseFile = None,
    out: Output = "-",
) -> None:
    """Whoever saw it to device: where it stands.

    Example: depin-id credential issue location --as owner --device did:key:z6Mk...
    --lat 52.52 --lon 13.405 --accuracy 10 --until 2027-11-20T00:00:00Z -o place.json
    """
    subject = subject_of(
        source, id=device, latitude=lat, longitude=lon, accuracy=accuracy, altitude=altitude
    )
    sign_and_write(Location, subject, signing, passphrase_file, since, until, status_entry, out)


def _verified(found: Verified) -> dict[str, Any]:
    said: dict[str, Any] = {
        "good": True,
        "type": type(found.credential).TYPE,
        "issuer": found.issuer,
        "subject": found.subject,
        "digest": found.digest.hex(),
        "status": None if found.status is None else found.status.state,
    }
    return said | _said(found.credential)


def _said(credential: Credential) -> dict[str, Any]:
    """What a credential says, one line each."""
    subject: dict[str, Any] = credential.credential_subject.model_dump(exclude_none=True)
    said = {name: item for name, item in subject.items() if name != "id"}
    return said | {"valid_from": credential.valid_from, "valid_until": credential.valid_until}


@commands.command("verify")
def verify_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The credential; - is stdin.")],
    dids: Dids = None,
    batch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Credential of its production batch.")
    ] = None,
    status: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A signed status list; repeat.")
    ] = None,
    transfer: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Of a birth certificate: a later ownership; repeat."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DID", help="The device it has to be for.")
    ] = None,
    issuer: Annotated[
        list[str] | None, typer.Option(metavar="DID", help="Whom to trust; repeat. Anybody.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="The moment it has to hold at; now.")
    ] = None,
    keys_then: Annotated[
        bool,
        typer.Option(
            "--keys-then",
            help="Take keys as of when the proof says it was made, retired ones too: whoever "
            "stole one can date a proof back.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a credential: exit 0 when it is good, 1 with the reason when it is not.

    A signature says who issued it, not whether he may: name whom you trust with --issuer.

    Example: depin-id credential verify birth.json --issuer did:webvh:... --dids dids
    """
    now = moment_of(at)
    data = read_document(file)
    try:
        keys = issuer_keys(dids, None if at is None else now, keys_then=keys_then, issuers=issuer)
        lists = add_lists(status, dids)
        found = _verify(data, keys, now, batch, device, lists)
        said = _verified(found)
        if transfer:
            said |= _owners(found, transfer, keys, now, lists)
    except DepinError as error:
        if error.code.startswith(("file.", "state.", "config.", "usage")):
            raise
        refused = {"good": False, "code": error.code, "reason": error.message, "hint": error.hint}
        show(refused, as_json=as_json)
        raise typer.Exit(EXIT_REFUSED) from None
    show(said, as_json=as_json)


def _verify(
    data: bytes,
    keys: Any,
    now: int,
    batch: Path | None,
    device: str | None,
    lists: StatusCheck | None,
) -> Verified:
    given: dict[str, Any] = {"key_of": keys, "now_ms": now, "status": lists}
    if isinstance(read(data).proof, BatchProof):
        whole = None if batch is None else read_document(str(batch))
        return verify_birth(data, batch=whole, expected_subject=device, **given)
    if batch is not None:
        raise ConfigError("usage", "--batch goes with a certificate of a batch; this is signed")
    return verify(data, expected_subject=device, **given)


def _owners(
    birth: Verified, transfers: list[Path], keys: Any, now: int, lists: StatusCheck | None
) -> dict[str, Any]:
    verified = [
        verify(
            read_document(str(path)),
            key_of=keys,
            now_ms=now,
            expected_type=Ownership,
            status=lists,
        )
        for path in transfers
    ]
    owners = verify_chain(birth, verified)
    return {"owner": owners.owner_at(now), "owners": [link.did for link in owners.links]}


@commands.command("show")
def show_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The credential; - is stdin.")],
    as_json: AsJson = False,
) -> None:
    """Show what a credential says. Nothing is verified: anybody can write that.

    Example: depin-id credential show birth.json
    """
    parts = read(read_document(file))
    credential, proof = parts.credential, parts.proof
    if proof is None:
        signed = "no"
    elif isinstance(proof, BatchProof):
        signed = f"leaf {proof.index} of {proof.size} of the batch {proof.batch}"
    else:
        signed = f"{proof.suite} by {proof.method}, not verified"
    said = {
        "type": type(credential).TYPE,
        "issuer": credential.issuer,
        "subject": getattr(credential.credential_subject, "id", None),
        "signed": signed,
        "digest": parts.digest.hex(),
    }
    show(said | _said(credential), as_json=as_json)
