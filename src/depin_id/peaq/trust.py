"""Which keys a machine's DID names, and on whose word: never on that of a 0x800 attribute alone.

The public snapshot of peaq's pallet checks no owner when an attribute is made, so a document read
from the chain (``attribute-only``) is what somebody wrote. It becomes more by an issuer's signature
in it (:func:`vouched_by_issuer`) or by a birth certificate or enrolment that names the same key
(:func:`vouched_by_evidence`). A DID that is itself a wallet's address, or an Ed25519 account, names
its key without any document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NoReturn

from depin_id.errors import CredentialError, DepinError, DIDError, SignatureInvalid
from depin_id.evm import recover_address
from depin_id.keys import PublicKey, admit
from depin_id.peaq.document import ED25519, RECOVERY, Document
from depin_id.peaq.identifier import PREFIX, PeaqDid, parse_peaq_did, same_subject
from depin_id.peaq.resolved import did_document, read_key

Trust = Literal["attribute-only", "did", "issuer", "birth-certificate", "enrolment", "caller"]
"""On whose word: the chain's attribute, the DID itself, an issuer whom the caller trusts, evidence
that the caller verified, or the caller's own."""

_KEY: Final = "publicKeyMultibase"
_SIGNATURE: Final = re.compile(r"0x((?:[0-9a-f]{2}){64,65})")


def _refuse(code: str, what: str, hint: str) -> NoReturn:
    raise CredentialError(code, what, hint=hint)


@dataclass(frozen=True, slots=True)
class MachineKeys:
    """The keys that a DID names.

    Attributes:
        did: whose.
        trust: on whose word.
        addresses: wallets that may sign for it, 20 bytes each.
        keys: admitted Ed25519 and P-256 keys that may sign for it.
        controllers: addresses that control the DID.
    """

    did: PeaqDid
    trust: Trust
    addresses: frozenset[bytes] = frozenset()
    keys: frozenset[PublicKey] = frozenset()
    controllers: frozenset[bytes] = frozenset()

    def require_address(self, address: bytes, *, allow_attribute: bool = False) -> Trust:
        """On whose word this wallet signs for the DID.

        Args:
            address: who signed.
            allow_attribute: believe a document that only the chain's attribute vouches for.

        Raises:
            CredentialError: ``peaq.key_not_named``, ``peaq.attribute_only``.
        """
        if self.did.form == "evm" and address == self.did.raw:
            return "did"
        return self._named(address in self.addresses, allow_attribute)

    def require_key(self, key: PublicKey, *, allow_attribute: bool = False) -> Trust:
        """On whose word this key signs for the DID. As :meth:`require_address`."""
        own = self.did.form == "substrate" and key.curve == "ed25519"
        if own and key.raw == self.did.raw:
            return "did"
        return self._named(key in self.keys, allow_attribute)

    def require_controller(self, address: bytes, *, allow_attribute: bool = False) -> Trust:
        """On whose word this address controls the DID. As :meth:`require_address`."""
        if self.did.form == "evm" and address == self.did.raw:
            return "did"
        return self._named(address in self.controllers, allow_attribute)

    def _named(self, named: bool, allow_attribute: bool) -> Trust:
        if not named:
            _refuse(
                "peaq.key_not_named",
                f"{self.did} does not name the key that signed",
                "whoever signed is not this machine: refuse what it says",
            )
        if self.trust == "attribute-only" and not allow_attribute:
            _refuse(
                "peaq.attribute_only",
                f"only an attribute on the chain says that this key belongs to {self.did}",
                "anybody may write one: bring an issuer's signature, a birth certificate or an "
                "enrolment",
            )
        return self.trust


def keys_of_did(did: str) -> MachineKeys:
    """What the DID names by itself: its own wallet or Ed25519 account; for a number, nothing.

    Raises:
        DIDError: ``did.malformed``.
    """
    return MachineKeys(parse_peaq_did(did), "did")


def trusted_keys(
    did: str,
    *,
    addresses: Iterable[bytes] = (),
    keys: Iterable[PublicKey] = (),
    controllers: Iterable[bytes] = (),
) -> MachineKeys:
    """Keys that the caller answers for, such as those of its own registry of devices.

    Raises:
        DIDError: ``did.malformed``.
    """
    named = frozenset(addresses), frozenset(keys), frozenset(controllers)
    return MachineKeys(parse_peaq_did(did), "caller", *named)


def keys_of_document(document: Mapping[str, Any], *, allow_published: bool = False) -> MachineKeys:
    """The keys of a resolved DID document that authenticate. Always ``attribute-only``.

    Raises:
        DIDError: ``did.malformed``, ``did.key_not_supported``.
        KeyRefused: ``key.not_admissible``.
        ConfigError: ``config.extra``.
    """
    try:
        did = parse_peaq_did(document["id"])
        listed = set(document["authentication"])
        controller = parse_peaq_did(document["controller"])
        methods = [m for m in document["verificationMethod"] if m["id"] in listed]
        values = [
            (m["type"], m["blockchainAccountId"] if "blockchainAccountId" in m else m[_KEY])
            for m in methods
        ]
    except (KeyError, TypeError):
        raise DIDError(
            "did.malformed", "this is not a document that did:peaq resolved to"
        ) from None
    named = [read_key(*value, allow_published=allow_published) for value in values]
    return MachineKeys(
        did,
        "attribute-only",
        frozenset(found.address for found in named if found.address is not None),
        frozenset(found.key for found in named if found.key is not None),
        frozenset([controller.raw]) if controller.form == "evm" else frozenset(),
    )


