"""A running software TPM: its evidence, a credential that it opens, other firmware, a restart."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.attestation.tpm2_evidence import MEDIA_TYPE, Tpm2Evidence
from depin_id.keys import PublicKey, admit
from tests.attestation import tpm2_world as made
from tests.attestation.mutation import survivors
from tests.attestation.swtpm import SoftwareTpm, running_tpm
from verify.attestation import Anchor, Anchors, Appraisal, Expected, Materials, appraise_evidence
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Models, Revocations, RevocationSnapshot
from verify.attestation.tpm2 import activation_of, credential_for, make_credential, public
from verify.attestation.tpm2.public import point_of, read_public

CHALLENGE = secrets.token_bytes(32)
RSA_EK, P384_EK = ("0x1c00002", "0x81010001"), ("0x1c00016", "0x81010016")


@dataclass
class Lab:
    """A software TPM with an attestation key below one of its endorsement keys."""

    tpm: SoftwareTpm
    folder: Path
    ek_chain: tuple[bytes, ...] = ()
    parent: str = ""

    def run(self, *command: object) -> bytes:
        try:
            return self.tpm.run(*map(str, command))
        except subprocess.CalledProcessError as error:
            raise AssertionError(error.stderr.decode()) from None
        finally:
            self.tpm.run("tpm2_flushcontext", "-t")

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def make_keys(self, ek: tuple[str, str], *algorithm: str) -> None:
        """An attestation key, and a key of the device's beside it."""
        index, self.parent = ek
        issuer = x509.load_pem_x509_certificate(self.tpm.chain.read_bytes())
        self.ek_chain = (self.run("tpm2_nvread", index), issuer.public_bytes(Encoding.DER))
        at = self.folder
        created = ("tpm2_createak", "-C", self.parent, *algorithm, "-g", "sha256")
        files = ("-u", at / "ak.pub", "-r", at / "ak.priv", "-c", at / "ak.ctx")
        self.run(*created, *files)
        self.run("tpm2_createprimary", "-C", "o", "-G", "ecc256", "-c", at / "storage.ctx")
        files = ("-u", at / "key.pub", "-r", at / "key.priv", "-c", at / "key.ctx")
        wanted = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
        own = ("tpm2_create", "-C", at / "storage.ctx", "-G", "ecc256:ecdsa", "-a", wanted)
        self.run(*own, *files)
        ak, key = at / "ak.ctx", at / "key.ctx"
        written = ("-o", at / "certify", "-s", at / "certify.sig")
        self.run("tpm2_certify", "-C", ak, "-c", key, "-g", "sha256", *written)

    def area(self, name: str) -> bytes:
        return self.read(f"{name}.pub")[2:]

    @property
    def key(self) -> PublicKey:
        return admit("p256", point_of(read_public(self.area("key"))))

    def activate(self, blob: bytes) -> bytes:
        """Have a credential opened; the high range of endorsement keys asks for no session."""
        (self.folder / "blob").write_bytes(blob)
        at = self.folder
        opening = ("tpm2_activatecredential", "-c", at / "ak.ctx", "-C", self.parent)
        files = ("-i", at / "blob", "-o", at / "secret")
        if self.parent == P384_EK[1]:
            self.run(*opening, *files)
            return self.read("secret")
        self.as_owner_of_the_ek(*opening, *files)
        return self.read("secret")

    def as_owner_of_the_ek(self, *command: object) -> None:
        """The low range of endorsement keys is used in a session that the hierarchy allows."""
        session = self.folder / "session.ctx"
        self.tpm.run("tpm2_startauthsession", "--policy-session", "-S", str(session))
        self.tpm.run("tpm2_policysecret", "-S", str(session), "-c", "e")
        try:
            self.run(*command, "-P", f"session:{session}")
        finally:
            self.tpm.run("tpm2_flushcontext", str(session))

    def credential(self, secret: bytes) -> bytes:
        return credential_for(
            self.ek_chain,
            self.area("ak"),
            anchors=self.anchors,
            at=now(),
            secret=secret,
            randomness=secrets.token_bytes,
        )

    def evidence(self, challenge: bytes = CHALLENGE) -> Tpm2Evidence:
        at = self.folder
        written = ("-m", at / "quote", "-s", at / "quote.sig", "-o", at / "pcrs", "-F", "values")
        asked = ("-l", "sha256:0,1,2,3,4,5,6,7", "-q", challenge.hex(), "-g", "sha256")
        self.run("tpm2_quote", "-c", at / "ak.ctx", *asked, *written)
        values = self.read("pcrs")
        return Tpm2Evidence(
            quote=self.read("quote"),
            quote_signature=self.read("quote.sig"),
            ak_public=self.area("ak"),
            ek_chain=self.ek_chain,
            certify=self.read("certify"),
            certify_signature=self.read("certify.sig"),
            key_public=self.area("key"),
            pcrs={index: values[32 * index : 32 * index + 32] for index in range(8)},
        )

    @property
    def anchors(self) -> Anchors:
        root = x509.load_pem_x509_certificate(self.tpm.root.read_bytes())
        return Anchors([Anchor("tpm2", "swtpm", spki_of(root), root.public_bytes(Encoding.DER))])

    def materials(self, evidence: Tpm2Evidence) -> Materials:
        model = replace(made.model(evidence.pcrs), match={"model": "swtpm"})
        snapshot = RevocationSnapshot(frozenset({"tpm2"}), {}, now() - 60_000)
        return Materials(self.anchors, Models([model]), Revocations([snapshot]))

    def expected(self, challenge: bytes = CHALLENGE) -> Expected:
        activation = activation_of(self.ek_chain, self.area("ak"))
        return Expected(challenge=challenge, key=self.key, activation=activation)

    def appraise(self, evidence: Tpm2Evidence, materials: Materials | None = None) -> Appraisal:
        return appraise_evidence(
            MEDIA_TYPE,
            evidence.encode(),
            expected=self.expected(),
            at=now(),
            materials=materials or self.materials(evidence),
        )


