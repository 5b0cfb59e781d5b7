"""``depin-id peaq verify``: packages, chains, chip evidence and envelopes, with named keys."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from depin_id import strict_json
from depin_id.commands.common import app, read_input, show
from depin_id.commands.peaq_input import from_hex
from depin_id.did.multikey import decode_multikey
from depin_id.did.peaq import PeaqMethod, file_source
from depin_id.durable import read_file, replace_file
from depin_id.errors import ConfigError, DepinError, StateError
from depin_id.evm import checksum_address, parse_address
from depin_id.peaq import canonical
from depin_id.peaq.bounds import Increasing, Window, parse_moment
from depin_id.peaq.certificates import CertificatePath
from depin_id.peaq.chip import verify_chip_evidence
from depin_id.peaq.chunks import verify_chain
from depin_id.peaq.document import Document
from depin_id.peaq.identifier import parse_peaq_did
from depin_id.peaq.resolved import did_document
from depin_id.peaq.ros2 import verify_envelope
from depin_id.peaq.stream import parse_package, verify_package
from depin_id.peaq.trust import (
    MachineKeys,
    keys_of_did,
    keys_of_document,
    trusted_keys,
    vouched_by_issuer,
)
from depin_id.printable import json_text, printable

commands = app(
    "Verify what machines of peaq sign: the key has to be one that the DID names.\n\n"
    "Example: depin-id peaq verify package packages.jsonl --keys keys.json"
)
MAX_INPUT: Final = 1 << 26
Json = Annotated[bool, typer.Option("--json", help="JSON.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="- is stdin.")]
Keys = Annotated[
    Path | None,
    typer.Option(help="JSON: keys you answer for, by DID: addresses, keys, controllers."),
]
Values = Annotated[
    Path | None, typer.Option(help="JSON: by DID, what the chain holds (unverified).")
]
Issuers = Annotated[
    Path | None, typer.Option(help="JSON as --keys: who may vouch for documents of --values.")
]
Believe = Annotated[
    bool,
    typer.Option("--believe-attribute", help="Take documents that nobody vouches for. Unsafe."),
]
At = Annotated[
    str | None, typer.Option(metavar="TIME", help="Judge as of this moment; default: now.")
]
Age = Annotated[int, typer.Option(help="Oldest that is taken, in seconds.")]


def _wrong(what: str) -> NoReturn:
    raise ConfigError("config.keys", what, hint='{"did:peaq:42": {"addresses": ["0x..."]}}')


def _now(at: str | None) -> int:
    return time.time_ns() // 1_000_000 if at is None else parse_moment(at)


def read_keys(path: Path | None) -> list[MachineKeys]:
    """A file of keys that the caller answers for.

    Raises:
        ConfigError: ``config.keys``. Others for keys and addresses that are none.
    """
    if path is None:
        return []
    value = strict_json.parse(read_input(str(path), max_bytes=MAX_INPUT), max_bytes=MAX_INPUT)
    if not isinstance(value, dict):
        _wrong(f"{path.name} is not an object")
    found = []
    for did, named in value.items():
        if not isinstance(named, dict) or not set(named) <= {"addresses", "keys", "controllers"}:
            _wrong(f"{did[:120]} has other members than addresses, keys, controllers")
        lists = [named.get(name, []) for name in ("addresses", "keys", "controllers")]
        if any(not isinstance(part, list) for part in lists):
            _wrong(f"addresses, keys and controllers of {did[:120]} are lists")
        addresses, keys, controllers = lists
        found.append(
            trusted_keys(
                did,
                addresses=map(parse_address, addresses),
                keys=map(decode_multikey, keys),
                controllers=map(parse_address, controllers),
            )
        )
    return found


class Ring:
    """Which keys a DID names: those the caller answers for, a vouched document's, or its own."""

    def __init__(self, keys: Path | None, values: Path | None, issuers: Path | None) -> None:
        self._own = {found.did: found for found in read_keys(keys)}
        self._method = None if values is None else PeaqMethod(file_source(values))
        self._issuers = read_keys(issuers)

    def of(self, did: object) -> MachineKeys:
        """The keys of a DID. Raises DIDError, CredentialError and others."""
        text = did if isinstance(did, str) else ""
        own = self._own.get(parse_peaq_did(text))
        if own is not None:
            return own
        if self._method is None:
            return keys_of_did(text)
        found = self._method.read(text)
        if self._issuers and isinstance(found, Document) and found.signature is not None:
            return vouched_by_issuer(found, self._issuers)
        return keys_of_document(did_document(found))


class Folder(Mapping[int, bytes]):
    """Ciphertexts in files named by their place, one at a time in memory."""

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count

    def __getitem__(self, index: int) -> bytes:
        return read_input(str(self._path / str(index)))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count


def _json(name: str) -> Any:
    return strict_json.parse(read_input(name, max_bytes=MAX_INPUT), max_bytes=MAX_INPUT)


