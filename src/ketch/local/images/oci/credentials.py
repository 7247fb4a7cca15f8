"""Whose word counts at which registry: what ``docker login`` writes, and Secrets that carry it. Pure."""

import base64
import binascii
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ketch.local.images.oci.references import DOCKER_HUB, ImageName

DOCKER_CONFIG_JSON, DOCKER_CONFIG = "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"
KEYS: Mapping[str, str] = {DOCKER_CONFIG_JSON: ".dockerconfigjson", DOCKER_CONFIG: ".dockercfg"}
"""Types of Secrets, and where each has its content."""

HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


class CredentialsInvalid(Exception):
    """The content cannot be read; the message says why, and nothing of the content."""


@dataclass(frozen=True)
class Credentials:
    """For images whose name begins with ``place``: host (``*`` stands for a part of one), port, maybe a path.

    ``identity_token`` is exchanged for others, ``registry_token`` is one.
    """

    place: str
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


ANONYMOUS = Credentials("")


class _Entry(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _File(msgspec.Struct, frozen=True):
    auths: Mapping[str, _Entry] | None = None


def parse_config(data: bytes | str) -> Sequence[Credentials]:
    """What ``config.json`` or ``.dockercfg`` says. Raises CredentialsInvalid."""
    try:
        entries = msgspec.json.decode(data, type=_File).auths
        if entries is None:
            entries = msgspec.json.decode(data, type=dict[str, _Entry])
    except (msgspec.DecodeError, RecursionError) as error:
        raise CredentialsInvalid(f"it is not what 'docker login' writes: {error}") from error
    return tuple(_entries(entries))


def _entries(entries: Mapping[str, _Entry]) -> Iterator[Credentials]:
    for place, entry in entries.items():
        username, password = _decoded(entry.auth, place) if entry.auth else (entry.username, entry.password)
        if username or entry.identitytoken or entry.registrytoken:
            yield Credentials(_normalized(place), username, password, entry.identitytoken, entry.registrytoken)


def _decoded(auth: str, place: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=False).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise CredentialsInvalid(f'"auth" of {place} is not base64 of "user:password"') from error
    username, colon, password = text.partition(":")
    if not colon:
        raise CredentialsInvalid(f'"auth" of {place} is not base64 of "user:password"')
    return username, password.rstrip("\0")


def _normalized(place: str) -> str:
    """Without scheme, without the version of the API that Docker puts behind a host."""
    place = place.partition("://")[2] or place
    place = place.rstrip("/")
    for suffix in ("/v1", "/v2"):
        place = place.removesuffix(suffix)
    host, slash, path = place.partition("/")
    return f"{DOCKER_HUB if host in HUB_NAMES else host}{slash}{path}"


def matching(name: ImageName, known: Sequence[Credentials]) -> Sequence[Credentials]:
    """Those that may help, the most exact first."""
    found = [each for each in known if _covers(each.place, name)]
    return sorted(found, key=lambda each: len(each.place), reverse=True)


def _covers(place: str, name: ImageName) -> bool:
    host, _, path = place.partition("/")
    wanted, given = name.registry.split("."), host.split(".")
    if len(wanted) != len(given) or not all(map(fnmatch.fnmatchcase, wanted, given)):
        return False
    return not path or name.repository == path or name.repository.startswith(f"{path}/")
