"""What OpenAPI tells of each resource's operations: paths, parameters, bodies, answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.local.apiserver.resources import ServedResource

KIND = "x-kubernetes-group-version-kind"
COMPONENTS = "#/components/schemas/"
STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
JSON = "application/json"
PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
STRATEGIC = "application/strategic-merge-patch+json"
WRITING = (
    ("dryRun", "string", "All: nothing is kept."),
    ("fieldManager", "string", "Who writes, in managedFields."),
    ("fieldValidation", "string", "What is done about unknown fields: Ignore, Warn or Strict."),
)
APPLYING = (("force", "boolean", "Take fields over from their owners (server-side apply)."),)
DELETING = (
    ("dryRun", "string", "All: nothing is kept."),
    ("gracePeriodSeconds", "integer", "How long the object may take to end; 0 ends it at once."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
)
LISTING = (
    ("allowWatchBookmarks", "boolean", "Send bookmarks in a watch."),
    ("continue", "string", "Where a paged list goes on."),
    ("fieldSelector", "string", "Objects whose fields have these values."),
    ("labelSelector", "string", "Objects with these labels."),
    ("limit", "integer", "How many objects a page may hold."),
    ("resourceVersion", "string", "The state that is asked for."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Begin a watch with what is there."),
    ("timeoutSeconds", "integer", "How long a watch goes on."),
    ("watch", "boolean", "Tell of changes instead of listing."),
)
Operation = dict[str, Any]


def _query(table: Sequence[tuple[str, str, str]]) -> list[Operation]:
    return [
        {"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": True}}
        for name, kind, text in table
    ]


def _path(name: str, text: str) -> Operation:
    described = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": described}


class _Operations:
    """The operations of one resource."""

    def __init__(self, resource: ServedResource, component: str) -> None:
        self._resource = resource
        self._component = component
        identity = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        self._common = {KIND: identity}

    def _named(self, action: str, suffix: str = "") -> str:
        resource = self._resource
        group = "".join(part.capitalize() for part in resource.group.split(".")[0:1]) or "Core"
        scope = "Namespaced" if resource.namespaced else ""
        return f"{action}{group}{resource.version.capitalize()}{scope}{resource.kind}{suffix}"

    def make(self, method: str, action: str, *, suffix: str = "", answer: str = "") -> Operation:
        """One operation, with what it takes and what it gives."""
        schema = {"$ref": COMPONENTS + (answer or self._component)}
        code = "201" if method == "post" else "200"
        responses: Operation = {code: {"description": "OK", "content": {JSON: {"schema": schema}}}}
        if method in ("put", "patch", "delete"):
            other = "202" if method == "delete" else "201"
            responses[other] = {"description": "OK", "content": {JSON: {"schema": schema}}}
        made: Operation = {
            "operationId": self._named(action, suffix),
            "responses": responses,
            "x-kubernetes-action": "deletecollection" if suffix == "Collection" else action,
            **self._common,
        }
        if method in ("post", "put", "patch"):
            made["parameters"] = _query((*WRITING, *APPLYING) if method == "patch" else WRITING)
            kinds = [JSON] if method != "patch" else [*PATCHES, *([] if self._resource.custom else [STRATEGIC])]
            given = {"$ref": COMPONENTS + self._component}
            made["requestBody"] = {"required": True, "content": {kind: {"schema": given} for kind in kinds}}
            if method == "patch":
                made["requestBody"]["content"] = {kind: {"schema": {}} for kind in kinds}
        elif method == "delete":
            made["parameters"] = _query((*DELETING, *LISTING) if suffix else DELETING)
            made["requestBody"] = {"content": {JSON: {"schema": {"$ref": COMPONENTS + DELETE_OPTIONS}}}}
        elif action == "list":
            made["parameters"] = _query(LISTING)
        return made


def paths_of(resource: ServedResource, component: str, list_component: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each path of a resource with its operations."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    place = [_path("namespace", "The namespace.")] if resource.namespaced else []
    collection, operations = f"{root}{scope}/{resource.plural}", _Operations(resource, component)
    verbs = set(resource.verbs)
    whole: Operation = {}
    if "list" in verbs:
        whole["get"] = operations.make("get", "list", answer=list_component)
    if "create" in verbs:
        whole["post"] = operations.make("post", "create")
    if "deletecollection" in verbs:
        whole["delete"] = operations.make("delete", "delete", suffix="Collection", answer=STATUS)
    yield collection, {**({"parameters": place} if place else {}), **whole}
    if not verbs & {"get", "update", "patch", "delete"}:
        return
    one = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
    place = [_path("name", "The name."), *place]
    yield (
        f"{collection}/{{name}}",
        {"parameters": place}
        | {
            method: operations.make(method, action, answer=STATUS if method == "delete" else "")
            for method, action in one.items()
            if action in verbs
        },
    )
    if resource.has_status:
        below = {method: operations.make(method, action, suffix="Status") for method, action in list(one.items())[:3]}
        yield f"{collection}/{{name}}/status", {"parameters": place, **below}
