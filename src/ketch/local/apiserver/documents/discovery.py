"""What is served: legacy and aggregated discovery, version."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ketch.kube.errors import NotFound
from ketch.local.apiserver.extension.aggregator import Aggregator
from ketch.local.apiserver.resources import Registry, ServedResource

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+ketch",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
}
PROXY_VERBS = ("create", "delete", "get", "patch", "update")
SUBRESOURCES: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "/pods": (
        ("attach", "PodAttachOptions", ("create", "get")),
        ("binding", "Binding", ("create",)),
        ("ephemeralcontainers", "Pod", ("get", "patch", "update")),
        ("eviction", "Eviction", ("create",)),
        ("exec", "PodExecOptions", ("create", "get")),
        ("log", "Pod", ("get",)),
        ("portforward", "PodPortForwardOptions", ("create", "get")),
        ("proxy", "PodProxyOptions", PROXY_VERBS),
    ),
    "/services": (("proxy", "ServiceProxyOptions", PROXY_VERBS),),
    "/nodes": (("proxy", "NodeProxyOptions", PROXY_VERBS),),
    "certificates.k8s.io/certificatesigningrequests": (
        ("approval", "CertificateSigningRequest", ("get", "patch", "update")),
    ),
    "/serviceaccounts": (("token", "TokenRequest", ("create",)),),
    "/namespaces": (("finalize", "Namespace", ("update",)),),
}
FOREIGN_KINDS = {
    "Eviction": ("policy", "v1"),
    "TokenRequest": ("authentication.k8s.io", "v1"),
    "Scale": ("autoscaling", "v1"),
}
"""Kinds of subresources that belong to another group."""


def _below(resource: ServedResource) -> list[tuple[str, str, tuple[str, ...]]]:
    """Subresources: name, kind, verbs."""
    found = list(SUBRESOURCES.get(resource.storage, ())) if resource.group != "events.k8s.io" else []
    if resource.has_scale:
        found.append(("scale", "Scale", ("get", "patch", "update")))
    if resource.has_status:
        found.append(("status", resource.kind, ("get", "patch", "update")))
    return found


def _legacy(resource: ServedResource) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name, kind, verbs in _below(resource):
        below: dict[str, Any] = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(verbs),
        }
        if kind in FOREIGN_KINDS:
            below["group"], below["version"] = FOREIGN_KINDS[kind]
        entries.append(below)
    return entries


def _aggregated(resource: ServedResource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if below := _below(resource):
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": dict(
                    zip(
                        ("group", "version", "kind"),
                        (*FOREIGN_KINDS.get(kind, (resource.group, resource.version)), kind),
                        strict=True,
                    )
                ),
                "verbs": list(verbs),
            }
            for name, kind, verbs in below
        ]
    return entry


def _version(group: str, version: str) -> dict[str, str]:
    return {"groupVersion": f"{group}/{version}", "version": version}


def _group(group: str, versions: Sequence[str]) -> dict[str, Any]:
    listed = [_version(group, version) for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


class Discovery:
    """Discovery documents of a registry, and of other servers; made on demand, kept until something changes."""

    def __init__(self, registry: Registry, others: Aggregator) -> None:
        self._registry = registry
        self._others = others
        self._made: dict[tuple[str, bool, bool], Any] = {}
        self._generations = (-1, -1)

    def document(self, path: str, *, aggregated: bool, merged: bool) -> Any:
        """The document at ``/api``, ``/apis`` or below; ``merged`` with what others serve. Raises NotFound."""
        generations = (self._registry.generation, self._others.generation)
        if self._generations != generations:
            self._made.clear()
            self._generations = generations
        key = (path.strip("/"), aggregated, merged)
        if key not in self._made:
            self._made[key] = self._make(key[0], aggregated=aggregated, merged=merged)
        return self._made[key]

    def _make(self, path: str, *, aggregated: bool, merged: bool) -> Any:
        match path.split("/"):
            case ["api"] if aggregated:
                return self._aggregated([""], merged=False)
            case ["apis"] if aggregated:
                return self._aggregated([group for group in self._registry.groups() if group], merged=merged)
            case ["api"]:
                address = {"clientCIDR": "0.0.0.0/0", "serverAddress": "localhost"}
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}
            case ["apis"]:
                groups = [_group(group, versions) for group, versions in self._groups(merged=merged).items() if group]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", version]:
                return self._resources("", version)
            case ["apis", group] if group in (groups := self._groups(merged=merged)):
                return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, groups[group])}
            case ["apis", group, version]:
                return self._resources(group, version)
            case _:
                raise NotFound("the server could not find the requested resource")

    def _groups(self, *, merged: bool) -> Mapping[str, Sequence[str]]:
        """Versions by group, those of others behind this server's own."""
        if not (merged and self._others.remotes):
            return self._registry.groups()
        found = {group: list(versions) for group, versions in self._registry.groups().items()}
        for remote in self._others.ranked():
            if remote.available:
                found.setdefault(remote.group, []).append(remote.version)
        return found

    def _resources(self, group: str, version: str) -> Any:
        if version not in self._registry.groups().get(group, ()):
            raise NotFound("the server could not find the requested resource")
        entries = [entry for item in self._registry.resources_of(group, version) for entry in _legacy(item)]
        shown = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": shown, "resources": entries}

    def _aggregated(self, groups: list[str], *, merged: bool) -> Any:
        found: dict[str, list[dict[str, Any]]] = {
            group: [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_aggregated(item) for item in self._registry.resources_of(group, version)],
                }
                for version in self._registry.groups()[group]
            ]
            for group in groups
        }
        for remote in self._others.ranked() if merged else ():
            if remote.available or remote.resources:
                found.setdefault(remote.group, []).append(remote.described_version())
        items = [
            {"metadata": {"name": group, "creationTimestamp": None}, "versions": versions}
            for group, versions in found.items()
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
