"""From a call to its handler: understand the path, ask who may, dispatch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from ketch.kube.errors import APIError, Forbidden, MethodNotAllowed, NotFound, StatusDetails, Unavailable
from ketch.kube.transport import APPLY_PATCH, JSON_TYPE
from ketch.local.apiserver.answers import Answer, ObjectAnswer, TextAnswer, converted
from ketch.local.apiserver.auth.identity import MASTERS, UserInfo
from ketch.local.apiserver.auth.nodes import Listing, Lookup, node_name
from ketch.local.apiserver.auth.nodes import check as check_node
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.auth.tokens import DISCOVERY, Tokens
from ketch.local.apiserver.documents.discovery import VERSION, Discovery
from ketch.local.apiserver.documents.openapi import V2_ASKED, V2_TYPE, OpenAPI
from ketch.local.apiserver.extension.aggregator import Aggregator
from ketch.local.apiserver.extension.remotes import Remote
from ketch.local.apiserver.metrics import CONTENT_TYPE, Metrics
from ketch.local.apiserver.requests import Call, Target, is_proxied, loosely_resolved, resolve, split_path
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.reviews import Reviews
from ketch.local.apiserver.store.records import StoreUnavailable
from ketch.local.apiserver.streams.podstreams import CONNECTED
from ketch.local.apiserver.streams.usage import GROUP as USAGE_GROUP
from ketch.local.apiserver.streams.usage import UsageHandlers
from ketch.local.apiserver.subresources.handlers import SubresourceHandlers
from ketch.local.apiserver.verbs.deletion import DeleteHandlers
from ketch.local.apiserver.verbs.patching import PatchHandlers
from ketch.local.apiserver.verbs.reading import ReadHandlers
from ketch.local.apiserver.verbs.writing import WriteHandlers

if TYPE_CHECKING:
    from ketch.local.apiserver.audit.log import AuditLog

UNKNOWN_PATH = "the server could not find the requested resource"
HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
VERBOSE_HEALTH = "[+]ping ok\n{} check passed\n"
KEYS_TYPE = "application/jwk-set+json"
PROXIED = "/proxy"
AGGREGATED = "APIGroupDiscoveryList"
INSUFFICIENT_STORAGE = 507


@dataclass(frozen=True, slots=True)
class Handlers:
    """All that a call may end at."""

    reads: ReadHandlers
    writes: WriteHandlers
    patches: PatchHandlers
    deletes: DeleteHandlers
    subresources: SubresourceHandlers
    reviews: Reviews
    discovery: Discovery
    openapi: OpenAPI
    metrics: Metrics
    usage: UsageHandlers
    tokens: Tokens
    others: Aggregator


def forbidden(user: UserInfo, asked: Attributes) -> Forbidden:
    """The 403 that says who may not do what."""
    if not asked.resource:
        return Forbidden(f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"')
    shown = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f'{qualified} "{asked.name}"' if asked.name else qualified
    details = StatusDetails(name=asked.name, group=asked.group, kind=asked.resource)
    why = f'User "{user.name}" cannot {asked.verb} resource "{shown}" in API group "{asked.group}" {where}'
    return Forbidden(f"{named} is forbidden: {why}", details)


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


class Router:
    """Both doors lead here. ``handle`` raises APIError for every failed call."""

    def __init__(
        self, registry: Registry, authorizer: Authorizer, handlers: Handlers, lookup: Lookup, listing: Listing
    ) -> None:
        self._lookup = lookup
        self._listing = listing
        self._registry = registry
        self._authorizer = authorizer
        self._handlers = handlers
        self._others = handlers.others
        self.closed = False
        self.audit: AuditLog | None = None

    def passes_on(self, path: str) -> bool:
        """Whether somebody else answers, so that the body is nobody's to read."""
        if PROXIED in path and is_proxied(path):
            return True
        return bool(self._others.remotes) and self._others.find(path) is not None

    async def handle(self, call: Call) -> Answer:
        """The answer to one call. Raises APIError."""
        remote = self._others.find(call.path) if self._others.remotes and call.network else None
        if remote is not None:
            target = loosely_resolved(call)
        else:
            found = split_path(call.path)
            target = None if found is None else resolve(call, *found)
        if self.audit is None:
            return await self._answer(call, target, remote)
        entry = self.audit.begin(call, target)
        try:
            answer = await self._answer(call, target, remote)
        except APIError as error:
            if entry is not None:
                entry.failed(error)
            raise
        if entry is not None:
            entry.answered(answer)
        return answer

    async def _answer(self, call: Call, target: Target | None, remote: Remote | None) -> Answer:
        if target is None:
            return self._document(call, remote)
        self._authorize(call, target)
        if remote is not None:
            return remote.answer(call.user)
        resource = self._registry.find(target.group, target.version, target.plural)
        try:
            return await self._dispatch(call, target, resource)
        except StoreUnavailable as error:
            if error.full:
                raise Unavailable(str(error), code=INSUFFICIENT_STORAGE, reason="InsufficientStorage") from error
            raise Unavailable(f"the store cannot take writes: {error}") from error

    # resources ------------------------------------------------------------------------------------------------

    def _authorize(self, call: Call, target: Target) -> None:
        user = call.user
        if MASTERS in user.groups:
            return
        namespace = target.name if target.plural == "namespaces" and not target.group else target.namespace
        asked = Attributes(target.verb, target.group, target.plural, target.subresource, namespace, target.name)
        if not self._authorizer.allows(user, asked):
            raise forbidden(user, asked)
        if node := node_name(user):
            check_node(call, target, node, self._lookup, self._listing)
        if target.verb == "get" and target.plural == "pods" and target.subresource in CONNECTED:
            # A WebSocket begins with GET; what it does is no reading.
            creating = asked._replace(verb="create")
            if not self._authorizer.allows(user, creating):
                raise forbidden(user, creating)

    async def _dispatch(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        if target.namespace and not resource.namespaced:
            raise NotFound(UNKNOWN_PATH)
        if resource.namespaced and not target.namespace and target.name:
            raise NotFound(UNKNOWN_PATH)
        handlers, verb = self._handlers, target.verb
        if target.subresource and not (target.subresource == "status" and resource.has_status):
            return await handlers.subresources.find(resource, target.subresource)(call, target, resource)
        if verb not in resource.verbs or (target.subresource and verb not in ("get", "update", "patch")):
            raise _not_allowed()
        if resource.group == USAGE_GROUP:
            return await handlers.usage.answer(call, target, resource)
        if not resource.stored:
            return ObjectAnswer(value=handlers.reviews.answer(call, target), code=201)
        if verb in ("update", "patch", "delete") and not target.name:
            raise _not_allowed()
        if verb == "create" and (target.name or (resource.namespaced and not target.namespace)):
            raise _not_allowed()
        answer = await self._object_verb(call, target, resource)
        return answer if resource.converter is None else await converted(answer)

    async def _object_verb(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        handlers = self._handlers
        match target.verb:
            case "get":
                return handlers.reads.get(target, resource)
            case "list":
                return handlers.reads.list(call, target, resource)
            case "watch":
                return handlers.reads.watch(call, target, resource)
            case "create":
                return await handlers.writes.create(call, target, resource)
            case "update":
                return await handlers.writes.update(call, target, resource)
            case "patch":
                self._may_create(call, target, resource)
                return await handlers.patches.patch(call, target, resource)
            case "delete":
                return await handlers.deletes.delete(call, target, resource)
            case _:
                return await handlers.deletes.delete_collection(call, target, resource)

    def _may_create(self, call: Call, target: Target, resource: ServedResource) -> None:
        """Who applies an object that is not there creates it. Raises Forbidden."""
        if call.content_type != APPLY_PATCH or MASTERS in call.user.groups or target.subresource:
            return
        namespace = target.namespace if resource.namespaced else ""
        if self._lookup(resource.storage, namespace, target.name) is None:
            asked = Attributes("create", target.group, target.plural, "", namespace, target.name)
            if not self._authorizer.allows(call.user, asked):
                raise forbidden(call.user, asked)

    # everything else ------------------------------------------------------------------------------------------

    def _document(self, call: Call, remote: Remote | None) -> Answer:
        path = call.path.rstrip("/") or "/"
        verb = {"GET": "get", "HEAD": "get"}.get(call.method, call.method.lower())
        asked = Attributes(verb, path=call.path)
        if MASTERS not in call.user.groups and not self._authorizer.allows(call.user, asked):
            raise forbidden(call.user, asked)
        if remote is not None:
            return remote.answer(call.user)
        if call.method not in ("GET", "HEAD"):
            raise NotFound(UNKNOWN_PATH) if path == "/" else _not_allowed()
        first = path.split("/")[1]
        if f"/{first}" in HEALTH_PATHS:
            return TextAnswer(VERBOSE_HEALTH.format(first) if "verbose" in call.query else "ok")
        match first:
            case "api" | "apis":
                aggregated = path in ("/api", "/apis") and call.shape == AGGREGATED
                return ObjectAnswer(
                    value=self._handlers.discovery.document(path, aggregated=aggregated, merged=call.network)
                )
            case "metrics":
                return TextAnswer(self._handlers.metrics.text(), CONTENT_TYPE)
            case "version":
                return ObjectAnswer(value=VERSION)
            case "openapi":
                return self._openapi(path, call.shape)
            case ".well-known" if path == "/.well-known/openid-configuration":
                return TextAnswer(orjson.dumps(DISCOVERY), JSON_TYPE)
            case "openid" if path == "/openid/v1/jwks":
                return TextAnswer(orjson.dumps(self._handlers.tokens.published_keys()), KEYS_TYPE)
            case "":
                return ObjectAnswer(
                    value={
                        "paths": ["/api", "/apis", *HEALTH_PATHS, "/metrics", "/openapi/v2", "/openapi/v3", "/version"]
                    }
                )
            case _:
                raise NotFound(UNKNOWN_PATH)

    def _openapi(self, path: str, shape: str) -> Answer:
        if path == "/openapi/v2":
            protobuf = shape == V2_ASKED
            return TextAnswer(self._handlers.openapi.whole(protobuf=protobuf), V2_TYPE if protobuf else JSON_TYPE)
        if path == "/openapi/v3":
            return ObjectAnswer(value=self._handlers.openapi.index())
        if path.startswith("/openapi/v3/"):
            return TextAnswer(self._handlers.openapi.document(path.removeprefix("/openapi/v3/")), JSON_TYPE)
        raise NotFound(UNKNOWN_PATH)
