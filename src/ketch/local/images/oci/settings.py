"""How registries are reached: ``registries.json`` in the data directory.

::

    {"docker.io": {"mirrors": ["https://mirror.example"]}, "registry.example": {"ca": "/path.pem"},
     "lab.example:5000": {"insecure": true}}

``mirrors`` are asked first, in order; ``insecure`` permits plain HTTP and certificates that nobody vouches for. What
is on this machine itself may always be plain HTTP.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ketch.local.images.oci.errors import RegistryError
from ketch.local.images.oci.references import DOCKER_HUB

FILE = "registries.json"
HUB_HOST = "registry-1.docker.io"


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one registry is reached."""

    mirrors: Sequence[str] = ()
    insecure: bool = False
    ca: str = ""

    def __post_init__(self) -> None:
        for mirror in self.mirrors:
            if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).netloc:
                raise ValueError(f'"{mirror}" is not a URL such as https://mirror.example')


@dataclass(frozen=True)
class Endpoint:
    """A URL to ask, and how to trust it."""

    url: str
    insecure: bool = False
    ca: str = ""
    mirror: bool = False


def read_settings(data_dir: Path) -> Mapping[str, Registry]:
    """The settings of a data directory. Raises RegistryError."""
    path = data_dir / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Registry])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise RegistryError(f"{path} cannot be used: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether a registry's host, with or without a port, is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def endpoints(registry: str, settings: Mapping[str, Registry]) -> Iterator[Endpoint]:
    """Where to ask for a registry's images, in order."""
    own = settings.get(registry, Registry())
    for mirror in own.mirrors:
        parts = urlsplit(mirror)
        trust = settings.get(parts.netloc, Registry())
        yield Endpoint(mirror.rstrip("/"), trust.insecure or is_loopback(parts.netloc), trust.ca, mirror=True)
    host = HUB_HOST if registry == DOCKER_HUB else registry
    relaxed = own.insecure or is_loopback(host)
    yield Endpoint(f"https://{host}", relaxed, own.ca)
    if relaxed:
        yield Endpoint(f"http://{host}", relaxed, own.ca)
