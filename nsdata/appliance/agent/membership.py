"""An appliance's membership of a manager: the files that enrolment leaves in its directory.

manager/membership.json   id, the manager's address for agents
manager/ca.pem            by which the manager is known
manager/agent.pem         the appliance's own key and certificate (mode 0600), in one file, so
                          that they always fit each other
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nsdata.appliance.protocol import CA_PATH, ENROL_PATH, Enrolment
from nsdata.errors import EngineError, NsdataError, SettingError

FILE = "membership.json"
# What the agent says of the manager, each time it changes.
REACHED, REFUSED, UNREACHABLE = "manager reached", "manager refuses", "manager unreachable"
TIMEOUT_S = 20.0
ANSWER_MOST = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Membership:
    """Where the files are, and what is in the first."""

    directory: Path
    id: str
    agents_url: str

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "agent.pem"

    @classmethod
    def load(cls, appliance: Path) -> Membership | None:
        """Of the appliance in this directory; None: it is enrolled nowhere. Raises EngineError."""
        file = file_of(appliance)
        try:
            told = json.loads(file.read_text())
            return cls(file.parent, str(told["id"]), str(told["agents_url"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(f"{file}: cannot be used: {error}; enrol again") from error

    def moved(self, agents_url: str) -> Membership:
        """The manager listens elsewhere from now on. Raises OSError."""
        told = {"id": self.id, "agents_url": agents_url}
        write(self.directory / FILE, json.dumps(told).encode(), 0o600)
        return Membership(self.directory, self.id, agents_url)

    def context(self) -> ssl.SSLContext:
        """TLS with the manager alone, as this appliance. Raises OSError."""
        found = ssl.create_default_context(cafile=str(self.ca))
        found.minimum_version = ssl.TLSVersion.TLSv1_2
        found.load_cert_chain(self.certificate)
        return found

    def renew(self, certificate: str, key: bytes) -> None:
        """Another certificate and its key. Raises OSError."""
        write(self.certificate, key + certificate.encode(), 0o600)


def file_of(appliance: Path) -> Path:
    """Is there: it is enrolled."""
    return appliance / "manager" / FILE


def make_request(name: str) -> tuple[bytes, str]:
    """(a new key, a signing request for it), both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, made.public_bytes(serialization.Encoding.PEM).decode()


def enrol(appliance: Path, name: str, manager: str, token: str) -> Membership:
    """Enrol the appliance in this directory, with a one-time token. Raises NsdataError.

    Before anything secret is said, the manager has to show the CA whose fingerprint is in the
    token, and then a certificate of that CA.
    """
    if urlsplit(manager).scheme != "https" or not urlsplit(manager).hostname:
        raise SettingError(f"--manager {manager}: legal is https://NAME:PORT")
    manager = manager.rstrip("/")
    _, dot, fingerprint = token.partition(".")
    if not dot or len(fingerprint) != 64:
        raise SettingError("the enrolment token is not whole: it is nsde_….FINGERPRINT")
    pem = _certificate_authority(manager, fingerprint)
    key, request = make_request(name)
    context = ssl.create_default_context()  # a given certificate may be of a public CA
    context.load_verify_locations(cadata=pem)
    wanted = {"token": token, "name": name, "csr": request}
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.post(manager + ENROL_PATH, json=wanted)
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise EngineError(f"{manager}: {error}") from error
    if answer.status_code != 201:
        raise NsdataError(f"{manager} refuses: {problem(answer)}")
    try:
        made = Enrolment.model_validate_json(answer.content)
    except ValueError as error:
        raise EngineError(f"{manager}: its answer makes no sense: {error}") from error
    return _keep(appliance, made, pem, key)


def _certificate_authority(manager: str, fingerprint: str) -> str:
    """The manager's CA, if it is the right one."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what comes is judged by its fingerprint
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.get(manager + CA_PATH)
        answer.raise_for_status()
        pem = answer.content[:ANSWER_MOST].decode()
        found = x509.load_pem_x509_certificate(pem.encode())
    except (httpx.HTTPError, ssl.SSLError, ValueError) as error:
        raise EngineError(f"{manager}: {error}") from error
    der = found.public_bytes(serialization.Encoding.DER)
    if hashlib.sha256(der).hexdigest() != fingerprint.lower():
        raise NsdataError(
            f"{manager} is not the manager that this token is of: its CA has another fingerprint"
        )
    return pem


def _keep(appliance: Path, made: Enrolment, ca: str, key: bytes) -> Membership:
    file = file_of(appliance)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)
        found = Membership(file.parent, str(made.id), made.agents_url)
        write(found.ca, ca.encode(), 0o644)
        found.renew(made.certificate, key)
        found.moved(made.agents_url)  # the last file: it is whole
    except OSError as error:
        raise EngineError(f"{file.parent}: {error.strerror or error}") from error
    return found


def leave(appliance: Path) -> bool:
    """It is enrolled nowhere any more; whether it was. Raises EngineError."""
    file = file_of(appliance)
    try:
        was = file.exists()
        for one in (FILE, "agent.pem", "ca.pem"):
            (file.parent / one).unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(f"{file.parent}: {error.strerror or error}") from error
    return was


def problem(answer: httpx.Response) -> str:
    """What a problem document says, else the status."""
    try:
        told = answer.json()
        return f"{told['detail']} ({answer.status_code})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def write(file: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, on disk. Raises OSError."""
    number, part = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(number, "wb") as out:
            os.fchmod(number, mode)
            out.write(data)
            out.flush()
            os.fsync(number)
        os.replace(part, file)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise
