"""Names of images as registries read them: validated, with Docker Hub's short forms written out. Pure."""

import re
from dataclasses import dataclass, replace
from typing import Self

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
LONGEST = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"^(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$")
_PATH = re.compile(rf"^{_COMPONENT}(?:/{_COMPONENT})*$")
_TAG = re.compile(r"^\w[\w.-]{0,127}$", re.ASCII)
_DIGEST = re.compile(r"^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")


class NameInvalid(ValueError):
    """The text names no image; the message says what is wrong with it."""


@dataclass(frozen=True)
class ImageName:
    """``registry/repository[:tag][@digest]``; without either, the tag is ``latest``."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that ``text`` writes. Raises NameInvalid."""
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise NameInvalid(f'"{text}": "{digest}" is not a digest such as sha256:… (64 hexadecimal digits)')
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        if colon and not _TAG.match(tag):
            raise NameInvalid(f'"{text}": "{tag}" is not a tag (letters, digits, "_", "." and "-", at most 128)')
        registry, repository = _split(f"{head}{slash}{last}")
        if not _HOST.match(registry):
            raise NameInvalid(f'"{text}": "{registry}" is not the name of a registry')
        if not _PATH.match(repository) or len(repository) > LONGEST:
            raise NameInvalid(
                f'"{text}": "{repository}" is not the name of a repository '
                '(small letters and digits, joined by ".", "_" or "-", parted by "/")'
            )
        return cls(registry, repository, tag or ("" if at else DEFAULT_TAG), digest)

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def place(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def at(self, digest: str) -> Self:
        """The same repository's image of that digest."""
        return replace(self, tag="", digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.place}{tag}{f'@{self.digest}' if self.digest else ''}"


def is_digest(text: str) -> bool:
    """Whether the text is a digest of a kind that is checked here."""
    return _DIGEST.match(text) is not None


def _split(name: str) -> tuple[str, str]:
    """Registry and repository: the first part is a registry's when no repository's could look like it."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        first, rest = DOCKER_HUB, name
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest
