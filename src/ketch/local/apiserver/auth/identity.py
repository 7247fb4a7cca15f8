"""Who sends a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
NODES = "system:nodes"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """authentication.k8s.io UserInfo."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


ANONYMOUS = UserInfo("system:anonymous", (UNAUTHENTICATED,))
LOOPBACK = UserInfo("system:apiserver", (MASTERS, AUTHENTICATED))
"""The server itself and the controllers that live with it."""
