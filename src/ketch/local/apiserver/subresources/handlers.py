"""What lies below an object: binding, eviction, finalize, scale, token; ``podstreams`` has the rest."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from ketch.kube.codec import decode
from ketch.kube.errors import BadRequest, MethodNotAllowed, NotFound
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import Selector, from_label_selector
from ketch.local.apiserver.answers import Answer, ObjectAnswer
from ketch.local.apiserver.auth.tokens import Tokens
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.custom.conversion import served
from ketch.local.apiserver.patches import patched
from ketch.local.apiserver.requests import Call, Target, section, texts
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.schemas import compile_schema
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.streams.podstreams import PodStreams
from ketch.local.apiserver.streams.proxies import Proxies
from ketch.local.apiserver.subresources.evictions import Evictions
from ketch.local.apiserver.subresources.tokens import TokenRequests
from ketch.local.apiserver.verbs.deletion import DeleteHandlers
from ketch.local.apiserver.verbs.patching import PatchHandlers
from ketch.local.apiserver.verbs.reading import ReadHandlers
from ketch.local.apiserver.verbs.writing import MODIFIED, WriteHandlers, conflict

SCALE_PATHS = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}
SCALE = compile_schema(None)


def _at(obj: Any, path: str) -> Any:
    for step in path.strip(".").split("."):
        obj = cast("dict[str, Any]", obj).get(step) if isinstance(obj, dict) else None
    return obj


def _selector_text(value: Any) -> str:
    if isinstance(value, dict):
        return str(from_label_selector(decode(LabelSelector, cast("dict[str, Any]", value))) or Selector())
    return str(value or "")


def scale_of(resource: ServedResource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The autoscaling/v1 Scale of an object."""
    paths = resource.scale_paths or SCALE_PATHS
    meta = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: dict[str, Any] = {"replicas": _at(obj, paths["statusReplicasPath"]) or 0}
    if selector := _selector_text(_at(obj, paths.get("labelSelectorPath", ""))):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in names if name in meta},
        "spec": {"replicas": _at(obj, paths["specReplicasPath"]) or 0},
        "status": status,
    }


class Onward(NamedTuple):
    """Subresources that others answer."""

    pods: PodStreams
    proxies: Proxies


class SubresourceHandlers:
    """One method per subresource; ``handle`` finds it."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        reads: ReadHandlers,
        writes: WriteHandlers,
        patches: PatchHandlers,
        deletes: DeleteHandlers,
        tokens: Tokens,
        onward: Onward,
    ) -> None:
        self._store = store
        self._registry = registry
        self._reads = reads
        self._writes = writes
        self._patches = patches
        self._deletes = deletes
        self._tokens = TokenRequests(store, tokens)
        self._evictions = Evictions(store, registry, writes)
        self._onward = onward

    def find(self, resource: ServedResource, subresource: str) -> Callable[..., Any]:
        """The handler ``(call, target, resource)``. Raises NotFound."""
        match resource.storage, subresource:
            case _, "scale" if resource.has_scale:
                return self._scale
            case "/pods", "binding":
                return self._bind
            case "/pods", "eviction":
                return self._evict
            case ("/pods", "ephemeralcontainers") | ("certificates.k8s.io/certificatesigningrequests", "approval"):
                return self._part
            case "/pods", "log":
                return self._onward.pods.log
            case "/pods" | "/services" | "/nodes", "proxy":
                return self._onward.proxies.proxy
            case "/pods", "exec" | "attach" | "portforward":
                return self._onward.pods.connect
            case "/serviceaccounts", "token":
                return self._token
            case "/namespaces", "finalize":
                return self._finalize
            case _:
                raise NotFound("the server could not find the requested resource")

    async def _scale(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        found = self._reads.get(target, resource).record
        assert found
        (record,) = await served(resource, [found])
        current = scale_of(resource, record.value)
        if target.verb == "get":
            return ObjectAnswer(value=current)
        if target.verb == "update":
            wanted = call.object_body("Scale")
        else:
            wanted = patched(call.content_type, current, call.body, SCALE)
        replicas = section(wanted, "spec").get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            raise BadRequest("spec.replicas: must be an integer that is not negative")
        told = section(wanted, "metadata").get("resourceVersion")
        path = (resource.scale_paths or SCALE_PATHS)["specReplicasPath"].strip(".").split(".")

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            if told and told != newest["metadata"]["resourceVersion"]:
                raise conflict(resource, target.name, MODIFIED)
            obj = fresh(newest)
            place = obj
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = replicas
            return obj

        _, value = await self._writes.rewrite(_plain(call), _main(target), resource, change, by="scale")
        return ObjectAnswer(value=scale_of(resource, value))

    async def _bind(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        node = section(call.object_body("Binding"), "target").get("name")
        if not node or not isinstance(node, str):
            raise BadRequest("Binding is invalid: target.name: Required value")

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            name = newest["metadata"]["name"]
            if newest["spec"].get("nodeName"):
                raise conflict(resource, name, f'pod {name} is already assigned to node "{newest["spec"]["nodeName"]}"')
            if "deletionTimestamp" in newest["metadata"]:
                raise conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
            obj = fresh(newest)
            obj["spec"]["nodeName"] = node
            return obj

        await self._writes.bind(call, _main(target), resource, change)
        return ObjectAnswer(value={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, code=201)

    async def _evict(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        options = section(call.object_body("Eviction"), "deleteOptions")
        if texts(options, "dryRun"):  # kubectl says it there alone
            call = replace(call, query={**call.query, "dryRun": ",".join(texts(options, "dryRun"))})
        record = self._reads.get(target, resource).record
        assert record
        await self._evictions.admit(call, _main(target), resource, record.value)
        await self._deletes.delete(_plain(call, dict(options)), _main(target), resource)
        return ObjectAnswer(value={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, code=201)

    async def _part(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        match target.verb:
            case "get":
                return self._reads.get(target, resource)
            case "update":
                return await self._writes.update(call, target, resource)
            case "patch":
                return await self._patches.patch(call, target, resource)
            case _:
                raise MethodNotAllowed("the server does not allow this method on the requested resource")

    async def _finalize(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        finalizers = texts(section(call.object_body("Namespace"), "spec"), "finalizers")
        record = await self._writes.finalize(call, _main(target), resource, list(finalizers))
        return ObjectAnswer(resource, record)

    async def _token(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        record = self._reads.get(target, resource).record
        assert record
        return ObjectAnswer(value=self._tokens.answer(call, record.value), code=201)


def _main(target: Target) -> Target:
    return Target(target.group, target.version, target.plural, target.namespace, target.name, "", target.verb)


def _plain(call: Call, body: Any = None) -> Call:
    dry = {"dryRun": "All"} if call.dry_run else {}
    return Call(call.user, call.method, call.path, {"fieldManager": call.manager, **dry}, body, warnings=call.warnings)