def issuer_message(document: Document) -> bytes:
    """What an issuer signs: the document without a signature. peaq does not say what; this is ours.

    A text, so that a wallet can show it.
    """
    digest = hashlib.sha256(document.unsigned().encode()).hexdigest()
    return f"depin-id: I vouch for this document of {document.id}\nsha256: {digest}".encode()


def vouched_by_issuer(
    document: Document, issuers: Iterable[MachineKeys], *, allow_published: bool = False
) -> MachineKeys:
    """The keys of a document that a trusted issuer signed.

    The signature does not age: who can write the attribute can bring back an older document that
    the issuer signed.

    Args:
        document: of generation A, with a signature.
        issuers: whom the caller trusts, with keys that are more than ``attribute-only``.

    Raises:
        CredentialError: ``peaq.not_vouched``: no signature, or by nobody trusted;
            ``peaq.attribute_only``, ``peaq.key_not_named``: see :class:`MachineKeys`.
        SignatureInvalid: ``signature.invalid``, ``signature.malleable``.
        DIDError, KeyRefused, ConfigError: as :func:`keys_of_document`.
    """
    signed = document.signature
    issuer = None if signed is None else _issuer(signed.issuer, issuers)
    if signed is None or issuer is None:
        _refuse(
            "peaq.not_vouched",
            "the document carries no signature of an issuer who is trusted here",
            "ask the manufacturer or owner to sign it",
        )
    match = _SIGNATURE.fullmatch(signed.hash)
    signature, message = bytes.fromhex(match[1] if match else ""), issuer_message(document)
    if signed.type == RECOVERY and len(signature) == 65:
        issuer.require_address(recover_address(message, signature))
    elif signed.type == ED25519 and len(signature) == 64:
        issuer.require_key(_signer(issuer, message, signature))
    else:
        raise SignatureInvalid(
            "signature.invalid",
            "the issuer's signature is not one of its type",
            hint="0x and 65 bytes by a wallet, 64 bytes by Ed25519",
        )
    found = keys_of_document(
        did_document(document, allow_published=allow_published), allow_published=allow_published
    )
    return replace(found, trust="issuer")


def _issuer(did: str, issuers: Iterable[MachineKeys]) -> MachineKeys | None:
    try:
        subject = parse_peaq_did(did)
    except DIDError:
        return None
    return next((keys for keys in issuers if keys.did == subject), None)


def _signer(issuer: MachineKeys, message: bytes, signature: bytes) -> PublicKey:
    candidates = [key for key in issuer.keys if key.curve == "ed25519"]
    if issuer.did.form == "substrate":
        try:
            candidates.append(admit("ed25519", issuer.did.raw))
        except DepinError:
            pass  # the account of an sr25519 key, or of a wallet
    for key in candidates:
        try:
            key.verify(message, signature)
            return key
        except SignatureInvalid:
            continue
    raise SignatureInvalid("signature.invalid", "no key of the issuer made the signature")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A birth certificate or enrolment that the caller verified.

    Attributes:
        subject: the did:peaq that it names.
        kind: which of the two.
        key: the device's key in it, or
        address: the device's wallet in it.
    """

    subject: str
    kind: Literal["birth-certificate", "enrolment"]
    key: PublicKey | None = None
    address: bytes | None = None


def vouched_by_evidence(keys: MachineKeys, evidence: Evidence) -> MachineKeys:
    """The one key that both the document and the evidence name; the document's others stay out.

    Raises:
        CredentialError: ``peaq.not_vouched``: another device, or a key that the document has not.
    """
    key, address = evidence.key, evidence.address
    named = key in keys.keys if key is not None else address in keys.addresses
    if not same_subject(evidence.subject, keys.did) or not named:
        _refuse(
            "peaq.not_vouched",
            f"the {evidence.kind} does not name {keys.did} with a key of its document",
            "it is for another device, or the attribute was changed since",
        )
    return MachineKeys(
        keys.did,
        evidence.kind,
        frozenset() if key is not None or address is None else frozenset([address]),
        frozenset() if key is None else frozenset([key]),
    )


def subject_of(text: object, keys: MachineKeys) -> None:
    """Refuse what is signed for another DID than the one the keys belong to.

    Raises:
        CredentialError: ``peaq.another_did``.
    """
    if type(text) is not str or not same_subject(text, keys.did):
        shown = text[:120] if type(text) is str else type(text).__name__
        _refuse(
            "peaq.another_did",
            f"it is for {shown!r}, not for {keys.did}",
            f"resolve the DID it names ({PREFIX}...) and verify with its keys",
        )
