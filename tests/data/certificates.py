"""Certificates, made when a test needs them: none is in the repository, none expires there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as files and as what they hold."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    secret: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def sha256(self) -> str:
        """Its fingerprint, as `openssl x509 -fingerprint -sha256` prints it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(folder: Path, name: str, certificate, secret, password: str | None) -> Issued:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode())
    )
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
    )
    return Issued(cert, key, certificate, secret)


def _begin(subject: str, issuer: x509.Name, public, days: tuple[int, int]):
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )


def self_signed(folder: Path, name: str, days: tuple[int, int] = (-1, 1)) -> Issued:
    """Make what `openssl req -x509` makes: its own CA, the host in the common name alone."""
    secret = ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    certificate = (
        _begin(name, _name(name), secret.public_key(), days)
        .add_extension(constraints, critical=True)
        .sign(secret, hashes.SHA256())
    )
    return _write(folder, name, certificate, secret, None)


class Authority:
    """A certification authority."""

    def __init__(self, folder: Path, name: str = "Hospital CA") -> None:
        """Make its certificate."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.own = self_signed(folder, name)
        self.ca = self.own.cert

    def issue(
        self,
        name: str,
        hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
        days: tuple[int, int] = (-1, 1),
        password: str | None = None,
        kind: str = "ec",
    ) -> Issued:
        """Make a certificate for hosts, valid from and to so many days from now."""
        secret = (
            rsa.generate_private_key(65537, 2048)
            if kind == "rsa"
            else ec.generate_private_key(ec.SECP256R1())
        )
        builder = _begin(name, self.own.certificate.subject, secret.public_key(), days)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        if hosts:
            names = [
                x509.IPAddress(ipaddress.ip_address(host))
                if host[0].isdigit()
                else x509.DNSName(host)
                for host in hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.own.secret, hashes.SHA256())
        return _write(self.folder, name, certificate, secret, password)

    def revoke(self, *revoked: Issued) -> Path:
        """Make the list of what is revoked."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder()
        builder = builder.issuer_name(self.own.certificate.subject)
        builder = builder.last_update(now - DAY).next_update(now + DAY)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.own.secret.public_key()
        )
        builder = builder.add_extension(identifier, critical=False)
        for issued in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(issued.certificate.serial_number)
                .revocation_date(now)
                .build()
            )
        path = self.folder / "revoked.pem"
        crl = builder.sign(self.own.secret, hashes.SHA256())
        path.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        return path
