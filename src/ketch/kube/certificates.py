"""Certificates that a server signs itself: whoever is to know it is given the certificate."""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ketch.kube.clock import Clock

LIFETIME, RENEW_BEFORE = timedelta(days=365), timedelta(days=90)


class ServingPair(NamedTuple):
    """Certificate and key, as PEM."""

    certificate: bytes
    key: bytes

    def serves(self, names: Sequence[str], clock: Clock) -> bool:
        """Whether it is for all these names and addresses, and for long enough."""
        try:
            found = x509.load_pem_x509_certificate(self.certificate)
        except ValueError:
            return False
        if found.not_valid_after_utc - RENEW_BEFORE < clock.now():
            return False
        known = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        return all(_general_name(name) in known for name in names)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def self_signed(subject: str, organisation: str, names: Sequence[str], clock: Clock) -> ServingPair:
    """A new pair for a server that is reached at ``names``."""
    private, now = ec.generate_private_key(ec.SECP256R1()), clock.now()
    parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, subject))
    called = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    signed = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ServingPair(signed.public_bytes(serialization.Encoding.PEM), key)
