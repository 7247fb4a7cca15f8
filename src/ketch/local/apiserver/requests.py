"""A call of the API, understood: which verb on which resource, namespace, name and subresource."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ketch.kube.errors import BadRequest, MethodNotAllowed, NotFound
from ketch.kube.transport import JSON_TYPE
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import UserInfo

NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
PROXY = "proxy"
PROXIED_PLURALS = ("pods", "services")
LONGEST_MANAGER = 128
TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T", ""})
FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its sender. ``path`` is decoded; ``query`` holds the last value of each parameter.

    ``shape`` is what the answer is to be shown as (Table, ..., a media type of its own), empty for as it is. ``agent``
    is the client's User-Agent, from which an unnamed field manager takes its name. ``warnings`` gathers what the sender
    is to be told beside the answer. ``network``: it came over the network, so that others may answer it.
    """

    user: UserInfo
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    content_type: str = JSON_TYPE
    shape: str = ""
    agent: str = ""
    warnings: list[str] = field(default_factory=list[str])
    network: bool = False

    def flag(self, name: str) -> bool:
        """A boolean query parameter. Raises BadRequest."""
        text = self.query.get(name)
        if text is None or text in FALSE:
            return False
        if text not in TRUE:
            raise BadRequest(f'query parameter {name}: "{text}" is no boolean')
        return True

    def number(self, name: str) -> int | None:
        """An integer query parameter, None when absent. Raises BadRequest."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise BadRequest(f'query parameter {name}: "{text}" is no integer') from None

    def object_body(self, what: str) -> dict[str, Any]:
        """A shallow copy of the body, which must be an object. Raises BadRequest."""
        if not isinstance(self.body, dict):
            raise BadRequest(f"the request's body must be a {what} object")
        return dict(cast("dict[str, Any]", self.body))

    @property
    def manager(self) -> str:
        """The field manager: as told, else the client's name. Raises BadRequest for one that is none."""
        told = self.query.get("fieldManager", "")
        if len(told) > LONGEST_MANAGER or not told.isprintable():
            raise BadRequest(f"fieldManager: must be at most {LONGEST_MANAGER} printable characters")
        return told or self.agent.partition("/")[0][:LONGEST_MANAGER] or "unknown"

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be kept. Raises BadRequest for anything but ``All``."""
        text = self.query.get("dryRun", "")
        if text not in ("", "All"):
            raise BadRequest(f'query parameter dryRun: unsupported value "{text}": supported values: "All"')
        return text == "All"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes; ``verb`` is the authorizer's word (get, list, watch, create, update, patch, delete, ...)."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    verb: str


def section(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within a body, empty when absent. Raises BadRequest for anything else."""
    value = body.get(name)
    if value is None:
        return NOTHING
    if not isinstance(value, dict):
        raise BadRequest(f"{name}: must be an object")
    return cast("Mapping[str, Any]", value)


def texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts within a body, empty when absent. Raises BadRequest for anything else."""
    value = body.get(name) or NO_ITEMS
    if not isinstance(value, list | tuple):
        raise BadRequest(f"{name}: must be a list")
    return tuple(map(str, cast("list[Any]", value)))


def is_proxied(path: str) -> bool:
    """Whether a path leads through the server to what runs in the cluster."""
    parts = path.split("/", 8)
    return parts[1:3] == ["api", "v1"] and (
        (parts[3] == "namespaces" and len(parts) > 7 and parts[5] in PROXIED_PLURALS and parts[7] == PROXY)
        or (parts[3] == "nodes" and len(parts) > 5 and parts[5] == PROXY)
    )


def split_path(path: str) -> tuple[str, str, list[str]] | None:
    """Group, version and the rest of a resource path; None when it names no resource."""
    parts = path.strip("/").split("/")
    if len(parts) >= 3 and parts[0] == "api":
        return "", parts[1], parts[2:]
    if len(parts) >= 4 and parts[0] == "apis":
        return parts[1], parts[2], parts[3:]
    return None


def loosely_resolved(call: Call) -> Target | None:
    """Where a call to another API server goes, as far as that is known here: None for what is no resource."""
    found = split_path(call.path)
    if found is None:
        return None
    group, version, rest = found
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource, _verb(call, name))


def _verb(call: Call, name: str, subresource: str = "") -> str:
    if subresource == PROXY and call.method in ("GET", "HEAD", "OPTIONS"):
        return "get"
    match call.method:
        case "GET" | "HEAD":
            if name and not call.flag("watch"):
                return "get"
            return "watch" if call.flag("watch") else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if name else "deletecollection"
        case _:
            raise MethodNotAllowed(f"the server does not allow the method {call.method}")


def resolve(call: Call, group: str, version: str, rest: list[str]) -> Target:
    """Understand what lies behind group and version. Raises NotFound, MethodNotAllowed."""
    namespace = ""
    if rest[0] == "watch":
        raise NotFound("the server could not find the requested resource")
    if rest[0] == "namespaces" and not group and len(rest) >= 2:
        # /namespaces/a is the namespace itself, /namespaces/a/status its subresource, /namespaces/a/pods its content
        if len(rest) == 2 or (len(rest) == 3 and rest[2] in NAMESPACE_SUBRESOURCES):
            subresource = rest[2] if len(rest) == 3 else ""
            return Target(group, version, "namespaces", "", rest[1], subresource, _verb(call, rest[1]))
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and group and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 and is_proxied(call.path):
        rest = rest[:3]  # what follows is for somebody else
    if len(rest) > 3 or not all(rest):
        raise NotFound("the server could not find the requested resource")
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource, _verb(call, name, subresource))
