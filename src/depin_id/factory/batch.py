"""Making a production batch: certificates under one signature, enrolments and claim codes.

All lines are read and checked first, then the root over all certificates is signed, then each gets
its proof. Nothing is seen from outside before everything is written: see :mod:`.folder`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from depin_id.credentials.batch import (
    batch_digest,
    batch_proof,
    leaf_hash,
    sign_batch,
    verify_birth,
)
from depin_id.credentials.models import BirthCertificate, BirthSubject, ProductionBatch
from depin_id.credentials.moments import format_moment
from depin_id.credentials.status.result import StatusResult
from depin_id.credentials.verifying import Verified, verify
from depin_id.credentials.wire import write
from depin_id.errors import CredentialError
from depin_id.factory.earlier import remember
from depin_id.factory.faults import BatchRefused, Faults
from depin_id.factory.folder import new_folder
from depin_id.factory.rows import Defaults, Row, Seen, read_rows
from depin_id.jcs import canonicalize
from depin_id.keys import PublicKey
from depin_id.owners.codes import ClaimCode, qr_text
from depin_id.owners.party import Party, check_party
from depin_id.printable import json_text

MAX_DEVICES: Final = 1_000_000
"""Devices of one batch: what has to be in memory are 400 bytes for each."""
BATCH_FILE: Final = "batch.json"
CERTIFICATES_FILE: Final = "certificates.jsonl"
ENROLMENTS_FILE: Final = "enrolments.jsonl"
CLAIMS_FILE: Final = "claims.csv"
CLAIMS_HEADER: Final = "serial,did,claim_code,qr_text,mac\n"
_BODIES: Final = ".bodies"
_CHECKED: Final = 64
"""Certificates that are verified, as others will, before the batch appears."""
_EVERY: Final = 1000
_BEFORE_TYPE: Final = b',"type":["VerifiableCredential"'

Report = Callable[[str, int, int | None], None]
"""Is told what is done, how many are done and of how many, where that is known."""


def _silent(what: str, done: int, total: int | None) -> None:
    """For who wants no progress."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is made.

    Attributes:
        batch: its name, 1 to 128 printable characters.
        issuer: the manufacturer, with the key that signs.
        now: of the certificates, milliseconds since 1970.
        defaults: for what lines do not say.
        claims: whether devices get claim codes.
        earlier: folders of earlier batches, whose serials and keys must not come again.
        max_devices: bound on the size of the batch.
        credential_status: entry of a status list, for the batch as a whole.
        status: gives the entry of a status list for the next device, which is only its own.
        random: gives so many random bytes.
    """

    batch: str
    issuer: Party
    now: int
    defaults: Defaults = field(default_factory=Defaults)
    claims: bool = True
    earlier: tuple[Path, ...] = ()
    max_devices: int = MAX_DEVICES
    credential_status: dict[str, Any] | None = None
    status: Callable[[], dict[str, Any]] | None = None
    random: Callable[[int], bytes] = os.urandom


@dataclass(frozen=True)
class Batch:
    """A batch that was made.

    Attributes:
        folder: holds its files.
        batch: its name. issuer: DID of the manufacturer.
        size: how many devices.
        root: RFC 6962 root over the certificates, hex.
        digest: of the batch's credential, as the certificates' proofs name it, hex.
    """

    folder: Path
    batch: str
    issuer: str
    size: int
    root: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        names = sorted(path.name for path in self.folder.iterdir())
        return {
            "folder": str(self.folder),
            "batch": self.batch,
            "issuer": self.issuer,
            "devices": self.size,
            "root": self.root,
            "digest": self.digest,
            "files": names,
        }


class _Collector:
    """Writes what can be written of a device before the root is known."""

    def __init__(self, folder: Path, options: BatchOptions, stack: ExitStack) -> None:
        self.options = options
        self.valid_from = format_moment(options.now)
        self.leaves: list[bytes] = []
        self.bodies = stack.enter_context(_create(folder / _BODIES, 0o600))
        self.enrolments = stack.enter_context(_create(folder / ENROLMENTS_FILE, 0o644))
        self.claims: BinaryIO | None = None
        if options.claims:
            self.claims = stack.enter_context(_create(folder / CLAIMS_FILE, 0o600))
            self.claims.write(CLAIMS_HEADER.encode())

    def add(self, row: Row) -> None:
        """One device."""
        digest = None
        if self.claims is not None:
            digest = self._claim(row, self.claims)
        body = self._body(row, digest)
        self.leaves.append(leaf_hash(body))
        self.bodies.write(body + b"\n")
        self.enrolments.write(json_text(row.enrolment.to_json()).encode() + b"\n")

    def _claim(self, row: Row, file: BinaryIO) -> str:
        code = ClaimCode.generate(self.options.random)
        did = row.enrolment.did
        label = qr_text(row.enrolment.key, code)
        file.write(f"{row.serial},{did},{code.text},{label},{row.mac}\n".encode())
        return code.digest(did).hex()

    def _body(self, row: Row, claim_digest: str | None) -> bytes:
        """The canonical certificate without its proof."""
        status = None if self.options.status is None else self.options.status()
        try:
            certificate = BirthCertificate(
                credential_status=status,
                credential_subject=BirthSubject(
                    batch=self.options.batch,
                    claim_digest=claim_digest,
                    hardware_revision=row.hardware_revision,
                    id=row.enrolment.did,
                    key=row.enrolment.did.removeprefix("did:key:"),
                    key_protection=row.key_protection,
                    model=row.model,
                    serial=row.serial,
                ),
                issuer=self.options.issuer.did,
                valid_from=self.valid_from,
            )
        except ValueError as error:
            raise CredentialError("credential.malformed", str(error)[:300]) from None
        return write(certificate)


def _create(path: Path, mode: int) -> BinaryIO:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    os.fchmod(handle, mode)
    return open(handle, "wb", buffering=1 << 18)


def make_batch(
    source: BinaryIO,
    folder: str | Path,
    options: BatchOptions,
    *,
    also: Callable[[Path], None] | None = None,
    report: Report = _silent,
) -> Batch:
    """Issue birth certificates for a batch, or for none of it.

    Args:
        source: CSV or JSON Lines of the devices (:func:`read_rows`).
        folder: must not exist; appears when everything in it is written.
        also: writes more into the folder before it appears, such as labels.
        report: progress.

    Raises:
        BatchRefused: ``factory.refused``: what is wrong, by line; nothing was written.
        CredentialError: ``credential.*`` for options that no credential can say,
            ``party.key_differs``. StateError: ``state.exists``, ``state.io`` and others.
        DIDError: the issuer's verification method.
    """
    _check_options(options)
    with new_folder(Path(folder)) as unfinished:
        with ExitStack() as stack:
            collector = _Collector(unfinished, options, stack)
            check_rows(
                source,
                options.defaults,
                earlier=options.earlier,
                max_devices=options.max_devices,
                issuer=options.issuer.signer.public_key,
                take=collector.add,
                report=report,
            )
        made = _sign(unfinished, collector, report)
        if also is not None:
            also(unfinished)
    return Batch(Path(folder), options.batch, options.issuer.did, *made)


def _check_options(options: BatchOptions) -> None:
    """Refuse before anything is read what would be refused after a million lines."""
    check_party(options.issuer)
    sign_batch([bytes(32)], options.issuer.signer, **_about(options))
    if not 1 <= options.max_devices <= MAX_DEVICES:
        raise CredentialError("factory.too_many", f"a batch has 1 to {MAX_DEVICES} devices")


def _about(options: BatchOptions) -> dict[str, Any]:
    moment = format_moment(options.now)
    return {
        "batch": options.batch,
        "issuer": options.issuer.did,
        "valid_from": moment,
        "verification_method": options.issuer.method,
        "created": moment,
        "credential_status": options.credential_status,
    }


def check_rows(
    source: BinaryIO,
    defaults: Defaults,
    *,
    earlier: tuple[Path, ...] = (),
    max_devices: int = MAX_DEVICES,
    issuer: PublicKey | None = None,
    take: Callable[[Row], None] | None = None,
    report: Report = _silent,
) -> int:
    """Read all lines of a batch; gives how many devices they name.

    Args:
        issuer: the key that signs the batch: no device's own.
        take: is given each device until the first fault.

    Raises:
        BatchRefused: ``factory.refused``: what is wrong, by line.
        TransportError, ConfigError: an earlier batch.
    """
    faults, seen, count = Faults(), Seen(), 0
    remember(earlier, seen)
    for row in read_rows(source, defaults=defaults, faults=faults, seen=seen):
        count += 1
        if count > max_devices:
            faults.add(row.line, "factory.too_many", f"over {max_devices} devices")
            break
        if row.enrolment.key == issuer:
            faults.add(row.line, "factory.key", "this is the key that signs the batch")
        if take is not None and not faults:
            take(row)
        if count % _EVERY == 0:
            report("read", count, None)
    if not count and not faults:
        faults.add(0, "factory.empty", "the input names no device")
    if faults:
        raise BatchRefused(faults)
    report("read", count, count)
    return count


def _sign(folder: Path, collector: _Collector, report: Report) -> tuple[int, str, str]:
    """Sign the root, then write each certificate with its proof; gives size, root and digest."""
    options = collector.options
    signed, tree = sign_batch(collector.leaves, options.issuer.signer, **_about(options))
    digest = batch_digest(signed)
    with _create(folder / BATCH_FILE, 0o644) as file:
        file.write(canonicalize(signed) + b"\n")
    size = len(tree)
    check = _Check(options, signed, max(1, size // _CHECKED))
    with (
        open(folder / _BODIES, "rb") as bodies,
        _create(folder / CERTIFICATES_FILE, 0o644) as file,
    ):
        for index, line in enumerate(bodies):
            body = line[:-1]
            cut = body.rindex(_BEFORE_TYPE)
            proof = canonicalize(batch_proof(tree, index, digest))
            certificate = body[:cut] + b',"proof":' + proof + body[cut:]
            check.some(index, size, certificate)
            file.write(certificate + b"\n")
            if index % _EVERY == 0:
                report("certificates", index, size)
    os.unlink(folder / _BODIES)
    report("certificates", size, size)
    return size, tree.root.hex(), digest


class _Fresh:
    """The status of what was issued just now: nobody can have revoked it."""

    def check(
        self, entry: Mapping[str, Any], *, now_ms: int, issuer: str | None = None
    ) -> StatusResult:
        """Valid."""
        return StatusResult("valid", value=0)


class _Check:
    """Verifies some of the certificates as others will: what leaves is good."""

    def __init__(self, options: BatchOptions, signed: dict[str, Any], step: int) -> None:
        self._now, self._step = options.now, step
        self._key = options.issuer.signer.public_key
        self._batch: Verified = verify(
            signed,
            key_of=self._key_of,
            now_ms=self._now,
            expected_type=ProductionBatch,
            status=_Fresh(),
        )

    def _key_of(self, method: str, issuer: str, created: str | None) -> PublicKey:
        return self._key

    def some(self, index: int, size: int, certificate: bytes) -> None:
        """Verify the first, the last, and each so many."""
        if index % self._step == 0 or index == size - 1:
            verify_birth(
                certificate,
                key_of=self._key_of,
                now_ms=self._now,
                batch=self._batch,
                status=_Fresh(),
            )