@commands.command()
def package(
    source: File,
    keys: Keys = None,
    values: Values = None,
    issuers: Issuers = None,
    believe: Believe = False,
    at: At = None,
    max_age: Age = 604_800,
    seen: Annotated[
        Path | None, typer.Option(help="File that remembers what was taken, for one run at a time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify signed data packages, one JSON object a line. Exits 1 when one is refused.

    Example: depin-id peaq verify package packages.jsonl --keys keys.json --seen seen.json
    """
    ring, memory, now = Ring(keys, values, issuers), Increasing(state=_seen(seen)), _now(at)
    window, told, count = Window(age_ms=max_age * 1000), [], 0
    for line in read_input(source, max_bytes=MAX_INPUT).splitlines():
        if not line.strip():
            continue
        count += 1
        try:
            found = parse_package(line)
            done = verify_package(
                found,
                ring.of(found.did),
                now_ms=now,
                memory=memory,
                window=window,
                allow_attribute=believe,
            )
        except DepinError as error:
            shown: dict[str, Any] = {"line": count, "ok": False} | error.to_json()
        else:
            shown = {
                "line": count,
                "ok": True,
                "did": found.did,
                "sequence": found.sequence_number,
                "signer": checksum_address(done.signer),
                "trust": done.trust,
                "portable": found.portable,
            }
        told.append(shown)
    if not count:
        raise ConfigError("usage", "the input holds no packages")
    if seen is not None:
        # Before anybody is told that a package is good: it is not to be good twice.
        replace_file(seen, json_text(memory.state()).encode())
    for shown in told:
        print(json_text(shown) if as_json else _line(shown))
    if not all(shown["ok"] for shown in told):
        raise typer.Exit(1)


def _seen(path: Path | None) -> dict[str, int]:
    data = None if path is None else read_file(path, max_bytes=MAX_INPUT)
    if data is None:
        return {}
    value = canonical.parse(data, max_bytes=MAX_INPUT)
    if any(type(number) is not int for number in value.values()):
        raise StateError("state.damaged", f"{path} is not what an earlier run wrote")
    return value


def _line(shown: dict[str, Any]) -> str:
    if shown["ok"]:
        text = f"ok {shown['did']} sequence {shown['sequence']} trust {shown['trust']}"
    else:
        text = f"REFUSED {shown['code']}: {shown['message']}"
    return f"{shown['line']}: {printable(text)}"


@commands.command()
def chain(
    source: File,
    data: Annotated[Path, typer.Option(help="Folder of ciphertexts, named by place: 0, 1, ...")],
    last: Annotated[str, typer.Option(help="Id of the last chunk, from a place you trust.")],
    keys: Keys = None,
    values: Values = None,
    issuers: Issuers = None,
    believe: Believe = False,
    as_json: Json = False,
) -> None:
    """Verify a chunk chain. Without the last id nobody sees that it was cut off.

    Example: depin-id peaq verify chain chain.json --data chunks --last 0x... --keys keys.json
    """
    value = _json(source)
    chunks = value.get("chunks") if isinstance(value, dict) else None
    count = len(chunks) if isinstance(chunks, list) else 0
    found = verify_chain(
        value,
        Folder(data, count),
        Ring(keys, values, issuers).of(value["did"] if count and "did" in value else None),
        last_chunk_id=last,
        allow_attribute=believe,
    )
    shown = {"chunks": len(found.chunk_ids), "trust": found.trust, "unsigned": list(found.unsigned)}
    show(shown, as_json=as_json)


@commands.command()
def chip(
    source: File,
    nonce: Annotated[str, typer.Option(help="The challenge that you gave out, 32 bytes in hex.")],
    root: Annotated[list[Path], typer.Option(help="Root certificate of the manufacturer.")],
    intermediate: Annotated[
        list[Path] | None, typer.Option(help="Certificate between leaf and root.")
    ] = None,
    chain_id: Annotated[int, typer.Option(help="EIP-155 number of the chain.")] = 3338,
    unlisted: Annotated[
        bool, typer.Option("--unlisted-chip", help="The DID need not name the chip's key.")
    ] = False,
    keys: Keys = None,
    values: Values = None,
    issuers: Issuers = None,
    believe: Believe = False,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Verify chip evidence: certificate, both signatures, and whose DID it is.

    Example: depin-id peaq verify chip evidence.json --nonce 0x... --root root.crt --keys keys.json
    """
    data = read_input(source, max_bytes=MAX_INPUT)
    value = strict_json.parse(data)
    transcript = value.get("transcript") if isinstance(value, dict) else None
    did = transcript.get("machineDid") if isinstance(transcript, dict) else None
    path = CertificatePath(
        [read_input(str(name)) for name in root],
        [read_input(str(name)) for name in intermediate or []],
    )
    found = verify_chip_evidence(
        data,
        Ring(keys, values, issuers).of(did),
        now_ms=_now(at),
        nonce=from_hex(nonce, "--nonce"),
        chain_id=chain_id,
        certified=path,
        memory=None,
        chip_named=not unlisted,
        allow_attribute=believe,
    )
    shown = {
        "did": did,
        "controller": found.transcript.controller,
        "trust": found.trust,
        "chip named": found.chip_named,
        "chipRef": "0x" + found.chip_ref.hex(),
        "evidenceHash": "0x" + found.evidence_hash.hex(),
    }
    show(shown, as_json=as_json)


@commands.command()
def envelope(
    source: File,
    data: Annotated[Path, typer.Option(help="The file that it is for.")],
    keys: Keys = None,
    values: Values = None,
    issuers: Issuers = None,
    believe: Believe = False,
    at: At = None,
    max_age: Age = 604_800,
    as_json: Json = False,
) -> None:
    """Verify an envelope of the ROS 2 bridge.

    Example: depin-id peaq verify envelope envelope.json --data image.bin --keys keys.json
    """
    value = _json(source)
    header = value.get("header") if isinstance(value, dict) else None
    did = header.get("robotId") if isinstance(header, dict) else None
    found = verify_envelope(
        value,
        read_input(str(data), max_bytes=MAX_INPUT),
        Ring(keys, values, issuers).of(did),
        now_ms=_now(at),
        memory=None,
        window=Window(age_ms=max_age * 1000),
        allow_attribute=believe,
    )
    shown = {"did": did, "sha256": found.digest.hex(), "trust": found.trust}
    show(shown | {"unsigned": list(found.unsigned)}, as_json=as_json)
