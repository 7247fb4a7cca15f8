"""Keys and certificates of one data directory: a certificate authority and what it signs.

Everything is ECDSA P-256. ``cryptography`` is imported only when something must be made or signed, so that a warm
start does not pay for it.
"""

import base64
import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ketch.kube.clock import Clock

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVER_ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1")
LIFETIME = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=30)
ADMINISTRATOR = ("kubernetes-admin", ("system:masters",))
NODE_CLIENT = ("kube-apiserver-kubelet-client", ("system:masters",))
"""Who the API server is to nodes."""


EXTENDED_USAGES = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
}
"""What certificates may be for, and its number."""


def write_private(path: Path, content: bytes) -> None:
    """Write ``path`` (mode 0600) so that it is whole or absent."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Authority:
    """The certificate authority in ``directory`` (created when absent), and the files it signs there."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"
        self.signing_key = directory / "service-accounts.key"
        if not self._usable(self.certificate, self._key):
            self._make_authority()
        if not self.signing_key.exists():
            self._make_signing_key()

    def server_pair(self) -> tuple[Path, Path]:
        """Certificate and key of the API server."""
        return self._pair("apiserver", SERVER_NAMES[0], (), server=True)

    def client_pair(self, file: str, user: str, groups: Sequence[str]) -> tuple[Path, Path]:
        """Certificate and key of a client: its common name is the user, its organisations the groups."""
        return self._pair(file, user, groups, server=False)

    def server_context(self) -> ssl.SSLContext:
        """TLS for listeners: client certificates are asked for, not demanded."""
        certificate, key = self.server_pair()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def node_context(self, certificate: str) -> ssl.SSLContext:
        """TLS towards a node that is known by ``certificate`` (PEM), or, without one, by its address and our signature.

        Raises SSLError.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            context.check_hostname = False
            context.load_verify_locations(cadata=certificate)
        else:
            context.load_verify_locations(self.certificate)
        context.load_cert_chain(*self.client_pair("apiserver-kubelet-client", *NODE_CLIENT))
        return context

    def write_kubeconfig(self, path: Path, server: str, pair: tuple[Path, Path], user: str) -> None:
        """A kubeconfig (JSON is YAML) with everything inside; written only when it says something new."""

        def encoded(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "ketch",
                    "cluster": {"server": server, "certificate-authority-data": encoded(self.certificate)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": encoded(pair[0]), "client-key-data": encoded(pair[1])},
                }
            ],
            "contexts": [{"name": "ketch", "context": {"cluster": "ketch", "user": user, "namespace": "default"}}],
            "current-context": "ketch",
        }
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
        if not path.exists() or path.read_bytes() != text:
            write_private(path, text)

    def _usable(self, certificate: Path, key: Path) -> bool:
        if not (certificate.exists() and key.exists()):
            return False
        # The standard library's reader of one certificate: no need for cryptography just to see a date.
        standard: Any = ssl
        decoded: dict[str, Any] = standard._ssl._test_decode_cert(str(certificate))  # noqa: SLF001  # as said
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded["notAfter"]), UTC)
        return expires - RENEW_BEFORE > self._clock.now()

    def _pair(self, file: str, user: str, groups: Sequence[str], *, server: bool) -> tuple[Path, Path]:
        certificate, key = self._directory / f"{file}.crt", self._directory / f"{file}.key"
        older = certificate.exists() and certificate.stat().st_mtime < self.certificate.stat().st_mtime
        if older or not self._usable(certificate, key):
            self._sign(certificate, key, user, groups, server=server)
        return certificate, key

    # Everything below needs cryptography, and runs once per data directory.

    def _name(self, user: str, groups: Sequence[str]) -> "x509.Name":
        from cryptography import x509  # noqa: PLC0415  # deferred: 90 ms, only when something must be made
        from cryptography.x509.oid import NameOID  # noqa: PLC0415  # as above

        organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])

    def _new_key(self, path: Path) -> "EllipticCurvePrivateKey":
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # deferred, see above
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # deferred, see above

        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem)
        return key

    def _make_signing_key(self) -> None:
        self._new_key(self.signing_key)

    def _make_authority(self) -> None:
        from cryptography import x509  # noqa: PLC0415  # deferred, see above
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  # deferred, see above

        key, name, now = self._new_key(self._key), self._name("ketch", ()), self._clock.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def sign_request(
        self,
        request: "x509.CertificateSigningRequest",
        places: Sequence[Any],
        usages: Sequence[str],
        lifetime: timedelta,
    ) -> bytes:
        """The certificate (PEM) that a request asks for: its subject and alternative names, for these usages."""
        from cryptography import x509  # noqa: PLC0415  # deferred, see above
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  # deferred, see above

        issuer_key: Any = serialization.load_pem_private_key(self._key.read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        now = self._clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(issuer.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False, encipherment="key encipherment" in usages), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if extended := [x509.ObjectIdentifier(EXTENDED_USAGES[each]) for each in usages if each in EXTENDED_USAGES]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if places:
            builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(self, path: Path, key_path: Path, user: str, groups: Sequence[str], *, server: bool) -> None:
        from cryptography import x509  # noqa: PLC0415  # deferred, see above
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  # deferred, see above
        from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415  # deferred, see above

        issuer_key: Any = serialization.load_pem_private_key(self._key.read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key, now = self._new_key(key_path), self._clock.now()
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(user, groups))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if server:
            addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in SERVER_ADDRESSES]
            names = [x509.DNSName(name) for name in SERVER_NAMES]
            builder = builder.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        write_private(path, certificate.public_bytes(serialization.Encoding.PEM))


def _key_usage(*, authority: bool, encipherment: bool = False) -> "x509.KeyUsage":
    from cryptography import x509  # noqa: PLC0415  # deferred, see above

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
