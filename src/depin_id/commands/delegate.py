"""``depin-id delegate``: let somebody act for your devices, pass on less of it, look at it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from depin_id.capability import (
    MAX_BYTES,
    Box,
    Grant,
    Operation,
    Selector,
    StatusReference,
    attenuate,
    issue,
    prove,
    read_chain,
    uri_hash,
    verify_chain,
)
from depin_id.commands.common import app, network_and_card, open_output, read_input, show
from depin_id.commands.identity import (
    AsJson,
    Dids,
    Network,
    Output,
    PassphraseFile,
    Signing,
    audience_key,
    key_of_did,
    list_keys,
    open_party,
    resolver_of,
    wall_ms,
)
from depin_id.commands.inspect import moment
from depin_id.credentials.status import StatusStore
from depin_id.credentials.status.signed import MAX_SIGNED
from depin_id.did.key import did_key
from depin_id.enrolment import format_degrees, parse_degrees
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey

commands = app("Capabilities: who may do what for which devices, how often, where, until when.")

HOUR_S: Final = 3600
DAY_MS: Final = 86_400_000

Chain = Annotated[str, typer.Argument(metavar="FILE", help="A capability; - is stdin.")]
To = Annotated[
    str, typer.Option("--to", metavar="DID|MULTIKEY", help="Who may use it; has to hold the key.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="sign-for, read-data, claim-rewards or administer; repeat."),
]
Devices = Annotated[
    list[str] | None, typer.Option("--device", help="A DID, DID URL, or DID#*; repeat.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="All your devices of this model; repeat.")
]
Everything = Annotated[bool, typer.Option("--all-devices", help="All your devices.")]
Hours = Annotated[float | None, typer.Option(help="How long from now it is good.")]
Count = Annotated[int | None, typer.Option(help="How many uses in all.")]
Rate = Annotated[int | None, typer.Option(help="How many uses a minute.")]
Burst = Annotated[int | None, typer.Option(help="How many at once; by default as the rate.")]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="S,W,N,E", help="Degrees; where the device may be; repeat."),
]
Depth = Annotated[int | None, typer.Option(help="How many times it may be passed on, 0 to 3.")]
StatusUrl = Annotated[str | None, typer.Option(help="URL of your list that can revoke it.")]
StatusIndex = Annotated[int | None, typer.Option(help="Its index there: depin-id status give.")]


def _usage(message: str, hint: str = "") -> ConfigError:
    return ConfigError("usage", message, hint=hint)


def _limits(
    allow: list[str] | None,
    devices: list[str] | None,
    models: list[str] | None,
    everything: bool,
    hours: float | None,
    count: int | None,
    rate: int | None,
    burst: int | None,
    boxes: list[str] | None,
    depth: int | None,
    status_url: str | None,
    status_index: int | None,
) -> dict[str, Any]:
    """The fields of a grant that options name."""
    found: dict[str, Any] = {}
    if sum(map(bool, (devices, models, everything))) > 1:
        raise _usage("give one of --device, --model and --all-devices")
    if devices:
        found["selector"] = Selector.devices(*devices)
    if models:
        found["selector"] = Selector.models(*models)
    if everything:
        found["selector"] = Selector.owned()
    if allow:
        found["operations"] = frozenset(map(Operation.parse, allow))
    if hours is not None:
        if not 0 < hours <= 1_000_000:
            raise _usage("it is good for more than 0 hours and at most a million")
        found["expires"] = wall_ms() // 1000 + max(int(hours * HOUR_S), 1)
    if count is not None:
        found["max_count"] = count
    if rate is None and burst is not None:
        raise _usage("a burst goes with a rate")
    if rate is not None:
        found["rate"] = rate, rate if burst is None else burst
    if boxes:
        found["region"] = tuple(map(_box, boxes))
    if depth is not None:
        found["depth"] = depth
    if (status_url is None) != (status_index is None):
        raise _usage("a status list needs both --status-url and --status-index")
    if status_url is not None and status_index is not None:
        found["status"] = StatusReference(uri_hash(status_url), status_index)
    return found


def _box(text: str) -> Box:
    parts = text.split(",")
    if len(parts) != 4:
        raise _usage(f"{text[:60]!r} is no box", "south,west,north,east in degrees")
    return Box(*map(parse_degrees, parts))


def _write(data: bytes, output: str) -> None:
    with open_output(output) as file:
        file.write(data)


@commands.command()
def new(
    signing: Signing,
    to: To,
    network: Network,
    allow: Allow = None,
    devices: Devices = None,
    models: Models = None,
    everything: Everything = False,
    hours: Hours = 24.0,
    count: Count = None,
    rate: Rate = None,
    burst: Burst = None,
    boxes: Boxes = None,
    depth: Depth = 0,
    status_url: StatusUrl = None,
    status_index: StatusIndex = None,
    output: Output = "-",
    dids: Dids = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let a key act for your devices.

    Example: depin-id delegate new --as owner --to did:key:z6Mk... --network net/card.cbor
    --allow sign-for --all-devices --hours 720 --rate 60 -o gateway.cap
    """
    limits = _limits(
        *(allow, devices, models, everything, hours, count, rate, burst, boxes, depth),
        *(status_url, status_index),
    )
    if "selector" not in limits or "operations" not in limits:
        raise _usage(
            "say which devices and what may be done",
            "--allow, and one of --device, --model and --all-devices",
        )
    who = open_party(signing, passphrase_file)
    grant = Grant(audience=audience_key(to, resolver_of(dids)), issuer=who.did, **limits)
    _write(issue(grant, signer=who.signer, network=network_and_card(network)[0]), output)


