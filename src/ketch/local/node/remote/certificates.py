"""The certificate by which a node is known: made and signed by itself, told in its Node object."""

import ipaddress
import os
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ketch.kube.clock import Clock

LIFETIME, RENEW_BEFORE = timedelta(days=365), timedelta(days=90)
CERTIFICATE, KEY = "node-serving.crt", "node-serving.key"


def serving_pair(folder: Path, name: str, address: str, clock: Clock) -> tuple[Path, Path]:
    """Certificate and key of the node ``name`` at ``address``, made where there is none or it ends soon."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not _serves(certificate, key, address, clock):
        _make(certificate, key, name, address, clock)
    return certificate, key


def _serves(certificate: Path, key: Path, address: str, clock: Clock) -> bool:
    if not (certificate.exists() and key.exists()):
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if found.not_valid_after_utc - RENEW_BEFORE < clock.now():
        return False
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _general_name(address) in list(names)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _make(certificate: Path, key: Path, name: str, address: str, clock: Clock) -> None:
    private, now = ec.generate_private_key(ec.SECP256R1()), clock.now()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
        ]
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(address)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content in ((key, secret), (certificate, signed.public_bytes(serialization.Encoding.PEM))):
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
