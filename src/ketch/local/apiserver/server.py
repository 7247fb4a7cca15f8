"""The API server, put together."""

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from ketch.kube.admission import Admission
from ketch.kube.clock import SYSTEM_CLOCK, Clock
from ketch.kube.doors import Door
from ketch.kube.placement import Placement
from ketch.kube.transport import APPLY_PATCH, Transport
from ketch.local.apiserver.admission.budgets.ledger import Ledger
from ketch.local.apiserver.admission.calls import Dial, dial_directly
from ketch.local.apiserver.admission.chain import Chain
from ketch.local.apiserver.admission.gate import Gate
from ketch.local.apiserver.auth.aggregation import Aggregation
from ketch.local.apiserver.auth.identity import LOOPBACK, NODES, UserInfo
from ketch.local.apiserver.auth.pki import ADMINISTRATOR, Authority
from ketch.local.apiserver.auth.rbac import GROUP as RBAC
from ketch.local.apiserver.auth.rbac import Authorizer
from ketch.local.apiserver.auth.signing import Signing
from ketch.local.apiserver.auth.tokens import Tokens
from ketch.local.apiserver.bootstrap import initial_objects
from ketch.local.apiserver.builtins import builtin_resources
from ketch.local.apiserver.custom.serving import CustomResources
from ketch.local.apiserver.custom.webhook import WebhookConverter
from ketch.local.apiserver.documents.discovery import Discovery
from ketch.local.apiserver.documents.openapi import OpenAPI
from ketch.local.apiserver.extension.aggregator import FRONT_PROXY, Aggregator, introduction
from ketch.local.apiserver.extension.remotes import Remote
from ketch.local.apiserver.http.authentication import Authenticator
from ketch.local.apiserver.http.front import Front
from ketch.local.apiserver.inprocess import LocalTransport
from ketch.local.apiserver.metrics import Metrics
from ketch.local.apiserver.requests import Call
from ketch.local.apiserver.resources import Registry, stored_api_version
from ketch.local.apiserver.reviews import Reviews
from ketch.local.apiserver.router import Handlers, Router
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.view import View
from ketch.local.apiserver.strategies.base import Context
from ketch.local.apiserver.strategies.table import Strategies
from ketch.local.apiserver.streams.nodedoor import NodeDoors
from ketch.local.apiserver.streams.podstreams import PodStreams
from ketch.local.apiserver.streams.proxies import Proxies
from ketch.local.apiserver.streams.usage import UsageHandlers, metrics_resources
from ketch.local.apiserver.subresources.handlers import Onward, SubresourceHandlers
from ketch.local.apiserver.verbs.deletion import DeleteHandlers
from ketch.local.apiserver.verbs.patching import PatchHandlers
from ketch.local.apiserver.verbs.reading import ReadHandlers
from ketch.local.apiserver.verbs.selection import INDEXED, index_of
from ketch.local.apiserver.verbs.writing import SERVER, WriteHandlers

FRONT_PROXIES = "front-proxy"
"""Where the authority is that signs what this server is known by to other API servers."""


class _Parts(NamedTuple):
    """What runs between start and close."""

    store: Store
    registry: Registry
    router: Router
    front: Front
    custom: CustomResources
    strategies: Strategies
    gate: Gate
    aggregation: Aggregation
    signing: Signing
    others: Aggregator


class APIServer:
    """One embedded cluster's API: objects in ``database``, keys and certificates in ``pki``.

    ``start`` opens the store and makes what every cluster begins with; then ``transport`` serves this process and
    ``serve`` the network. ``admissions`` decide about domains' kinds, ``dial`` reaches pods, where webhooks are.
    Nodes of this machine are reached in the directory ``node_sockets`` and nowhere else, where it is given.
    Raises StoreCorrupt for a damaged or foreign database.
    """

    def __init__(
        self,
        database: Path,
        pki: Path,
        clock: Clock = SYSTEM_CLOCK,
        admissions: Sequence[Admission[Any]] = (),
        dial: Dial = dial_directly,
        node_sockets: Path | None = None,
    ) -> None:
        self._admissions = admissions
        self._dial = dial
        self._node_sockets = node_sockets
        self._database = database
        self._clock = clock
        self._pki = pki
        self._authority: Authority | None = None
        self._parts: _Parts | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def authority(self) -> Authority:
        """The keys and certificates."""
        if self._authority is None:
            self._authority = Authority(self._pki, self._clock)
        return self._authority

    async def start(self) -> None:
        """Open the store, begin to answer."""
        store = Store(self._database, {storage: index_of(storage) for storage in INDEXED})
        registry = Registry((*builtin_resources(), *metrics_resources()))
        authorizer = Authorizer(store)
        strategies = Strategies(authorizer, self._admissions)

        view = View(store)
        newest, listing = view.newest, view.listing

        def context(call: Call) -> Context:
            return Context(call.user, self._clock.now(), newest, listing, call.dry_run, call.warnings)

        tokens = Tokens(self.authority.signing_key, self._clock, view.committed)
        reads = ReadHandlers(store, self._clock)
        chain = Chain(store, registry, authorizer, newest, listing, self._dial)
        gate = Gate(chain, Ledger(store, self._clock, lambda key, status: writes.write_status(key, quotas, status)))
        quotas = registry.find("", "v1", "resourcequotas")
        writes = WriteHandlers(store, self._clock, strategies.find, context, gate)
        deletes = DeleteHandlers(store, reads, strategies.find, context, gate)

        asking = {"dial": self._dial, "lookup": newest, "listing": listing}
        remote = partial(Remote, **asking, certificate=self._front_certificate)
        others = Aggregator(store, registry, writes, deletes, self._clock, remote, self._introduce)
        metrics = Metrics(store)
        doors = NodeDoors(store, self.authority.node_context, self._node_sockets)
        patches = PatchHandlers(store, writes, context)
        onward = Onward(PodStreams(doors, reads), Proxies(store, listing, doors, self._dial))
        handlers = Handlers(
            reads=reads,
            writes=writes,
            patches=patches,
            deletes=deletes,
            subresources=SubresourceHandlers(store, registry, reads, writes, patches, deletes, tokens, onward),
            reviews=Reviews(authorizer, tokens),
            discovery=Discovery(registry, others),
            openapi=OpenAPI(registry, others),
            metrics=metrics,
            usage=UsageHandlers(store, registry, reads, doors),
            tokens=tokens,
            others=others,
        )
        router = Router(registry, authorizer, handlers, newest, listing)
        front = Front(router, Authenticator(tokens, authorizer), metrics, self._clock)
        self._parts = _Parts(
            store=store,
            registry=registry,
            router=router,
            front=front,
            custom=CustomResources(store, registry, writes, deletes, self._clock, partial(WebhookConverter, **asking)),
            strategies=strategies,
            gate=gate,
            aggregation=Aggregation(store, authorizer, writes, registry.find(RBAC, "v1", "clusterroles")),
            signing=Signing(store, writes, self.authority, registry),
            others=others,
        )
        await self._apply(initial_objects())

    def audit(self, policy: Path, log: Path) -> None:
        """From now on, write down who asks for what, as the policy in a file says. Raises PolicyError."""
        from ketch.local.apiserver.audit.log import AuditLog  # noqa: PLC0415  # deferred: only where there is a policy
        from ketch.local.apiserver.audit.policy import read_policy  # noqa: PLC0415  # as above

        self._running.router.audit = AuditLog(log, read_policy(policy), self._clock)

    @property
    def _running(self) -> "_Parts":
        if self._parts is None:
            raise RuntimeError("the API server has not been started")
        return self._parts

    async def _introduce(self) -> None:
        """Tell other API servers by what they know this one."""
        await asyncio.to_thread(self._front_certificate)
        await self._apply(introduction(self.authority.certificate, self._pki / FRONT_PROXIES / "ca.crt"))

    async def _apply(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects as the server's own; where all is in place nothing is written."""
        router, registry = self._running.router, self._running.registry
        query = {"fieldManager": SERVER, "force": "true"}
        calls: list[Call] = []
        for body in bodies:
            resource = registry.find_kind(*stored_api_version(body), body["kind"])
            assert resource
            meta = body["metadata"]
            root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
            scope = f"/namespaces/{meta['namespace']}" if resource.namespaced else ""
            path = f"{root}{scope}/{resource.plural}/{meta['name']}"
            calls.append(Call(LOOPBACK, "PATCH", path, query, body, APPLY_PATCH))
        # All at once: one write to the disk. Order holds, since each stages before it waits.
        await asyncio.gather(*(router.handle(call) for call in calls))

    def _front_certificate(self) -> tuple[Path, Path]:
        """What other API servers know this one by: certificate and key of an authority that signs nothing else."""
        return Authority(self._pki / FRONT_PROXIES, self._clock).client_pair("front-proxy-client", FRONT_PROXY, ())

    def transport(self, user: UserInfo = LOOPBACK) -> Transport:
        """A transport within this process, as ``user``."""
        return LocalTransport(self._running.router, user)

    def place_pods_by(self, placement: Placement) -> None:
        """Ask ``placement`` for the nodes of new pods."""
        self._running.strategies.pods.placement = placement

    async def serve(self, sockets: Sequence[socket.socket], unix_socket: Path | None = None) -> None:
        """Answer on these listening sockets, and on a unix socket, with TLS; returns when ready, serves until close."""
        await self._running.front.listen(sockets, unix_socket, self.authority.server_context())

    def open_door(self, door: Door) -> None:
        """Let ``door`` answer its paths over the network, from now on."""
        self._running.front.doors.append(door)

    def write_admin_kubeconfig(self, path: Path, server: str) -> None:
        """A kubeconfig (mode 0600) for all rights, by which the API is reached at ``server`` (https://host:port)."""
        user, groups = ADMINISTRATOR
        self.authority.write_kubeconfig(path, server, self.authority.client_pair("admin", user, groups), user)

    def write_node_kubeconfig(self, path: Path, server: str, node: str) -> None:
        """A kubeconfig (mode 0600) for the agent of one node."""
        user = f"system:node:{node}"
        pair = self.authority.client_pair(f"node-{node}", user, (NODES,))
        self.authority.write_kubeconfig(path, server, pair, user)

    async def close(self) -> None:
        """End watches, answer what is under way, close the store."""
        if self._parts is None:
            return
        parts, self._parts = self._parts, None
        parts.router.closed = True
        await parts.front.close()
        await parts.custom.close()
        await parts.aggregation.close()
        await parts.signing.close()
        await parts.others.close()
        await parts.gate.close()
        await parts.store.close()
        if parts.router.audit is not None:
            parts.router.audit.close()
