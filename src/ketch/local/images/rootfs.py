"""The file system that every container begins with: the machine's programs and libraries, read-only, and nothing else.

Neither /home nor /root, /var, /etc as a whole, /run or /mnt are in it: what a container may see is named here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ketch.local.sandbox.spec import Mount

HOME = "/root"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Configuration that programs need to work; none of it is secret.
CONFIGURATION = (
    "alternatives",
    "ca-certificates",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
CERTIFICATE_SWITCHES = ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS")
"""The host's settings that say whose certificates are trusted."""

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
"""Where distributions keep the certificates that a machine trusts."""

PARENTS = ("/etc", "/etc/pki", "/etc/pki/tls", "/etc/ssl", "/opt", "/opt/ketch", "/opt/ketch/bin", "/sys", "/var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"  # noqa: S105  # no password stands in it
GROUP = "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n"
SHARED_SCRATCH = 0o1777


def account_files(folder: Path) -> Iterator[Mount]:
    """/etc/passwd and /etc/group as containers see them; the files are written below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in (("passwd", PASSWD), ("group", GROUP)):
        path = folder / name
        if not path.exists() or path.read_text() != content:
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(content)
            partial.replace(path)
        yield Mount("ro-bind", f"/etc/{name}", str(path))


def system_mounts() -> Iterator[Mount]:
    """Programs, libraries and configuration of this machine."""
    # Parents that bubblewrap makes by itself are closed to everyone but root.
    yield from (Mount("directory", name) for name in PARENTS)
    for path in map(Path, PROGRAMS):
        if path.is_symlink():
            yield Mount("symlink", str(path), str(path.readlink()))
        elif path.is_dir():
            yield Mount("ro-bind", str(path), str(path))
    for name in CONFIGURATION:
        path = Path("/etc") / name
        if path.exists():
            yield Mount("ro-bind", str(path), str(path.resolve()))


def writable_mounts() -> Iterator[Mount]:
    """Places that programs expect to write to."""
    yield Mount("scratch", "/tmp", mode=SHARED_SCRATCH)  # noqa: S108  # the container's own
    yield Mount("scratch", "/var/tmp", mode=SHARED_SCRATCH)  # noqa: S108
    yield Mount("scratch", HOME, mode=0o700)
    if Path("/usr/local").is_dir():
        yield Mount("overlay", "/usr/local", "/usr/local")
    yield Mount("tmpfs", "/run", mode=0o755)
    yield Mount("directory", "/var/run")


def system_trust() -> Mapping[str, str]:
    """The setting that makes uv trust whom this machine trusts, where the machine says whom: pip does so anyway."""
    return {"UV_SYSTEM_CERTS": "true"} if any(Path(bundle).exists() for bundle in BUNDLES) else {}


def certificate_settings(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Whose certificates the host trusts, for containers: what they can see of it."""
    shown = tuple(Path("/etc") / name for name in CONFIGURATION)

    def visible(path: Path) -> bool:
        return not outside_system(path) or any(path.is_relative_to(each) for each in shown)

    found = {name: environment[name] for name in CERTIFICATE_SWITCHES if environment.get(name)}
    for name in CERTIFICATE_VARIABLES:
        path = Path(environment.get(name, ""))
        if path.is_absolute() and path.exists() and visible(path) and visible(path.resolve()):
            found[name] = str(path)
    return found


def outside_system(path: Path) -> bool:
    """Whether ``path`` is not below what ``system_mounts`` shows."""
    return not any(path.is_relative_to(program) for program in PROGRAMS)