@commands.command("attenuate")
def pass_on(
    file: Chain,
    signing: Signing,
    to: To,
    network: Network,
    allow: Allow = None,
    devices: Devices = None,
    models: Models = None,
    everything: Everything = False,
    hours: Hours = None,
    count: Count = None,
    rate: Rate = None,
    burst: Burst = None,
    boxes: Boxes = None,
    depth: Depth = None,
    status_url: StatusUrl = None,
    status_index: StatusIndex = None,
    output: Output = "-",
    dids: Dids = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Pass a capability on with less in it; nobody has to be asked. What is not named stays.

    Example: depin-id delegate attenuate gateway.cap --as gateway.key --to did:key:z6Mk...
    --network net/card.cbor --allow read-data --hours 1 -o agent.cap
    """
    limits = _limits(
        *(allow, devices, models, everything, hours, count, rate, burst, boxes, depth),
        *(status_url, status_index),
    )
    who = open_party(signing, passphrase_file)
    data = attenuate(
        read_input(file, max_bytes=MAX_BYTES),
        signer=who.signer,
        network=network_and_card(network)[0],
        audience=audience_key(to, resolver_of(dids)),
        **limits,
    )
    _write(data, output)


def _selected(selector: Selector) -> list[str]:
    if selector.kind == "owner":
        return ["all devices of the issuer"]
    if selector.kind == "models":
        return [f"devices of the issuer, model {item}" for item in selector.items]
    return list(selector.items)


def _words(grant: Grant) -> dict[str, Any]:
    """A block in words."""
    rate = grant.rate
    return {
        "audience": did_key(grant.audience),
        "devices": _selected(grant.selector),
        "operations": [one.word for one in sorted(grant.operations)],
        "count": grant.max_count,
        "rate": None if rate is None else f"{rate[0]} a minute, {rate[1]} at once",
        "region": [",".join(map(format_degrees, box.to_cbor())) for box in grant.region] or None,
        "not_before": None if grant.not_before is None else moment(grant.not_before),
        "expires": moment(grant.expires),
        "depth": grant.depth,
        "status": None
        if grant.status is None
        else f"{grant.status.index} in the list {grant.status.uri_hash.hex()}",
    }


@commands.command("show")
def show_chain(file: Chain, as_json: AsJson = False) -> None:
    """Print a capability, block by block; signatures are not verified.

    Example: depin-id delegate show gateway.cap
    """
    blocks = read_chain(read_input(file, max_bytes=MAX_BYTES))
    fields: dict[str, Any] = {"issuer": blocks[0].grant.issuer, "verified": False}
    words = [{"id": block.id.hex()} | _words(block.grant) for block in blocks]
    if as_json:
        fields["blocks"] = words
    else:
        for number, block in enumerate(words, 1):
            fields |= {f"block {number} {name}": value for name, value in block.items()}
    show(fields, as_json=as_json)


@commands.command()
def verify(
    file: Chain,
    network: Network,
    lists: Annotated[
        list[str] | None, typer.Option("--status", metavar="LIST", help="A signed list; repeat.")
    ] = None,
    max_age: Annotated[float, typer.Option("--max-age", help="Of a list, in days.")] = 7.0,
    dids: Dids = None,
    as_json: AsJson = False,
) -> None:
    """Verify a capability as of now and print what all its blocks allow together.

    Example: depin-id delegate verify agent.cap --network net/card.cbor --status status-1.json
    """
    resolver = resolver_of(dids)
    if not 0 < max_age <= 36_500:
        raise _usage("the age is more than 0 and at most 36,500 days")
    held = StatusStore(key_of=list_keys(resolver), max_age_ms=int(max_age * DAY_MS))
    for name in lists or ():
        held.add(read_input(name, max_bytes=MAX_SIGNED))
    now = wall_ms()

    def owner_key(issuer: str) -> PublicKey:
        return key_of_did(resolver, issuer, "capabilityDelegation")

    found = verify_chain(
        read_input(file, max_bytes=MAX_BYTES),
        network=network_and_card(network)[0],
        owner_key=owner_key,
        now_ms=now,
        revoked=held.revoked(now_ms=now),
    )
    fields: dict[str, Any] = {"id": found.id.hex(), "verified": True, "issuer": found.issuer}
    fields |= _words(found.grants[-1])
    fields |= {
        "operations": [one.word for one in sorted(found.operations)],
        "ids": [one.hex() for one in found.ids],
    }
    show(fields, as_json=as_json)


@commands.command("prove")
def prove_possession(
    file: Chain,
    signing: Signing,
    network: Network,
    nonce: Annotated[str, typer.Option(metavar="HEX", help="As the verifier gave it.")],
    audience: Annotated[str, typer.Option("--for", help="Who the verifier is: its DID.")],
    purpose: Annotated[str, typer.Option(help="What the proof is for, as the verifier said.")],
    output: Output = "-",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Prove that the key of a capability is yours.

    Example: depin-id delegate prove agent.cap --as agent.key --network net/card.cbor
    --nonce 00112233445566778899aabbccddeeff --for did:key:z6Mk... --purpose enrol -o proof.cbor
    """
    try:
        given = bytes.fromhex(nonce)
    except ValueError:
        raise _usage("the nonce is not hexadecimal") from None
    data = prove(
        read_input(file, max_bytes=MAX_BYTES),
        open_party(signing, passphrase_file).signer,
        nonce=given,
        audience=audience,
        purpose=purpose,
        network=network_and_card(network)[0],
    )
    _write(data, output)
