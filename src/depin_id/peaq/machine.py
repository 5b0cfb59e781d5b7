"""Machines of generation B (peaqOS): the registry's calls, and the documents that it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depin_id.errors import DIDError, EncodingError
from depin_id.peaq import abi
from depin_id.peaq.calls import MAINNET, Call
from depin_id.peaq.identifier import MAX_MACHINE_ID, PREFIX, PeaqDid, parse_peaq_did

REGISTRY: Final = bytes.fromhex("64b93cc29b251fafa83bd110cdb1c24207f85536")
"""The MachineRegistry on peaq's main network."""
MAX_PARTS: Final = 64
_METHODS: Final = "(string,string,address,string)[]"
_SERVICES: Final = "(string,string,string)[]"
_DOCUMENT: Final = f"((string,address,{_METHODS},uint256[],{_SERVICES}))"


@dataclass(frozen=True, slots=True)
class MachineMethod:
    """A verification method: fragment or DID URL, type, controller's address, key."""

    id: str
    type: str
    controller: bytes
    multibase: str


@dataclass(frozen=True, slots=True)
class MachineService:
    """A service of a machine."""

    id: str
    type: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class MachineDocument:
    """A document of the registry.

    Attributes:
        id: the DID, with the machine's number.
        controller: address of who may change it.
        methods: keys. authentication: which of them, by place from 0.
        services: endpoints.
    """

    id: str
    controller: bytes
    methods: tuple[MachineMethod, ...]
    authentication: tuple[int, ...]
    services: tuple[MachineService, ...]

    @property
    def subject(self) -> PeaqDid:
        """The machine."""
        return parse_peaq_did(self.id)


def _machine(number: int) -> int:
    if type(number) is not int or not 0 < number <= MAX_MACHINE_ID:
        raise EncodingError("peaq.field", "a machine's number is 1 to 2^256 - 1")
    return number


def _call(
    signature: str, values: list[object], chain_id: int, registry: bytes, *, reads: bool
) -> Call:
    return Call(registry, abi.call(signature, values), chain_id, reads=reads)


def compute_token_id(
    machine_type: str, subject: bytes, *, chain_id: int = MAINNET, registry: bytes = REGISTRY
) -> Call:
    """Ask the registry for a machine's number; :func:`machine_id` gives it without asking."""
    values: list[object] = [machine_type, subject]
    return _call("computeTokenId(string,bytes)", values, chain_id, registry, reads=True)


def did_document(number: int, *, chain_id: int = MAINNET, registry: bytes = REGISTRY) -> Call:
    """Ask for a machine's document; the answer goes to :func:`decode_machine_document`."""
    signature = "didDocument(uint256)"
    return _call(signature, [_machine(number)], chain_id, registry, reads=True)


def token_id_from_did(did: str, *, chain_id: int = MAINNET, registry: bytes = REGISTRY) -> Call:
    """Ask for the number of a DID."""
    return _call("tokenIdFromDid(string)", [did], chain_id, registry, reads=True)


def set_verification_methods(
    number: int,
    methods: Sequence[MachineMethod],
    *,
    chain_id: int = MAINNET,
    registry: bytes = REGISTRY,
) -> Call:
    """Set a machine's keys; all of them, what is not named is gone.

    Raises:
        EncodingError: ``peaq.field``, ``abi.malformed``.
        ConfigError: ``config.extra``.
    """
    if len(methods) > MAX_PARTS:
        raise EncodingError("peaq.field", f"at most {MAX_PARTS} methods are read")
    rows = [(m.id, m.type, m.controller, m.multibase) for m in methods]
    values: list[object] = [_machine(number), rows]
    signature = f"setVerificationMethods(uint256,{_METHODS})"
    return _call(signature, values, chain_id, registry, reads=False)


def set_authentication(
    number: int, places: Sequence[int], *, chain_id: int = MAINNET, registry: bytes = REGISTRY
) -> Call:
    """Say which keys authenticate, by their place from 0."""
    values: list[object] = [_machine(number), list(places)]
    return _call("setAuthentication(uint256,uint256[])", values, chain_id, registry, reads=False)


def set_controller(
    number: int, controller: bytes, *, chain_id: int = MAINNET, registry: bytes = REGISTRY
) -> Call:
    """Hand a machine over to another controller's address."""
    values: list[object] = [_machine(number), controller]
    return _call("setController(uint256,address)", values, chain_id, registry, reads=False)


def set_service_endpoints(
    number: int,
    services: Sequence[MachineService],
    *,
    chain_id: int = MAINNET,
    registry: bytes = REGISTRY,
) -> Call:
    """Set a machine's services; all of them."""
    if len(services) > MAX_PARTS:
        raise EncodingError("peaq.field", f"at most {MAX_PARTS} services are read")
    values: list[object] = [_machine(number), [(s.id, s.type, s.endpoint) for s in services]]
    signature = f"setServiceEndpoints(uint256,{_SERVICES})"
    return _call(signature, values, chain_id, registry, reads=False)


def decode_machine_document(data: bytes) -> MachineDocument:
    """Read the answer to ``didDocument``.

    Raises:
        EncodingError: ``abi.malformed``, ``abi.too_large``, ``peaq.document_malformed``: the DID is
            no machine's, a key's place does not exist, too many parts.
    """
    did, controller, methods, places, services = abi.decode(_DOCUMENT, data)[0]
    document = MachineDocument(
        did,
        controller,
        tuple(MachineMethod(*row) for row in methods),
        tuple(places),
        tuple(MachineService(*row) for row in services),
    )
    wrong = ""
    if not _is_machine(did):
        wrong = "its DID is not that of a machine"
    elif max(len(methods), len(places), len(services)) > MAX_PARTS:
        wrong = f"over {MAX_PARTS} methods, authentications or services"
    elif any(place >= len(methods) for place in places) or len(set(places)) != len(places):
        wrong = "it says a method authenticates that it has not, or says it twice"
    if wrong:
        raise EncodingError("peaq.document_malformed", f"a machine's document is not good: {wrong}")
    return document


def _is_machine(did: str) -> bool:
    if not did[len(PREFIX) :].isdecimal():
        return False
    try:
        return parse_peaq_did(did).form == "machine"
    except DIDError:
        return False


def encode_machine_document(document: MachineDocument) -> bytes:
    """What the registry answers for a document, the inverse of the above."""
    row = (
        document.id,
        document.controller,
        [(m.id, m.type, m.controller, m.multibase) for m in document.methods],
        list(document.authentication),
        [(s.id, s.type, s.endpoint) for s in document.services],
    )
    return abi.encode(_DOCUMENT, [row])
