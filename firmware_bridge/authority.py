"""A certificate authority in a folder: for the broker of one network and those who reach it.

Keys are P-256, made once and never written over; certificates may be issued again for them.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from depin_id.durable import create_file, read_file, replace_file
from depin_id.errors import ConfigError

_CA_DAYS = 7300
_MAX_FILE = 1 << 16
_BACK = datetime.timedelta(minutes=5)
"""Clocks of small machines are a little behind."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, and whether the certificate is new."""

    certificate: Path
    key: Path
    fresh: bool


class Authority:
    """The authority of a folder (``ca.pem``, ``ca.key``), made when it is not there.

    Args:
        days: how long certificates are valid.
        renew: issue certificates again for the keys that are there.

    Raises:
        ConfigError: ``config.authority``, a file is damaged. StateError: it cannot be written.
    """

    def __init__(self, folder: Path, *, days: int, renew: bool) -> None:
        self._folder, self._days, self._renew = folder, days, renew
        self._key = _key(folder / "ca.key")
        self._path = folder / "ca.pem"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "depin broker authority")])
        kept = _certificate(self._path)
        if kept is None or _left(kept) < datetime.timedelta(days=days):
            self._make()

    def _make(self) -> None:
        public = self._key.public_key()
        made = (
            self._builder(self._name, public, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(self._path, made)

    def server(self, hosts: Sequence[str]) -> Issued:
        """The broker's certificate (``server.pem``), for these names and addresses."""
        names = [_host(host) for host in hosts]
        base, kept = self._folder / "server", _certificate(self._folder / "server.pem")
        same = kept is not None and set(names) == _hosts(kept)
        extension = x509.SubjectAlternativeName(names)
        return self._issue(
            base, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, extension, keep=kept if same else None
        )

    def client(self, base: Path, name: str) -> Issued:
        """A client's certificate (``base.pem``); the broker knows it by ``name``."""
        kept = _certificate(base.with_name(base.name + ".pem"))
        return self._issue(base, name, ExtendedKeyUsageOID.CLIENT_AUTH, None, keep=kept)

    def _issue(
        self,
        base: Path,
        name: str,
        use: x509.ObjectIdentifier,
        hosts: x509.SubjectAlternativeName | None,
        *,
        keep: x509.Certificate | None,
    ) -> Issued:
        path, key_path = base.with_name(base.name + ".pem"), base.with_name(base.name + ".key")
        key = _key(key_path)
        if keep is not None and not self._renew:
            return Issued(path, key_path, fresh=False)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        builder = (
            self._builder(subject, key.public_key(), self._days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts is not None:
            builder = builder.add_extension(hosts, critical=False)
        _write(path, builder.sign(self._key, hashes.SHA256()))
        return Issued(path, key_path, fresh=True)

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACK)
            .not_valid_after(now + datetime.timedelta(days=days))
        )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of a file, which is made (0600) when it is not there, and never written over."""
    data = read_file(path, max_bytes=_MAX_FILE)
    if data is None:
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        create_file(path, pem, mode=0o600)
        return made
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(path, "it is no key of a curve")
    return key


def _certificate(path: Path) -> x509.Certificate | None:
    data = read_file(path, max_bytes=_MAX_FILE)
    if data is None:
        return None
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def valid_until(path: Path) -> int:
    """When a certificate ends, seconds since 1970; 0 when there is none. Raises ConfigError."""
    found = _certificate(path)
    return 0 if found is None else int(found.not_valid_after_utc.timestamp())


def _write(path: Path, certificate: x509.Certificate) -> None:
    replace_file(path, certificate.public_bytes(Encoding.PEM), mode=0o644)


def _left(certificate: x509.Certificate) -> datetime.timedelta:
    return certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value)


def _damaged(path: Path, what: str) -> ConfigError:
    return ConfigError(
        "config.authority",
        f"{path}: {what}",
        hint="restore it from a backup, or move it away to have another one made",
    )
