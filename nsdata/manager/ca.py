"""The manager's own certificate authority: a key and a certificate in files, made at first start.

    ca/ca.pem, ca.key         signs the manager's certificate and those of appliances
    ca/server.pem, server.key what the listeners show; made anew when names change or time runs out

Keys are ECDSA P-256, in files for their owner alone.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import time
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nsdata.errors import OutputError, SettingError

CA_DAYS, SERVER_DAYS, APPLIANCE_DAYS = 3650, 397, 365
RENEW = dt.timedelta(days=30)  # before the end of the manager's own
RENEW_SHARE = 3  # an appliance renews in the last third of its certificate's time
REMEMBERED = 10_000  # clients' certificates that need not be read again
BACKDATED = dt.timedelta(minutes=5)  # clocks differ


def exists(directory: Path) -> bool:
    """Whether a CA was made in this directory."""
    return (directory / "ca.key").exists()


class Authority:
    """The CA in `directory`, made if need be. Raises OutputError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate_file = directory / "ca.pem"
        self._key_file = directory / "ca.key"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._key_file.exists():
                self._make()
            self._certificate = _read_certificate(self.certificate_file)
            self._key = _read_key(self._key_file)
        except OSError as error:
            raise OutputError(f"{error.filename}: {error.strerror}") from error

    @property
    def pem(self) -> str:
        """Its certificate."""
        return _pem(self._certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, hexadecimal."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def expires(self) -> dt.datetime:
        """The end of its certificate."""
        return self._certificate.not_valid_after_utc

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "nsdata manager CA"),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, os.urandom(8).hex()),
            ]
        )
        made = (
            _builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(self.certificate_file, _pem(made).encode(), 0o644)
        _write(self._key_file, _key_pem(key), 0o600)  # last: with it the CA is whole

    def server(self, names: list[str]) -> tuple[Path, Path]:
        """(certificate, key) of the manager for these names, as files."""
        certificate, key = self.directory / "server.pem", self.directory / "server.key"
        if not (key.exists() and certificate.exists() and self._suits(certificate, names)):
            made_key = ec.generate_private_key(ec.SECP256R1())
            made = self._sign(
                made_key.public_key(),
                names[0],
                SERVER_DAYS,
                ExtendedKeyUsageOID.SERVER_AUTH,
                x509.SubjectAlternativeName([_general(name) for name in names]),
            )
            _write(key, _key_pem(made_key), 0o600)
            _write(certificate, (_pem(made) + self.pem).encode(), 0o644)
        return certificate, key

    def _suits(self, file: Path, names: list[str]) -> bool:
        try:
            found = _read_certificate(file)
            found.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        has = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = {_general(name) for name in names}
        soon = found.not_valid_after_utc - dt.datetime.now(dt.UTC) < RENEW
        return set(has) == wanted and not soon

    def sign_appliance(self, csr: str, appliance_id: str) -> tuple[str, str]:
        """(certificate, its fingerprint) for the key of a signing request. Of the request only
        the key counts. ValueError says what is wrong with it."""
        try:
            request = x509.load_pem_x509_csr(csr.encode())
            sound = request.is_signature_valid
            key = request.public_key()
        except Exception as error:  # the parser's errors are of many kinds
            raise ValueError("it is not a certificate signing request in PEM") from error
        if not sound:
            raise ValueError("its signature is wrong")
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size < 256:
            raise ValueError("its key must be of an elliptic curve, P-256 or larger")
        san = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(f"urn:uuid:{appliance_id}")]
        )
        made = self._sign(key, appliance_id, APPLIANCE_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH, san)
        return _pem(made), made.fingerprint(hashes.SHA256()).hex()

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        days: int,
        purpose: x509.ObjectIdentifier,
        san: x509.SubjectAlternativeName,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        return (
            _builder(subject, self._certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(san, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def appliance_of(der: bytes) -> tuple[str, str, bool]:
    """(appliance's id, fingerprint, whether to renew) of a client's certificate. ValueError."""
    name, fingerprint, renew_at = _appliance_of(der)
    return name, fingerprint, time.time() > renew_at


@lru_cache(REMEMBERED)  # each report comes with one
def _appliance_of(der: bytes) -> tuple[str, str, float]:
    found = x509.load_der_x509_certificate(der)
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ValueError("the certificate names no appliance")
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    late = end - (end - begin) / RENEW_SHARE
    return str(names[0].value), found.fingerprint(hashes.SHA256()).hex(), late.timestamp()


def check_pair(certificate: Path, key: Path) -> None:
    """Refuse a given certificate and key that cannot be used. Raises SettingError."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"certificate {certificate}, key {key}: {error}") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise OutputError(f"{file}: not a certificate: {error}") from error


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        found = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise OutputError(f"{file}: not a key: {error}") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise OutputError(f"{file}: not a key of an elliptic curve")
    return found


def _write(file: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others in between."""
    part = file.with_name(f"{file.name}.new")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