def now() -> int:
    """A little later: certificates are good from the second in which they were made."""
    return int(time.time() * 1000) + 60_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("tpm")
    with running_tpm(folder / "tpm") as tpm:
        yield Lab(tpm, folder)


def test_from_a_credential_to_other_firmware(lab: Lab) -> None:
    lab.make_keys(RSA_EK, "-G", "ecc", "-s", "ecdsa")
    secret = secrets.token_bytes(32)
    assert lab.activate(lab.credential(secret)) == secret

    first = lab.evidence()
    approved = lab.materials(first)
    found = lab.appraise(first)
    assert found.affirmed and found.level == "D3", found.steps[-1]
    assert found.claims is not None
    assert found.claims.device_ids["model"] == "swtpm"
    before = found.claims.counters["resets"]

    replayed = appraise_evidence(
        MEDIA_TYPE,
        first.encode(),
        expected=lab.expected(bytes(32)),
        at=now(),
        materials=approved,
    )
    assert replayed.reasons == ("attestation.challenge",)

    left = survivors(
        MEDIA_TYPE, first.encode(), expected=lab.expected(), at=now(), materials=approved
    )
    assert left == []

    lab.tpm.extend(0, bytes(32))
    changed = lab.appraise(lab.evidence(), approved)
    assert changed.reasons == ("attestation.references",) and changed.level == "D2"

    lab.tpm.power_cycle()
    lab.as_owner_of_the_ek(
        *("tpm2_load", "-C", lab.parent, "-c", lab.folder / "ak.ctx"),
        *("-u", lab.folder / "ak.pub", "-r", lab.folder / "ak.priv"),
    )
    again = lab.appraise(lab.evidence(), approved)
    assert again.affirmed and again.claims is not None, again.steps[-1]
    assert again.claims.counters["resets"] > before


@pytest.mark.parametrize(
    ("ek", "algorithm"),
    [
        (P384_EK, ("-G", "ecc", "-s", "ecdsa")),
        (RSA_EK, ("-G", "rsa", "-s", "rsassa")),
    ],
)
def test_other_kinds_of_keys(lab: Lab, ek: tuple[str, str], algorithm: tuple[str, ...]) -> None:
    lab.make_keys(ek, *algorithm)
    secret = secrets.token_bytes(16)
    assert lab.activate(lab.credential(secret)) == secret
    found = lab.appraise(lab.evidence())
    assert found.affirmed and found.level == "D3", found.steps[-1]
    assert found.claims is not None and found.claims.counters


def test_a_credential_for_another_key(lab: Lab) -> None:
    lab.make_keys(RSA_EK, "-G", "ecc", "-s", "ecdsa")
    leaf = x509.load_der_x509_certificate(lab.ek_chain[0])
    other = b"\0\x0b" + bytes(32)
    with pytest.raises(AssertionError, match="integrity"):
        lab.activate(make_credential(spki_of(leaf), other, bytes(16), secrets.token_bytes))
    assert read_public(lab.area("ak")).has(public.RESTRICTED)
