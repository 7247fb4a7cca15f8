"""What the API server serves, read from its discovery documents; custom resources included."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from ketch.kube.client import Client
from ketch.kube.errors import NotFound
from ketch.kube.meta import KubeObject, Resource

NEEDED = frozenset({"delete", "list"})
WATCHED = frozenset({"delete", "list", "watch"})
SAME_AS_CORE = "events.k8s.io"
"""A group that serves the core group's events once more."""
CONTENT = frozenset({"apiVersion", "kind", "spec", "status", "data", "binaryData", "stringData", "rules", "subsets"})


class Metadata(KubeObject, frozen=True, kw_only=True):
    """An object of any kind, of which only the metadata counts."""

    discarded = CONTENT


@cache
def metadata_of(resource: Resource) -> type[Metadata]:
    """The class for objects of ``resource``; the same class for equal resources."""
    return type(f"Metadata{resource.kind}", (Metadata,), {"resource": resource, "__module__": __name__})


def _resources(document: Mapping[str, Any], verbs: frozenset[str]) -> Iterator[Resource]:
    group, _, version = str(document["groupVersion"]).rpartition("/")
    for item in document.get("resources") or ():
        if "/" not in item["name"] and verbs <= set(item.get("verbs") or ()):
            yield Resource(group, version, item["kind"], item["name"], bool(item.get("namespaced")))


async def discover(client: Client, verbs: Iterable[str] = NEEDED) -> list[Resource]:
    """Every resource that can be so used, each in one version: the preferred where it is served there."""
    needed = frozenset(verbs)
    found = {("", each.plural): each for each in _resources(await client.request("GET", "/api/v1"), needed)}
    groups = await client.request("GET", "/apis")
    for group in groups.get("groups") or ():
        if group["name"] == SAME_AS_CORE:
            continue
        versions = [each["groupVersion"] for each in group.get("versions") or ()]
        favourite: Mapping[str, str] = group.get("preferredVersion") or {}
        preferred = favourite.get("groupVersion", "")
        for version in sorted(versions, key=preferred.__ne__):
            try:
                document = await client.request("GET", f"/apis/{version}")
            except NotFound:
                continue  # went away in between
            for each in _resources(document, needed):
                found.setdefault((each.group, each.plural), each)
    return list(found.values())
