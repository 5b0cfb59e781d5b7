"""Evidence of a TPM 2.0, made on the device; the form is that of :mod:`.tpm2_evidence`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor
from depin_id.attestation import tpm_structures as structures
from depin_id.attestation.message import MAX_ACTIVATION
from depin_id.attestation.tpm2_evidence import Tpm2Evidence
from depin_id.attestation.tpm_keys import TpmSigner
from depin_id.attestation.tpm_tools import KEY_ATTRIBUTES, KEY_TEMPLATE, TpmTools
from depin_id.errors import AttestationError
from depin_id.keys import Signer

PCRS: Final = range(8)
"""What the firmware of a machine measures: code, configuration, boot loader, secure boot."""
EK_CERTIFICATES: Final = (
    (0x01C00002, "rsa"),
    (0x01C0000A, "ecc"),
    (0x01C00016, None),
)
"""NV indices of EK certificates (TCG EK credential profile 2.2.1.4): RSA 2048, P-256, P-384; and
how tpm2_createek makes the key anew. The last is only taken when the TPM keeps it."""
_QUOTES: Final = 5
_HANDLE: Final = re.compile(rb"(?<!\S)0x[0-9a-fA-F]{1,8}(?!\S)")


class TpmAttester:
    """A TPM and its attestation key (AK); close it, or use it in ``with``.

    Args:
        ek_chain: certificates (DER) between the EK's and its root, which the TPM does not hold.
    """

    def __init__(self, *, ek_chain: Sequence[bytes] = ()) -> None:
        self._issuers = tuple(ek_chain)
        self._tools = TpmTools()
        self._ek: tuple[bytes, str] | None = None

    def close(self) -> None:
        """Remove what is kept for its commands. A second call does nothing."""
        self._tools.close()

    def __enter__(self) -> TpmAttester:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- its keys ----------------------------------------------------------------------------

    @property
    def ak_public(self) -> bytes:
        """TPMT_PUBLIC of the AK. Raises AttestationError."""
        return self._public(self._load_ak())

    @property
    def ek_chain(self) -> tuple[bytes, ...]:
        """The EK's certificate, and those that were given for it; DER.

        Raises:
            AttestationError: ``attestation.tpm_certificate``, the TPM has none.
        """
        return (self._endorsement_key()[0], *self._issuers)

    def _load_ak(self) -> str:
        """A primary key of the endorsement hierarchy: the same each time, and kept nowhere.

        Of keys elsewhere the TPM would obscure its counters (Part 1, section 36.7).
        """
        context = self._tools.path("ak.ctx")
        if not context.exists():
            self._tools.run_object(
                *("tpm2_createprimary", "-Q", "-C", "e", "-G", KEY_TEMPLATE, "-g", "sha256"),
                *("-a", f"{KEY_ATTRIBUTES}|restricted", "-c", str(context)),
            )
        return str(context)

    def _endorsement_key(self) -> tuple[bytes, str]:
        """Its certificate, and the handle or context of the key."""
        if self._ek is None:
            present = _handles(self._tools.run("tpm2_getcap", "handles-nv-index"))
            for index, kind in EK_CERTIFICATES:
                if index not in present:
                    continue
                data = self._tools.run("tpm2_nvread", f"{index:#010x}")
                found = structures.certificate(data)
                if (key := self._find_ek(_spki(found), kind)) is not None:
                    self._ek = (found, key)
                    return self._ek
            raise AttestationError(
                "attestation.tpm_certificate",
                "the TPM has no certificate for an endorsement key of its own",
                hint="its maker may give it elsewhere; a TPM without one cannot be told from a "
                "program",
            )
        return self._ek

    def _find_ek(self, spki: bytes, kind: str | None) -> str | None:
        path = str(self._tools.path("ek.der"))
        for handle in _handles(self._tools.run("tpm2_getcap", "handles-persistent")):
            named = f"{handle:#010x}"
            self._tools.run("tpm2_readpublic", "-Q", "-c", named, "-f", "der", "-o", path)
            if self._tools.read("ek.der") == spki:
                return named
        if kind is None:
            return None
        context = str(self._tools.path("ek.ctx"))
        self._tools.run_object(
            *("tpm2_createek", "-Q", "-G", kind, "-c", context, "-f", "der", "-u", path)
        )
        return context if self._tools.read("ek.der") == spki else None

    def _public(self, key: str) -> bytes:
        path = self._tools.path("key.pub")
        self._tools.run_object("tpm2_readpublic", "-Q", "-c", key, "-o", str(path))
        return self._tools.read("key.pub")[2:]

    def _begin(self) -> None:
        """Load keys anew: the TPM may have been reset since the last time."""
        self._tools.forget()
        self._ek = None

    # --- what it says ------------------------------------------------------------------------

    def evidence(
        self, challenge: bytes, signer: Signer, *, event_log: bytes | None = None
    ) -> bytes:
        """Evidence for a challenge: a quote, and that the device's key is in this TPM.

        Args:
            challenge: of the binding, 32 bytes; goes into the quote.
            signer: of the device's key: a :class:`TpmSigner`, or one elsewhere, of which the TPM
                then says nothing.
            event_log: what the firmware measured (TCG PC Client), as the kernel gives it.

        Raises:
            AttestationError: ``attestation.tpm``, ``attestation.tpm_tools``,
                ``attestation.tpm_timeout``, ``attestation.tpm_certificate``,
                ``attestation.malformed`` for a log that is too large.
        """
        self._begin()
        quote, signature, pcrs = self._quote(challenge)
        certify = certified = key = None
        if isinstance(signer, TpmSigner):
            certify, certified = self._certify(signer)
            key = signer.tpm_public[2:]
        return Tpm2Evidence(
            quote=quote,
            quote_signature=signature,
            ak_public=self.ak_public,
            ek_chain=self.ek_chain,
            certify=certify,
            certify_signature=certified,
            key_public=key,
            pcrs=pcrs,
            event_log=event_log,
        ).encode()

    def _quote(self, challenge: bytes) -> tuple[bytes, bytes, dict[int, bytes]]:
        tools, ak = self._tools, self._load_ak()
        selection = "sha256:" + ",".join(map(str, PCRS))
        for _ in range(_QUOTES):
            tools.run_object(
                *("tpm2_quote", "-Q", "-c", ak, "-l", selection, "-g", "sha256"),
                *("-q", challenge.hex(), "-m", str(tools.path("quote"))),
                *("-s", str(tools.path("quote-signature"))),
            )
            tools.run("tpm2_pcrread", "-Q", selection, "-o", str(tools.path("pcrs")))
            values, quote = tools.read("pcrs"), tools.read("quote")
            # Both are right only together: something may have been measured in between.
            if structures.quoted_digest(quote) == hashlib.sha256(values).digest():
                pcrs = {index: values[32 * at : 32 * at + 32] for at, index in enumerate(PCRS)}
                return quote, tools.read("quote-signature"), pcrs
        raise AttestationError(
            "attestation.tpm",
            "the PCRs read are not those quoted",
            hint="is something being measured all the time, or is there no SHA-256 bank?",
        )

    def _certify(self, signer: TpmSigner) -> tuple[bytes, bytes]:
        tools = self._tools
        key = tools.load_key("device", signer.tpm_public, signer.tpm_private)
        tools.run_object(
            *("tpm2_certify", "-Q", "-c", key, "-C", self._load_ak(), "-g", "sha256"),
            *("-o", str(tools.path("certify")), "-s", str(tools.path("certify-signature"))),
        )
        return tools.read("certify"), tools.read("certify-signature")

    # --- that the AK is in the TPM of this EK ----------------------------------------------------

    def request(self, thumbprint: bytes) -> bytes:
        """What the network is asked for a credential with: deterministic CBOR.

        Args:
            thumbprint: of the device's key, 32 bytes.

        Returns:
            ``[thumbprint, [certificate of the EK, ...], TPMT_PUBLIC of the AK]``
        """
        return cbor.encode([thumbprint, list(self.ek_chain), self.ak_public])

    def activate(self, credential: bytes) -> bytes:
        """Open a credential, which only the TPM can that has both the EK and this AK.

        Args:
            credential: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.

        Returns:
            The secret in it.

        Raises:
            AttestationError: ``attestation.credential``, it is none, or not for this TPM; as
                :meth:`evidence`.
        """
        self._begin()
        tools = self._tools
        blob = tools.write("credential", structures.credential_file(credential))
        ak, ek = self._load_ak(), self._endorsement_key()[1]
        command = ["tpm2_activatecredential", "-Q", "-c", ak, "-C", ek, "-i", blob]
        command += ["-o", str(tools.path("secret"))]
        by_policy = not structures.attributes(self._public(ek)) & structures.USER_WITH_AUTH
        session = str(tools.path("session"))
        if by_policy:
            tools.run("tpm2_startauthsession", "-Q", "--policy-session", "-S", session)
        try:
            if by_policy:
                tools.run("tpm2_policysecret", "-Q", "-S", session, "-c", "e")
                command += ["-P", f"session:{session}"]
            _open(tools, command)
        finally:
            if by_policy:
                tools.run("tpm2_flushcontext", session)
        secret = tools.read("secret")
        if len(secret) > MAX_ACTIVATION:
            raise AttestationError(
                "attestation.credential", f"its secret has over {MAX_ACTIVATION} bytes"
            )
        return secret


def _open(tools: TpmTools, command: Sequence[str]) -> None:
    try:
        tools.run_object(*command)
    except AttestationError as error:
        if error.code != "attestation.tpm":
            raise
        raise AttestationError(
            "attestation.credential",
            f"the TPM does not open the credential: {error.message}",
            hint="is it for this device and its key of now? ask for another one",
        ) from error


def _handles(printed: bytes) -> list[int]:
    """Handles as tpm2_getcap lists them: one ``- 0x81010001`` a line."""
    return [int(word, 16) for word in _HANDLE.findall(printed)]


def _spki(der: bytes) -> bytes:
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise AttestationError(
            "attestation.tpm_certificate", f"the EK's certificate cannot be read: {error}"
        ) from error
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
